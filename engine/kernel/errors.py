"""Typed errors: every failure that an operator, a strategy or a driver can meet has a class here.

Each error carries, where known, the venue's own code and text and the request it belongs to (never a secret).
"""

from __future__ import annotations

from decimal import Decimal

from engine.kernel.secret import masked


class CtosError(Exception):
    """Base of all errors of this system.

    Args:
        message: One sentence for a person: what is wrong, where, and how to mend it.
        code: The venue's own error code, if the error came from a venue.
        venue_text: The venue's own words, if any; secrets in them are masked.
        request: Short description of the request that failed, without secrets.
        unsent: Whether it is certain that the request never left for the venue.
    """

    def __init__(
        self, message: str, *, code: str = "", venue_text: str = "", request: str = "", unsent: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.venue_text = masked(venue_text) if venue_text else ""
        self.request = request
        self.unsent = unsent

    def __str__(self) -> str:
        """Return the message, followed by the venue's code and text when there are any."""
        venue = " ".join(part for part in (self.code, self.venue_text) if part)
        return f"{self.message} [{venue}]" if venue else self.message


class VenueError(CtosError):
    """A venue refused for a reason that has no class of its own; code and text say which."""


class InsufficientFunds(VenueError):
    """Free balance or margin does not cover the order."""


class InvalidOrder(VenueError):
    """Price, quantity or flags break a rule of the instrument."""


class BelowMinimum(InvalidOrder):
    """The order is smaller than the instrument allows; nothing was sent.

    Args:
        asked: Quote amount that was asked for.
        minimum: Smallest quote amount that is possible now.
        unit: Currency of both amounts.
    """

    def __init__(self, asked: Decimal, minimum: Decimal, unit: str = "USD") -> None:
        super().__init__(f"amount {asked.normalize():f} {unit} is below the minimum {minimum.normalize():f} {unit}")
        self.asked = asked
        self.minimum = minimum


class DuplicateClientOrderId(VenueError):
    """The client order id was used before."""


class OrderNotFound(VenueError):
    """The venue does not know the order, or it is no longer open."""


class RateLimited(VenueError):
    """The venue's request budget is used up."""


class AuthError(VenueError):
    """The key or signature was refused."""


class PermissionDenied(VenueError):
    """The key may not do this."""


class ClockSkew(VenueError):
    """The request's time stamp is outside the venue's window."""


class VenueUnavailable(VenueError):
    """The venue cannot serve the request now; it was certainly not carried out."""


class UnknownOutcome(VenueError):
    """It is not known whether the request was carried out."""


class PostOnlyWouldTake(VenueError):
    """A post-only order would have matched at once."""


class ReduceOnlyRejected(VenueError):
    """A reduce-only order would not have reduced the position."""


class NotSent(CtosError):
    """An order or amendment was taken back before it left; the venue never saw it."""


class TradingHalted(CtosError):
    """Trading is halted or not armed; only cancels and reductions by hand pass."""


class RiskReject(CtosError):
    """A risk limit refused a command.

    Args:
        rule: Name of the limit, as in the configuration.
        limit: The limit's value, with its unit.
        value: What the command would have led to, with its unit.
        largest: The largest that would pass, if one can be computed.
        hint: One more short fact for the operator.
    """

    def __init__(
        self, rule: str, limit: object, value: object, *, largest: object | None = None, hint: str = ""
    ) -> None:
        text = f"{rule}: {value} exceeds the limit {limit}" if limit != "" else f"{rule}: {value}"
        if largest is not None:
            text += f"; the largest that would pass is {largest}"
        if hint:
            text += f" ({hint})"
        super().__init__(text)
        self.rule = rule
        self.limit = limit
        self.value = value
        self.largest = largest


class TooManyCommands(RiskReject):
    """The budget of commands is used up for now; `retry_in_s` says when one more passes."""

    def __init__(self, rule: str, limit: object, value: object, retry_in_s: float) -> None:
        super().__init__(rule, limit, value, hint=f"next in {retry_in_s:.1f} s")
        self.retry_in_s = retry_in_s


class RiskConfigConflict(CtosError):
    """A strategy's parameters need more than its account allows."""

    def __init__(self, what: str, required: object, limit: object) -> None:
        super().__init__(f"{what}: the strategy needs {required}, the account allows {limit}")
        self.required = required
        self.limit = limit


class Paused(CtosError):
    """The instance is paused and the command would increase its exposure."""


class UnknownVenue(CtosError):
    """No driver has this name."""


class UnknownAccount(CtosError):
    """No account has this name or position."""


class UnknownSymbol(CtosError):
    """No instrument has this name."""


class UnknownStrategy(CtosError):
    """No strategy class or running instance has this name."""


class ConfigError(CtosError):
    """A file, flag or parameter is wrong; the message names it, its value and the remedy."""


class Unsupported(CtosError):
    """The venue does not offer this, and it cannot be emulated safely."""


class StateLocked(CtosError):
    """Another process holds the state directory."""


class StorageError(CtosError):
    """A file or folder of the state directory cannot be written or read."""


class JournalError(StorageError):
    """The journal cannot be written or read; without it no order is sent."""

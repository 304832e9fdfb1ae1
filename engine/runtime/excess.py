"""Quantities that are our own and unwanted: filled beyond what an order asked, or left behind by an own close."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.kernel.clock import NS_PER_MS
from engine.kernel.orders import Order
from engine.kernel.strategy import Done, Purpose
from engine.runtime.client_ids import purpose_of
from engine.runtime.core import EngineCore
from engine.runtime.correction_state import Claim, CorrectionState
from engine.runtime.work.execution import CANCELED_OUTSIDE
from engine.runtime.work.targets import SUPERSEDED

ZERO = Decimal(0)
_ON_PURPOSE = ("canceled", SUPERSEDED, CANCELED_OUTSIDE, "halted")
"""How the reason of a close begins that somebody ended on purpose: what it left may be wanted."""


class ExcessBook:
    """Follows orders and work; a claim is never larger than what its ledger holds, and shrinks with it.

    Args:
        core: The engine's ledgers and orders.
        state: Where claims are kept.
        on_change: Called when the claims have changed.
    """

    def __init__(self, core: EngineCore, state: CorrectionState, on_change: Callable[[], None]) -> None:
        self._core = core
        self._state = state
        self._on_change = on_change

    def of(self, symbol: str) -> Decimal:
        """Return the signed base coins of a symbol that are held and not wanted."""
        return sum((self.left(claim) for claim in self._claims(symbol)), ZERO)

    def largest(self, symbol: str) -> Claim | None:
        """Return the largest claim of a symbol that its ledger still holds."""
        held = [claim for claim in self._claims(symbol) if self.left(claim)]
        return max(held, key=lambda claim: abs(self.left(claim)), default=None)

    def left(self, claim: Claim) -> Decimal:
        """Return what of a claim its ledger still holds, signed; whatever reduced the ledger reduced the claim."""
        held = self._core.held_by(claim.instance, claim.symbol)
        if held * claim.quantity <= 0:
            return ZERO
        gone = max(ZERO, abs(claim.held) - abs(held))
        left = min(abs(held), max(ZERO, abs(claim.quantity) - gone))
        return left if held > 0 else -left

    def on_order(self, order: Order) -> None:
        """Claim an overfill; drop what a new entry of the same owner and symbol makes a part of a wanted position."""
        if order.external:
            return
        beyond = order.filled - order.quantity
        if beyond > ZERO and beyond > (claimed := self._state.overfilled.get(order.client_id, ZERO)):
            more = (beyond - claimed) * order.side.sign
            self._state.overfilled[order.client_id] = beyond
            why = f"#{order.label} asked for {order.quantity} and was filled {order.filled}"
            base = abs(self._core.held_by(order.instance, order.symbol))
            self._claim(order.instance, order.symbol, more, base, why)
            return
        claim = self._state.claims.get(_key(order.instance, order.symbol))
        if claim is None or order.reduce_only or purpose_of(order.client_id) is Purpose.CORRECTION:
            return
        if order.created_ns // NS_PER_MS > claim.since_ms:
            self._drop(claim)

    def on_done(self, instance: str, done: Done) -> None:
        """Claim what a close has left of a position."""
        if not done.closes or done.reason.startswith(_ON_PURPOSE):
            return
        left = self._core.held_by(instance, done.symbol)
        if self._core.portfolio.whole_lots(done.symbol, left):
            why = f"left by the close {done.handle} of {instance}"
            known = self._state.claims.get(_key(instance, done.symbol))
            base = max(abs(left) + done.quantity, known.base if known is not None else ZERO)
            self._drop_silently(known)
            self._claim(instance, done.symbol, left, base, why)

    def tidy(self) -> None:
        """Forget claims of which nothing is held any more, and shrink those of which less is."""
        for claim in list(self._state.claims.values()):
            left = self.left(claim)
            if not left:
                self._drop(claim)
            elif left != claim.quantity:
                claim.quantity, claim.held = left, self._core.held_by(claim.instance, claim.symbol)
                self._on_change()

    def _claims(self, symbol: str) -> list[Claim]:
        return [claim for claim in self._state.claims.values() if claim.symbol == symbol]

    def _claim(self, instance: str, symbol: str, quantity: Decimal, base: Decimal, why: str) -> None:
        key = _key(instance, symbol)
        known = self._state.claims.get(key)
        if known is not None and known.quantity * quantity > 0:
            quantity += known.quantity
        held, now_ms = self._core.held_by(instance, symbol), self._core.clock.now_ms()
        self._state.claims[key] = Claim(instance, symbol, quantity, held, base, why, now_ms)
        self._on_change()

    def _drop(self, claim: Claim) -> None:
        self._drop_silently(claim)
        self._on_change()

    def _drop_silently(self, claim: Claim | None) -> None:
        if claim is not None:
            self._state.claims.pop(_key(claim.instance, claim.symbol), None)


def _key(instance: str, symbol: str) -> str:
    return f"{instance} {symbol}"

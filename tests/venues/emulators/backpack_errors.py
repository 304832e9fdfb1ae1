"""What Backpack answers when it refuses, by EXCHANGES.md §0.5 and §5."""

from __future__ import annotations

from engine.kernel.errors import (
    BelowMinimum,
    CtosError,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    UnknownSymbol,
    VenueUnavailable,
)

POST_ONLY_TEXT = "Order would immediately match and take liquidity"
REDUCE_ONLY_TEXT = "Reduce only order not reduced"


class Refusal(Exception):
    """A request that the venue does not carry out: HTTP status and body {code, message}."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def body(self) -> dict[str, str]:
        """Return the error body."""
        return {"code": self.code, "message": self.message}


def bad_request(message: str) -> Refusal:
    """Return the refusal of a malformed request."""
    return Refusal(400, "INVALID_CLIENT_REQUEST", message)


def not_found() -> Refusal:
    """Return the refusal of an order that does not rest."""
    return Refusal(404, "RESOURCE_NOT_FOUND", "Order not found")


def refusal_of(error: CtosError, spot: bool) -> Refusal:
    """Return what the venue says where the matching engine raised `error`."""
    if isinstance(error, OrderNotFound):
        return not_found()
    if isinstance(error, InsufficientFunds):
        name = "funds" if spot else "margin"
        return Refusal(400, f"INSUFFICIENT_{name.upper()}", f"Insufficient {name}")
    if isinstance(error, PostOnlyWouldTake):
        return Refusal(400, "INVALID_ORDER", POST_ONLY_TEXT)
    if isinstance(error, ReduceOnlyRejected):
        return Refusal(400, "INVALID_ORDER", REDUCE_ONLY_TEXT)
    if isinstance(error, BelowMinimum):
        return Refusal(400, "INVALID_QUANTITY", "Quantity is below the minimum quantity")
    if isinstance(error, UnknownSymbol):
        return Refusal(400, "INVALID_SYMBOL", "Invalid symbol")
    if isinstance(error, VenueUnavailable):
        return Refusal(503, "MAINTENANCE", "Market is not open")
    if isinstance(error, InvalidOrder):
        return Refusal(400, "INVALID_ORDER", error.message)
    raise error

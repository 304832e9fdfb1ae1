"""The engine's last word on an order, asked when its bytes are about to leave.

Between the decision and the wire an order may wait: for a budget, a connection, the clock. What has become of it
meanwhile (the gate was closed, it was cancelled) only the engine knows. It hands its permit to a driver with the call
that sends the order; what the driver starts in that call carries the permit along, and asks it at the last line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Permit = Callable[[], None]
"""Raises the reason why an order must not leave any more."""

_permit: ContextVar[Permit | None] = ContextVar("permit", default=None)


@contextmanager
def under(permit: Permit) -> Iterator[None]:
    """Have what is sent within, and by the tasks that begin within, ask for a permit."""
    token = _permit.set(permit)
    try:
        yield
    finally:
        _permit.reset(token)


def ask_permit() -> None:
    """Ask whether the order that is about to be sent may leave; whoever sends without an engine needs none.

    Raises:
        TradingHalted: The gate has closed since it was decided.
        NotSent: It was taken back.
    """
    permit = _permit.get()
    if permit is not None:
        permit()

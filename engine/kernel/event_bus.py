"""The event bus: direct calls to subscribers by event type.

A publisher calls every subscriber in turn, in order of subscription, on its own stack. Whoever may fall
behind (a pane, a socket) keeps only the latest value in its handler. A subscriber that raises does not keep
the others from being served; its error goes to the bus's error handler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

E = TypeVar("E")
Handler = Callable[[Any], object]
ErrorHandler = Callable[[Handler, object, Exception], None]


def raise_error(handler: Handler, event: object, error: Exception) -> None:
    """Re-raise a subscriber's error: the default, fit for tests and offline runs."""
    raise error


class EventBus:
    """Publish and subscribe by the exact class of the event.

    Args:
        on_error: Called with (handler, event, error) when a subscriber raises; the default re-raises.
    """

    __slots__ = ("_handlers", "on_error")

    def __init__(self, on_error: ErrorHandler = raise_error) -> None:
        self._handlers: dict[type, tuple[Handler, ...]] = {}
        self.on_error = on_error

    def subscribe(self, event_type: type[E], handler: Callable[[E], object]) -> Callable[[], None]:
        """Have `handler` called with each event of exactly `event_type`.

        Returns:
            A function that ends the subscription.
        """
        self._handlers[event_type] = (*self._handlers.get(event_type, ()), handler)

        active = True

        def unsubscribe() -> None:
            nonlocal active
            if active:
                active = False
                present = self._handlers[event_type]
                at = next(place for place, other in enumerate(present) if other is handler)
                self._handlers[event_type] = present[:at] + present[at + 1 :]

        return unsubscribe

    def publish(self, event: object) -> None:
        """Deliver an event to every subscriber of its class."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception as error:
                self.on_error(handler, event, error)

"""Who listens to what, and when a venue has to be told."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from engine.kernel.syscalls import Unsubscribe

TopicT = TypeVar("TopicT", bound=Hashable)
Handler = Callable[[Any], None]


class Topics(Generic[TopicT]):
    """Handlers by topic.

    Args:
        on_first: Called when a topic gets its first handler: subscribe at the venue.
        on_last: Called when a topic loses its last one: unsubscribe.
    """

    def __init__(self, on_first: Callable[[TopicT], None], on_last: Callable[[TopicT], None]) -> None:
        self._on_first = on_first
        self._on_last = on_last
        self._handlers: dict[TopicT, tuple[Handler, ...]] = {}

    def add(self, topic: TopicT, handler: Handler) -> Unsubscribe:
        """Add a handler; what is returned takes it away again, and does nothing the second time."""
        before = self._handlers.get(topic, ())
        self._handlers[topic] = (*before, handler)
        taken = False

        def unsubscribe() -> None:
            nonlocal taken
            if not taken:
                taken = True
                self._remove(topic, handler)

        if not before:
            self._on_first(topic)
        return unsubscribe

    def _remove(self, topic: TopicT, handler: Handler) -> None:
        kept = list(self._handlers[topic])
        kept.remove(handler)
        if kept:
            self._handlers[topic] = tuple(kept)
            return
        del self._handlers[topic]
        self._on_last(topic)

    def publish(self, topic: TopicT, event: object) -> None:
        """Call every handler of a topic, in the order in which they came."""
        for handler in self._handlers.get(topic, ()):
            handler(event)

    @property
    def active(self) -> list[TopicT]:
        """Return the topics that somebody listens to, oldest first."""
        return list(self._handlers)

    def has(self, topic: TopicT) -> bool:
        """Return whether somebody listens to a topic."""
        return topic in self._handlers

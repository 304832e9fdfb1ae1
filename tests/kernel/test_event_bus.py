"""The bus delivers to everybody, in order, and one failure does not keep the others from being served."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from engine.kernel.event_bus import EventBus


@dataclass(slots=True, frozen=True)
class Base:
    number: int


@dataclass(slots=True, frozen=True)
class Derived(Base):
    pass


def test_subscribers_are_called_in_order_by_the_exact_class():
    bus = EventBus()
    seen: list[str] = []
    bus.subscribe(Base, lambda event: seen.append(f"a{event.number}"))
    bus.subscribe(Base, lambda event: seen.append(f"b{event.number}"))
    bus.publish(Base(1))
    bus.publish(Derived(2))
    bus.publish("nobody listens")
    assert seen == ["a1", "b1"]


def test_a_subscription_ends_alone_and_at_once_for_the_next_event():
    bus = EventBus()
    seen: list[str] = []

    def once(event: Base) -> None:
        seen.append("once")
        unsubscribe()
        bus.subscribe(Base, lambda _: seen.append("new"))

    unsubscribe = bus.subscribe(Base, once)
    bus.subscribe(Base, lambda _: seen.append("other"))
    bus.publish(Base(1))
    bus.publish(Base(2))
    unsubscribe()
    assert seen == ["once", "other", "other", "new"]


def test_the_same_handler_subscribed_twice_is_called_twice_and_ended_once_each():
    bus = EventBus()
    seen: list[int] = []

    def note(event: Base) -> None:
        seen.append(event.number)

    first = bus.subscribe(Base, note)
    bus.subscribe(Base, note)
    bus.publish(Base(1))
    assert seen == [1, 1]
    first()
    bus.publish(Base(2))
    assert seen == [1, 1, 2]


def test_a_failing_subscriber_is_reported_and_the_others_are_served():
    failures: list[tuple[object, object, str]] = []
    bus = EventBus(lambda handler, event, error: failures.append((handler, event, str(error))))
    seen: list[int] = []

    def fail(event: Base) -> None:
        raise ValueError("broken")

    bus.subscribe(Base, fail)
    bus.subscribe(Base, lambda event: seen.append(event.number))
    bus.publish(Base(1))
    assert seen == [1] and failures == [(fail, Base(1), "broken")]


def test_without_an_error_handler_the_error_is_not_swallowed():
    bus = EventBus()
    bus.subscribe(Base, lambda event: [][event.number])
    with pytest.raises(IndexError):
        bus.publish(Base(1))

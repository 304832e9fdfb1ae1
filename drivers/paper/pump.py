"""Plays a market model: what is due at a time, as the clock goes, or as fast as possible."""

from __future__ import annotations

from math import inf

from drivers.paper.feed import MarketFeed
from drivers.paper.markets.model import MarketModel
from engine.kernel.clock import NS_PER_S, Clock, VirtualClock, sleep

_PAUSE_S = 0.02
_SLICE_NS = 5_000_000
_SLICE_STEPS = 16
_SKIP_NS = 10 * NS_PER_S


class MarketPump:
    """Moves events from the model to the feed in order of time.

    Args:
        model: Where events come from.
        feed: Where they go.
        clock: Venue time.
        speed: Seconds of market time in a real second.
    """

    def __init__(self, model: MarketModel, feed: MarketFeed, clock: Clock, speed: float) -> None:
        self._model = model
        self._feed = feed
        self._clock = clock
        self._speed = speed

    async def play(self) -> None:
        """Play as the clock goes, in slices short enough for everything else in the loop."""
        while self._model.next_event_ns() is not None:
            more = self.pump_until(self._clock.now_ns(), _SLICE_NS)
            await sleep(self._clock, 0.0 if more else _PAUSE_S * self._speed)

    def pump_until(self, now_ns: int, budget_ns: int | None = None) -> bool:
        """Play every market event that is due at `now_ns`, in order.

        Args:
            now_ns: Market time to play up to.
            budget_ns: How long this may take; without one all that is due is played.

        Returns:
            Whether more is due.
        """
        model, feed = self._model, self._feed
        handlers, step, next_event_ns = feed.handlers, model.step, model.next_event_ns
        deadline_ns = inf
        if budget_ns is not None:
            deadline_ns = self._clock.stopwatch_ns() + budget_ns
            due = next_event_ns()
            if due is not None and now_ns - due > _SKIP_NS * self._speed:
                model.skip_to(now_ns)
        steps = 0
        while (due := next_event_ns()) is not None and due <= now_ns:
            if due >= feed.next_second_ns:
                feed.catch_up(due)
            feed.now_ns = due
            for event in step():
                handlers[type(event)](event)
            steps += 1
            if not steps % _SLICE_STEPS and self._clock.stopwatch_ns() > deadline_ns:
                return True
        feed.catch_up(now_ns)
        return False

    def pump_now(self) -> None:
        """Play what is due at the clock's time."""
        self.pump_until(self._clock.now_ns())

    def run_virtual(self, clock: VirtualClock, until_ns: int) -> None:
        """Play on a virtual clock, as fast as it goes, until `until_ns` or the market's end."""
        feed, advance_to = self._feed, clock.advance_to
        handlers, step, next_event_ns = feed.handlers, self._model.step, self._model.next_event_ns
        while (due := next_event_ns()) is not None and due <= until_ns:
            advance_to(due)
            # A request that arrived meanwhile may have played this event already.
            if next_event_ns() != due:
                continue
            if due >= feed.next_second_ns:
                feed.catch_up(due)
            feed.now_ns = due
            for event in step():
                handlers[type(event)](event)
        advance_to(until_ns)
        feed.catch_up(until_ns)

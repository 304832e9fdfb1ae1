"""A venue's request budgets, kept on our side so that the venue never has to refuse.

Each budget counts the weight sent within its window, whatever window the venue itself counts in. A part is kept for
cancels and reconciliation. A ban is remembered over a restart: nothing is sent until it ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import msgspec

from drivers.transport.arch import BucketSpec
from drivers.transport.setup import VenueStore
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle
from engine.kernel.errors import ConfigError, RateLimited

RESERVED = 0.2
"""Share of each budget that only cancels and reconciliation may use."""
SLOW_S = 60.0
"""How long the rate is halved after the pause when the venue said that it was too high."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_IN_FLIGHT_S = 1.0
_MARGIN = 0.02
_BAN_KEY = "ban"

Cost = tuple[tuple[str, int], ...]
"""What a request takes: (budget name, weight) for each budget; `name/SYMBOL` where the budget is a symbol's own."""


class Urgency(Enum):
    """What a request is for, which decides who goes first and who may use the reserve."""

    CANCEL = 0
    RECONCILE = 1
    ORDER = 2
    QUERY = 3

    @property
    def may_use_reserve(self) -> bool:
        """Return whether such a request may use all of a budget."""
        return self in (Urgency.CANCEL, Urgency.RECONCILE)


class _Ban(msgspec.Struct):
    until_ms: int
    reason: str


class _Bucket:
    """Weight sent within the window."""

    __slots__ = ("_sent", "limit", "name", "used", "window_ns")

    def __init__(self, name: str, spec: BucketSpec) -> None:
        self.name = name
        self.set(spec)
        self._sent: deque[tuple[int, int]] = deque()
        self.used = 0

    def set(self, spec: BucketSpec) -> None:
        self.limit = spec.limit
        self.window_ns = int(spec.window_s * (1 + _MARGIN) * NS_PER_S)

    def drain(self, now_ns: int) -> None:
        sent = self._sent
        while sent and sent[0][0] <= now_ns:
            self.used -= sent.popleft()[1]

    def add(self, now_ns: int, weight: int) -> None:
        self._sent.append((now_ns + self.window_ns, weight))
        self.used += weight

    def free_at(self, now_ns: int, weight: int, allowed: int) -> int:
        """Return when `weight` more fits into `allowed`, as far as what was sent tells."""
        surplus = self.used + weight - allowed
        if surplus <= 0:
            return now_ns
        for ends_ns, sent in self._sent:
            surplus -= sent
            if surplus <= 0:
                return ends_ns
        windows = -(-surplus // max(1, allowed))
        last_ns = self._sent[-1][0] if self._sent else now_ns
        return last_ns + windows * self.window_ns


@dataclass(slots=True, eq=False)
class _Waiter:
    order: tuple[int, int]
    cost: Cost
    urgency: Urgency
    future: asyncio.Future[None]


class RateLimiter:
    """Lets requests pass within a venue's budgets.

    Args:
        venue: Name for messages.
        specs: The budgets; more can be added with `define`.
        clock: Its time must not step; the engine's clocks do not.
        store: Keeps a ban over a restart.
    """

    def __init__(self, venue: str, specs: Iterable[BucketSpec], clock: Clock, store: VenueStore) -> None:
        self._venue = venue
        self._clock = clock
        self._store = store
        self._specs: dict[str, BucketSpec] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._waiters: list[_Waiter] = []
        self._count = 0
        self._wake: TimerHandle | None = None
        self._slow_until_ns = self._pause_until_ns = self._pause_began_ns = self._all_stop_until_ns = 0
        self._next_pause_s = _FIRST_PAUSE_S
        saved = store.load(_BAN_KEY)
        self._ban = msgspec.json.decode(saved, type=_Ban) if saved else None
        for spec in specs:
            self.define(spec)

    def define(self, spec: BucketSpec) -> None:
        """Add a budget, or give one another limit, as the venue's own description says."""
        self._specs[spec.name] = spec
        for name, bucket in self._buckets.items():
            if name.partition("/")[0] == spec.name:
                bucket.set(spec)

    @property
    def banned_until_ms(self) -> int | None:
        """Return until when (UTC, ms) the venue serves us nothing, None when it does."""
        if self._ban is not None and self._ban.until_ms <= self._clock.now_ms():
            self._ban = None
        return self._ban.until_ms if self._ban is not None else None

    def refuse_if_banned(self) -> None:
        """Raise `RateLimited` while the venue serves us nothing: for what asks it other than by requests."""
        if self._ban is not None and self.banned_until_ms is not None:
            raise self._banned(self._ban)

    async def acquire(self, cost: Cost, urgency: Urgency, deadline_ns: int) -> None:
        """Wait until a request may be sent, and count it as sent.

        Args:
            cost: What it takes.
            urgency: What it is for.
            deadline_ns: Engine time after which it must not be sent any more.

        Raises:
            RateLimited: It would wait past its deadline, or a ban holds; it was not sent.
        """
        if self.try_acquire(cost, urgency):
            return
        self.refuse_if_banned()
        now_ns = self._clock.now_ns()
        due_ns, why = self._expected_ns(cost, urgency, now_ns)
        if due_ns > deadline_ns:
            raise self._too_late(why, due_ns - now_ns, deadline_ns - now_ns)
        self._count += 1
        waiter = _Waiter((urgency.value, self._count), cost, urgency, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        self._waiters.sort(key=lambda each: each.order)
        limit = self._clock.call_at(deadline_ns, self._give_up, waiter)
        self._serve()
        try:
            await waiter.future
        finally:
            limit.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                self._serve()

    def try_acquire(self, cost: Cost, urgency: Urgency) -> bool:
        """Count a request as sent if it may be sent at once; return whether it may."""
        if self._ban is not None and self.banned_until_ms is not None:
            return False
        now_ns = self._clock.now_ns()
        if now_ns < self._held_until_ns(urgency):
            return False
        if self._waiters and any(w.order[0] <= urgency.value and _share(w.cost, cost) for w in self._waiters):
            return False
        return self._take(cost, urgency, now_ns)

    def learn(self, bucket: str, used: int, limit: int | None = None) -> None:
        """Take over what the venue says was used, if it counts more than we do, and its limit."""
        kept = self._bucket(bucket)
        if limit is not None and limit > 0:
            kept.limit = limit
        now_ns = self._clock.now_ns()
        kept.drain(now_ns)
        if used > kept.used:
            kept.add(now_ns, used - kept.used)

    def slow_down(self, retry_after_s: float | None) -> None:
        """Pause, then halve the rate of all but cancels for a minute: the venue said that it got too many requests.

        Without a time from the venue the pause is 1 s, doubling to 60 s while it goes on. Cancels still pass, until one
        of them is refused as well.
        """
        now_ns = self._clock.now_ns()
        if now_ns >= self._slow_until_ns:
            self._next_pause_s = _FIRST_PAUSE_S
        pausing = now_ns < self._pause_until_ns
        if pausing and now_ns < self._pause_began_ns + _IN_FLIGHT_S * NS_PER_S:
            pause_s = retry_after_s or 0.0  # an answer to what was on its way when the pause began
        else:
            pause_s = self._next_pause_s if retry_after_s is None else retry_after_s
            self._next_pause_s = min(2 * self._next_pause_s, _LONGEST_PAUSE_S)
            self._pause_began_ns = now_ns
            if pausing:
                self._all_stop_until_ns = now_ns + int(pause_s * NS_PER_S)
        self._pause_until_ns = max(self._pause_until_ns, now_ns + int(pause_s * NS_PER_S))
        self._slow_until_ns = self._pause_until_ns + int(SLOW_S * NS_PER_S)
        self._serve()

    def ban_until(self, until_ms: int, reason: str) -> None:
        """Send nothing until a time (UTC, ms); holds over a restart."""
        if self._ban is not None and self._ban.until_ms >= until_ms:
            return
        self._ban = _Ban(until_ms, reason)
        self._store.save(_BAN_KEY, msgspec.json.encode(self._ban))
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_exception(self._banned(self._ban))

    def _banned(self, ban: _Ban) -> RateLimited:
        until = datetime.fromtimestamp(ban.until_ms / 1000, UTC).strftime("%H:%M:%S UTC")
        return RateLimited(
            f"{self._venue} serves us nothing until {until}: {ban.reason}; nothing was sent", unsent=True
        )

    def _bucket(self, name: str) -> _Bucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            spec = self._specs.get(name.partition("/")[0])
            if spec is None:
                raise ConfigError(f"arch.yaml of {self._venue}: rate_buckets has no {name!r}")
            bucket = self._buckets[name] = _Bucket(name, spec)
        return bucket

    def _allowed(self, bucket: _Bucket, urgency: Urgency, now_ns: int) -> int:
        slow = now_ns < self._slow_until_ns and urgency is not Urgency.CANCEL
        limit = max(1, bucket.limit // 2) if slow else bucket.limit
        return limit if urgency.may_use_reserve else max(1, int(limit * (1 - RESERVED)))

    def _held_until_ns(self, urgency: Urgency) -> int:
        return self._all_stop_until_ns if urgency is Urgency.CANCEL else self._pause_until_ns

    def _take(self, cost: Cost, urgency: Urgency, now_ns: int) -> bool:
        """Count a request as sent if every budget has room; a request alone passes however heavy it is."""
        for name, weight in cost:
            bucket = self._bucket(name)
            bucket.drain(now_ns)
            if bucket.used and bucket.used + weight > self._allowed(bucket, urgency, now_ns):
                return False
        for name, weight in cost:
            self._buckets[name].add(now_ns, weight)
        return True

    def _expected_ns(self, cost: Cost, urgency: Urgency, now_ns: int) -> tuple[int, str]:
        """Return when a request will pass, and what holds it, counting those that wait before it."""
        due_ns, why = max(now_ns, self._held_until_ns(urgency)), "the venue asked for fewer requests"
        for name, weight in cost:
            bucket = self._bucket(name)
            ahead = sum(
                other
                for waiter in self._waiters
                if waiter.order[0] <= urgency.value
                for bucket_name, other in waiter.cost
                if bucket_name == name
            )
            allowed = self._allowed(bucket, urgency, now_ns)
            free_ns = bucket.free_at(now_ns, min(weight, allowed) + ahead, allowed)
            if free_ns > due_ns:
                due_ns, why = free_ns, f"the budget {name} ({bucket.used} of {bucket.limit} used)"
        return due_ns, why

    def _too_late(self, why: str, wait_ns: int, left_ns: int) -> RateLimited:
        wait_s, left_s = wait_ns / NS_PER_S, max(0, left_ns) / NS_PER_S
        return RateLimited(
            f"{self._venue}: not sent: {why} would hold it for {wait_s:.1f} s, {left_s:.1f} s are left; try later",
            unsent=True,
        )

    def _give_up(self, waiter: _Waiter) -> None:
        if not waiter.future.done():
            why = self._expected_ns(waiter.cost, waiter.urgency, self._clock.now_ns())[1]
            waiter.future.set_exception(RateLimited(f"{self._venue}: not sent: waited too long for {why}", unsent=True))

    def _serve(self) -> None:
        """Let those who wait pass, in order; who waits for a budget holds back those after him who need it too."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        now_ns = self._clock.now_ns()
        blocked: set[str] = set()
        next_ns: int | None = None
        left: list[_Waiter] = []
        for waiter in self._waiters:
            if waiter.future.done():
                continue
            names = {name for name, _ in waiter.cost}
            held_ns = self._held_until_ns(waiter.urgency)
            if now_ns >= held_ns and not names & blocked and self._take(waiter.cost, waiter.urgency, now_ns):
                waiter.future.set_result(None)
                continue
            if not names & blocked:
                due_ns = held_ns
                for name, weight in waiter.cost:
                    bucket = self._bucket(name)
                    allowed = self._allowed(bucket, waiter.urgency, now_ns)
                    due_ns = max(due_ns, bucket.free_at(now_ns, min(weight, allowed), allowed))
                next_ns = due_ns if next_ns is None else min(next_ns, due_ns)
            blocked |= names
            left.append(waiter)
        self._waiters = left
        if next_ns is not None:
            self._wake = self._clock.call_at(max(next_ns, now_ns + NS_PER_MS), self._serve)


def _share(one: Cost, other: Cost) -> bool:
    return any(name == wanted for name, _ in one for wanted, _ in other)

"""Command rates over a sliding minute, and the guard against deciding the same thing twice."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.errors import RiskReject, TooManyCommands
from engine.kernel.orders import Order, OrderRequest

WINDOW_S = 60
REPEAT_S = 1
STORM = 100
"""Refusals in a second that halt a strategy: one that answers every event is far below."""


class CommandRates:
    """Counts commands of each instance and of the whole account in the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._account: deque[int] = deque()
        self._instances: dict[str, deque[int]] = {}

    def used(self, instance: str | None = None) -> int:
        """Return the number of commands in the window, of an instance or of the account."""
        times = self._account if instance is None else self._instances.get(instance)
        return 0 if times is None else len(_trim(times, self._clock.now_ns()))

    def check(self, instance: str, limit: int, account_limit: int) -> None:
        """Refuse one command more when a budget is used up.

        Raises:
            TooManyCommands: Says when one more passes.
        """
        now_ns = self._clock.now_ns()
        times = self._instances.get(instance)
        if times is not None:
            _check("max_cmds_per_min", times, limit, now_ns)
        _check("max_orders_per_min", self._account, account_limit, now_ns)

    def count(self, instance: str) -> None:
        """Count a command."""
        now_ns = self._clock.now_ns()
        times = self._instances.get(instance)
        if times is None:
            times = self._instances[instance] = deque()
        _trim(self._account, now_ns).append(now_ns)
        _trim(times, now_ns).append(now_ns)


def _check(rule: str, times: deque[int], limit: int, now_ns: int) -> None:
    if len(_trim(times, now_ns)) >= limit:
        free_ns = times[len(times) - limit] + WINDOW_S * NS_PER_S - now_ns
        raise TooManyCommands(rule, f"{limit} in 60 s", f"command {len(times) + 1} in 60 s", free_ns / NS_PER_S)


def _trim(times: deque[int], now_ns: int) -> deque[int]:
    start = now_ns - WINDOW_S * NS_PER_S
    while times and times[0] <= start:
        times.popleft()
    return times


class StormGuard:
    """Notices an instance that goes on sending although it is refused."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._refused: dict[str, deque[int]] = {}

    def count(self, instance: str) -> bool:
        """Count a refusal; return whether there were `STORM` of them within a second."""
        now_ns = self._clock.now_ns()
        times = self._refused.setdefault(instance, deque(maxlen=STORM))
        times.append(now_ns)
        if len(times) < STORM or now_ns - times[0] > NS_PER_S:
            return False
        times.clear()
        return True


class DuplicateGuard:
    """Refuses the same order of the same instance within a second, unless the first one came to nothing.

    Args:
        clock: The engine's clock.
        order: Looks an order up by client id.
    """

    def __init__(self, clock: Clock, order: Callable[[str], Order | None]) -> None:
        self._clock = clock
        self._order = order
        self._recent: OrderedDict[tuple[object, ...], tuple[int, str]] = OrderedDict()

    def check(self, request: OrderRequest) -> None:
        """Refuse a repetition.

        Raises:
            RiskReject: Rule `duplicate_order`.
        """
        now_ns = self._clock.now_ns()
        self._trim(now_ns)
        earlier = self._recent.get(_decision(request))
        if earlier is None:
            return
        order = self._order(earlier[1])
        if order is not None and order.state.is_final and not order.reported_filled:
            return
        age_s = (now_ns - earlier[0]) / NS_PER_S
        raise RiskReject(
            "duplicate_order",
            f"1 in {REPEAT_S} s",
            f"the second equal order in {age_s:.1f} s",
            hint="send it again if it is meant",
        )

    def remember(self, request: OrderRequest) -> None:
        """Remember an order that passed."""
        decision = _decision(request)
        self._recent[decision] = (self._clock.now_ns(), request.client_id)
        self._recent.move_to_end(decision)

    def _trim(self, now_ns: int) -> None:
        start, recent = now_ns - REPEAT_S * NS_PER_S, self._recent
        while recent and next(iter(recent.values()))[0] <= start:
            recent.popitem(last=False)


def _decision(request: OrderRequest) -> tuple[object, ...]:
    return (
        request.instance,
        request.symbol,
        request.side,
        request.type,
        request.quantity,
        request.price,
        request.trigger_price,
    )

"""Command rates over a sliding minute, and the guard against deciding the same thing twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.errors import RiskReject, TooManyCommands
from engine.kernel.orders import Order, OrderRequest

WINDOW_S = 60
REPEAT_S = 1


class CommandRates:
    """Counts commands of each instance and of the whole account in the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._account: deque[int] = deque()
        self._instances: dict[str, deque[int]] = {}

    def used(self, instance: str | None = None) -> int:
        """Return the number of commands in the window, of an instance or of the account."""
        times = self._account if instance is None else self._instances.get(instance)
        return 0 if times is None else len(self._trim(times))

    def check(self, instance: str, limit: int, account_limit: int) -> None:
        """Refuse one command more when a budget is used up.

        Raises:
            TooManyCommands: Says when one more passes.
        """
        times = self._instances.get(instance)
        if times is not None:
            self._check("max_cmds_per_min", self._trim(times), limit)
        self._check("max_orders_per_min", self._trim(self._account), account_limit)

    def count(self, instance: str) -> None:
        """Count a command."""
        now_ns = self._clock.now_ns()
        self._trim(self._account).append(now_ns)
        self._trim(self._instances.setdefault(instance, deque())).append(now_ns)

    def _check(self, rule: str, times: deque[int], limit: int) -> None:
        if len(times) >= limit:
            free_ns = times[len(times) - limit] + WINDOW_S * NS_PER_S - self._clock.now_ns()
            raise TooManyCommands(rule, f"{limit} in 60 s", f"command {len(times) + 1} in 60 s", free_ns / NS_PER_S)

    def _trim(self, times: deque[int]) -> deque[int]:
        start = self._clock.now_ns() - WINDOW_S * NS_PER_S
        while times and times[0] <= start:
            times.popleft()
        return times


class DuplicateGuard:
    """Refuses the same order of the same instance within a second, unless the first one came to nothing.

    Args:
        clock: The engine's clock.
        order: Looks an order up by client id.
    """

    def __init__(self, clock: Clock, order: Callable[[str], Order | None]) -> None:
        self._clock = clock
        self._order = order
        self._recent: dict[tuple[object, ...], tuple[int, str]] = {}

    def check(self, request: OrderRequest) -> None:
        """Refuse a repetition.

        Raises:
            RiskReject: Rule `duplicate_order`.
        """
        self._trim()
        earlier = self._recent.get(_decision(request))
        if earlier is None:
            return
        order = self._order(earlier[1])
        if order is not None and order.state.is_final and not order.reported_filled:
            return
        age_s = (self._clock.now_ns() - earlier[0]) / NS_PER_S
        raise RiskReject(
            "duplicate_order",
            f"1 in {REPEAT_S} s",
            f"the second equal order in {age_s:.1f} s",
            hint="send it again if it is meant",
        )

    def remember(self, request: OrderRequest) -> None:
        """Remember an order that passed."""
        self._recent[_decision(request)] = (self._clock.now_ns(), request.client_id)

    def _trim(self) -> None:
        start = self._clock.now_ns() - REPEAT_S * NS_PER_S
        if self._recent:
            self._recent = {key: seen for key, seen in self._recent.items() if seen[0] > start}


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

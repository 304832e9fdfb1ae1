"""What fills cost against the venue's fee schedule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import AnomalyKind
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.kernel.orders import Fill
from engine.kernel.syscalls import Fees
from engine.runtime.anomalies import Reading
from engine.runtime.execution import ExecutionEngine
from engine.runtime.fills import BookedFill
from engine.runtime.readings import reading

JUDGED = 20
KEPT_NS = 3600 * NS_PER_S
RETRY_NS = 60 * NS_PER_S
BPS = 10_000
ZERO = Decimal(0)


class FeeWatch:
    """Compares the last 20 fills of each symbol with the schedule; forced trades, which cost more, do not count.

    Args:
        engine: The account.
        config: The levels.
    """

    def __init__(self, engine: ExecutionEngine, config: MonitorConfig) -> None:
        self._engine = engine
        self._levels = config.levels_for
        self._fills: dict[str, deque[BookedFill]] = {}
        self._schedules: dict[str, Fees] = {}
        self._ask_after_ns: dict[str, int] = {}

    def start(self) -> None:
        """Begin with the fills that are remembered."""
        self._fills.clear()
        for booked in self._engine.portfolio.fills.recent():
            self._add(booked)

    def on_fill(self, fill: Fill) -> None:
        """Take in an execution that is booked."""
        booked = self._engine.portfolio.fills.get(fill.symbol, fill.trade_id)
        if booked is not None:
            self._add(booked)

    def evaluate(self) -> Iterable[Reading]:
        """Judge what was charged above the schedule; less than it says, as with a discount, is no surprise."""
        for symbol, fills in self._fills.items():
            if len(fills) < JUDGED:
                continue
            self._ask(symbol)
            schedule = self._schedules.get(symbol)
            traded = sum((booked.fill.notional for booked in fills), ZERO)
            if schedule is None or not traded:
                continue
            due = sum((b.fill.notional * (schedule.maker if b.fill.maker else schedule.taker) for b in fills), ZERO)
            charged = sum((booked.fee_quote for booked in fills), ZERO)
            value = max(ZERO, charged - due) / traded
            text = (
                f"{symbol}: the last {JUDGED} fills were charged {value * BPS:.2f} bp above the fee schedule "
                f"({charged:.6f} instead of {due:.6f})"
            )
            yield reading(AnomalyKind.FEE_SURPRISE, value, self._levels(AnomalyKind.FEE_SURPRISE, symbol), text, symbol)

    def _add(self, booked: BookedFill) -> None:
        if not booked.fill.liquidation:
            self._fills.setdefault(booked.fill.symbol, deque(maxlen=JUDGED)).append(booked)

    def _ask(self, symbol: str) -> None:
        """Ask for the schedule when it is not known or an hour old."""
        now_ns = self._engine.clock.now_ns()
        if now_ns < self._ask_after_ns.get(symbol, 0):
            return
        self._ask_after_ns[symbol] = now_ns + KEPT_NS

        def found(fees: Fees) -> None:
            self._schedules[symbol] = fees

        def failed(error: CtosError) -> None:
            self._ask_after_ns[symbol] = self._engine.clock.now_ns() + RETRY_NS
            self._engine.say(f"the fees of {symbol} could not be asked, so they are not checked: {error}", "warn")

        self._engine.shell.run(self._engine.driver.fees(symbol), found, failed)

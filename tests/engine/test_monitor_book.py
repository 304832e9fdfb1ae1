"""The life of one anomaly under any sequence of evaluations."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import Levels, Severity
from engine.kernel.clock import VirtualClock
from engine.runtime.anomalies import Anomaly, AnomalyState, Reading
from engine.runtime.anomaly_book import AnomalyBook

RISING = Levels(Decimal(10), Decimal(20), Decimal(5))
FALLING = Levels(Decimal(10), Decimal(5), Decimal(15), falling=True)
COOLDOWN_S, CLEAR_AFTER = 60, 3


class BookMachine(RuleBasedStateMachine):
    """One key, judged again and again; the model is what the rules say in words."""

    @initialize(falling=st.booleans())
    def begin(self, falling: bool) -> None:
        self.levels = FALLING if falling else RISING
        self.clock = VirtualClock()
        self.told: list[tuple[Anomaly, bool]] = []
        config = MonitorConfig(clear_after=CLEAR_AFTER, cooldown_s=COOLDOWN_S)
        self.book = AnomalyBook(self.clock, config, lambda *change: self.told.append(change), lambda symbol: False)
        self.good = 0
        self.worst: Decimal | None = None

    @rule(value=st.integers(0, 30).map(Decimal), seconds=st.sampled_from([1, 10, 40]))
    def evaluate(self, value: Decimal, seconds: int) -> None:
        self.clock.advance(seconds)
        before = self.book.active()
        last = list(self.book)[-1] if list(self.book) else None
        severity, clear = self.levels.severity(value), self.levels.is_clear(value)
        cooling = last is not None and self.clock.now_ms() - (last.cleared_ms or 0) < COOLDOWN_S * 1000
        self.told.clear()
        self.book.evaluate(
            [
                Reading(
                    "leverage",
                    value,
                    severity,
                    clear,
                    self.levels.warn,
                    self.levels.clear,
                    "x",
                    is_falling=self.levels.falling,
                )
            ]
        )
        after = self.book.active()
        if not before and severity is not None:
            worse = last is not None and severity.rank > last.severity.rank
            again = cooling and not worse and severity is Severity.CRIT
            assert bool(after) == (not cooling or worse or again)
            if again:
                assert after == [last] and [notify for _, notify in self.told] == [False]
                self.good, peak = 0, self.worst if self.worst is not None else value
                self.worst = min(peak, value) if self.levels.falling else max(peak, value)
            elif after:
                assert [notify for _, notify in self.told] == [True]
                self.good, self.worst = 0, value
        elif before:
            self.good = self.good + 1 if clear else 0
            assert bool(after) == (self.good < CLEAR_AFTER)
            if severity is not None and self.worst is not None:
                self.worst = min(self.worst, value) if self.levels.falling else max(self.worst, value)

    @invariant()
    def one_key_is_active_once_and_its_peak_is_its_worst(self) -> None:
        if not hasattr(self, "book"):
            return
        active = [anomaly for anomaly in self.book if anomaly.state is AnomalyState.ACTIVE]
        assert active == self.book.active() and len(active) <= 1
        for anomaly in active:
            assert Decimal(anomaly.peak) == self.worst
            assert anomaly.severity is not Severity.INFO and anomaly.count >= 1
        ids = [int(anomaly.id) for anomaly in self.book]
        assert ids == sorted(set(ids))


TestBookMachine = BookMachine.TestCase

"""Waits until an instance has the prices and candles that it needs, then starts it.

One that was started before has orders and a position to look after: it waits for prices only.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.clock import NS_PER_S
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import PauseMode
from engine.runtime.data import BarFeed
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance

LOOK_S = 1.0
QUOTE_WAIT_NS = 10 * NS_PER_S
"""A symbol without a quote keeps the others waiting for so long."""


class WarmUp:
    """Starts instances.

    Args:
        engine: Its market data.
        bars: Closed candles.
        on_change: Called when an instance's state changed.
    """

    def __init__(self, engine: ExecutionEngine, bars: BarFeed, on_change: Callable[[StrategyInstance], None]) -> None:
        self._engine = engine
        self._bars = bars
        self._on_change = on_change

    def begin(self, instance: StrategyInstance, reason: str) -> None:
        """Start an instance in WARMUP with `on_start(reason)` as soon as it can.

        One that is paused and was started before stays paused: it starts to look after what it has.
        """
        self._look(instance, reason, self._engine.clock.now_ns())

    def _look(self, instance: StrategyInstance, reason: str, since_ns: int) -> None:
        waits = instance.life.state is InstanceState.WARMUP or _starts_paused(instance)
        if instance.is_asleep or not waits:
            return
        waited_ns = self._engine.clock.now_ns() - since_ns
        missing = self._missing_quotes(instance, waited_ns)
        if not missing and not instance.was_started:
            missing = self._missing_bars(instance)
        if missing:
            instance.set_why(missing)
            self._engine.clock.call_later(LOOK_S, self._look, instance, reason, since_ns)
            return
        instance.why = ""
        if instance.life.state is InstanceState.WARMUP:
            instance.life.move(InstanceState.RUNNING)
        self._on_change(instance)
        instance.start(reason)

    def _missing_quotes(self, instance: StrategyInstance, waited_ns: int) -> str:
        """Return which first quotes an instance still waits for, empty when it can start."""
        without = [symbol for symbol in instance.symbols if self._engine.market.quote(symbol) is None]
        if without and (waited_ns < QUOTE_WAIT_NS or len(without) == len(instance.symbols)):
            return f"waiting for the first quote of {', '.join(without)}"
        return ""

    def _missing_bars(self, instance: StrategyInstance) -> str:
        """Return which candles an instance still waits for, empty when it can start."""
        need = instance.warmup_bars
        for timeframe in instance.timeframes:
            for symbol in instance.symbols:
                if self._engine.market.quote(symbol) is None:
                    continue
                if not self._bars.is_loaded(symbol, timeframe):
                    return f"loading {timeframe} bars of {symbol}"
                have = len(self._bars.bars(symbol, timeframe, need))
                if have < need:
                    return f"warming up: {have} of {need} closed {timeframe} bars of {symbol}"
        return ""


def _starts_paused(instance: StrategyInstance) -> bool:
    """Return whether a paused instance has handlers to call that wait for its `on_start`."""
    is_paused = instance.life.state is InstanceState.PAUSED and instance.pause_mode is PauseMode.EXITS
    return is_paused and instance.was_started and not instance.is_begun

"""Engine events as JSON lines. Every time in them is market time, so that equal runs print equal text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ctos_tui.cli.jsonlines import naming_stdout
from engine.boot.system import System
from engine.boot.winding_down import StopReport
from engine.io.plain_json import to_json
from engine.kernel.errors import StorageError
from engine.runtime.anomalies import AnomalyChanged
from engine.runtime.events import (
    CommandRefused,
    FillBooked,
    InstanceChanged,
    LogLine,
    OrderChanged,
    TradingStateChanged,
    WorkDone,
)


class EventWriter:
    """Writes what the engine publishes to stdout, one JSON object a line with `type` and `ts` (ms).

    Attributes:
        failure: Why stdout takes no more; nothing is written after it.
        on_failure: Called once when stdout fails.
        is_held: Whether lines must not be written now: the terminal they would go to shows a screen.
    """

    def __init__(self, system: System) -> None:
        self.failure: BrokenPipeError | StorageError | None = None
        self.on_failure: Callable[[], object] = lambda: None
        self.is_held: Callable[[], bool] = lambda: False
        self._held = 0
        self._stdout = sys.stdout  # a screen puts something else in its place
        self._clock = system.clock
        bus = system.bus
        bus.subscribe(OrderChanged, self._order)
        bus.subscribe(FillBooked, self._fill)
        bus.subscribe(WorkDone, self._done)
        bus.subscribe(InstanceChanged, self._instance)
        bus.subscribe(CommandRefused, self._refused)
        bus.subscribe(TradingStateChanged, self._state)
        bus.subscribe(AnomalyChanged, self._anomaly)
        bus.subscribe(LogLine, self._log)

    def _write(self, type: str, **fields: Any) -> None:
        if self.failure is not None:
            return
        if self.is_held():
            self._held += 1
            return
        try:
            if self._held:
                self._put({"type": "held_back", "ts": self._clock.now_ms(), "count": self._held})
                self._held = 0
            self._put({"type": type, "ts": self._clock.now_ms(), **fields})
        except (BrokenPipeError, StorageError) as error:
            self.failure = error
            self.on_failure()

    def _put(self, line: dict[str, Any]) -> None:
        with naming_stdout():
            self._stdout.write(to_json(line) + "\n")

    def stopped(self, report: StopReport) -> None:
        """Write what became of resting orders."""
        self._write(
            "stopped",
            on_stop=report.policy,
            cancelled=[order.client_id for order in report.cancelled],
            unconfirmed=[order.client_id for order in report.unconfirmed],
            kept=[order.client_id for order in report.kept],
            held=[order.client_id for order in report.held],
        )

    def close(self, summary: dict[str, Any]) -> None:
        """Write the last line.

        Raises:
            BrokenPipeError: Nobody reads any more.
            StorageError: The file behind stdout cannot take more.
        """
        if self.failure is not None:
            raise self.failure
        self._put(summary)

    def _order(self, event: OrderChanged) -> None:
        order = event.order
        self._write(
            "order",
            id=order.client_id,
            instance=order.instance,
            symbol=order.symbol,
            side=order.side,
            order_type=order.type,
            quantity=order.quantity,
            price=order.price,
            state=order.state,
            filled=order.filled,
            reason=order.reason,
        )

    def _fill(self, event: FillBooked) -> None:
        fill = event.fill
        self._write(
            "fill",
            id=fill.client_id,
            trade_id=fill.trade_id,
            instance=event.instance,
            symbol=fill.symbol,
            side=fill.side,
            price=fill.price,
            quantity=fill.quantity,
            fee=fill.fee,
            fee_currency=fill.fee_currency,
            maker=fill.maker,
            realised=event.realised,
        )

    def _done(self, event: WorkDone) -> None:
        self._write("done", instance=event.instance, **_fields(event.done))

    def _instance(self, event: InstanceChanged) -> None:
        self._write("strategy", instance=event.instance, state=event.state, reason=event.reason)

    def _refused(self, event: CommandRefused) -> None:
        self._write("refused", instance=event.instance, symbol=event.symbol, error=event.error, text=event.text)

    def _state(self, event: TradingStateChanged) -> None:
        self._write("trading", state=event.state, reason=event.reason)

    def _anomaly(self, event: AnomalyChanged) -> None:
        self._write("anomaly", **_fields(event.anomaly))

    def _log(self, event: LogLine) -> None:
        self._write("log", level=event.level, source=event.source, text=event.text)


def _fields(record: Any) -> dict[str, Any]:
    names = record.__slots__ if hasattr(record, "__slots__") else vars(record)
    return {name: getattr(record, name) for name in names}

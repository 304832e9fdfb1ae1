"""A floor with a monitor, for tests of what the monitor finds."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.io.settings import MonitorConfig
from engine.kernel.market import Trade
from engine.runtime.anomalies import Anomaly, AnomalyChanged
from engine.runtime.monitor import SystemMonitor
from tests.engine.floor import PERP, SELL, Floor

CALM = {"leverage": {"warn": 900, "clear": 900}, "large_position": {"warn": 900, "crit": 900}}
QUIET = {"stale_data": {"warn": 100_000, "crit": 100_000}}


class Desk:
    """A floor with a monitor; `wait` lets time pass with a live market."""

    def __init__(
        self, folder: Path, *, balance: int = 100_000, floor: dict[str, Any] | None = None, **options: object
    ) -> None:
        self.folder = folder / "logs"
        self.floor = Floor(folder, balances={"USD": Decimal(balance)}, **(floor or {}))
        self.config = MonitorConfig.model_validate({"levels": {**QUIET, **CALM}, **options})
        self.changes: list[tuple[str, str, bool]] = []
        self.floor.bus.subscribe(AnomalyChanged, self.note)
        self.watch(self.floor)
        self.floor.admit("g1")
        self.floor.print(100.0)

    def watch(self, floor: Floor) -> None:
        self.monitor = SystemMonitor(floor.engine, self.config, floor.writer, self.folder)
        self.monitor.start_position_monitoring()
        floor.engine.risk.check_entry = self.monitor.check_entry

    def note(self, event: AnomalyChanged) -> None:
        self.changes.append((event.anomaly.kind, event.anomaly.severity.value, event.notify))

    def mark(self, price: float, symbol: str = PERP) -> None:
        self.floor.play(Trade(symbol, self.floor.clock.now_ms(), price, 1.0, SELL, "1"))

    def wait(self, seconds: float, price: float | None = None) -> None:
        """Let time pass; with a price, one print a second arrives."""
        for _ in range(round(seconds)):
            if price is not None:
                self.mark(price)
            self.floor.run(1.0)

    def all(self) -> list[Anomaly]:
        return list(self.monitor.anomalies)

    def kinds(self) -> list[str]:
        return [anomaly.kind for anomaly in self.all()]

    def active(self) -> list[str]:
        return [anomaly.kind for anomaly in self.monitor.anomalies.active()]

    def orders(self) -> int:
        return sum(op == "OrderPlaced" for op in self.floor.ops())

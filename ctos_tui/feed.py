"""Engine events become plain view models: the newest prints, the log, and counters that say what changed.

Handlers only append or count, so a busy market costs almost nothing; panes look when it is their turn.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from ctos_tui.port import Port
from ctos_tui.queue_place import QueuePlaces
from ctos_tui.text import clean
from engine.kernel.clock import NS_PER_MS
from engine.kernel.market import Trade
from engine.runtime.events import (
    BalanceChanged,
    CommandRefused,
    FillBooked,
    InstanceChanged,
    LogLine,
    OrderChanged,
    PositionChanged,
    TradingStateChanged,
)

KEPT_PRINTS = 400
KEPT_LINES = 5000
_MARKS = 256


class LogEntry(msgspec.Struct, frozen=True):
    """One line of the log, its text made inert; `number` counts from 1."""

    number: int
    ts_ms: int
    level: str
    source: str
    text: str


class Tape(msgspec.Struct):
    """The newest prints of one market; `number` counts all of them."""

    prints: deque[tuple[int, Trade]] = msgspec.field(default_factory=lambda: deque(maxlen=KEPT_PRINTS))
    number: int = 0
    usual: float = 0.0

    def add(self, trade: Trade) -> None:
        """Take a print."""
        self.number += 1
        self.prints.append((self.number, trade))
        self.usual += (trade.size * trade.price - self.usual) / min(self.number, _MARKS)

    def is_large(self, trade: Trade) -> bool:
        """Return whether a print is several times the usual size."""
        return self.number > 20 and trade.size * trade.price > 5 * self.usual


class Feed:
    """Collects what panes show and no part of the engine keeps.

    Args:
        port: The system.

    Attributes:
        log: What was said, oldest first.
        versions: How often something of a kind changed: orders, fills, account, strategies.
        refusals: The last refusals of commands, newest last.
        queue: Where own orders stand.
    """

    def __init__(self, port: Port) -> None:
        self.port = port
        self.log: deque[LogEntry] = deque(maxlen=KEPT_LINES)
        self.versions: Counter[str] = Counter()
        self.refusals: deque[CommandRefused] = deque(maxlen=20)
        self._tapes: dict[str, Tape] = {}
        self._lines = 0
        self.queue = QueuePlaces(port.book)
        bus = port.bus
        bus.subscribe(OrderChanged, lambda event: self.queue.on_order(event.order))
        bus.subscribe(Trade, self._on_trade)
        bus.subscribe(LogLine, self._on_line)
        bus.subscribe(OrderChanged, self._count("orders"))
        bus.subscribe(FillBooked, self._count("fills", "account"))
        bus.subscribe(PositionChanged, self._count("account"))
        bus.subscribe(BalanceChanged, self._count("account"))
        bus.subscribe(InstanceChanged, self._count("strategies"))
        bus.subscribe(TradingStateChanged, self._count("trading"))
        bus.subscribe(CommandRefused, self._on_refusal)

    def tape(self, symbol: str) -> Tape:
        """Return the newest prints of a market."""
        tape = self._tapes.get(symbol)
        if tape is None:
            tape = self._tapes[symbol] = Tape()
        return tape

    def say(self, text: str, level: str = "info", source: str = "console") -> None:
        """Add a line of the console's own to the log."""
        self._add(self.port.now_ns(), level, source, text)

    def _count(self, *names: str) -> Any:
        def handle(event: object) -> None:
            for name in names:
                self.versions[name] += 1

        return handle

    def _on_trade(self, trade: Trade) -> None:
        tape = self._tapes.get(trade.symbol)
        if tape is not None:
            tape.add(trade)
        self.queue.on_trade(trade)

    def _on_line(self, line: LogLine) -> None:
        self._add(line.ts_ns, line.level, line.source, line.text)

    def _on_refusal(self, refused: CommandRefused) -> None:
        self.refusals.append(refused)
        self._add(self.port.now_ns(), "warn", refused.instance, f"refused {refused.symbol}: {refused.text}")

    def _add(self, ts_ns: int, level: str, source: str, text: str) -> None:
        self._lines += 1
        self.log.append(LogEntry(self._lines, ts_ns // NS_PER_MS, level, clean(source), clean(text)))
        self.versions["log"] += 1

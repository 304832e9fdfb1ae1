"""The tape: each print with its aggressor, large ones marked."""

from __future__ import annotations

from ctos_tui.numbers import compact, fixed, utc_time
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.describe import short_symbol
from ctos_tui.session import read_size
from engine.kernel.market import Trade
from engine.kernel.orders import Side


class Trades(Pane):
    """The newest prints of the focused market, newest first."""

    TITLE = "TRADES"
    CONTEXT = "trades"
    EMPTY = "no print yet"
    COLUMNS = Columns(
        (
            Column("time", 8, "left"),
            Column("price", 10, grow=1),
            Column("size", 9, grow=1),
            Column("value", 6, priority=1),
        )
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._least = 0.0
        self._seen = ("", -1, 0, 0.0)

    def pull(self) -> None:
        """Show the newest prints."""
        symbol = self.session.focus
        tape = self.host.feed.tape(symbol)
        seen = (symbol, tape.number, self.row_width, self._least)
        layout = self.layout_columns()
        info: list[Span] = [(short_symbol(symbol, self.host.port.account.default_quote), "label")]
        if self._least:
            info.append((f"≥ {compact(self._least)}", "accent"))
        if seen == self._seen:
            return
        self._seen = seen
        rows = []
        for number, trade in reversed(tape.prints):
            if trade.size * trade.price >= self._least:
                large = tape.is_large(trade)
                rows.append(Row(number, layout.line(self._cells(trade, large)), "flash" if large else ""))
        self.set_rows(rows, tuple(info))

    def _cells(self, trade: Trade, large: bool) -> list[Span]:
        instrument = self.host.port.instruments.get(trade.symbol)
        price_digits = instrument.price_places if instrument is not None else 2
        size_digits = min(instrument.quantity_places, 4) if instrument is not None else 4
        role = "bid" if trade.side is Side.BUY else "ask"
        mark = "▲" if trade.side is Side.BUY else "▼"
        return [
            (utc_time(trade.ts), "dim"),
            (f"{mark} {fixed(trade.price, price_digits)}", role),
            (fixed(trade.size, size_digits), "bright" if large else "text"),
            (("!" if large else "") + compact(trade.price * trade.size), "bright" if large else "label"),
        ]

    def actions(self) -> Actions:
        """Return what the tape does."""
        return self.row_actions() | {
            "trades.minimum": lambda: self.host.ask("least value of a print in $ (0 shows all)", self._set_least)
        }

    def _set_least(self, text: str) -> None:
        size = read_size(text.strip() or "0")
        if size is None and text.strip() not in ("", "0"):
            self.session.say(f"{text!r} is not an amount: write 5000 or 5k$", "danger", log=False)
            return
        self._least = float(size.value) if size is not None else 0.0
        self.pull()

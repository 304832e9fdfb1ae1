"""What is held: size, prices, profit, liquidation, leverage, and which strategies hold it."""

from __future__ import annotations

from decimal import Decimal

from ctos_tui.command.intents import Flatten, Reverse
from ctos_tui.command.terms import MarketPrice
from ctos_tui.numbers import by_step, compact, fixed, percent, pnl
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.describe import position_letter, short_symbol, signed, signed_role
from ctos_tui.text import clean
from engine.runtime.portfolio import PositionRow

ONE = Decimal(1)


class Positions(Pane):
    """Open positions of the account."""

    TITLE = "POSITIONS"
    CONTEXT = "positions"
    EMPTY = "flat"
    COLUMNS = Columns(
        (
            Column("", 8, "left"),
            Column("", 1, "left"),
            Column("size", 8),
            Column("entry", 9, priority=2),
            Column("mark", 10, priority=4),
            Column("PnL", 8),
            Column("%", 7, priority=3),
            Column("value", 7, priority=5),
            Column("liq", 10, priority=6),
            Column("lev", 5, priority=7),
            Column("held by", 8, "left", priority=8, grow=1),
        )
    )

    def pull(self) -> None:
        """Show the positions at present prices."""
        layout = self.layout_columns()
        held = [row for row in self.host.port.positions() if row.quantity]
        rows = [Row(row.symbol, layout.line(self._cells(row))) for row in held]
        info: list[Span] = [(str(len(rows)), "label")]
        total = sum((row.unrealised for row in held), Decimal(0))
        if rows:
            info.append((pnl(total), "stale" if any(map(self._is_stale, held)) else signed_role(total)))
        self.set_rows(rows, tuple(info))

    def _cells(self, row: PositionRow) -> list[Span | tuple[Span, ...]]:
        port = self.host.port
        instrument = port.instruments.get(row.symbol)
        tick = instrument.tick_size if instrument is not None else Decimal("0.01")
        lot = instrument.lot_size if instrument is not None else Decimal("0.0001")
        cost = abs(row.quantity) * row.entry_price
        share = row.unrealised / cost if cost else None
        stale = self._is_stale(row)
        holders = " ".join(clean(name) for name, _ in row.holders)
        leverage = "—" if row.leverage is None else f"{fixed(row.leverage, 0)}×"
        drift = row.venue_quantity is not None and row.venue_quantity != row.quantity
        return [
            (short_symbol(row.symbol, port.account.default_quote), "text"),
            position_letter(row.quantity),
            (by_step(abs(row.quantity), lot) + ("!" if drift else ""), "warn" if drift else "bright"),
            (by_step(row.entry_price, tick), "label"),
            (by_step(row.mark_price, tick), "stale" if stale else "price"),
            (pnl(row.unrealised), "stale") if stale else signed(pnl(row.unrealised), row.unrealised),
            (percent(share), "stale" if stale else signed_role(share)),
            (compact(row.notional), "label"),
            (by_step(row.liquidation_price, tick), "label"),
            (leverage, "label"),
            (holders, "dim"),
        ]

    def _is_stale(self, row: PositionRow) -> bool:
        return row.mark_price is None or self.host.port.is_stale(row.symbol)

    def actions(self) -> Actions:
        """Return what can be done with a position."""
        return self.row_actions() | {
            "positions.flatten": self._flatten,
            "positions.reverse": self._reverse,
            "positions.go": self._go,
        }

    def _chosen(self) -> str | None:
        row = self.selected
        if row is None:
            self.nothing_selected("position")
            return None
        return str(row.key)

    def _flatten(self) -> None:
        symbol = self._chosen()
        if symbol is not None:
            self.host.stage(Flatten(symbol))

    def _reverse(self) -> None:
        symbol = self._chosen()
        if symbol is not None:
            self.host.stage(Reverse(MarketPrice(), symbol))

    def _go(self) -> None:
        symbol = self._chosen()
        if symbol is not None:
            self.host.show_market(symbol)

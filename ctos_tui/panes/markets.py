"""The watch list: prices, change, funding, spread and trend of each market."""

from __future__ import annotations

from collections.abc import Callable

from ctos_tui.command.intents import PlaceOrder
from ctos_tui.command.terms import Flags, Ref, ReferencePrice
from ctos_tui.numbers import compact, fixed, percent
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.chart_render import sparkline
from ctos_tui.panes.describe import move_role, short_symbol
from engine.kernel.orders import Side

_TREND_CELLS = 12
_TREND_EVERY = 4
_SORTS = ("watch list", "name", "change", "volume", "funding", "spread")


class Markets(Pane):
    """The watch list, sortable and filterable."""

    TITLE = "MARKETS"
    CONTEXT = "markets"
    EMPTY = "no market: press a to watch one"
    HZ = 5
    COLUMNS = Columns(
        (
            Column("market", 10, "left", grow=1),
            Column("last", 11),
            Column("24h", 7),
            Column("trend", _TREND_CELLS, "left", priority=3),
            Column("spread", 8, priority=4),
            Column("funding", 9, priority=2),
            Column("volume", 7, priority=1),
        )
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._filter = ""
        self._sort = 0
        self._reversed = False
        self._trends: dict[str, list[float]] = {}
        self._pulls = 0

    def pull(self) -> None:
        """Show the newest prices."""
        self._pulls += 1
        layout = self.layout_columns()
        symbols = [symbol for symbol in self.session.watched if self._filter in symbol]
        key = self._sort_key()
        if key is not None:
            symbols.sort(key=key)
        if self._reversed:
            symbols.reverse()
        rows = [Row(symbol, layout.line(self._cells(symbol))) for symbol in symbols]
        info: list[Span] = [(str(len(rows)), "label")]
        if self._filter:
            info.append((f"/{self._filter.lower()}", "accent"))
        if self._sort:
            info.append((f"by {_SORTS[self._sort]}", "accent"))
        self.set_rows(rows, tuple(info))

    def _sort_key(self) -> Callable[[str], tuple[bool, float] | tuple[bool, str]] | None:
        if self._sort == 0:
            return None
        if self._sort == 1:
            return lambda symbol: (False, symbol)
        figure = {2: self._change, 3: self._volume, 4: self._funding, 5: self._spread}[self._sort]

        def key(symbol: str) -> tuple[bool, float]:
            value = figure(symbol)
            return (value is None, -(value or 0.0))

        return key

    def _change(self, symbol: str) -> float | None:
        ticker = self.host.port.ticker(symbol)
        if ticker is None or not ticker.open_24h:
            return None
        last = self.host.port.last(symbol) or ticker.last
        return last / ticker.open_24h - 1

    def _volume(self, symbol: str) -> float | None:
        ticker = self.host.port.ticker(symbol)
        return None if ticker is None else ticker.quote_volume_24h

    def _funding(self, symbol: str) -> float | None:
        funding = self.host.port.funding(symbol)
        return None if funding is None else funding.rate

    def _spread(self, symbol: str) -> float | None:
        quote = self.host.port.quote(symbol)
        return None if quote is None or not quote.mid else (quote.ask - quote.bid) / quote.mid

    def _cells(self, symbol: str) -> list[Span]:
        port = self.host.port
        instrument = port.instruments.get(symbol)
        quote = port.quote(symbol)
        last = port.last(symbol) or (quote.mid if quote is not None else None)
        change, spread = self._change(symbol), self._spread(symbol)
        stale = port.is_stale(symbol)
        trend = self._trend(symbol, last)
        digits = instrument.price_places if instrument is not None else 2
        name = short_symbol(symbol, port.account.default_quote)
        return [
            (
                f"{'●' if symbol == self.session.focus else ' '} {name}",
                "accent" if symbol == self.session.focus else "text",
            ),
            (fixed(last, digits), "stale" if stale else "bright"),
            (percent(change), "stale" if stale else move_role(change)),
            (sparkline(trend, _TREND_CELLS), move_role(trend[-1] - trend[0] if len(trend) > 1 else 0)),
            (fixed(None if spread is None else spread * 10_000, 2) + ("bp" if spread is not None else ""), "label"),
            (percent(self._funding(symbol), 4), "label"),
            (compact(self._volume(symbol)), "label"),
        ]

    def _trend(self, symbol: str, last: float | None) -> list[float]:
        """Return the last prices, one every second or so."""
        trend = self._trends.setdefault(symbol, [])
        if last is not None and (self._pulls % _TREND_EVERY == 0 or not trend):
            trend.append(last)
            del trend[:-_TREND_CELLS]
        return trend

    def actions(self) -> Actions:
        """Return what the watch list does."""
        return self.row_actions() | {
            "markets.show": self._show,
            "markets.buy": lambda: self._stage(Side.BUY),
            "markets.sell": lambda: self._stage(Side.SELL),
            "markets.filter": lambda: self.host.ask("filter markets", self._set_filter, self._filter.lower()),
            "markets.sort": self._next_sort,
            "markets.reverse": self._turn,
            "markets.add": lambda: self.host.open_prompt("watch "),
            "markets.remove": self._remove,
        }

    def _chosen(self) -> str | None:
        row = self.selected
        if row is None:
            self.nothing_selected("market")
            return None
        return str(row.key)

    def _show(self) -> None:
        symbol = self._chosen()
        if symbol is not None:
            self.host.show_market(symbol)

    def _stage(self, side: Side) -> None:
        symbol = self._chosen()
        if symbol is not None:
            self.host.show_market(symbol)
            price = ReferencePrice(Ref.BEST)
            self.host.stage(PlaceOrder(side, self.session.size, price, symbol, Flags(post=True)))

    def _set_filter(self, text: str) -> None:
        self._filter = text.strip().upper()
        self.pull()

    def _next_sort(self) -> None:
        self._sort = (self._sort + 1) % len(_SORTS)
        self.session.say(f"markets sorted by {_SORTS[self._sort]}", log=False)
        self.pull()

    def _turn(self) -> None:
        self._reversed = not self._reversed
        self.pull()

    def _remove(self) -> None:
        symbol = self._chosen()
        if symbol is None:
            return
        self.session.unwatch(symbol)
        self.pull()

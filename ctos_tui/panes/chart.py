"""The chart: candles, volume, indicators, own fills and orders of the focused market."""

from __future__ import annotations

from ctos_tui.numbers import compact, duration, fixed, percent
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Row, Span
from ctos_tui.panes.chart_render import Chart, Level, Line, Mark, Panel, render
from ctos_tui.panes.describe import move_role, price_places, short_symbol
from ctos_tui.session import TIMEFRAMES
from engine.kernel.clock import NS_PER_MS
from engine.kernel.market import Bar
from engine.kernel.orders import Side

SETS = ("MA", "Bollinger", "MA RSI", "MA MACD", "Bollinger RSI MACD", "none")
_ZOOMS = (1, 2, 3, 5, 8)


class ChartPane(Pane):
    """Candles with what lies over and under them."""

    TITLE = "CHART"
    CONTEXT = "chart"
    HZ = 1
    EMPTY = "loading candles …"
    SELECTS = False

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._set = 0
        self._zoom = 0
        self._lines: tuple[tuple[object, ...], tuple[Line, ...], tuple[Panel, ...]] = ((), (), ())

    def pull(self) -> None:
        """Draw the candles of now."""
        symbol = self.session.focus
        port = self.host.port
        bars = port.bars(symbol, self.session.timeframe) if symbol else []
        instrument = port.instruments.get(symbol)
        if not bars or instrument is None:
            self.set_rows((), self._info(symbol))
            return
        axis = len(fixed(max(bar.high for bar in bars), price_places(instrument))) + 2
        shown = max(10, (self.row_width - axis) * _ZOOMS[self._zoom])
        overlays, panels = self._indicators(symbol, bars, shown)
        chart = Chart(
            bars[-shown:],
            digits=price_places(instrument),
            overlays=overlays,
            panels=panels,
            marks=self._marks(symbol),
            levels=self._levels(symbol),
            last=port.last(symbol),
        )
        drawn = render(chart, self.row_width, self.view.body)
        self.set_rows([Row(index, spans) for index, spans in enumerate(drawn)], self._info(symbol))

    def _info(self, symbol: str) -> tuple[Span, ...]:
        port = self.host.port
        ticker, funding = port.ticker(symbol), port.funding(symbol)
        last = port.last(symbol)
        spans: list[Span] = [
            (short_symbol(symbol, port.account.default_quote), "text"),
            (self.session.timeframe, "accent"),
        ]
        instrument = port.instruments.get(symbol)
        if last is not None:
            spans.append((fixed(last, price_places(instrument)), "stale" if port.is_stale(symbol) else "last"))
        if ticker is not None and ticker.open_24h and last is not None:
            change = last / ticker.open_24h - 1
            spans.append((percent(change), move_role(change)))
            spans += [(" vol", "dim"), (compact(ticker.quote_volume_24h), "label")]
        if funding is not None:
            left = (funding.next_time - port.now_ns() // NS_PER_MS) / 1000
            spans += [(" fund", "dim"), (percent(funding.rate, 4), "label"), (duration(left), "dim")]
        if self._set != len(SETS) - 1:
            spans.append((f" {SETS[self._set]}", "dim"))
        return whole_spans(spans, self.row_width - len(self.TITLE) - 1)

    def _indicators(self, symbol: str, bars: list[Bar], shown: int) -> tuple[tuple[Line, ...], tuple[Panel, ...]]:
        key = (symbol, self.session.timeframe, self._set, len(bars), bars[-1].open_time, bars[-1].close, shown)
        if key != self._lines[0]:
            overlays, panels = indicators(SETS[self._set], [bar.close for bar in bars], shown)
            self._lines = (key, overlays, panels)
        return self._lines[1], self._lines[2]

    def _marks(self, symbol: str) -> list[Mark]:
        return [
            Mark(entry.fill.ts, float(entry.fill.price), entry.fill.side is Side.BUY)
            for entry in self.host.port.fills()
            if entry.fill.symbol == symbol
        ]

    def _levels(self, symbol: str) -> list[Level]:
        orders = self.host.port.working_orders()
        levels = [Level(float(order.price)) for order in orders if order.symbol == symbol and order.price is not None]
        for row in self.host.port.positions():
            if row.symbol == symbol and row.quantity:
                levels.append(Level(float(row.entry_price), "overlay_2", "▸", dashed=True))
        return levels

    def actions(self) -> Actions:
        """Return what the chart does."""
        return {
            "chart.shorter": lambda: self._timeframe(-1),
            "chart.longer": lambda: self._timeframe(1),
            "chart.zoom_in": lambda: self._zoom_by(-1),
            "chart.zoom_out": lambda: self._zoom_by(1),
            "chart.indicators": self._next_set,
        }

    def copy_text(self) -> str:
        """Return the market, timeframe and last candle."""
        bars = self.host.port.bars(self.session.focus, self.session.timeframe)
        if not bars:
            return ""
        bar = bars[-1]
        return f"{bar.symbol} {bar.timeframe} o {bar.open} h {bar.high} l {bar.low} c {bar.close}"

    def _timeframe(self, step: int) -> None:
        at = TIMEFRAMES.index(self.session.timeframe) + step
        if not 0 <= at < len(TIMEFRAMES):
            self.session.say(f"{self.session.timeframe} is the {'longest' if step > 0 else 'shortest'}", log=False)
            return
        self.session.set_timeframe(TIMEFRAMES[at])
        self.pull()

    def _zoom_by(self, step: int) -> None:
        at = self._zoom + step
        if not 0 <= at < len(_ZOOMS):
            self.session.say("one candle a cell is the closest" if step < 0 else "this is the widest", log=False)
            return
        self._zoom = at
        self.pull()

    def _next_set(self) -> None:
        self._set = (self._set + 1) % len(SETS)
        self.session.say(f"indicators: {SETS[self._set]}", log=False)
        self.pull()


def whole_spans(spans: list[Span], cells: int) -> tuple[Span, ...]:
    """Return as many spans as fit, one blank between them, none cut."""
    kept: list[Span] = []
    used = 0
    for text, role in spans:
        used += len(text) + 1
        if used > cells:
            break
        kept.append((text, role))
    return tuple(kept)


def indicators(name: str, closes: list[float], shown: int) -> tuple[tuple[Line, ...], tuple[Panel, ...]]:
    """Return overlays and sub-panels of a set, cut to the last `shown` candles.

    TA-Lib is imported here, on first use: it takes longer to load than the first frame may.
    """
    from engine.runtime import indicators as series

    overlays: list[Line] = []
    panels: list[Panel] = []
    if len(closes) < 2:
        return (), ()

    def cut(values: list[float]) -> list[float]:
        return values[-shown:]

    if "MA" in name.split():
        overlays.append(Line(cut(series.sma(closes, 20)), "overlay_1"))
        overlays.append(Line(cut(series.sma(closes, 50)), "overlay_2"))
    if "Bollinger" in name:
        upper, middle, lower = series.bollinger(closes)
        overlays += [Line(cut(upper), "band"), Line(cut(middle), "overlay_1"), Line(cut(lower), "band")]
    if "RSI" in name:
        rsi = cut(series.rsi(closes))
        panels.append(Panel("RSI 14", (Line(rsi, "overlay_3"),), guides=(30, 70), low=0, high=100, rows=4))
    if "MACD" in name:
        dif, dea, histogram = series.macd(closes)
        lines = (Line(cut(dif), "overlay_1"), Line(cut(dea), "overlay_2"))
        panels.append(Panel("MACD", lines, histogram=cut(histogram), rows=4))
    return tuple(overlays), tuple(panels)

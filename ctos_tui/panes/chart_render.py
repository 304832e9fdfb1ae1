"""Candles, volume, overlays and sub-panels as rows of spans, drawn with box, block and braille characters.

Pure functions: bars in, rows of `(text, role)` out. Two steps in a row for candles (`╽┃╿│╵╷╹╻`), eight for volume
(`▁▂▃▄▅▆▇█`), four for lines (braille).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from ctos_tui.numbers import fixed
from ctos_tui.panes.cells import Spans
from ctos_tui.panes.chart_canvas import EIGHTHS, Canvas, draw_dashes, draw_histogram, draw_line
from ctos_tui.panes.chart_scale import (
    BarLike,
    Candle,
    Scale,
    digits_of,
    join_bars,
    round_step,
    round_values,
    scale_for,
    time_marks,
)

# Upper and lower half of a cell: 0 nothing, 1 wick, 2 body.
_CANDLE = {(0, 1): "╷", (1, 0): "╵", (1, 1): "│", (0, 2): "╻", (2, 0): "╹", (2, 2): "┃", (1, 2): "╽", (2, 1): "╿"}
_LABEL_ROWS = 4
_TIME_GAP = 14
_SMALLEST_AXIS = 28


class Line(msgspec.Struct, frozen=True):
    """A line over the candles or in a sub-panel.

    Args:
        values: One for each bar; None or NaN where there is none yet.
        role: Role it is drawn in.
    """

    values: Sequence[float | None]
    role: str


class Panel(msgspec.Struct, frozen=True):
    """A sub-panel below the candles, such as RSI or MACD.

    Args:
        title: Its name, at its upper left.
        lines: What it draws.
        histogram: Values drawn as bars from zero, up or down.
        guides: Values marked with a dotted line.
        low: Lower edge; the lowest value when None.
        high: Upper edge; the highest value when None.
        rows: Its height.
    """

    title: str
    lines: tuple[Line, ...] = ()
    histogram: Sequence[float | None] = ()
    guides: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None
    rows: int = 5


class Mark(msgspec.Struct, frozen=True):
    """A fill of ours: an arrow at its time and price."""

    time: int
    price: float
    buy: bool


class Level(msgspec.Struct, frozen=True):
    """A price marked at the axis, such as a resting order or the entry price.

    Args:
        price: Where.
        role: Role of the mark.
        glyph: One cell.
        dashed: Draw a dashed line across the empty cells.
    """

    price: float
    role: str = "own_order"
    glyph: str = "◂"
    dashed: bool = False


class Chart(msgspec.Struct, frozen=True):
    """What to draw.

    Args:
        bars: Oldest first; more than there are columns are joined.
        digits: Digits after the point of a price.
        overlays: Lines over the candles.
        panels: Sub-panels, from top to bottom; those that do not fit are left out.
        marks: Own fills.
        levels: Own orders, entry price.
        last: Last price, marked with a dashed line; the last close when None.
        volume: Draw volume bars.
    """

    bars: Sequence[BarLike]
    digits: int = 2
    overlays: tuple[Line, ...] = ()
    panels: tuple[Panel, ...] = ()
    marks: Sequence[Mark] = ()
    levels: Sequence[Level] = ()
    last: float | None = None
    volume: bool = True


class _Areas(msgspec.Struct, frozen=True):
    """How a chart's rows and columns are shared out."""

    plot: int
    axis: int
    candles: int
    volume: int
    panels: tuple[tuple[int, Panel], ...]
    times: int


def render(chart: Chart, width: int, height: int) -> list[Spans]:
    """Draw a chart.

    Args:
        chart: What to draw.
        width: Cells.
        height: Rows.

    Returns:
        `height` rows of spans, each exactly `width` cells wide.
    """
    canvas = Canvas(max(0, width), max(0, height))
    if width <= 0 or height <= 0:
        return canvas.spans()
    axis = _axis_width(chart) if width >= _SMALLEST_AXIS else 0
    areas = _share_out(chart, width, height, axis)
    candles = join_bars(chart.bars, areas.plot)
    if not candles:
        canvas.put(0, height // 3, "no bars yet", "dim")
        return canvas.spans()
    left = areas.plot - len(candles)
    scale = scale_for(
        min([candle.low for candle in candles]),
        max([candle.high for candle in candles]),
        areas.candles * 2,
        10.0**-chart.digits,
    )
    _draw_candles(canvas, candles, left, scale)
    for line in chart.overlays:
        draw_line(canvas, line.values, line.role, candles, left, (0, areas.candles), (scale.low, scale.high))
    _draw_prices(canvas, chart, candles, scale, areas)
    _draw_marks(canvas, chart.marks, candles, left, scale)
    if areas.volume:
        _draw_volume(canvas, candles, left, areas.candles, areas.volume)
    for top, panel in areas.panels:
        _draw_panel(canvas, panel, candles, left, top, areas)
    if areas.times:
        _draw_times(canvas, candles, left, areas.plot, height - 1)
    return canvas.spans()


def _axis_width(chart: Chart) -> int:
    """Give the width of the price axis: the widest price and the mark before it."""
    if not chart.bars:
        return 0
    finite = [bar.high for bar in chart.bars if math.isfinite(bar.high)]
    return len(fixed(max(finite, default=0.0), chart.digits)) + 2


def _share_out(chart: Chart, width: int, height: int, axis: int) -> _Areas:
    times = 1 if height >= 6 else 0
    left = height - times
    volume = 0
    if chart.volume and left >= 9:
        volume = min(6, left // 6)
        left -= volume
    fitting = []
    for panel in chart.panels:
        if left - panel.rows < 6:
            break
        left -= panel.rows
        fitting.append(panel)
    tops = []
    top = left + volume
    for panel in fitting:
        tops.append((top, panel))
        top += panel.rows
    return _Areas(max(1, width - axis), axis, left, volume, tuple(tops), times)


def _draw_candles(canvas: Canvas, candles: Sequence[Candle], left: int, scale: Scale) -> None:
    chars, roles = canvas.chars, canvas.roles
    for x, candle in enumerate(candles, left):
        role = "up" if candle.close >= candle.open else "down"
        high, low = scale.inside(candle.high), scale.inside(candle.low)
        first = scale.inside(max(candle.open, candle.close))
        last = scale.inside(min(candle.open, candle.close))
        for y in range(high // 2, low // 2 + 1):
            halves = []
            for half in (2 * y, 2 * y + 1):
                halves.append(2 if first <= half <= last else 1 if high <= half <= low else 0)
            chars[y][x] = _CANDLE[halves[0], halves[1]]
            roles[y][x] = role


def _draw_prices(canvas: Canvas, chart: Chart, candles: Sequence[Candle], scale: Scale, areas: _Areas) -> None:
    """Draw the price axis, the last price and the levels of own orders."""
    last = candles[-1].close if chart.last is None else chart.last
    last_row = scale.inside(last) // 2
    taken = {last_row}
    for level in chart.levels:
        if 0 <= scale.at(level.price) < scale.steps:
            row = scale.at(level.price) // 2
            if level.dashed:
                draw_dashes(canvas, row, areas.plot, level.role)
            canvas.put(areas.plot if areas.axis else areas.plot - 1, row, level.glyph, level.role)
    draw_dashes(canvas, last_row, areas.plot, "grid")
    if not areas.axis:
        return
    step = round_step(scale.high - scale.low, max(1, areas.candles // _LABEL_ROWS))
    digits = min(chart.digits, digits_of(step))
    for value in round_values(scale.low, scale.high, step):
        row = scale.inside(value) // 2
        if row not in taken:
            taken.add(row)
            canvas.put(areas.plot + 1, row, fixed(value, digits).rjust(areas.axis - 1), "dim")
    falling = len(candles) > 0 and last < candles[-1].open
    label = fixed(last, chart.digits).rjust(areas.axis - 1)
    canvas.put(areas.plot + 1, last_row, label, "down" if falling else "up")


def _draw_marks(canvas: Canvas, marks: Sequence[Mark], candles: Sequence[Candle], left: int, scale: Scale) -> None:
    if not marks:
        return
    times = [candle.time for candle in candles]
    width = times[-1] - times[-2] if len(times) > 1 else 0
    for mark in marks:
        if not times[0] <= mark.time < times[-1] + max(width, 1) or not 0 <= scale.at(mark.price) < scale.steps:
            continue
        column = max(index for index, time in enumerate(times) if time <= mark.time)
        glyph, role = ("▲", "mark_buy") if mark.buy else ("▼", "mark_sell")
        canvas.put(left + column, scale.at(mark.price) // 2, glyph, role)


def _draw_volume(canvas: Canvas, candles: Sequence[Candle], left: int, top: int, rows: int) -> None:
    most = max(candle.volume for candle in candles)
    if most <= 0:
        return
    for x, candle in enumerate(candles, left):
        eighths = round(candle.volume / most * rows * 8)
        role = "bid_bar" if candle.close >= candle.open else "ask_bar"
        for row in range(rows):
            filled = min(8, eighths - (rows - 1 - row) * 8)
            if filled > 0:
                canvas.chars[top + row][x] = EIGHTHS[filled]
                canvas.roles[top + row][x] = role


def _draw_panel(canvas: Canvas, panel: Panel, candles: Sequence[Candle], left: int, top: int, areas: _Areas) -> None:
    shown = [candle.last for candle in candles]
    series = [line.values for line in panel.lines] + [panel.histogram]
    values = [
        value
        for row in series
        for index in shown
        if index < len(row) and (value := row[index]) is not None and math.isfinite(value)
    ]
    title_role = panel.lines[0].role if panel.lines else "label"
    if not values:
        canvas.put(0, top, f"{panel.title} —", "dim")
        return
    low = min(values) if panel.low is None else panel.low
    high = max(values) if panel.high is None else panel.high
    scale = scale_for(low, high, panel.rows * 2, 1e-12)
    draw_histogram(canvas, panel.histogram, candles, left, top, scale)
    for line in panel.lines:
        draw_line(canvas, line.values, line.role, candles, left, (top, panel.rows), (scale.low, scale.high))
    for guide in panel.guides:
        row = top + scale.inside(guide) // 2
        for x in range(areas.plot):
            canvas.put_under(x, row, "┈", "grid")
        if areas.axis:
            canvas.put(areas.plot + 1, row, fixed(guide, digits_of(abs(guide))).rjust(areas.axis - 1), "dim")
    canvas.put(0, top, f"{panel.title} ", title_role)
    newest = next((line.values[shown[-1]] for line in panel.lines if shown[-1] < len(line.values)), None)
    if newest is not None:
        text = fixed(newest, 1 if abs(newest) >= 10 else 4)
        canvas.put(len(panel.title) + 1, top, f"{text} ", "text")


def _draw_times(canvas: Canvas, candles: Sequence[Candle], left: int, plot: int, row: int) -> None:
    end = 0
    for column, label in time_marks([candle.time for candle in candles], _TIME_GAP):
        x = left + column - len(label) // 2
        if x >= end and x + len(label) <= plot:
            canvas.put(x, row, label, "dim")
            end = x + len(label) + 2


def sparkline(values: Sequence[float], cells: int) -> str:
    """Draw the newest values as a line of blocks, one cell each; fewer values leave blanks at the left."""
    shown = [value for value in values[-cells:] if math.isfinite(value)] if cells > 0 else []
    if not shown:
        return " " * max(0, cells)
    low, high = min(shown), max(shown)
    span = high - low
    levels = [4 if span <= 0 else 1 + round((value - low) / span * 7) for value in shown]
    return "".join(EIGHTHS[level] for level in levels).rjust(cells)

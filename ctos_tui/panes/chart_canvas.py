"""Cells to draw a chart on: characters and roles, braille lines, half-row bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from ctos_tui.panes.cells import Spans
from ctos_tui.panes.chart_scale import Candle, Scale

EIGHTHS = " ▁▂▃▄▅▆▇█"

_BRAILLE = 0x2800
# Dots of a braille cell from top to bottom, left and right column.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """Cells of characters and roles."""

    __slots__ = ("chars", "height", "roles", "width")

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.chars = [[" "] * width for _ in range(height)]
        self.roles = [["text"] * width for _ in range(height)]

    def put(self, x: int, y: int, text: str, role: str) -> None:
        """Write text from a cell on, clipped to the canvas."""
        if not 0 <= y < self.height:
            return
        for offset, char in enumerate(text):
            if 0 <= x + offset < self.width:
                self.chars[y][x + offset] = char
                self.roles[y][x + offset] = role

    def put_under(self, x: int, y: int, char: str, role: str) -> None:
        """Write a character into a cell that is still empty."""
        if self.chars[y][x] == " ":
            self.chars[y][x] = char
            self.roles[y][x] = role

    def spans(self) -> list[Spans]:
        """Give each row as spans, neighbours of one role joined."""
        rows = []
        for chars, roles in zip(self.chars, self.roles, strict=True):
            text = "".join(chars)
            at = 0
            spans = []
            for role, group in groupby(roles):
                end = at + len(list(group))
                spans.append((text[at:end], role))
                at = end
            rows.append(tuple(spans))
        return rows


def draw_line(
    canvas: Canvas,
    values: Sequence[float | None],
    role: str,
    candles: Sequence[Candle],
    left: int,
    rows: tuple[int, int],
    limits: tuple[float, float],
) -> None:
    """Draw a line of braille dots in the empty cells of an area, joined from column to column.

    Args:
        canvas: Where.
        values: One for each bar.
        role: Role of the dots.
        candles: The columns.
        left: Column of the first candle.
        rows: First row and height of the area.
        limits: Values at its lower and upper edge.
    """
    top, height = rows
    scale = Scale(*limits, height * 4)
    chars, roles = canvas.chars, canvas.roles
    previous: int | None = None
    for x, candle in enumerate(candles, left):
        value = values[candle.last] if candle.last < len(values) else None
        if value is None or not math.isfinite(value):
            previous = None
            continue
        step = scale.at(value)
        start = step if previous is None else previous
        middle = (start + step) // 2
        dots = [(part, 0) for part in _between(start, middle)] + [(part, 1) for part in _between(middle, step)]
        for part, side in dots:
            if not 0 <= part < scale.steps:
                continue
            y = top + part // 4
            cell = chars[y][x]
            if cell == " ":
                chars[y][x] = chr(_BRAILLE | _DOTS[part % 4][side])
                roles[y][x] = role
            elif ord(cell) >> 8 == _BRAILLE >> 8:
                chars[y][x] = chr(ord(cell) | _DOTS[part % 4][side])
        previous = step


def _between(start: int, end: int) -> range:
    return range(min(start, end), max(start, end) + 1)


def draw_dashes(canvas: Canvas, row: int, width: int, role: str) -> None:
    """Draw a dashed line across the empty cells of a row."""
    for x in range(width):
        canvas.put_under(x, row, "╌", role)


def draw_histogram(
    canvas: Canvas,
    values: Sequence[float | None],
    candles: Sequence[Candle],
    left: int,
    top: int,
    scale: Scale,
) -> None:
    """Draw values as half-row bars between zero and the value."""
    zero = scale.inside(0.0)
    for x, candle in enumerate(candles, left):
        value = values[candle.last] if candle.last < len(values) else None
        if value is None or not math.isfinite(value):
            continue
        role = "bid_bar" if value >= 0 else "ask_bar"
        halves = _between(scale.inside(value), zero)
        for y in range(halves.start // 2, (halves.stop - 1) // 2 + 1):
            upper, lower = 2 * y in halves, 2 * y + 1 in halves
            canvas.put(x, top + y, "█" if upper and lower else "▀" if upper else "▄", role)

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctos_tui.panes.cells import plain, spans_width
from ctos_tui.panes.chart_render import Chart, Level, Line, Mark, Panel, render, sparkline
from ctos_tui.panes.chart_scale import (
    digits_of,
    join_bars,
    round_step,
    round_values,
    time_label,
    time_marks,
)
from ctos_tui.theme import ROLES

START = 1_767_312_000_000
STEP = 300_000


@dataclass(slots=True)
class Candle:
    open_time: int
    open: float
    high: float
    low: float
    close: float
    base_volume: float


def bars(*prices: tuple[float, float, float, float], volume: float = 1.0) -> list[Candle]:
    return [Candle(START + index * STEP, *price, volume) for index, price in enumerate(prices)]


def wave(count: int) -> list[Candle]:
    closes = [100 + 10 * math.sin(index / 9) for index in range(count + 1)]
    return [
        Candle(START + index * STEP, a, max(a, b) + 1, min(a, b) - 1, b, 1 + index % 5)
        for index, (a, b) in enumerate(pairwise(closes))
    ]


def text(chart: Chart, width: int, height: int) -> list[str]:
    return [plain(row) for row in render(chart, width, height)]


def test_candles_have_bodies_and_wicks_in_half_rows() -> None:
    # Ten prices in five rows: a rise from 2 to 8, a fall from 8 to 4, and one that stayed at 5, the last price.
    assert text(Chart(bars((2, 10, 1, 8), (8, 9, 3, 4), (5, 5, 5, 5)), digits=0, volume=False), 6, 5) == [
        "   │╷ ",
        "   ┃┃ ",
        "╌╌╌┃┃╻",
        "   ┃╿ ",
        "   ╿  ",
    ]
    roles = [role for spans in render(Chart(bars((2, 10, 1, 8)), volume=False), 5, 5) for _, role in spans]
    assert "up" in roles and "down" not in roles
    falling = [role for spans in render(Chart(bars((8, 10, 1, 2)), volume=False), 5, 5) for _, role in spans]
    assert "down" in falling and "up" not in falling


def test_the_highest_and_the_lowest_price_are_in_the_first_and_last_rows() -> None:
    drawn = text(Chart(wave(30), volume=False), 34, 12)
    plot = [row[: 34 - 8] for row in drawn[:-1]]
    assert any(char in "│╷╽┃╻" for char in plot[0])
    assert any(char in "│╵╿┃╹" for char in plot[-1])


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (20, 5), (27, 8), (80, 20), (200, 50), (300, 100)])
@pytest.mark.parametrize("count", [0, 1, 2, 50, 500])
def test_every_size_is_filled_exactly_with_known_roles(size: tuple[int, int], count: int) -> None:
    data = wave(count)
    closes = [bar.close for bar in data]
    chart = Chart(
        data,
        digits=1,
        overlays=(Line(closes, "overlay_1"),),
        panels=(
            Panel("RSI", (Line(closes, "overlay_3"),), guides=(95, 105)),
            Panel("MACD", (Line([close - 100 for close in closes], "overlay_1"),), histogram=closes),
        ),
        marks=[Mark(START + 3 * STEP, 100, buy=True)],
        levels=[Level(101), Level(99, "accent", "◆", dashed=True)],
    )
    rows = render(chart, *size)
    assert len(rows) == size[1]
    assert all(spans_width(row) == size[0] for row in rows)
    assert {role for row in rows for _, role in row} <= set(ROLES)


def test_price_axis_has_round_labels_and_the_last_price() -> None:
    drawn = text(Chart(wave(60), digits=2, last=101.25), 70, 24)
    labels = [row[-8:].strip() for row in drawn]
    assert "101.25" in labels
    round_ones = [float(label) for label in labels if label and label != "101.25"]
    assert len(round_ones) >= 3
    assert all(value % 5 == 0 for value in round_ones)
    assert round_ones == sorted(round_ones, reverse=True)


def test_own_fills_and_orders_are_marked_where_they_are() -> None:
    data = wave(40)
    chart = Chart(
        data,
        marks=[Mark(data[10].open_time + 5, 100, buy=True), Mark(data[30].open_time, 104, buy=False)],
        levels=[Level(105)],
        volume=False,
    )
    drawn = text(chart, 60, 21)
    axis = 60 - len("111.00") - 2
    left = axis - 40
    assert [row.index("▲") for row in drawn if "▲" in row] == [left + 10]
    assert [row.index("▼") for row in drawn if "▼" in row] == [left + 30]
    assert [row.index("◂") for row in drawn if "◂" in row] == [axis]
    outside = Chart(data, marks=[Mark(START - STEP, 100, buy=True)], levels=[Level(500)])
    assert not set("▲◂") & set("".join(text(outside, 60, 21)))


def test_overlays_go_under_candles_and_leave_gaps_where_there_is_no_value() -> None:
    data = wave(40)
    values: list[float | None] = [None] * 20 + [110.5] * 20
    rows = render(Chart(data, overlays=(Line(values, "overlay_2"),), volume=False), 60, 21)
    drawn = [(at, char) for row in rows for at, char in enumerate(plain(row)) if "\u2800" <= char <= "\u28ff"]
    assert drawn and min(at for at, _ in drawn) >= 60 - 8 - 20
    assert {role for row in rows for text, role in row if "\u2800" <= text[:1] <= "\u28ff"} == {"overlay_2"}


def test_volume_is_drawn_in_eighths_under_its_candle() -> None:
    data = wave(3)
    for bar, volume in zip(data, (8.0, 4.0, 1.0), strict=True):
        bar.base_volume = volume
    drawn = text(Chart(data), 20, 14)
    rows = drawn[-3:-1]
    assert [row[-3:] for row in rows] == ["█  ", "██▂"]


def test_joined_candles_keep_their_bars_when_new_ones_come() -> None:
    data = wave(500)
    joined = join_bars(data, 190)
    assert len(joined) <= 190
    assert joined[-1].close == data[-1].close
    assert max(candle.high for candle in joined) == max(bar.high for bar in data)
    assert sum(candle.volume for candle in joined) == pytest.approx(sum(bar.base_volume for bar in data))
    later = join_bars([*data, Candle(data[-1].open_time + STEP, 1, 2, 0.5, 1.5, 1)], 190)
    assert later[:-2] == joined[: len(later) - 2]
    assert {(candle.time // STEP) % 3 for candle in joined[1:]} == {0}


def test_bars_that_are_not_numbers_are_left_out() -> None:
    data = wave(10)
    data[4].high = math.nan
    assert len(join_bars(data, 100)) == 9
    assert [candle.last for candle in join_bars(data, 100)] == [0, 1, 2, 3, 5, 6, 7, 8, 9]


@given(st.floats(1e-9, 1e12), st.integers(1, 40))
def test_round_steps_give_at_most_so_many_labels(span: float, labels: int) -> None:
    step = round_step(span, labels)
    assert span / step <= labels * (1 + 1e-6)
    assert span / step * 2.5 >= labels * (1 - 1e-6)
    assert len(round_values(100, 100 + span, step)) <= labels + 2


@pytest.mark.parametrize(("step", "digits"), [(1.0, 0), (0.25, 2), (2.5, 1), (1e-5, 5), (500.0, 0), (0.1, 1)])
def test_digits_of_a_round_step(step: float, digits: int) -> None:
    assert digits_of(step) == digits


@given(st.integers(0, 4_000_000_000))
def test_dates_are_those_of_the_calendar(seconds: int) -> None:
    label = time_label(seconds * 1000, 86_400_000)
    assert label == datetime.fromtimestamp(seconds, UTC).strftime("%d %b")


def test_times_are_labelled_at_round_times() -> None:
    times = [START + index * STEP for index in range(100)]
    marks = time_marks(times, 14)
    assert [label for _, label in marks][:4] == ["02:00", "04:00", "06:00", "08:00"]
    assert time_label(START, 7_200_000) == "02 Jan"
    assert all((times[column] % 7_200_000) == 0 for column, _ in marks)


def test_a_sparkline_has_its_extremes_and_its_width() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, 1], 4) == "  ▄▄"
    assert sparkline([], 3) == "   "
    assert sparkline([5, math.nan, 1], 2) == " ▄"

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from ctos_tui.panes.cells import Column, Columns, Row, fit, golden, plain, spans_width
from ctos_tui.panes.rows import Rows, paint
from ctos_tui.panes.view import Line, RowView
from ctos_tui.panes.wrap import wrapped
from ctos_tui.theme import load_theme

COLUMNS = Columns(
    (
        Column("SYMBOL", 8, "left", grow=1),
        Column("SIDE", 4, "left", priority=1),
        Column("PRICE", 9),
        Column("AGE", 4, priority=2),
    )
)


class Orders(Rows):
    TITLE = "ORDERS"
    EMPTY = "no open orders"
    COLUMNS = COLUMNS

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[tuple[int, str, str, str]] = []
        self.pulls = 0
        self.refreshed: list[Region] = []

    def pull(self) -> None:
        self.pulls += 1
        layout = self.layout_columns()
        rows = [
            Row(number, layout.line(((symbol, "bright"), ("BUY", "bid"), (price, "price"), (age, "dim"))))
            for number, symbol, price, age in self.orders
        ]
        self.set_rows(rows, info=((str(len(rows)), "bright"),))

    def refresh(self, *regions: Region, **options: bool) -> Orders:
        if hasattr(self, "refreshed") and regions:
            self.refreshed.extend(regions)
        return super().refresh(*regions, **options)


def pane_with(*numbers: int) -> Orders:
    pane = Orders()
    pane.orders = [(number, "BTC-PERP", f"64,5{number:02d}.0", "3s") for number in numbers]
    return pane


def view_of(keys: Sequence[int], height: int = 6, **options: object) -> RowView:
    view = RowView(title="T", **options)  # type: ignore[arg-type]
    view.resize(20, height)
    view.set_rows([Row(key, ((str(key), "text"),)) for key in keys])
    return view


def rows_of(*keys: int) -> list[Row]:
    return [Row(key, ((str(key), "text"),)) for key in keys]


def test_golden_rows_need_no_app() -> None:
    pane = pane_with(1, 2)
    pane.view.focused = True
    pane.view.select(2)
    assert golden(pane.draw(34, 4)) == (
        "| ORDERS 2     SIDE     PRICE  AGE|\n"
        "  background:1 focus:6 text:1 bright:1 text:5 dim:4 text:5 dim:5 text:2 dim:3\n"
        "| BTC-PERP     BUY   64,501.0   3s|\n"
        "  background:1 bright:8 text:4 text:1 bid:3 text:1 text:2 price:8 text:3 dim:2\n"
        "| BTC-PERP     BUY   64,502.0   3s|\n"
        "  background:1 bright:8 text:4 text:1 bid:3 text:1 text:2 price:8 text:3 dim:2\n"
        "| |\n"
        "  background:1"
    )


def test_columns_disappear_by_priority_and_numbers_are_never_cut() -> None:
    cells = (("BTC-USDT-PERP", "bright"), ("SELL", "ask"), ("1,064,512.3", "price"), ("12m", "dim"))
    wide = COLUMNS.fit(40)
    assert [entry.column.title for entry in wide.placed] == ["SYMBOL", "SIDE", "PRICE", "AGE"]
    assert plain(wide.line(cells)) == "BTC-USDT-PERP        SELL #########  12m"
    assert [entry.column.title for entry in COLUMNS.fit(24).placed] == ["SYMBOL", "SIDE", "PRICE"]
    assert [entry.column.title for entry in COLUMNS.fit(20).placed] == ["SYMBOL", "PRICE"]
    assert plain(COLUMNS.fit(18).line(cells)) == "BTC-USD… #########"
    for width in range(1, 60):
        assert spans_width(COLUMNS.fit(width).line(cells)) <= width


@pytest.mark.parametrize(
    ("cells", "expected"), [(7, "abc币x"), (6, "abc币x"), (5, "abc…"), (4, "abc…"), (1, "…"), (0, "")]
)
def test_fitting_spans_keeps_wide_characters_whole(cells: int, expected: str) -> None:
    assert plain(fit((("abc", "text"), ("币x", "bid")), cells)) == expected


def test_selection_stays_on_its_key_when_rows_move() -> None:
    view = view_of([1, 2, 3, 4])
    view.select(3)
    view.set_rows(rows_of(9, 8, 1, 2, 3, 4))
    assert view.selected is not None and view.selected.key == 3
    assert view.cursor == 4


def test_a_selected_row_that_goes_leaves_nothing_selected() -> None:
    view = view_of([1, 2, 3])
    view.select(2)
    view.set_rows(rows_of(1, 3))
    assert view.selected is None
    view.move(1)
    assert view.selected is not None and view.selected.key == 3


def test_a_scrolled_view_stays_on_its_rows_when_new_ones_come_first() -> None:
    view = view_of(list(range(20)))
    view.scroll(4)
    assert plain(view.line(1).spans) == "4"
    view.set_rows(rows_of(*range(-3, 20)))
    assert plain(view.line(1).spans) == "4"


def test_a_tail_view_follows_until_it_is_scrolled_up_and_again_at_its_end() -> None:
    view = view_of(list(range(20)), tail=True)
    assert plain(view.line(5).spans) == "19"
    view.set_rows(rows_of(*range(25)))
    assert plain(view.line(5).spans) == "24"
    view.scroll(-2)
    view.set_rows(rows_of(*range(30)))
    assert plain(view.line(5).spans) == "22"
    view.go(29)
    view.set_rows(rows_of(*range(31)))
    assert plain(view.line(5).spans) == "30"


def test_changed_lines_are_told_once() -> None:
    view = view_of([1, 2, 3])
    assert view.changed() == list(range(6))
    view.set_rows([*rows_of(1), Row(2, (("two", "up"),)), *rows_of(3)])
    assert view.changed() == [2]
    assert view.changed() == []
    view.select(3)
    assert view.changed() == [3]


def test_scroll_marks_tell_what_is_out_of_sight() -> None:
    view = view_of(list(range(20)))
    view.scroll(4)
    assert plain(view.line(0).spans) == "T             ↑4 ↓11"


@pytest.mark.parametrize("width", [1, 2, 3, 5, 10, 80])
def test_painted_strips_cover_the_width_exactly(width: int) -> None:
    palette = load_theme("ctos-dark")
    line = Line("▌", (("币安币安", "bid"), ("x", "bid"), ("y" * 9, "ask")), "selection")
    strip = paint(line, width, 1, palette)
    assert strip.cell_length == width == sum(segment.cell_length for segment in strip)


def test_a_change_of_role_in_blanks_costs_no_bytes_where_it_cannot_be_seen() -> None:
    spans = (("1", "bid"), ("  ", "text"), ("2", "bid"), ("  ", "text"))
    dark = paint(Line(" ", spans, "background"), 10, 1, load_theme("ctos-dark"))
    assert [segment.text for segment in dark] == [" ", "1  2     "]
    underlined = (("a", "accent"), ("  ", "text"), ("b", "accent"))
    mono = paint(Line(" ", underlined, "background"), 10, 1, load_theme("mono"))
    assert [segment.text for segment in mono] == [" ", "a", "  ", "b", "     "]


class PaneApp(App[None]):
    def __init__(self, pane: Orders) -> None:
        super().__init__()
        self.pane = pane
        self.palette = load_theme("ctos-dark")

    def compose(self) -> ComposeResult:
        yield self.pane


def screen_text(app: App[None]) -> list[str]:
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


async def test_only_changed_lines_are_refreshed_and_keys_move_the_selection() -> None:
    pane = pane_with(1, 2, 3)
    async with PaneApp(pane).run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        assert screen_text(pilot.app)[2] == " BTC-PERP           BUY   64,502.0   3s"
        pane.refreshed.clear()
        pane.orders[1] = (2, "BTC-PERP", "64,777.7", "4s")
        pane.pull()
        assert pane.refreshed == [Region(0, 2, 40, 1)]
        await pilot.pause()
        assert "64,777.7" in screen_text(pilot.app)[2]
        await pilot.press("home", "down")
        assert pane.selected is not None and pane.selected.key == 2
        await pilot.press("end")
        assert pane.selected is not None and pane.selected.key == 3
        assert screen_text(pilot.app)[3].startswith("▌")
        await pilot.click(pane, offset=(5, 1))
        assert pane.selected is not None and pane.selected.key == 1


async def test_a_hidden_pane_does_no_work_and_catches_up_when_shown() -> None:
    pane = pane_with(1)
    async with PaneApp(pane).run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        assert pane.showing
        pane.display = False
        await pilot.pause()
        assert not pane.showing
        pane.orders = [(7, "ETH-PERP", "3,412.1", "1s")]
        pulls = pane.pulls
        pane.display = True
        await pilot.pause()
        assert pane.showing and pane.pulls > pulls
        assert "ETH-PERP" in screen_text(pilot.app)[1]


async def test_a_new_palette_repaints_and_strips_are_reused() -> None:
    pane = pane_with(1)
    app = PaneApp(pane)
    async with app.run_test(size=(40, 10)) as pilot:
        await pilot.pause()
        first = pane.render_line(1)
        assert pane.render_line(1) is first
        app.palette = load_theme("ctos-light")
        light = pane.render_line(1)
        assert light is not first
        assert light._segments[0].style.bgcolor.name == "#faf8f4"


@pytest.fixture(params=[(1, 1), (2, 2), (5, 3), (20, 5), (300, 100)])
def small_size(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    return request.param


async def test_any_size_is_drawn(small_size: tuple[int, int]) -> None:
    pane = pane_with(*range(30))
    async with PaneApp(pane).run_test(size=small_size) as pilot:
        await pilot.pause()
        assert len(screen_text(pilot.app)) == small_size[1]


def test_a_word_that_just_fits_its_line_is_not_cut():
    lines = wrapped((("make one at okx that may not", "text"),), len("make one at okx"), 4)
    assert [plain(line) for line in lines] == ["make one at okx", "that may not"]

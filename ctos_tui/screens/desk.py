"""The desk: one screen that places panes, fixed lines and cards by the layouts of `themes/layouts.yaml`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import NULL_OFFSET, NULL_SPACING, Region, Size
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from ctos_tui.layouts import MANY_TABS, Area, Chosen, DeskPlan, arrange, choose_plan, load_plans
from ctos_tui.panes.account import AccountPane
from ctos_tui.panes.anomalies import Anomalies
from ctos_tui.panes.base import Pane
from ctos_tui.panes.chart import ChartPane
from ctos_tui.panes.ladder import Ladder
from ctos_tui.panes.lines import CompletionList, PreviewLine, PromptLine, TabStrip
from ctos_tui.panes.log import Log
from ctos_tui.panes.markets import Markets
from ctos_tui.panes.orders import Fills, History, Orders
from ctos_tui.panes.positions import Positions
from ctos_tui.panes.status_line import StatusLine
from ctos_tui.panes.strategies import Strategies
from ctos_tui.panes.trades import Trades
from ctos_tui.screens.card import Card
from ctos_tui.terminal.app import PacedScreen

FIXED = ("status", "preview", "prompt", "tabs")


CARD_FRAME = 4


class DeskHost(Protocol):
    """What the desk tells the console."""

    def desk_ready(self) -> None:
        """Every pane exists."""


class DeskLayout(Layout):
    """Places the children of the desk by their ids."""

    name = "desk"

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        """Return where each child stands; a child without a place is not shown."""
        assert isinstance(parent, DeskScreen)
        areas = parent.place(size.width, size.height)
        placements = []
        for child in children:
            area = areas.get("card" if isinstance(child, Card) else child.id or "")
            if area is None or area.width <= 0 or area.height <= 0:
                continue
            child.set_class(area.line, "-line")
            region = Region(area.x, area.y, area.width, area.height)
            placements.append(WidgetPlacement(region, NULL_OFFSET, NULL_SPACING, child))
        return placements


class DeskScreen(PacedScreen):
    """The one screen of the console."""

    LAYERS: ClassVar[tuple[str, ...]] = ("desk", "over")
    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    DeskScreen { layers: desk over; background: $background; overflow: hidden; }
    DeskScreen Pane { layer: desk; }
    DeskScreen Pane.-line { border-left: solid $role-border; }
    DeskScreen CompletionList, DeskScreen PreviewLine, DeskScreen Card { layer: over; }
    """

    def __init__(self, wanted: str | None = None) -> None:
        super().__init__(id="desk")
        self.wanted = wanted
        self.plans = load_plans()
        self.plan: DeskPlan = self.plans[-1]
        self.chosen = Chosen()
        self.zoomed = ""
        self.candidates = 0
        self.preview_lines = 1
        self.card_rows = 0
        self._desk_layout = DeskLayout()
        self.shown: list[str] = []

    @property
    def layout(self) -> Layout:
        """Return the desk's own layout."""
        return self._desk_layout

    def compose(self) -> ComposeResult:
        """Make every pane once; the layout decides which of them show."""
        yield StatusLine(id="status")
        yield Ladder(id="ladder")
        yield Ladder(id="ladder2", second=True)
        yield ChartPane(id="chart")
        yield Markets(id="markets")
        yield Trades(id="trades")
        yield Positions(id="positions")
        yield Orders(id="orders")
        yield Fills(id="fills")
        yield History(id="history")
        yield Strategies(id="strategies")
        yield Anomalies(id="anomalies")
        yield Log(id="log")
        yield AccountPane(id="account")
        yield TabStrip(id="tabs")
        yield PreviewLine(id="preview")
        yield PromptLine(id="prompt")
        yield CompletionList(id="completions")

    def on_mount(self) -> None:
        """Tell the console that every pane exists."""
        cast(DeskHost, self.app).desk_ready()

    def panes(self) -> Iterable[Pane]:
        """Return every pane and fixed line."""
        return self.query_children(Pane)

    def pane(self, name: str) -> Pane:
        """Return a pane by its id."""
        return self.get_child_by_id(name, Pane)

    def place(self, width: int, height: int) -> dict[str, Area]:
        """Return where everything stands in a terminal of this size."""
        self.plan = choose_plan(self.plans, width, height, self.wanted)
        areas = {}
        if height >= 1:
            areas["status"] = Area(0, 0, width, 1)
        if height >= 2:
            areas["prompt"] = Area(0, height - 1, width, 1)
        if height >= 3:
            lines = min(self.preview_lines, height - 2)
            areas["preview"] = Area(0, height - 1 - lines, width, lines)
        body = Area(0, 1, width, max(0, height - 3))
        if self.plan.root is not None:
            if self.zoomed:
                areas[self.zoomed] = body
            else:
                areas |= arrange(self.plan.root, body, self.chosen)
        self.shown = [name for name in areas if name not in FIXED]
        self._name_siblings()
        if self.candidates:
            rows = max(0, min(self.candidates, height - 2 - self.preview_lines))
            areas["completions"] = Area(0, height - 1 - self.preview_lines - rows, width, rows)
        areas["card"] = card_area(width, height - 2 - self.preview_lines, self.card_rows)
        return areas

    def tab_names(self) -> tuple[tuple[str, ...], str]:
        """Return the largest group of tabs and the one in front."""
        groups = sorted(self.plan.tabs(), key=len)
        return (groups[-1], self.chosen.pane(groups[-1])) if groups else ((), "")

    def _name_siblings(self) -> None:
        """Say at the end of a pane's title which panes wait behind it."""
        for tabs in self.plan.tabs():
            for name in tabs:
                others = [other for other in tabs if other != name] if len(tabs) < MANY_TABS else []
                self.pane(name).view.aside = "" if self.zoomed else " ".join(others)

    def lay_out(self) -> None:
        """Place everything anew."""
        self._clear_arrangement_cache()
        self.refresh(layout=True)

    def bring(self, name: str) -> bool:
        """Bring a pane to the front of its tabs; returns whether this layout can show it."""
        if self.plan.root is None:
            return False
        for tabs in self.plan.tabs():
            if name in tabs:
                self.chosen.front[tabs] = name
        if (self.zoomed and self.zoomed != name) or name not in self.plan.panes():
            self.zoomed = name
        self.lay_out()
        return True


def card_area(width: int, height: int, rows: int) -> Area:
    """Return where a card of so many rows stands: in the middle of what status, preview and prompt leave."""
    cells = min(width, max(60, min(104, width - 16)))
    lines = max(0, min(height, max(8, rows + CARD_FRAME)))
    return Area((width - cells) // 2, 1 + max(0, (height - lines) // 2), cells, lines)

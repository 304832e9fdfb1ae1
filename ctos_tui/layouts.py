"""Where panes stand: layouts are data in `themes/layouts.yaml`, chosen by the size of the terminal.

A layout is a tree: `row` and `column` split an area, `pane` fills one, `tabs` shows one of several. A part's `size` is
cells (an integer), or a share of what is left (a number with `fr`, such as `2fr`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any, NamedTuple

import msgspec
import yaml

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MANY_TABS = 4
LEAST_WITH_STRIP = 8
"""A group of this many tabs gets a line that names them, where the area is at least so many lines high."""


class Area(NamedTuple):
    """A rectangle of cells; `line` tells that a thin line separates it from its left neighbour."""

    x: int
    y: int
    width: int
    height: int
    line: bool = False


class Part(msgspec.Struct, frozen=True):
    """A node of a layout: exactly one of `row`, `column`, `pane`, `tabs` says what it is."""

    kind: str
    panes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    cells: int = 0
    share: float = 1.0
    least: int = 0


class DeskPlan(msgspec.Struct, frozen=True):
    """One layout: from which terminal size on it is used, and its tree."""

    name: str
    width: int
    height: int
    root: Part | None

    def tabs(self) -> list[tuple[str, ...]]:
        """Return the groups of panes of which one shows at a time."""
        return list(_tabs(self.root)) if self.root is not None else []

    def panes(self) -> list[str]:
        """Return every pane of the layout in reading order."""
        return list(_panes(self.root)) if self.root is not None else []


class Chosen(msgspec.Struct):
    """Which pane of each group of tabs is in front, by the group's panes."""

    front: dict[tuple[str, ...], str] = msgspec.field(default_factory=dict)

    def pane(self, tabs: tuple[str, ...]) -> str:
        """Return the pane in front."""
        return self.front.get(tabs, tabs[0])


def _tabs(part: Part) -> Iterator[tuple[str, ...]]:
    if part.kind == "tabs":
        yield part.panes
    for inner in part.parts:
        yield from _tabs(inner)


def _panes(part: Part) -> Iterator[str]:
    yield from part.panes
    for inner in part.parts:
        yield from _panes(inner)


def load_plans() -> list[DeskPlan]:
    """Return the layouts, the most demanding first."""
    raw: Mapping[str, Any] = yaml.load(
        resources.files("themes").joinpath("layouts.yaml").read_text("utf-8"), Loader=_Loader
    )
    plans = [
        DeskPlan(name, spec["width"], spec["height"], _part(spec["desk"]) if spec.get("desk") else None)
        for name, spec in raw.items()
    ]
    return sorted(plans, key=lambda plan: (-plan.width, -plan.height))


def _part(spec: Mapping[str, Any]) -> Part:
    cells, share = _size(spec.get("size", "1fr"))
    least = int(spec.get("least", 0))
    for kind in ("row", "column"):
        if kind in spec:
            inner = tuple(_part(part) for part in spec[kind])
            return Part(kind, parts=inner, cells=cells, share=share, least=least)
    if "tabs" in spec:
        return Part("tabs", tuple(spec["tabs"]), cells=cells, share=share, least=least)
    return Part("pane", (spec["pane"],), cells=cells, share=share, least=least)


def _size(text: object) -> tuple[int, float]:
    if isinstance(text, int):
        return text, 0.0
    return 0, float(str(text).removesuffix("fr"))


def choose_plan(plans: list[DeskPlan], width: int, height: int, wanted: str | None = None) -> DeskPlan:
    """Return the layout of the wanted name if it fits the terminal, else the most demanding one that fits."""
    fitting = [plan for plan in plans if plan.width <= width and plan.height <= height]
    return next((plan for plan in fitting if plan.name == wanted), fitting[0] if fitting else plans[-1])


def arrange(part: Part, area: Area, chosen: Chosen) -> dict[str, Area]:
    """Return the area of every pane that shows."""
    if area.width <= 0 or area.height <= 0:
        return {}
    if part.kind == "tabs":
        front = chosen.pane(part.panes)
        if len(part.panes) < MANY_TABS or area.height < LEAST_WITH_STRIP:
            return {front: area}
        strip = Area(area.x, area.y, area.width, 1, area.line)
        return {"tabs": strip, front: Area(area.x, area.y + 1, area.width, area.height - 1, area.line)}
    if part.kind == "pane":
        return {part.panes[0]: area}
    along = area.width if part.kind == "row" else area.height
    placed: dict[str, Area] = {}
    at = 0
    for inner, length in zip(part.parts, _share_out(part.parts, along), strict=True):
        if part.kind == "row":
            line = area.line if at == 0 else True
            placed |= arrange(inner, Area(area.x + at, area.y, length, area.height, line), chosen)
        else:
            placed |= arrange(inner, Area(area.x, area.y + at, area.width, length, area.line), chosen)
        at += length
    return placed


def _share_out(parts: tuple[Part, ...], along: int) -> list[int]:
    """Give each part its cells; shares divide what fixed parts leave, the last share takes the rest."""
    fixed = sum(part.cells for part in parts)
    left = max(0, along - fixed)
    shares = sum(part.share for part in parts if not part.cells)
    lengths: list[int] = []
    given = 0
    flexible = [index for index, part in enumerate(parts) if not part.cells]
    for index, part in enumerate(parts):
        if part.cells:
            lengths.append(part.cells)
        elif index == flexible[-1]:
            lengths.append(left - given)
        else:
            length = min(left - given, max(part.least, round(left * part.share / shares)))
            given += length
            lengths.append(length)
    return lengths

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from rich.color import Color, ColorSystem
from textual.app import App, ComposeResult
from textual.theme import Theme
from textual.widgets import Static

from ctos_tui.terminal.app import TerminalApp
from ctos_tui.theme import (
    FILLS,
    ROLES,
    SHAPES,
    TEXTS,
    Palette,
    choose_theme,
    contrast,
    load_theme,
    theme_names,
)
from engine.kernel.errors import ConfigError

ALL = ["ctos-dark", "ctos-light", "contrast", "blue-orange", "east", "ansi-dark", "ansi-light", "mono"]
TRUECOLOR = ["ctos-dark", "ctos-light", "contrast", "blue-orange", "east"]

# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
COLOUR_BLINDNESS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
}


def lab(colour: Color, sight: str) -> tuple[float, float, float]:
    """CIE 1976 L*a*b* (D65) of a colour as an eye of that kind sees it."""
    channels = [value / 255 for value in colour.get_truecolor()]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    red, green, blue = (
        min(1, max(0, sum(m * c for m, c in zip(row, linear, strict=True)))) for row in COLOUR_BLINDNESS[sight]
    )
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def distance(first: Color, second: Color, sight: str) -> float:
    return math.dist(lab(first, sight), lab(second, sight))


def test_the_bundled_themes_are_these_and_the_default_comes_first() -> None:
    assert set(theme_names()) == set(ALL)
    assert theme_names()[0] == "ctos-dark"


@pytest.mark.parametrize("name", ALL)
def test_every_role_is_present(name: str) -> None:
    palette = load_theme(name)
    assert palette.styles.keys() == TEXTS.keys() | SHAPES.keys()
    assert palette.fills.keys() == FILLS.keys()
    assert palette.title and palette.ansi == (name not in TRUECOLOR)


@pytest.mark.parametrize("name", TRUECOLOR)
def test_text_can_be_read_on_every_fill(name: str) -> None:
    palette = load_theme(name)
    for role, fill in itertools.product(TEXTS, FILLS):
        ground = palette.style(role, fill).bgcolor
        assert ground is not None
        assert contrast(palette.colour(role), ground) >= 4.5, (role, fill)


@pytest.mark.parametrize("name", TRUECOLOR)
@pytest.mark.parametrize("pair", [("bid", "ask"), ("up", "down"), ("pnl_pos", "pnl_neg")])
def test_opposites_are_far_apart_for_every_eye(name: str, pair: tuple[str, str]) -> None:
    palette = load_theme(name)
    for sight in COLOUR_BLINDNESS:
        assert distance(palette.colour(pair[0]), palette.colour(pair[1]), sight) >= 40, sight


def test_the_distance_is_the_measured_one() -> None:
    teal, red = Color.parse("#26a69a"), Color.parse("#ef5350")
    assert [round(distance(teal, red, sight)) for sight in COLOUR_BLINDNESS] == [103, 48, 26]


DISTINCT = [
    ("bid", "ask"),
    ("up", "down"),
    ("pnl_pos", "pnl_neg"),
    ("bid_bar", "ask_bar"),
    ("warn", "danger"),
    ("good", "danger"),
    ("own_order", "bid"),
    ("own_order", "ask"),
    ("focus", "title"),
    ("mark_buy", "mark_sell"),
    ("live", "paper"),
    ("live", "sim"),
    ("live", "halted"),
    ("paper", "sim"),
    ("armed", "disarmed"),
    ("armed", "halted"),
    ("reduce_only", "armed"),
    ("reduce_only", "disarmed"),
    ("reduce_only", "halted"),
    ("reduce_only", "live"),
]


def looks(palette: Palette, role: str, system: ColorSystem | None) -> tuple[object, ...]:
    style = palette.style(role)
    colours = (style.color, style.bgcolor)
    if system is not None:
        colours = tuple(colour and colour.downgrade(system) for colour in colours)
    attributes = (style.bold, style.dim, style.italic, style.underline, style.reverse)
    return (*[colour and colour.get_truecolor() for colour in colours], *attributes)


@pytest.mark.parametrize("name", ALL)
def test_what_must_not_be_confused_differs_in_256_and_in_16_colours(name: str) -> None:
    palette = load_theme(name)
    system = ColorSystem.EIGHT_BIT if name in TRUECOLOR else None
    for first, second in DISTINCT:
        if name == "mono" and (first, second) in [("bid_bar", "ask_bar")]:
            continue  # the side on which a bar stands tells it
        if name == "mono" and (first, second) == ("live", "halted"):
            continue  # the words differ
        assert looks(palette, first, system) != looks(palette, second, system), (first, second)


@pytest.mark.parametrize("name", ["ansi-dark", "ansi-light"])
def test_sixteen_colours_stay_distinct(name: str) -> None:
    palette = load_theme(name)
    for first, second in itertools.combinations(("bid", "ask", "own_order", "warn", "danger"), 2):
        assert palette.colour(first) != palette.colour(second)
    selection = palette.fills["selection"]
    for role in TEXTS:
        assert palette.style(role, "selection").color != selection, role
    assert {palette.colour(role).number is None or palette.colour(role).number < 16 for role in ROLES} == {True}


def test_without_colours_a_selected_row_is_reversed() -> None:
    palette = load_theme("mono")
    assert palette.style("text", "selection").reverse and not palette.style("text").reverse
    assert palette.style("text", "cursor").underline


@pytest.mark.parametrize(
    ("asked", "configured", "environ", "expected"),
    [
        (None, None, {"TERM": "xterm-256color"}, "ctos-dark"),
        (None, "ctos-light", {"TERM": "xterm", "COLORTERM": "truecolor"}, "ctos-light"),
        (None, None, {"TERM": "linux"}, "ansi-dark"),
        (None, "ctos-light", {"TERM": "vt100"}, "ansi-light"),
        (None, "ansi-dark", {"TERM": "vt100"}, "ansi-dark"),
        (None, "ctos-light", {"TERM": "xterm-256color", "NO_COLOR": "1"}, "mono"),
        (None, None, {"TERM": "xterm-256color", "NO_COLOR": ""}, "ctos-dark"),
        ("east", "ctos-light", {"TERM": "linux", "NO_COLOR": "1"}, "east"),
    ],
)
def test_the_terminal_decides_where_nobody_asked(
    asked: str | None, configured: str | None, environ: dict[str, str], expected: str
) -> None:
    assert choose_theme(asked, configured, environ) == expected


def own_theme(folder: Path, text: str, name: str = "mine") -> Path:
    (folder / f"{name}.yaml").write_text(text)
    return folder


def test_an_own_theme_extends_a_bundled_one_and_wins_over_its_name(tmp_path: Path) -> None:
    own_theme(tmp_path, 'title: Mine\nextends: ctos-light\nroles:\n  bid: "bold #004080"\n')
    own_theme(tmp_path, 'title: My dark\nextends: ctos-dark\nroles:\n  accent: "#ffcc00"\n', "ctos-dark")
    mine = load_theme("mine", tmp_path)
    assert mine.colour("bid").triplet.hex == "#004080" and not mine.dark
    assert mine.colour("ask") == load_theme("ctos-light").colour("ask")
    assert load_theme("ctos-dark", tmp_path).title == "My dark"
    assert theme_names(tmp_path)[-1] == "mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["the file", "None"]),
        ("title: [", ["cannot be read as YAML"]),
        ("title: T\nextends: ctos-dark\nroles:\n  bid: '#12345'\n", ["roles.bid", "#12345", "not a style"]),
        ("title: T\nextends: ctos-dark\nroles:\n  flash: bold red\n", ["roles.flash", "bold red", "not a colour"]),
        ("title: T\nextends: ctos-dark\nroles:\n  bids: '#123456'\n", ["roles.bids", "no such role", "own_order"]),
        ("title: T\nextends: ctos-dark\nroles:\n  bid: 5\n", ["roles.bid", "5"]),
        ("title: T\nextends: ctos-dark\nshiny: true\n", ["shiny", "True"]),
        ("title: T\nextends: nosuch\n", ["'nosuch' does not exist", "ctos-light"]),
        ("title: T\nextends: layouts\n", ["'layouts' does not exist"]),
        ("title: T\nroles:\n  bid: '#ffffff'\n", ["missing", "extends"]),
        ("title: T\nextends: ctos-dark\nroles:\n  text: '#111111'\n", ["roles.text", "#111111", "contrast"]),
        ("title: T\nextends: ctos-dark\nroles:\n  bid: red\n", ["roles.bid", "red", "#rrggbb"]),
        ("title: T\nextends: ansi-dark\nroles:\n  bid: '#ff0000'\n", ["roles.bid", "#ff0000", "16 colours"]),
        ("title: T\nextends: ctos-dark\nglyphs: runes\n", ["glyphs", "runes"]),
    ],
)
def test_a_bad_theme_is_refused_by_file_field_and_value(tmp_path: Path, text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load_theme("mine", own_theme(tmp_path, text))
    for part in expected:
        assert part in str(refused.value)
    assert "mine.yaml" in str(refused.value) or "does not exist" in str(refused.value)


@pytest.mark.parametrize("name", ALL)
async def test_textual_takes_every_theme_and_the_style_sheet_knows_every_role(name: str) -> None:
    class Shown(TerminalApp[None]):
        CSS = "\n".join(f".{role} {{ color: $role-{role.replace('_', '-')}; }}" for role in ROLES)

        def compose(self) -> ComposeResult:
            yield Static("x", classes="bid")

    app: App[None] = Shown(load_theme(name))
    assert Theme(**load_theme(name).textual_fields()).name == name
    async with app.run_test(size=(20, 4)) as pilot:
        await pilot.pause()
        assert app.theme == name
        for other in ("ctos-light", "mono", "ctos-dark"):
            app.use_palette(load_theme(other))
            await pilot.pause()
            assert app.theme == other

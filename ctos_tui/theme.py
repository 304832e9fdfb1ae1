"""Themes: semantic roles in YAML files, as Rich styles for live panes and variables for the style sheet.

A theme file holds a title, a few flags and one value for each role. Text roles take a Rich style, such as
`bold #26a69a` or `black on yellow`; fill roles take one colour. A theme may extend a bundled one and name only
what differs. Bundled themes live in the package `themes`, the operator's own in the folder `themes` of the
configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.color import Color, ColorParseError
from rich.console import Console
from rich.errors import StyleSyntaxError
from rich.style import Style

from engine.kernel.errors import ConfigError

DEFAULT_DARK = "ctos-dark"
MONOCHROME = "mono"
LAYOUTS = "layouts"
"""The file beside the themes that is none: where panes stand."""
SIXTEEN_COLOURS: Mapping[bool, str] = {True: "ansi-dark", False: "ansi-light"}

FILLS: Mapping[str, str] = {
    "background": "behind everything",
    "panel": "behind dialogs and notes",
    "status_bg": "behind the status bar and the prompt",
    "selection": "the selected row of the pane that has the keyboard",
    "cursor": "the selected row of any other pane",
    "own_row": "a row that holds an own order",
    "flash": "a large print, or a row that has just changed",
}

TEXTS: Mapping[str, str] = {
    "text": "ordinary words",
    "bright": "values that decide",
    "price": "prices",
    "label": "names of values and columns",
    "dim": "what matters least",
    "title": "the name of a pane",
    "focus": "the name of the pane that has the keyboard",
    "accent": "links, marks, what is new",
    "key": "a key to press",
    "prompt": "the prompt mark and its verbs",
    "ghost": "proposed words not yet typed",
    "bid": "bids, buys, long",
    "ask": "asks, sells, short",
    "last": "last price",
    "up": "rising",
    "down": "falling",
    "flat": "unchanged",
    "pnl_pos": "profit",
    "pnl_neg": "loss",
    "own_order": "own resting orders",
    "mark_buy": "own buys in the chart",
    "mark_sell": "own sells in the chart",
    "good": "healthy, done",
    "warn": "a warning",
    "danger": "an error, a danger",
    "stale": "a value that has not been renewed in time",
    "overlay_1": "first line over the chart",
    "overlay_2": "second line over the chart",
    "overlay_3": "third line over the chart",
    "live": "the word LIVE",
    "paper": "the word PAPER",
    "sim": "the word SIM",
    "armed": "the word ARMED",
    "disarmed": "the word DISARMED",
    "reduce_only": "the word REDUCE-ONLY",
    "halted": "the word HALTED",
}

SHAPES: Mapping[str, str] = {
    "bid_bar": "depth bars of bids, volume of rising bars",
    "ask_bar": "depth bars of asks, volume of falling bars",
    "band": "bands over the chart",
    "grid": "chart grid and axis marks",
    "border": "lines between panes",
}

ROLES = (*TEXTS, *SHAPES, *FILLS)

MINIMUM_CONTRAST = 3.0

_TEXTUAL_COLOURS: Mapping[str, str] = {
    "primary": "accent",
    "secondary": "label",
    "accent": "accent",
    "warning": "warn",
    "error": "danger",
    "success": "good",
    "foreground": "text",
    "background": "background",
    "surface": "background",
    "panel": "panel",
}
_TEXTUAL_VARIABLES: Mapping[str, str] = {
    "ansi-background": "background",
    "ansi-foreground": "text",
    "border": "focus",
    "border-blurred": "border",
    "block-cursor-background": "selection",
    "block-cursor-foreground": "bright",
    "block-cursor-blurred-background": "cursor",
    "block-cursor-blurred-foreground": "text",
    "input-selection-background": "selection",
    "scrollbar": "border",
    "scrollbar-background": "background",
    "scrollbar-hover": "label",
    "scrollbar-active": "accent",
    "footer-key-foreground": "key",
    "footer-background": "status_bg",
}


class ThemeFile(BaseModel):
    """What a theme file may say."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str
    extends: str | None = None
    dark: bool | None = None
    ansi: bool | None = None
    glyphs: Literal["unicode", "ascii"] | None = None
    roles: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Palette:
    """A loaded theme: every role as a Rich style, ready for the Line API.

    Args:
        name: File name without its ending.
        title: One line about it.
        dark: Light text on dark ground.
        ansi: Uses the terminal's own 16 colours.
        glyphs: `unicode` or `ascii` for bars and marks.
        styles: Text and shape roles.
        fills: Fill roles.
    """

    name: str
    title: str
    dark: bool
    ansi: bool
    glyphs: str
    styles: Mapping[str, Style]
    fills: Mapping[str, Color]
    _mixed: dict[tuple[str, str], Style] = field(default_factory=dict, repr=False, compare=False)

    def style(self, role: str, fill: str = "background") -> Style:
        """Give the style of a role on a fill; a role with its own background keeps it.

        Raises:
            KeyError: The role or the fill does not exist.
        """
        mixed = self._mixed.get((role, fill))
        if mixed is None:
            mixed = self._mixed[role, fill] = self._mix(role, fill)
        return mixed

    def _mix(self, role: str, fill: str) -> Style:
        ground = self.fills[fill]
        style = Style(bgcolor=ground) + self.styles[role]
        # Without a colour of its own a marked row must differ in some other way.
        if fill in ("selection", "cursor") and ground == self.fills["background"]:
            style += Style(reverse=True) if fill == "selection" else Style(underline=True)
        return style

    def colour(self, role: str) -> Color:
        """Give the foreground colour of a text or shape role, or the colour of a fill."""
        if role in self.fills:
            return self.fills[role]
        return self.styles[role].color or Color.default()

    def css_variables(self) -> dict[str, str]:
        """Give every role as a style sheet variable: `own_order` is `$role-own-order`."""
        return {f"role-{role.replace('_', '-')}": css_colour(self.colour(role)) for role in ROLES}

    def textual_fields(self) -> dict[str, Any]:
        """Give the keyword arguments of the `textual.theme.Theme` that agrees with this palette."""
        colours = {name: css_colour(self.colour(role)) for name, role in _TEXTUAL_COLOURS.items()}
        variables = {name: css_colour(self.colour(role)) for name, role in _TEXTUAL_VARIABLES.items()}
        return {
            "name": self.name,
            "dark": self.dark,
            "ansi": self.ansi,
            "variables": variables | self.css_variables(),
            **colours,
        }


def css_colour(colour: Color) -> str:
    """Write a Rich colour as the style sheet writes it: `#0e1116`, `ansi_red`, `ansi_default`."""
    if colour.triplet is not None:
        return colour.triplet.hex
    return f"ansi_{colour.name}"


def contrast(first: Color, second: Color) -> float:
    """Compute the contrast ratio of two colours, 1 to 21.

    Source: WCAG 2.2, relative luminance and contrast ratio.
    """

    def luminance(colour: Color) -> float:
        channels = [value / 255 for value in colour.get_truecolor()]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def theme_names(user_folder: Path | None = None) -> list[str]:
    """List the themes that can be chosen: the bundled ones, then the operator's own."""
    bundled = sorted(_stems(resources.files("themes")), key=lambda name: (name != DEFAULT_DARK, name))
    own = sorted(_stems(user_folder)) if user_folder is not None and user_folder.is_dir() else []
    return bundled + [name for name in own if name not in bundled]


def _stems(folder: Traversable) -> set[str]:
    names = {entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")}
    return names - {LAYOUTS}


def choose_theme(
    asked: str | None = None, configured: str | None = None, environ: Mapping[str, str] = os.environ
) -> str:
    """Choose the theme's name for this terminal.

    Args:
        asked: What the command line says; it always wins.
        configured: What the configuration says.
        environ: Environment; `NO_COLOR` asks for no colours, `TERM` and `COLORTERM` tell how many there are.
    """
    if asked:
        return asked
    if environ.get("NO_COLOR"):
        return MONOCHROME
    wanted = configured or DEFAULT_DARK
    few = Console(force_terminal=True, _environ=environ).color_system in (None, "standard")
    if few and not wanted.startswith("ansi-") and wanted != MONOCHROME:
        return SIXTEEN_COLOURS[not wanted.endswith("light")]
    return wanted


def load_theme(name: str, user_folder: Path | None = None) -> Palette:
    """Load a theme by name; the operator's own file wins over a bundled one of the same name.

    Args:
        name: File name without `.yaml`.
        user_folder: Folder with the operator's own themes, if any.

    Raises:
        ConfigError: The theme does not exist or its file is wrong; the message names file, field and value.
    """
    return _build(name, user_folder)


def _build(name: str, user_folder: Path | None) -> Palette:
    path = _find(name, user_folder)
    said = _read(path)
    # Only bundled themes can be extended, so an own file may even take the name of the one it extends.
    parent = None if said.extends is None else _build(said.extends, None)
    palette = Palette(
        name=name,
        title=said.title,
        dark=_first(said.dark, parent.dark if parent else True),
        ansi=_first(said.ansi, parent.ansi if parent else False),
        glyphs=said.glyphs or (parent.glyphs if parent else "unicode"),
        styles=(dict(parent.styles) if parent else {}) | _styles(path, said.roles),
        fills=(dict(parent.fills) if parent else {}) | _fills(path, said.roles),
    )
    _check(path, palette)
    return palette


def _first(said: bool | None, otherwise: bool) -> bool:
    return otherwise if said is None else said


def _find(name: str, user_folder: Path | None) -> Traversable:
    for folder in (user_folder, resources.files("themes")):
        if name != LAYOUTS and folder is not None and (candidate := folder.joinpath(f"{name}.yaml")).is_file():
            return candidate
    raise ConfigError(f"theme {name!r} does not exist; choose one of: {', '.join(theme_names(user_folder))}")


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(path: Traversable) -> ThemeFile:
    try:
        return ThemeFile.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"theme file {path}: cannot be read as YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise _bad(path, where, first["input"], first["msg"]) from error


def _bad(path: Traversable, where: str, value: object, why: str) -> ConfigError:
    return ConfigError(f"theme file {path}: field {where}: {value!r}: {why}")


def _styles(path: Traversable, roles: Mapping[str, str]) -> dict[str, Style]:
    styles = {}
    for role, text in roles.items():
        if role in FILLS:
            continue
        if role not in TEXTS and role not in SHAPES:
            raise _bad(path, f"roles.{role}", text, f"no such role; the roles are: {', '.join(ROLES)}")
        try:
            style = Style.parse(text)
        except StyleSyntaxError as error:
            why = "not a style; write for example `#26a69a`, `bold bright_red` or `black on #e0b050`"
            raise _bad(path, f"roles.{role}", text, why) from error
        if style.link:
            raise _bad(path, f"roles.{role}", text, "a style cannot hold a link")
        styles[role] = style
    return styles


def _fills(path: Traversable, roles: Mapping[str, str]) -> dict[str, Color]:
    fills = {}
    for role in roles.keys() & FILLS.keys():
        try:
            fills[role] = Color.parse(roles[role])
        except ColorParseError as error:
            why = "not a colour; write for example `#0e1116`, `blue` or `default`"
            raise _bad(path, f"roles.{role}", roles[role], why) from error
    return fills


def _check(path: Traversable, palette: Palette) -> None:
    """Refuse a theme that lacks a role, mixes kinds of colour, or has text that cannot be read."""
    missing = [role for role in (*TEXTS, *SHAPES) if role not in palette.styles]
    missing += [role for role in FILLS if role not in palette.fills]
    if missing:
        raise _bad(path, f"roles.{missing[0]}", None, f"missing ({len(missing)} in all); see `extends`")
    for role in ROLES:
        colour = palette.colour(role)
        if (colour.triplet is None) != palette.ansi:
            kind = "one of the terminal's 16 colours" if palette.ansi else "a colour as #rrggbb"
            why = f"must be {kind} (`ansi: {str(palette.ansi).lower()}`)"
            raise _bad(path, f"roles.{role}", colour.name, why)
    if palette.ansi:
        return
    for role in TEXTS:
        style = palette.style(role)
        ratio = contrast(palette.colour(role), style.bgcolor or palette.fills["background"])
        if ratio < MINIMUM_CONTRAST:
            why = f"too close to its background: contrast {ratio:.1f}, needed {MINIMUM_CONTRAST:g} or more"
            raise _bad(path, f"roles.{role}", palette.colour(role).name, why)

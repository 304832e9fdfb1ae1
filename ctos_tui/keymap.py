"""Keys: the action table and the operator's `keys:` mapping become the bindings of each context."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ctos_tui.actions import ACTIONS, DESK, DIALOG, EVERYWHERE, PANES, PROMPT, STAGED, TYPING, Action
from engine.kernel.errors import ConfigError

_FORBIDDEN: Final[Mapping[str, str]] = {
    "ctrl+b": "tmux uses it as its prefix",
    "ctrl+a": "screen uses it as its prefix",
    "ctrl+s": "it stops the terminal's output",
    "ctrl+q": "it restarts the terminal's output",
    "ctrl+j": "the terminal sends it as Enter",
    "ctrl+z": "it suspends programs",
    "ctrl+h": "the terminal sends it as Backspace",
    "ctrl+i": "the terminal sends it as Tab",
    "ctrl+m": "the terminal sends it as Enter",
    "ctrl+left_square_bracket": "the terminal sends it as Escape",
    "shift+f3": "the terminal's position report looks the same",
}
_MOVES: Final = frozenset(["up", "down", "left", "right", "home", "end", "pageup", "pagedown", "insert", "delete"])
_NAMED: Final = _MOVES | {"backspace", "enter", "tab", "escape", "space"}
_FUNCTION: Final = re.compile(r"^f([1-9]|1[0-2])$")
_CTRL_SIGNS: Final = frozenset({"backslash", "right_square_bracket", "circumflex_accent", "underscore"})
_SYNONYMS: Final[Mapping[str, str]] = {
    "return": "enter",
    "esc": "escape",
    "pgup": "pageup",
    "pgdn": "pagedown",
    "del": "delete",
    "ins": "insert",
    "bs": "backspace",
}
_SIGN_NAMES: Final[Mapping[str, str]] = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_DISPLAY: Final[Mapping[str, str]] = (
    {"question_mark": "?", "pageup": "PgUp", "pagedown": "PgDn"}
    | {name: name.capitalize() for name in ("up", "down", "left", "right", "home", "end", "insert", "delete")}
    | {"backspace": "Backspace", "enter": "Enter", "tab": "Tab", "escape": "Escape", "space": "Space"}
)


class KeymapError(ConfigError):
    """The `keys:` mapping cannot be used.

    Attributes:
        problems: One sentence for each thing that is wrong.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def _sign_name(sign: str) -> str:
    if sign == " ":
        return "space"
    name = unicodedata.name(sign, "").lower().replace("-", "_").replace(" ", "_")
    return _SIGN_NAMES.get(name, name)


_SIGNS: Final = frozenset(_sign_name(chr(code)) for code in range(33, 127) if not chr(code).isalnum())
_CHARACTER_OF: Final = {_sign_name(chr(code)): chr(code) for code in range(33, 127) if not chr(code).isalnum()}


def normalise(chord: str) -> str:
    r"""Return a chord in Textual's names: `:` becomes `colon`, `C-\` `ctrl+backslash`, `F9` `f9`.

    Raises:
        ValueError: The text names no key; the message says what does.
    """
    text = chord.strip()
    if len(text) == 1:
        return text if text.isalnum() else _sign_name(text)
    emacs = re.match(r"^[CM]-(.+)$", text)
    if emacs:
        text = ("ctrl+" if text[0] == "C" else "alt+") + emacs.group(1)
    *modifiers, key = re.split(r"\+(?=.)", text)
    modifiers = [{"control": "ctrl", "meta": "alt"}.get(name.lower(), name.lower()) for name in modifiers]
    if len(key) > 1:
        key = key.lower()
        key = _SYNONYMS.get(key, key)
    elif key and not key.isalnum():
        key = _sign_name(key)
    elif "ctrl" in modifiers:
        key = key.lower()
    unknown = [name for name in modifiers if name not in ("ctrl", "shift", "alt")]
    if unknown or not (len(key) == 1 or key in _NAMED or key in _SIGNS or re.match(r"^f\d+$", key)):
        raise ValueError(f"{chord!r} is not a key; write a character, f1 to f12, a name such as pageup, or ctrl+letter")
    return "+".join([*(name for name in ("ctrl", "alt", "shift") if name in modifiers), key])


def display(chord: str) -> str:
    r"""Return a chord as people write it: `?`, `F9`, `ctrl+\`."""
    *modifiers, key = chord.split("+")
    key = key.upper() if _FUNCTION.match(key) else _DISPLAY.get(key, _CHARACTER_OF.get(key, key))
    return "+".join([*modifiers, key])


def is_printable(chord: str) -> bool:
    """Return whether the chord types a character into a text field."""
    return len(chord) == 1 or chord in _SIGNS or chord == "space"


def unreachable(chord: str) -> str:
    """Return why no ordinary terminal delivers this (normalised) chord to the program; empty when it does."""
    if chord in _FORBIDDEN:
        return _FORBIDDEN[chord]
    *modifiers, key = chord.split("+")
    if "alt" in modifiers:
        return "terminals send Alt in different ways"
    if re.match(r"^f\d+$", key):
        return "" if _FUNCTION.match(key) else "keyboards end at F12"
    if key in _MOVES or (key == "tab" and modifiers == ["shift"]):
        return ""
    if "shift" in modifiers:
        return f"write the character that Shift gives ({key.upper()} instead of shift+{key})"
    if modifiers == ["ctrl"]:
        letter = len(key) == 1 and key.isascii() and key.isalpha()
        return "" if letter or key in _CTRL_SIGNS else "terminals do not send Ctrl with this key"
    plain = (len(key) == 1 and key.isascii() and key.isalnum()) or key in _SIGNS or key in _NAMED
    return "" if plain else "not every keyboard has it"


def _active(action: Action, chord: str, context: str) -> bool:
    """Return whether a chord of an action works in a context."""
    if context in action.contexts:
        return True
    if EVERYWHERE in action.contexts:
        return context not in TYPING or not is_printable(chord)
    return DESK in action.contexts and context not in (*TYPING, EVERYWHERE)


@dataclass(frozen=True, slots=True)
class Keymap:
    """The bindings in force.

    Attributes:
        actions: The action table by id.
        keys: Chords of each action id, in Textual's names.
    """

    actions: Mapping[str, Action]
    keys: Mapping[str, tuple[str, ...]]
    _tables: dict[str, dict[str, Action]] = field(default_factory=dict, repr=False, compare=False)

    def bindings(self, context: str) -> dict[str, Action]:
        """Return what each chord does in a context (a pane's name, `desk`, `staged`, `prompt`, `dialog`)."""
        table = self._tables.get(context)
        if table is None:
            table = {
                chord: action
                for action_id, action in self.actions.items()
                for chord in self.keys[action_id]
                if _active(action, chord, context)
            }
            self._tables[context] = table
        return table

    def lookup(self, chord: str, context: str, *, staged: bool = False) -> Action | None:
        """Return the action of a key press; while an order is staged, its keys go first in every pane."""
        if staged and context not in TYPING:
            own = self.bindings(STAGED).get(chord)
            if own is not None and STAGED in own.contexts:
                return own
        return self.bindings(context).get(chord)

    def label(self, action_id: str) -> str:
        """Return the first chord of an action as people write it; empty when it has none."""
        chords = self.keys[action_id]
        return display(chords[0]) if chords else ""


def _override(
    action_id: str, value: object, actions: Mapping[str, Action], problems: list[str]
) -> tuple[str, ...] | None:
    if action_id not in actions:
        near = _nearest(action_id, actions)
        problems.append(f"keys: {action_id!r} is not an action" + (f"; did you mean {near!r}?" if near else ""))
        return None
    chords: object = [value] if isinstance(value, str) else value
    if isinstance(value, int) and not isinstance(value, bool):
        chords = [str(value)]
    if not isinstance(chords, Sequence) or not all(isinstance(chord, str) for chord in chords):
        problems.append(f'keys: {action_id}: {value!r} is not a key or a list of keys (quote it: "{value}")')
        return None
    names: list[str] = []
    for chord in chords:
        try:
            names.append(normalise(chord))
        except ValueError as error:
            problems.append(f"keys: {action_id}: {error}")
    return tuple(names)


def _nearest(word: str, names: Iterable[str]) -> str:
    return next(iter(difflib.get_close_matches(word, list(names), 1, 0.6)), "")


def _check_chords(action: Action, chords: Sequence[str], problems: list[str]) -> None:
    for chord in chords:
        why = unreachable(chord)
        if why:
            problems.append(f"keys: {action.id}: {display(chord)} cannot be used: {why}")
        elif action.urgent and chord == "escape":
            problems.append(f"keys: {action.id}: Escape cannot be used: it arrives late, and this key is urgent")
        elif action.urgent and is_printable(chord):
            problems.append(
                f"keys: {action.id}: {display(chord)} cannot be used: "
                "it types a character, and this key must work while typing"
            )
    if action.urgent and not chords:
        problems.append(f"keys: {action.id}: it must keep at least one key")


def _check_clashes(keymap: Keymap, problems: list[str]) -> None:
    seen: set[tuple[str, str, str]] = set()
    for context in (*PANES, STAGED, PROMPT, DIALOG):
        taken: dict[str, Action] = {}
        for action_id, action in keymap.actions.items():
            for chord in keymap.keys[action_id]:
                if not _active(action, chord, context):
                    continue
                other = taken.setdefault(chord, action)
                clash = (chord, other.id, action.id)
                if other is not action and clash not in seen:
                    seen.add(clash)
                    problems.append(
                        f"keys: {display(chord)} is bound to both {other.id} and {action.id} (in {context})"
                    )


def build(overrides: Mapping[str, object] | None = None, actions: Sequence[Action] = ACTIONS) -> Keymap:
    """Return the keymap of the action table with the operator's changes.

    Args:
        overrides: Action id to a chord, a list of chords, or an empty list for none.
        actions: The table, one action an id.

    Raises:
        KeymapError: An unknown action, no such key, a forbidden or unreachable chord, or one chord for two
            actions that can both be meant; every problem is named, both sides of a clash.
    """
    table = {action.id: action for action in actions}
    keys = {action.id: action.keys for action in actions}
    problems: list[str] = []
    for action_id, value in (overrides or {}).items():
        chords = _override(action_id, value, table, problems)
        if chords is not None:
            keys[action_id] = chords
    for action in actions:
        _check_chords(action, keys[action.id], problems)
    keymap = Keymap(table, keys)
    _check_clashes(keymap, problems)
    if problems:
        raise KeymapError(problems)
    return keymap

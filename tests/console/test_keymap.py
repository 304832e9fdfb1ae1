from __future__ import annotations

import pytest

from ctos_tui.actions import ACTIONS, CONTEXTS, DESK, PANES, PROMPT, by_id
from ctos_tui.guard.levels import Level
from ctos_tui.keymap import KeymapError, build, display, is_printable, normalise, unreachable


def test_the_default_table_has_no_clash_and_no_forbidden_chord() -> None:
    keymap = build()
    assert len(by_id()) == len(ACTIONS)
    for action in ACTIONS:
        assert action.help and action.title
        assert set(action.contexts) <= set(CONTEXTS)
        assert keymap.keys[action.id], f"{action.id} has no key"


def test_the_keys_of_the_console_page_do_what_it_says() -> None:
    keymap = build()
    expected = {
        ("ladder", "b"): "ladder.buy",
        ("ladder", "B"): "ladder.join_bid",
        ("ladder", "number_sign"): "ladder.size",
        ("ladder", "g"): "ladder.best",
        ("chart", "left_square_bracket"): "chart.shorter",
        ("chart", "i"): "chart.indicators",
        ("markets", "enter"): "markets.show",
        ("markets", "slash"): "markets.filter",
        ("trades", "slash"): "trades.minimum",
        ("positions", "f"): "positions.flatten",
        ("positions", "r"): "positions.reverse",
        ("positions", "g"): "positions.go",
        ("orders", "m"): "orders.amend",
        ("orders", "x"): "orders.cancel",
        ("orders", "X"): "orders.cancel_market",
        ("fills", "enter"): "orders.life",
        ("strategies", "n"): "strategies.new",
        ("strategies", "p"): "strategies.pause",
        ("strategies", "a"): "strategies.amend",
        ("strategies", "t"): "strategies.stop",
        ("anomalies", "k"): "anomalies.acknowledge",
        ("anomalies", "u"): "anomalies.mute",
        ("log", "f"): "log.follow",
        ("log", "y"): "copy",
        ("orders", "A"): "arm.toggle",
        ("orders", "1"): "pane.ladder",
        ("orders", "0"): "pane.log",
        ("orders", "colon"): "prompt.open",
        ("orders", "ctrl+p"): "palette",
        ("orders", "question_mark"): "help",
        ("orders", "q"): "quit",
        ("orders", "o"): "jump",
        ("orders", "z"): "zoom",
    }
    for (context, chord), action_id in expected.items():
        action = keymap.lookup(chord, context)
        assert action is not None and action.id == action_id, (context, chord)


@pytest.mark.parametrize("context", [*PANES, "staged", "prompt", "dialog"])
@pytest.mark.parametrize("chord", ["f9", "ctrl+backslash"])
def test_panic_is_reached_from_everywhere(context: str, chord: str) -> None:
    keymap = build()
    for staged in (False, True):
        action = keymap.lookup(chord, context, staged=staged)
        assert action is not None and action.id == "panic"
        assert action.urgent and action.level is Level.L0 and not action.needs_guard


def test_letters_type_while_text_is_being_typed() -> None:
    keymap = build()
    assert not [chord for chord in keymap.bindings(PROMPT) if is_printable(chord)]
    assert keymap.lookup("q", PROMPT) is None
    assert keymap.lookup("ctrl+c", PROMPT) is not None


def test_a_staged_order_takes_enter_before_the_pane() -> None:
    keymap = build()
    pane, staged = keymap.lookup("enter", "orders"), keymap.lookup("enter", "orders", staged=True)
    assert pane is not None and pane.id == "orders.life"
    assert staged is not None and staged.id == "ticket.send"
    moved = keymap.lookup("up", "ladder", staged=True)
    assert moved is not None and moved.id == "ladder.up"


def test_every_key_that_stages_or_sends_is_guarded() -> None:
    for action in ACTIONS:
        if action.id.startswith(("ladder.buy", "ladder.sell", "ladder.join", "markets.buy", "markets.sell")) or (
            action.id in ("ticket.send", "prompt.submit", "positions.flatten", "positions.reverse", "orders.amend")
        ):
            assert action.needs_guard and action.level is not None and action.level >= Level.L1
        if action.level is Level.L0:
            assert not action.needs_guard


def test_the_operators_keys_replace_the_defaults() -> None:
    keymap = build({"panic": ["F12", r"C-\\".replace("\\\\", "\\")], "zoom": "Z", "pane.ladder": 1, "jump": []})
    assert keymap.keys["panic"] == ("f12", "ctrl+backslash")
    assert keymap.lookup("f9", "ladder") is None
    assert keymap.lookup("Z", "ladder") is not None and keymap.lookup("z", "ladder") is None
    assert keymap.lookup("o", "ladder") is None
    assert keymap.label("panic") == "F12" and keymap.label("jump") == ""


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"zoom": "b"}, ["b is bound to both", "zoom", "ladder.buy", "markets.buy"]),
        ({"zoom": "y"}, ["zoom", "copy"]),
        ({"ticket.send": "q"}, ["ticket.send", "quit"]),
        ({"zoon": "x"}, ["'zoon' is not an action", "'zoom'"]),
        ({"jump": "ctrl+b"}, ["jump", "tmux"]),
        ({"jump": "C-a"}, ["jump", "screen"]),
        ({"jump": "ctrl+s"}, ["output"]),
        ({"jump": "ctrl+q"}, ["output"]),
        ({"jump": "ctrl+j"}, ["Enter"]),
        ({"jump": "ctrl+z"}, ["suspends"]),
        ({"jump": "ctrl+h"}, ["Backspace"]),
        ({"jump": "ctrl+i"}, ["Tab"]),
        ({"jump": "ctrl+m"}, ["Enter"]),
        ({"jump": "ctrl+["}, ["Escape"]),
        ({"jump": "alt+x"}, ["Alt"]),
        ({"jump": "M-x"}, ["Alt"]),
        ({"jump": "shift+a"}, ["A instead of shift+a"]),
        ({"jump": "ctrl+1"}, ["Ctrl"]),
        ({"jump": "ctrl++"}, ["Ctrl"]),
        ({"jump": "ctrl+shift+x"}, ["cannot be used"]),
        ({"jump": "f13"}, ["F12"]),
        ({"jump": "€"}, ["keyboard"]),
        ({"jump": "foo"}, ["'foo' is not a key"]),
        ({"jump": ""}, ["is not a key"]),
        ({"jump": 3.5}, ["3.5", "quote it"]),
        ({"jump": [["a"]]}, ["quote it"]),
        ({"panic": "escape"}, ["Escape cannot be used", "urgent"]),
        ({"panic": "P"}, ["while typing"]),
        ({"panic": []}, ["at least one key"]),
    ],
)
def test_a_bad_mapping_is_refused_naming_what_is_wrong(overrides: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(KeymapError) as caught:
        build(overrides)
    for part in parts:
        assert part in caught.value.message


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(KeymapError) as caught:
        build({"zoon": "x", "jump": "alt+x", "zoom": "b"})
    assert len(caught.value.problems) >= 3


@pytest.mark.parametrize("chord", [":", "?", "#", "/", "+", "-", "[", "A", "f9", "ctrl+p", "C-\\", "PgUp", "shift+tab"])
def test_a_chord_survives_being_shown(chord: str) -> None:
    name = normalise(chord)
    assert normalise(display(name)) == name
    assert unreachable(name) == ""


def test_the_names_are_the_ones_that_textual_sends() -> None:
    keys = pytest.importorskip("textual.keys")
    for code in range(33, 127):
        assert normalise(chr(code)) == keys._character_to_key(chr(code))


def test_desk_keys_work_in_every_pane() -> None:
    keymap = build()
    desk = {chord for action in ACTIONS if DESK in action.contexts for chord in action.keys}
    for pane in PANES:
        assert desk <= set(keymap.bindings(pane))

"""Help: the keys of this pane and of all others, the words of the prompt; all from the tables, searchable."""

from __future__ import annotations

from ctos_tui.action import DESK, DIALOG, EVERYWHERE, PANES, PROMPT, STAGED
from ctos_tui.command.schema import params_of
from ctos_tui.command.verbs import VERBS
from ctos_tui.keymap import Keymap, display
from ctos_tui.panes.cells import Row, Span
from ctos_tui.screens.field_card import SearchCard
from ctos_tui.text import clean

_HEADS = {
    EVERYWHERE: "EVERYWHERE",
    DESK: "ON THE DESK",
    STAGED: "WHILE AN ORDER IS STAGED",
    PROMPT: "IN THE PROMPT",
    DIALOG: "IN A CARD",
}
_KEY_CELLS = 22

SIZES_AND_PRICES = (
    ("0.5   500$   1k$", "size in coins, in quote"),
    ("25%bal   50%pos   $max", "share of the free balance, of the position; the most that passes"),
    ("64000   best   opp   mid", "price as a number; own side, far side, middle"),
    ("bid ask last mark entry", "prices of now"),
    ("best -3t   mid +0.1%", "with an offset in price, per cent or ticks"),
    ("mkt", "market order: must be written, and confirmed by typing the size"),
    ("post reduce ioc fok soft", "how the order behaves"),
)


class HelpCard(SearchCard):
    """Keys and words, those of the present pane first."""

    EMPTY = "nothing in the help holds these words"

    def __init__(self, context: str, topic: str = "") -> None:
        super().__init__("HELP", topic)
        self._pane = context

    def pull(self) -> None:
        """Show what matches."""
        self.set_rows(help_rows(self.host.keymap, self._pane, self.edit.text, self._strategies()), self.query_spans())

    def _strategies(self) -> list[tuple[str, str, str]]:
        """Return each strategy and its parameters as lines of the help."""
        lines = []
        for name, strategy in self.host.port.strategies().items():
            lines.append((name, name, f"{clean(strategy.title)} · run {name} SYMBOL NAME=VALUE ..."))
            for info in params_of(strategy.params_model):
                bounds = f" · {info.bounds}" if info.bounds else ""
                default = f" · default {info.default}" if info.default else ""
                text = f"{clean(info.help)}{bounds}{default}"
                lines.append((f"{name}.{info.name}", f"  {info.name}", text))
        return lines


def help_rows(keymap: Keymap, context: str, search: str, strategies: list[tuple[str, str, str]]) -> list[Row]:
    """Return the rows of the help that hold every word of the search."""
    words = search.lower().split()
    rows: list[Row] = []

    def section(title: str, lines: list[tuple[str, str, str]]) -> None:
        kept = [line for line in lines if all(word in " ".join((title, *line)).lower() for word in words)]
        if not kept:
            return
        if rows:
            rows.append(Row(f"gap {title}", (("", "text"),)))
        rows.append(Row(f"head {title}", ((title, "title"),)))
        for key, left, right in kept:
            spans: tuple[Span, ...] = ((f"  {left} ".ljust(_KEY_CELLS), "key"), (right, "text"))
            rows.append(Row(f"{title} {key}", spans))

    order = [context, STAGED, DESK, EVERYWHERE, *(pane for pane in PANES if pane != context), PROMPT, DIALOG]
    for name in dict.fromkeys(order):
        section(_HEADS.get(name, name.upper()), _keys_of(keymap, name))
        if name == EVERYWHERE:
            section("PROMPT: VERBS", [(verb.name, verb.name, f"{verb.help} · {verb.usage}") for verb in VERBS])
            section("PROMPT: SIZES AND PRICES", [(left, left, right) for left, right in SIZES_AND_PRICES])
    section("STRATEGIES", strategies)
    return rows


def _keys_of(keymap: Keymap, context: str) -> list[tuple[str, str, str]]:
    lines = []
    for action_id, action in keymap.actions.items():
        if context in action.contexts:
            chords = " ".join(display(chord) for chord in keymap.keys[action_id])
            lines.append((action_id, chords or "no key", action.help))
    return lines

"""What a key press or a paste means at this moment: panic first, then the guard, then the action table, then text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from ctos_tui.action import Action
from ctos_tui.actions import DIALOG, PROMPT
from ctos_tui.frame import monotonic
from ctos_tui.guard.keys import KeyGuard
from ctos_tui.keymap import Keymap, display
from ctos_tui.operator import Operator
from ctos_tui.prompt import Prompt
from ctos_tui.session import Session

BEHIND_S: Final = 0.1
"""Keys older than this are behind: more of them wait, and the screen follows once for all."""
_JUMP_LETTERS: Final = "asdfghjklqwertyuiop"


class KeyHost(Protocol):
    """The console, seen from its keys."""

    keymap: Keymap
    session: Session
    operator: Operator
    card: Any

    @property
    def context(self) -> str:
        """Return the context of keys now."""

    @property
    def prompt(self) -> Prompt:
        """Return the prompt line."""

    @property
    def output_behind(self) -> bool:
        """Return whether the screen may show something old."""

    def do_action(self, action_id: str) -> None:
        """Do what an action's key does."""

    def after_key(self) -> None:
        """Show at once what a key changed."""

    def call_later(self, callback: Callable[[], None]) -> bool:
        """Call back when the keys that wait now have been taken."""

    def badges(self) -> list[str]:
        """Return the names of the panes that one can jump to."""

    def set_badge(self, name: str, letter: str) -> None:
        """Show a letter on a pane, or take it away."""

    def activate(self, name: str) -> None:
        """Give a pane the keyboard."""


class KeyPresses:
    """Takes keys before any widget does.

    Args:
        console: What keys act on.
        guard: Drops order keys that may not be meant.

    Attributes:
        jumping: Pane by letter while the operator jumps between panes.
    """

    def __init__(self, console: KeyHost, guard: KeyGuard) -> None:
        self._console = console
        self._guard = guard
        self.jumping: dict[str, str] = {}
        self._shows_later = False

    def question_opened(self) -> None:
        """Tell the guard that something asks."""
        self._guard.dialog_opened(int(monotonic() * 1e9))

    def take_key(self, key: str, character: str | None, read_at: float) -> None:
        """Do what a key means here, or say that it means nothing.

        Args:
            key: The chord in Textual's names.
            character: What it types, if anything.
            read_at: When it was read, seconds of the monotonic clock.
        """
        console = self._console
        context = console.context
        action = console.keymap.lookup(key, context, staged=console.operator.ticket is not None)
        dropped = self._guard.check(
            key,
            int(read_at * 1e9),
            int(monotonic() * 1e9),
            guarded=action is not None and action.needs_guard and self._acts_on_money(action),
            output_behind=console.output_behind,
        )
        if action is not None and action.urgent:
            self._stop_jumping()
            console.do_action(action.id)
        elif dropped:
            console.prompt.dropped = dropped
            console.session.say(dropped, "warn", log=False)
        elif self.jumping:
            self._jump_to(key)
        elif action is not None and not _types(key, character, context):
            console.do_action(action.id)
        else:
            self._plain_key(key, character, context)
        if monotonic() - read_at < BEHIND_S:
            console.after_key()
        elif not self._shows_later:
            self._shows_later = console.call_later(self._show)

    def _show(self) -> None:
        """Show what the keys that came too fast have changed."""
        self._shows_later = False
        self._console.after_key()

    def take_paste(self, text: str) -> None:
        """Put pasted text into the prompt or the card; line breaks in it never send."""
        console = self._console
        flat = " ".join(text.split())
        if console.prompt.is_open:
            console.prompt.edit.insert(flat)
            console.prompt.edited()
        elif console.card is not None:
            console.card.paste(flat)
        else:
            console.session.say("a paste goes only into the prompt: press : first", "warn", log=False)
        console.after_key()

    def _acts_on_money(self, action: Action) -> bool:
        """Return whether Enter in a card sends anything: cards that only show are not guarded."""
        card = self._console.card
        return action.id != "dialog.accept" or (card is not None and card.TRADES)

    def _plain_key(self, key: str, character: str | None, context: str) -> None:
        console = self._console
        if context == PROMPT:
            if console.prompt.edit.press(key, character):
                console.prompt.edited()
        elif context == DIALOG and console.card is not None:
            card = console.card
            console.operator.guarded(lambda: card.press(key, character))
        elif key == "escape":
            console.session.note = None
        else:
            console.session.say(f"{display(key)} does nothing in {context}: ? shows the keys", log=False)

    def start_jump(self) -> None:
        """Show a letter on each pane; the next key goes there."""
        self.jumping = dict(zip(_JUMP_LETTERS, self._console.badges(), strict=False))
        for letter, name in self.jumping.items():
            self._console.set_badge(name, letter)
        self._console.session.say("jump: press the letter of a pane", "accent", log=False)

    def _stop_jumping(self) -> None:
        for name in self.jumping.values():
            self._console.set_badge(name, "")
        self.jumping = {}

    def _jump_to(self, key: str) -> None:
        target = self.jumping.get(key)
        self._stop_jumping()
        self._console.session.note = None
        if target is not None:
            self._console.activate(target)


def _types(key: str, character: str | None, context: str) -> bool:
    """Return whether a bound key is meant as text where text is typed."""
    return context in (PROMPT, DIALOG) and character is not None and character.isprintable() and len(key) == 1

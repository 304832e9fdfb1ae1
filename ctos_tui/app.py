"""The console: joins session, operator, keys, panes and the terminal. No trading logic is here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
from textual.screen import Screen

from ctos_tui.actions import DIALOG, PANES, PROMPT
from ctos_tui.command.desk import Desk
from ctos_tui.command.history import load as load_history
from ctos_tui.command.intents import CancelOrders, OrderIntent
from ctos_tui.frame import Pace
from ctos_tui.guard.arming import Trigger
from ctos_tui.guard.keys import KeyGuard
from ctos_tui.key_presses import KeyPresses
from ctos_tui.keymap import build
from ctos_tui.operator import Operator
from ctos_tui.outcome import Outcome
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Spans
from ctos_tui.panes.rows import Rows
from ctos_tui.port import Port
from ctos_tui.prompt import Prompt, PromptMode, Reading
from ctos_tui.screens.card import Card
from ctos_tui.screens.desk import DeskScreen
from ctos_tui.terminal.app import TerminalApp
from ctos_tui.terminal.device import TerminalDevice
from ctos_tui.theme import choose_theme, load_theme, theme_names
from ctos_tui.ticket import Ticket
from ctos_tui.workplace import Workplace
from engine.io.settings import OnStop

_LARGE = ("ladder", "ladder2", "chart", "markets", "trades", "orders", "log", "strategies")
_LOOK_HZ = 2
_SLOW_TRIP_S = 2.0


class ConsoleApp(TerminalApp[None]):
    """The console of one account.

    Args:
        port: The system.
        workplace: What the operator left on the screen before; a new one when not given.
        theme: Name of the theme, as the command line says it.
        device: The terminal; the one this process was started on when not given.
        stop_policy: What becomes of resting orders when the operator leaves.
        pace: Frame rate; adaptive when not given.
        guard: Watches order keys.
        strict: A pane that cannot be painted ends the console (for tests); else it is said and tried again.

    Attributes:
        first_frame: Set once the first frame has been painted.
        outcome: Why the screen ended.
        quit_policy: What the operator who quit wants to become of resting orders.

    Raises:
        ConfigError: The theme or the operator's keys cannot be used.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self,
        port: Port,
        workplace: Workplace | None = None,
        *,
        theme: str | None = None,
        device: TerminalDevice | None = None,
        stop_policy: OnStop = "keep",
        pace: Pace | None = None,
        guard: KeyGuard | None = None,
        strict: bool = False,
    ) -> None:
        settings = port.settings
        name = choose_theme(theme, settings.theme)
        super().__init__(load_theme(name, settings.themes_dir), pace or Pace(max_fps=settings.fps), device)
        self.port = port
        self.keymap = build(settings.keys)
        self.keys = KeyPresses(self, guard or KeyGuard())
        self.workplace = workplace or Workplace.at(port)
        self.session = self.workplace.session
        self.session.now = lambda: int(self.frames.now() * 1e9)
        self.feed = self.session.feed
        self.session.themes = tuple(theme_names(settings.themes_dir))
        self.operator = Operator(self.session, self)
        self.workplace.news.bell = self.bell
        self.workplace.news.panic_hint = self.operator.panic_hint
        self.stop_policy = stop_policy
        self.quit_policy = stop_policy
        self.outcome = Outcome.FAILED
        self.first_frame = asyncio.Event()
        self._is_built = False
        self._is_filled = False
        self.active = "ladder"
        self.card: Card | None = None
        self._strict = strict
        self._failed: dict[str, str] = {}

    def get_default_screen(self) -> Screen[Any]:
        """Give the desk."""
        return DeskScreen(self.port.settings.layout)

    @property
    def desk_screen(self) -> DeskScreen:
        """Return the desk."""
        screen = self.screen_stack[0]
        assert isinstance(screen, DeskScreen)
        return screen

    @property
    def prompt(self) -> Prompt:
        """Return the prompt line."""
        return self.operator.prompt

    @property
    def ticket(self) -> Ticket | None:
        """Return the staged order."""
        return self.operator.ticket

    @property
    def lag_ms(self) -> float:
        """Return how late the loop runs, 99th percentile of the last seconds."""
        return self.lag.percentile() * 1000

    @property
    def context(self) -> str:
        """Return the context of keys now."""
        if self.prompt.is_open:
            return PROMPT
        if self.card is not None:
            return DIALOG
        return self.active_pane.CONTEXT

    @property
    def active_pane(self) -> Pane:
        """Return the pane that has the keyboard."""
        return self.desk_screen.pane(self.active)

    def desk_ready(self) -> None:
        """Give every pane its turns, then show the first frame; the desk calls it once its panes exist."""
        self._is_built = True
        if self.outcome is not Outcome.FAILED:
            self.exit()
            return
        self.session.history, trouble = (
            load_history(self.port.settings.history) if self.port.settings.history else (self.session.history, "")
        )
        if trouble:
            self.feed.say(trouble, "warn")
        for pane in self.desk_screen.panes():
            name = str(pane.id)
            self.frames.add(name, pane.HZ, pane.pull, visible=self._visible(pane), large=name in _LARGE)
        self.frames.add("session", _LOOK_HZ, self.look, large=False, steady=True)
        self.session.on_focus = self._repaint
        self.look()
        self.activate(self.active)
        self.gate.close()  # nothing is painted before the panes have said what they know
        self.call_after_refresh(self._after_first_frame)

    def _visible(self, pane: Pane) -> Callable[[], bool]:
        return lambda: pane.showing

    def _after_first_frame(self) -> None:
        self._repaint()
        self.gate.open()
        self.call_after_refresh(self._await_frame)

    def _await_frame(self) -> None:
        self._is_filled = True
        # There is a frame to come even when nothing has changed since the last one.
        self.desk_screen.pane("status").refresh()

    def post_display_hook(self) -> None:
        """Take note of the first frame that shows what the panes have to say."""
        super().post_display_hook()
        if self._is_filled:
            self.first_frame.set()

    def look(self) -> None:
        """Keep the session in step with the system and the terminal."""
        self.session.look()
        trip = self.link.round_trip(self.frames.now())
        if trip is not None and trip > _SLOW_TRIP_S:
            self.session.lock_hand(Trigger.SLOW_TERMINAL)

    def on_app_blur(self) -> None:
        """Paint less, and disarm where the account asks for it."""
        super().on_app_blur()
        self.session.lock_hand(Trigger.FOCUS_LOST)

    def terminal_resumed(self) -> None:
        """Draw all anew after the front was stopped, and disarm where the account asks for it."""
        super().terminal_resumed()
        self.session.lock_hand(Trigger.RESUMED)

    def on_pane_error(self, name: str, error: Exception) -> None:
        """Say that a pane cannot be painted, once for each reason; the others go on."""
        if self._strict:
            raise error
        text = f"{name} cannot be painted: {type(error).__name__}: {error}"
        if self._failed.get(name) != text:
            self._failed[name] = text
            self.session.say(text, "danger")

    def leave(self, outcome: Outcome) -> None:
        """Leave the screen; the first reason counts. One that is still being built is left as soon as it stands."""
        if self.outcome is Outcome.FAILED:
            self.outcome = outcome
            if self._is_built:
                self.exit()

    def quit(self, policy: OnStop) -> None:
        """Leave the screen and end the program."""
        self.quit_policy = policy
        self.leave(Outcome.QUIT)

    def detach(self) -> None:
        """Leave the screen; the engine goes on."""
        self.leave(Outcome.DETACHED)

    def on_terminal_lost(self, where: str) -> None:
        """Leave the screen: the terminal is gone."""
        self.leave(Outcome.LOST)

    async def on_event(self, event: events.Event) -> None:
        """Take keys and pastes before any widget, so that nothing can hold the panic key back."""
        if not self.first_frame.is_set():
            # What is typed before anything shows is not meant for it, but for the panic key.
            if isinstance(event, events.Key) and event.key in self.keymap.keys["panic"]:
                self.operator.panic()
            await super().on_event(event)
        elif isinstance(event, events.Key) and not event.is_forwarded:
            self.app_focus = True
            self.keys.take_key(event.key, event.character, event.time)
        elif isinstance(event, events.Paste) and not event.is_forwarded:
            self.keys.take_paste(event.text)
        else:
            await super().on_event(event)

    def after_key(self) -> None:
        """Show at once what a key changed."""
        screen = self.desk_screen
        prompt = self.prompt
        count = 0
        if prompt.mode is PromptMode.LINE:
            count = len(prompt.complete(self.operator.desk(), self.session.vocabulary()).candidates)
        if count != screen.candidates:
            screen.candidates = count
            screen.lay_out()
        for name in ("status", "tabs", "preview", "prompt", "completions", self.active):
            self._pull(screen.pane(name))
        if self.card is not None and self.card.is_attached:
            self.card.pull()

    def _pull(self, pane: Rows) -> None:
        try:
            pane.pull()
        except Exception as error:
            self.on_pane_error(str(pane.id), error)

    def _repaint(self) -> None:
        self.frames.paint_all()

    def do_action(self, action_id: str) -> None:
        """Do what an action's key does, here and now."""
        handler = self.handlers().get(action_id)
        if handler is None:
            action = self.keymap.actions[action_id]
            where = ", ".join(action.contexts)
            self.session.say(f"{action.title}: go to {where} first", "warn", log=False)
            return
        self.operator.guarded(handler)

    def run_anywhere(self, action_id: str) -> None:
        """Do an action, going first to the pane that owns it."""
        contexts = self.keymap.actions[action_id].contexts
        if self.active_pane.CONTEXT not in contexts:
            owner = next((name for name in contexts if name in PANES), None)
            if owner is not None:
                self.activate(owner)
        self.do_action(action_id)

    def handlers(self) -> Actions:
        """Return what can be done now, by action id."""
        from ctos_tui.screens.desk_actions import desk_actions

        return desk_actions(self) | dict(self.active_pane.actions())

    def activate(self, name: str) -> None:
        """Give a pane the keyboard, bringing it to the front where needed."""
        screen = self.desk_screen
        screen.bring(name)
        if screen.plan.root is None and self.first_frame.is_set():
            self.session.say("the terminal is too small for panes: make it at least 60×16", "warn", log=False)
            return
        old, self.active = self.active, name
        if old != name:
            screen.pane(old).on_blur()
        pane = screen.pane(name)
        # A tab that was hidden has no rows yet, and the first of them is to be selected.
        self._pull(pane)
        screen.set_focus(pane, scroll_visible=False)
        pane.on_focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Follow the pointer: a clicked pane gets the keyboard."""
        if isinstance(event.widget, Pane) and event.widget.id != self.active:
            self.active = str(event.widget.id)

    def badges(self) -> list[str]:
        """Return the names of the panes that one can jump to."""
        return [name for name in self.desk_screen.shown if self.desk_screen.pane(name).can_focus]

    def set_badge(self, name: str, letter: str) -> None:
        """Show a letter on a pane, or take it away."""
        pane = self.desk_screen.pane(name)
        pane.view.badge = letter
        pane.repaint_changed()

    def zoom(self) -> None:
        """Give the active pane the whole desk, or back."""
        screen = self.desk_screen
        if screen.plan.root is None:
            return
        screen.zoomed = "" if screen.zoomed else self.active
        screen.lay_out()

    def open_card(self, card: object) -> None:
        """Lay a card over the desk."""
        assert isinstance(card, Card)
        self._remove_card()
        self.card = card
        self.desk_screen.mount(card)
        card.view.focused = True
        self.frames.add("card", 4, card.pull, visible=lambda: card.showing)
        self.keys.question_opened()

    def card_needs(self, rows: int) -> None:
        """Make room for so many rows of the card."""
        screen = self.desk_screen
        if rows != screen.card_rows:
            screen.card_rows = rows
            screen.lay_out()

    def close_card(self) -> None:
        """Take the card away."""
        self._remove_card()

    def _remove_card(self) -> None:
        if self.card is not None:
            self.frames.remove("card")
            self.card.remove()
            self.card = None

    clear_cards = close_card

    def question_opened(self) -> None:
        """Tell the key guard that something asks."""
        self.keys.question_opened()

    def stage(self, intent: OrderIntent, typed: str = "") -> None:
        """Stage an order; it is sent by Enter."""
        self.operator.stage(intent, typed)

    def drop_ticket(self) -> None:
        """Drop the staged order."""
        self.operator.drop()

    def cancel_now(self, intent: CancelOrders) -> None:
        """Cancel orders at once."""
        self.operator.cancel_now(intent)

    def open_prompt(self, text: str = "") -> None:
        """Open the command prompt with a line begun."""
        self.prompt.open(text)

    def ask(self, question: str, on_answer: Callable[[str], None], text: str = "") -> None:
        """Ask for one line of text."""
        self.prompt.ask(question, on_answer, text)

    def run_line(self, line: str) -> None:
        """Do what a line of the prompt says; orders are staged."""
        self.operator.run_line(line)

    def reading(self) -> Reading | None:
        """Return what the typed line means now."""
        return self.operator.reading()

    def desk(self) -> Desk:
        """Return the desk of this moment."""
        return self.operator.desk()

    def ticket_preview(self) -> Spans:
        """Return the preview of the staged order."""
        return self.operator.ticket_preview()

    def card_hint(self) -> Spans:
        """Return what the open card says, nothing when none is open."""
        return self.card.hint() if self.card is not None else ()

    def tab_names(self) -> tuple[tuple[str, ...], str]:
        """Return the panes that share the largest place, and the one in front."""
        return self.desk_screen.tab_names()

    def preview_needs(self, lines: int) -> None:
        """Make room for so many lines of preview."""
        screen = self.desk_screen
        if lines != screen.preview_lines:
            screen.preview_lines = lines
            screen.lay_out()

    def show_market(self, symbol: str) -> None:
        """Focus a market in every pane."""
        self.session.show(symbol)

    def use_theme(self, name: str) -> None:
        """Change the colours at once."""
        wanted = {"light": "ctos-light", "dark": "ctos-dark"}.get(name, name)
        self.use_palette(load_theme(wanted, self.port.settings.themes_dir))
        self.screen.refresh(repaint=True, recompose=False)
        for pane in self.screen.query(Rows):
            pane.refresh()

    def show_help(self, topic: str) -> None:
        """Open the help."""
        from ctos_tui.screens.help import HelpCard

        self.open_card(HelpCard(self.active_pane.CONTEXT, topic))

    def ask_quit(self) -> None:
        """Say what rests and what will happen, before leaving."""
        from ctos_tui.screens.questions import QuitQuestion

        self.open_card(QuitQuestion())

    def copy_row(self) -> None:
        """Copy the selected row by OSC 52."""
        text = self.active_pane.copy_text()
        if text:
            self.copy_to_clipboard(text)
            self.session.say(f"copied: {text}", log=False)
        else:
            self.session.say("no row is selected: move with the arrows first", "warn", log=False)

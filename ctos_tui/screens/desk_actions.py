"""What the actions of the whole desk, the prompt, the staged order and the cards do, by action id."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ctos_tui.actions import PANES
from ctos_tui.prompt import PromptMode

if TYPE_CHECKING:
    from ctos_tui.app import ConsoleApp


def desk_actions(app: ConsoleApp) -> dict[str, Callable[[], None]]:
    """Return the handlers of every action that no pane owns."""
    operator = app.operator
    found: dict[str, Callable[[], None]] = {
        "panic": operator.panic,
        "quit": lambda: _quit(app),
        "detach": app.detach,
        "palette": lambda: _palette(app),
        "help": lambda: app.show_help(""),
        "prompt.open": lambda: app.open_prompt(),
        "arm.toggle": operator.toggle_arm,
        "focus.next": lambda: _cycle(app, 1),
        "focus.previous": lambda: _cycle(app, -1),
        "jump": app.keys.start_jump,
        "zoom": app.zoom,
        "copy": app.copy_row,
        "ticket.send": operator.send_ticket,
        "ticket.drop": operator.drop,
    }
    found |= {f"pane.{name}": _going(app, name) for name in PANES}
    return found | _prompt_actions(app) | _card_actions(app)


def _going(app: ConsoleApp, name: str) -> Callable[[], None]:
    return lambda: app.activate(name)


def _cycle(app: ConsoleApp, step: int) -> None:
    """Go to the next pane that shows; where panes are tabs, to the next tab."""
    screen = app.desk_screen
    order = [name for name in screen.plan.panes() if screen.pane(name).can_focus]
    if not order:
        return
    at = order.index(app.active) if app.active in order else -1
    app.activate(order[(at + step) % len(order)])


def _quit(app: ConsoleApp) -> None:
    if app.prompt.is_open:
        app.prompt.close()
    app.ask_quit()


def _palette(app: ConsoleApp) -> None:
    from ctos_tui.screens.palette import PaletteCard

    app.prompt.close()
    app.open_card(PaletteCard())


def _prompt_actions(app: ConsoleApp) -> dict[str, Callable[[], None]]:
    prompt = app.prompt

    def close() -> None:
        if prompt.mode is PromptMode.CONFIRM and app.ticket is not None:
            app.operator.ticket = None
            app.session.say("not sent", log=False)
        prompt.close()

    def complete() -> None:
        if not prompt.accept():
            app.session.say("nothing to complete here", log=False)

    def walk(found: str | None) -> None:
        if found is not None:
            prompt.edit.set(found)
            prompt.edited()

    def newer() -> None:
        walk(app.session.history.newer(prompt.edit.text))

    def older() -> None:
        walk(app.session.history.older(prompt.edit.text))

    return {
        "prompt.submit": app.operator.submit,
        "prompt.complete": complete,
        "prompt.next": prompt.next,
        "prompt.older": older,
        "prompt.newer": newer,
        "prompt.close": close,
    }


def _card_actions(app: ConsoleApp) -> dict[str, Callable[[], None]]:
    card = app.card
    if card is None:
        return {}
    return {
        "dialog.close": app.close_card,
        "dialog.accept": card.accept,
        "dialog.next": lambda: card.step(1),
        "dialog.previous": lambda: card.step(-1),
    }

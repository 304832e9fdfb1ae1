"""What panes and cards may ask of the console as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ctos_tui.command.intents import CancelOrders, OrderIntent
from ctos_tui.feed import Feed
from ctos_tui.keymap import Keymap
from ctos_tui.port import Port
from ctos_tui.session import Session
from ctos_tui.ticket import Ticket
from engine.io.settings import OnStop


class Host(Protocol):
    """The console, seen from a pane or a card."""

    session: Session
    port: Port
    feed: Feed
    keymap: Keymap
    ticket: Ticket | None
    stop_policy: OnStop

    def stage(self, intent: OrderIntent, typed: str = "") -> None:
        """Stage an order; it is sent by Enter."""

    def drop_ticket(self) -> None:
        """Drop the staged order."""

    def cancel_now(self, intent: CancelOrders) -> None:
        """Cancel orders at once."""

    def open_prompt(self, text: str = "") -> None:
        """Open the command prompt with a line begun."""

    def ask(self, question: str, on_answer: Callable[[str], None], text: str = "") -> None:
        """Ask for one line of text."""

    def open_card(self, card: object) -> None:
        """Lay a card over the desk."""

    def card_needs(self, rows: int) -> None:
        """Make room for so many rows of the card."""

    def close_card(self) -> None:
        """Take the card away."""

    def quit(self, policy: OnStop) -> None:
        """Leave the screen and end the program."""

    def detach(self) -> None:
        """Leave the screen; the engine goes on."""

    def show_market(self, symbol: str) -> None:
        """Focus a market in every pane."""

    def do_action(self, action_id: str) -> None:
        """Do what an action's key does."""

    def run_anywhere(self, action_id: str) -> None:
        """Do an action, going first to the pane that owns it."""

    def run_line(self, line: str) -> None:
        """Do what a line of the prompt says."""

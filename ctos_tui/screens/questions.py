"""Questions before something ends: leaving the console, stopping a strategy. The first choice changes nothing."""

from __future__ import annotations

from typing import Final

from ctos_tui.host import Host
from ctos_tui.numbers import by_step
from ctos_tui.panes.cells import Row, Span
from ctos_tui.panes.describe import short_symbol
from ctos_tui.screens.card import BLANK, Card, paragraph
from engine.io.settings import OnStop
from engine.kernel.strategy import StopPolicy
from engine.runtime.accounts import Mode

_SHORT: Final[dict[OnStop, str]] = {"keep": "resting orders stay", "cancel": "cancels all but stops"}
_OTHER: Final[dict[OnStop, OnStop]] = {"keep": "cancel", "cancel": "keep"}


class Question(Card):
    """A text and choices; Enter takes the marked one, the first choice is harmless."""

    TRADES = True

    def choices(self) -> list[tuple[str, str, str]]:
        """Return the choices: key, words, what happens."""
        return []

    def text(self, cells: int) -> list[Row]:
        """Return what stands above the choices."""
        return []

    def chosen(self, key: str) -> None:
        """Do what a choice says."""

    def pull(self) -> None:
        """Show text and choices."""
        rows = [*self.text(self.row_width), Row("blank", BLANK)]
        for key, words, effect in self.choices():
            spans: list[Span] = [(f"  {words.ljust(26)}", "bright"), (effect, "dim")]
            rows.append(Row(f"choice {key}", tuple(spans)))
        first = self.view.key is None
        self.set_rows(rows)
        if first and self.choices():
            self.select(f"choice {self.choices()[0][0]}")

    def action_row_move(self, delta: int) -> None:
        """Move between the choices only."""
        keys = [f"choice {key}" for key, _, _ in self.choices()]
        at = keys.index(str(self.view.key)) if self.view.key in keys else 0
        self.select(keys[min(max(0, at + delta), len(keys) - 1)])

    def press(self, key: str, character: str | None) -> bool:
        """Take a move, or the first letter of a choice as a mark on it."""
        for name, words, _ in self.choices():
            if character is not None and words.lower().startswith(character.lower()):
                return self.select(f"choice {name}")
        return super().press(key, character)

    def accept(self) -> None:
        """Take the marked choice."""
        key = str(self.view.key or "").removeprefix("choice ")
        self.host.close_card()
        self.chosen(key)


class QuitQuestion(Question):
    """Says what rests and what will happen to it."""

    TITLE = "LEAVE THE CONSOLE?"

    def text(self, cells: int) -> list[Row]:
        """Return what rests, what is held and what runs."""
        port = self.host.port
        quote = port.account.default_quote
        orders = port.working_orders()
        positions = [row for row in port.positions() if row.quantity]
        running = [row for row in port.instances() if row.state not in ("stopped",)]
        where = f"leaving {_effect(self.host, self.host.stop_policy)}; on_stop in ctos.yaml decides"
        rows: list[Row] = []

        def say(key: str, head: str, items: list[str], tail: str) -> None:
            text = f"{head}: {', '.join(items[:6])}{' …' if len(items) > 6 else ''}" if items else f"{head}: none"
            rows.extend(paragraph(key, text, cells, "bright" if items else "label"))
            if items:
                rows.extend(paragraph(f"{key} tail", tail, cells, "label", 2))

        said = [
            f"#{o.label} {o.side.value} {o.remaining.normalize():f} {short_symbol(o.symbol, quote)}" for o in orders
        ]
        say("orders", f"Resting orders {len(orders)}", said, where)
        held = []
        for row in positions:
            instrument = port.instruments.get(row.symbol)
            size = by_step(row.quantity, instrument.lot_size if instrument is not None else row.quantity)
            held.append(f"{short_symbol(row.symbol, quote)} {size}")
        say(
            "positions",
            f"Positions {len(held)}",
            held,
            "they stay open, and nobody watches them while the program is stopped",
        )
        names = [f"{row.name} {row.state}" for row in running]
        say(
            "strategies",
            f"Strategies {len(names)}",
            names,
            "leaving saves them, and they come back at the next start; detaching lets them trade on",
        )
        return rows

    def choices(self) -> list[tuple[str, str, str]]:
        """Return stay, leave as configured, leave the other way, and detach."""
        policy = self.host.stop_policy
        other = _OTHER[policy]
        words = {"keep": "Keep orders and leave", "cancel": "Cancel orders and leave"}
        return [
            ("stay", "Stay", "go on"),
            (policy, "Leave", _SHORT[policy]),
            (other, words[other], _SHORT[other]),
            ("detach", "Detach", "strategies trade on"),
        ]

    def chosen(self, key: str) -> None:
        """Stay, leave or detach."""
        if key == "detach":
            self.host.detach()
        elif key in _OTHER:
            self.host.quit("cancel" if key == "cancel" else "keep")


def _effect(host: Host, policy: OnStop) -> str:
    """Return what leaving does to resting orders."""
    if policy == "cancel":
        return "cancels resting orders, but for protective stops"
    if host.port.account.mode is Mode.PAPER:
        return "keeps orders: they meet the market again at the next start"
    return "keeps orders at the venue, where they can fill meanwhile"


class StopQuestion(Question):
    """Asks what happens to the orders and the position of a strategy that stops."""

    def __init__(self, instance: str) -> None:
        super().__init__(title=f"STOP {instance}?")
        self._instance = instance

    def text(self, cells: int) -> list[Row]:
        """Return what the strategy has now."""
        row = next((row for row in self.host.port.instances() if row.name == self._instance), None)
        if row is None:
            return paragraph("gone", "it has gone already", cells)
        held = f"{row.open_orders} orders, {row.notional:,.0f} $ held, profit {row.profit:+,.2f} $"
        return paragraph("now", f"{row.strategy} is {row.state}: {held}", cells)

    def choices(self) -> list[tuple[str, str, str]]:
        """Return the policies."""
        default = self.host.port.params(self._instance).stop_policy
        mark = {policy: " (its own policy)" if policy is default else "" for policy in StopPolicy}
        return [
            ("no", "Do not stop", "go on"),
            ("cancel", "Cancel orders", "keep the position" + mark[StopPolicy.CANCEL]),
            ("flatten", "Flatten", "cancel orders and close the position" + mark[StopPolicy.FLATTEN]),
            ("keep", "Keep everything", "orders and position stay as they are" + mark[StopPolicy.KEEP]),
        ]

    def chosen(self, key: str) -> None:
        """Stop with the policy."""
        if key not in ("no", ""):
            word = {"cancel": "cancel", "flatten": "flat", "keep": "keep"}[key]
            self.host.run_line(f"halt {self._instance} {word}")

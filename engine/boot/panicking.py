"""Follows a halt that another shell asked for, until the venue has confirmed that nothing of ours rests.

What is told is for people: one line for each step, and at the end each order that could not be confirmed, with all
that is needed to find it at the venue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from engine.kernel.orders import Order
from engine.runtime.events import PanicProgress, PositionChanged
from engine.runtime.panic import PanicReport
from engine.runtime.trading_state import TradingMode

if TYPE_CHECKING:
    from engine.boot.system import System

LIMIT_S = 75.0
"""How long confirmation is waited for; the engine goes on cancelling after that."""


class PanicOrder(msgspec.Struct, frozen=True):
    """What `panic` asks.

    Attributes:
        reason: Why, in the person's words.
        flatten: Whether positions are closed as well.
    """

    reason: str = ""
    flatten: bool = False


class PanicNews(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of what becomes of it; `confirmed` counts in the last one.

    Attributes:
        level: info, warn or error.
    """

    text: str
    level: str = "info"
    confirmed: bool = False


class PanicFollower:
    """Halts an account and tells what becomes of it.

    Args:
        system: A started system.
        tell: Takes each line but the last.
        finish: Takes the last line.
        ends: Whether the system ends with the last line.
    """

    def __init__(
        self,
        system: System,
        tell: Callable[[PanicNews], object],
        finish: Callable[[PanicNews], object],
        ends: bool = False,
    ) -> None:
        self._system = system
        self._engine = system.engine
        self._tell = tell
        self._finish = finish
        self._ends_with_it = ends
        self._told: dict[str, str] = {}
        self._flatten = False
        self._ends: list[Callable[[], object]] = []

    def begin(self, who: str, order: PanicOrder) -> None:
        """Close the gate now, then cancel and follow.

        Raises:
            CtosError: The positions cannot be closed; the account is halted all the same.
        """
        engine, account = self._engine, self._system.account
        before = engine.trading.status
        already = " already" if before.mode is TradingMode.HALTED and before.who != who else ""
        report = engine.panic(who, order.reason or "panic")
        self._say(f"gate closed{already}: {account.key} is halted by {engine.trading.status.cause}")
        self._flatten = order.flatten
        if order.flatten:
            closing = len(engine.flatten_all(who))
            self._say(f"flattening {closing} position{'' if closing == 1 else 's'}, reduce-only; stops go as well")
        else:
            for kept in self._orders(report.kept):
                whose = " that only the engine watches" if kept.held else ""
                self._say(f"kept, a reduce-only stop{whose}: {describe(kept)}")
        self._name_all(report.external, "not ours, untouched")
        unsubscribe = [
            self._system.bus.subscribe(PanicProgress, lambda _: self._look()),
            self._system.bus.subscribe(PositionChanged, lambda _: self._look()),
        ]
        timer = asyncio.get_running_loop().call_later(LIMIT_S, self._give_up)
        self._ends = [*unsubscribe, timer.cancel]
        self._look()

    def stop(self) -> None:
        """Follow no more; the halt goes on."""
        ends, self._ends = self._ends, []
        for end in ends:
            end()

    def _look(self) -> None:
        report = self._engine.panic_switch.report
        if report is None or not self._ends:
            return
        asked, left = len(report.asked), len(report.unconfirmed)
        self._once("cancelled", f"{asked - left} of {asked} orders cancelled" if asked else "no order of ours works")
        if report.clear_looks == 1:
            self._once("looks", "the venue shows none of them; looking a second time")
        if report.error:
            self._once("error", f"the venue cannot be asked: {report.error}", "warn")
        positions = self._positions()
        if report.confirmed and not (self._flatten and positions):
            done = f"confirmed: none of our orders rests at {report.venue}, looked at twice; {asked} cancelled"
            self._end(done, positions, True)

    def _give_up(self) -> None:
        report = self._engine.panic_switch.report
        assert report is not None
        for order in self._orders(report.unconfirmed):
            self._say(f"NOT CONFIRMED cancelled: {describe(order)}", "error")
        positions = self._positions()
        if self._flatten:
            for line in positions:
                self._say(f"NOT CLOSED: {line}", "error")
        why = self._unclear(report)
        after = "the engine goes on trying"
        if self._ends_with_it:
            after = self._system.cover.leave(self._orders(report.unconfirmed))
        text = f"not confirmed within {LIMIT_S:g} s: {why}; {after}, look at the venue yourself"
        self._end(text, positions, False)

    def _unclear(self, report: PanicReport) -> str:
        if report.unconfirmed:
            return f"{len(report.unconfirmed)} of {len(report.asked)} orders may still rest at {report.venue}"
        if not report.confirmed:
            so_far = report.error or f"{report.clear_looks} clear look{'' if report.clear_looks == 1 else 's'} so far"
            return f"{report.venue} could not be asked twice whether any order rests ({so_far})"
        return "positions are not closed"

    def _end(self, text: str, positions: list[str], confirmed: bool) -> None:
        self.stop()
        if not self._flatten:
            for line in positions:
                self._say(f"position left: {line}", "warn")
        for order in self._engine.tracker.working() if self._ends_with_it else ():
            if order.held:
                text = "does not work while no engine runs: the venue does not know this stop"
                self._say(f"{text}: {describe(order)}", "warn")
        self._say(f"halted until a person releases it in the console: rearm {self._system.account.name} REASON")
        self._finish(PanicNews(text, "info" if confirmed else "error", confirmed))

    def _positions(self) -> list[str]:
        """Return what the account still holds; spot holdings are balances and no risk of their own to close here."""
        return [f"{row.symbol} {row.quantity:+f}" for row in self._engine.portfolio.positions() if row.quantity]

    def _name_all(self, labels: list[int], what: str) -> None:
        for order in self._orders(labels):
            self._say(f"{what}: {describe(order)}")

    def _orders(self, labels: list[int]) -> list[Order]:
        found = [self._engine.tracker.by_label(label) for label in labels]
        return [order for order in found if order is not None]

    def _once(self, topic: str, text: str, level: str = "info") -> None:
        if self._told.get(topic) != text:
            self._told[topic] = text
            self._say(text, level)

    def _say(self, text: str, level: str = "info") -> None:
        self._tell(PanicNews(text, level))


def describe(order: Order) -> str:
    """Return an order in one line, with the ids under which the venue may know it."""
    price = order.price if order.price is not None else order.trigger_price
    at = f" at {price:f}" if price is not None else ""
    who = "" if order.external else f", {order.instance}"
    ids = f"client id {order.client_id}, venue id {order.venue_order_id or 'not known'}"
    return (
        f"#{order.label} {order.symbol} {order.side.value} {order.remaining:f}{at} {order.type.value}{who}, "
        f"{order.state.value}, {ids}"
    )

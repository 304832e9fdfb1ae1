"""Closing everything by hand, slice by slice, never more than the venue says is there.

Each round asks the venue what is held, and sends for every instrument one reduce-only order, a market order with its
price cap, of at most the largest order that the account allows. It ends when nothing is left that can be sold or
bought back, and says what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.account import Balance, Position
from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError
from engine.kernel.orders import Order, Side
from engine.runtime.core import EngineCore
from engine.runtime.shell import Shell

ROUND_S = 1.0
TRIES = 10
"""Rounds without any progress after which an instrument is given up."""
ORDER_LIFE_NS = 10 * NS_PER_S
WORTH_NAMING_USD = Decimal(1)
ZERO = Decimal(0)

Submit = Callable[[str, Side, Decimal], str]
"""Sends a reduce-only market order by hand for (symbol, side, base coins) and returns its client id."""


@dataclass(slots=True)
class _Closing:
    """One instrument: its order in flight, rounds without progress, and why the last one failed."""

    client_id: str = ""
    held: Decimal = ZERO
    tries: int = 0
    error: str = ""


class Flattener:
    """Closes the account's positions.

    Args:
        core: The engine's shared parts.
        submit: Sends a reduction.
        cancel: Cancels an order, for a reason.
        shell: Runs the looks at the venue.
    """

    def __init__(self, core: EngineCore, submit: Submit, cancel: Callable[[str, str], None], shell: Shell) -> None:
        self._core = core
        self._submit = submit
        self._cancel = cancel
        self._shell = shell
        self._closing: dict[str, _Closing] = {}
        self._given_up: dict[str, str] = {}
        self._balances: Sequence[Balance] = ()
        self._timer: TimerHandle | None = None

    def start(self, who: str) -> list[str]:
        """Begin to close everything that is held and can be traded; return the symbols."""
        self.stop()
        held = [row.symbol for row in self._core.portfolio.positions() if row.quantity]
        listed = self._core.market.is_listed
        self._given_up = {symbol: "the venue does not list it any more" for symbol in held if not listed(symbol)}
        self._closing = {symbol: _Closing() for symbol in held if symbol not in self._given_up}
        self._core.oplog("ClosePosition", who=who, det=f"flatten {', '.join(self._closing) or 'nothing'}")
        symbols = list(self._closing)
        self._round()
        return symbols

    def stop(self) -> None:
        """End the closing; what is in flight ends by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._closing.clear()

    def _round(self) -> None:
        driver = self._core.driver

        async def ask() -> tuple[list[Position], list[Balance]]:
            return await driver.get_position(), await driver.fetch_balance()

        def found(answer: tuple[list[Position], list[Balance]]) -> None:
            self._take(*answer)

        def failed(error: CtosError) -> None:
            for closing in self._closing.values():
                self._failed(closing, str(error))
            self._next()

        self._timer = None
        self._shell.run(ask(), found, failed)

    def _take(self, positions: Sequence[Position], balances: Sequence[Balance]) -> None:
        there = {position.symbol: position.quantity for position in positions}
        coins = {balance.currency: balance.total for balance in balances}
        for symbol, closing in list(self._closing.items()):
            instrument = self._core.instrument(symbol)
            at_venue = there.get(symbol, ZERO) if instrument.is_perp else coins.get(instrument.base, ZERO)
            self._step(symbol, closing, at_venue)
        self._balances = balances
        self._next()

    def _step(self, symbol: str, closing: _Closing, at_venue: Decimal) -> None:
        """Send the next slice of an instrument, unless the last one is still on its way or nothing is left."""
        core = self._core
        order = core.tracker.get(closing.client_id)
        if order is not None and (order.is_open or order.reported_filled > order.filled):
            if order.is_open and core.clock.now_ns() - order.created_ns > ORDER_LIFE_NS:
                self._cancel(order.client_id, "flatten: its time is over")
            return
        held = core.account_quantity(symbol)
        quantity = self._slice(symbol, held, at_venue)
        if not quantity:
            del self._closing[symbol]
            if core.portfolio.whole_lots(symbol, held) and at_venue:
                self._given_up[symbol] = "smaller than an order can be"
            return
        self._judge(closing, held, order)
        if closing.tries >= TRIES:
            return
        try:
            closing.client_id = self._submit(symbol, Side.SELL if held > 0 else Side.BUY, quantity)
        except CtosError as error:
            self._failed(closing, str(error))

    def _slice(self, symbol: str, held: Decimal, at_venue: Decimal) -> Decimal:
        """Return the base coins of the next order: no more than ours, the venue's, or one order may have."""
        instrument, price = self._core.instrument(symbol), self._core.portfolio.mark(symbol)
        if held * at_venue <= ZERO:
            return ZERO
        quantity = min(abs(held), abs(at_venue))
        price_usd = None if price is None else price * self._core.portfolio.rate_of(symbol)
        if price is not None and price_usd:
            most = self._core.account.limits.max_order_usd / price_usd
            quantity = min(quantity, max(most, instrument.minimum_order_quantity(price)))
        return instrument.floor_quantity(min(quantity, instrument.max_quantity or quantity))

    def _judge(self, closing: _Closing, held: Decimal, order: Order | None) -> None:
        """Count a round without progress."""
        if order is not None and held == closing.held:
            self._failed(closing, order.reason)
        elif held != closing.held:
            closing.tries = 0
        closing.held = held

    def _failed(self, closing: _Closing, why: str) -> None:
        closing.tries += 1
        closing.error = why

    def _next(self) -> None:
        for symbol, closing in list(self._closing.items()):
            if closing.tries >= TRIES:
                del self._closing[symbol]
                self._given_up[symbol] = closing.error or "no order was filled"
        if self._closing:
            self._timer = self._core.clock.call_later(ROUND_S, self._round)
        else:
            self._report()

    def _report(self) -> None:
        """Say what is left, coins in wallets included."""
        core = self._core
        left = [f"{symbol} {core.account_quantity(symbol):f}: {why}" for symbol, why in self._given_up.items()]
        left += [text for balance in self._balances if (text := self._wallet(balance))]
        text = f"flatten: {'; '.join(left)} is left" if left else "flatten: nothing is left"
        core.oplog("ClosePosition", det=text)
        if self._given_up:
            core.alarm("flatten", text, severity="CRIT")
        else:
            core.say(text, "warn" if left else "info")

    def _wallet(self, balance: Balance) -> str:
        """Return a wallet that holds a coin worth naming, in words; nothing for dollars and dust."""
        symbol = self._core.portfolio.spot_market(balance.currency)
        price = None if symbol is None else self._core.portfolio.mark(symbol)
        if not balance.total or self._core.portfolio.is_dollar(balance.currency):
            return ""
        if price is not None and balance.total * price < WORTH_NAMING_USD:
            return ""
        return f"{balance.total:f} {balance.currency} in the wallet"

"""What a strategy instance sees and does: the kernel's `Context` over one execution engine.

Commands are collected while a handler runs and carried out, in order, when it has returned; a handler that raises
has sent nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.kernel.account import Ledger
from engine.kernel.clock import NS_PER_S, Rng
from engine.kernel.errors import BelowMinimum, CtosError, InvalidOrder, Paused, TradingHalted
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, FundingRate, Quote
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Order, OrderTrack, OrderType, Side
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import DeadlinePolicy, Purpose
from engine.runtime.given import LEVELS, given_choice, given_number, given_seconds, given_symbol, given_text, plain_text
from engine.runtime.timers import InstanceTimers
from engine.runtime.tracks import track_orders

if TYPE_CHECKING:
    from engine.runtime.instance import StrategyInstance

ZERO = Decimal(0)


class StrategyContext:
    """The context handed to one strategy instance; see `engine.kernel.strategy.Context` for the contract."""

    def __init__(self, instance: StrategyInstance, rng: Rng, memory: dict[str, Any]) -> None:
        self._owner = instance
        self._engine = instance.engine
        self.instance = instance.name
        self.state = memory
        self.rng = rng
        self.timer = InstanceTimers(instance.engine.clock, instance.on_timer)
        self.commands: list[Callable[[], None]] = []
        self._paused_until_ns: dict[str, tuple[int, str]] = {}

    @property
    def entries_allowed(self) -> bool:
        """Return whether exposure-increasing commands are accepted now."""
        return self._owner.entries_allowed

    @property
    def universe(self) -> Sequence[str]:
        """Return the symbols of every instrument of the account's venue."""
        return tuple(self._engine.instruments)

    def buy(
        self,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        amount: Decimal | None = None,
        price: Decimal | None = None,
        type: OrderType = OrderType.POST_ONLY,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        trigger_price: Decimal | None = None,
    ) -> str:
        """Send a buy order when the handler has returned."""
        return self._order(symbol, Side.BUY, quantity, amount, price, type, reduce_only, purpose, trigger_price)

    def sell(
        self,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        amount: Decimal | None = None,
        price: Decimal | None = None,
        type: OrderType = OrderType.POST_ONLY,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        trigger_price: Decimal | None = None,
    ) -> str:
        """Send a sell order when the handler has returned."""
        return self._order(symbol, Side.SELL, quantity, amount, price, type, reduce_only, purpose, trigger_price)

    def _order(
        self,
        symbol: str,
        side: Side,
        quantity: Decimal | None,
        amount: Decimal | None,
        price: Decimal | None,
        type: OrderType,
        reduce_only: bool,
        purpose: Purpose,
        trigger_price: Decimal | None,
    ) -> str:
        given_symbol(symbol)
        given_choice(symbol, "type", type, OrderType)
        given_choice(symbol, "purpose", purpose, Purpose)
        reduce_only = bool(reduce_only)
        numbers = {"quantity": quantity, "amount": amount, "price": price, "trigger price": trigger_price}
        for what, value in numbers.items():
            if value is not None:
                given_number(symbol, what, value)
        if not reduce_only and type is not OrderType.STOP:
            self._check_entries(symbol)
        instrument = self.instrument(symbol)
        if price is not None:
            price = instrument.round_price(side, price)
        if trigger_price is not None:
            trigger_price = instrument.round_trigger(side, trigger_price)
        size = self._size(instrument, side, quantity, amount, price, type, reduce_only)
        client_id = self._engine.new_client_id(self.instance, purpose)

        def send() -> None:
            self._engine.submit(
                self.instance,
                symbol,
                side,
                type,
                size,
                price,
                trigger_price=trigger_price,
                reduce_only=reduce_only or type is OrderType.STOP,
                purpose=purpose,
                client_id=client_id,
            )

        self._command(lambda: self._owner.carry_out_order(send, client_id, symbol, side, type, size, price))
        return client_id

    def _command(self, call: Callable[[], None]) -> None:
        """Keep a command until the handler has returned; what outlives its instance can give none.

        Raises:
            TradingHalted: The instance has stopped.
        """
        if self._owner.life.state is InstanceState.STOPPED:
            raise TradingHalted(f"{self.instance} has stopped: it can send nothing any more")
        self.commands.append(call)

    def _size(
        self,
        instrument: Instrument,
        side: Side,
        quantity: Decimal | None,
        amount: Decimal | None,
        price: Decimal | None,
        type: OrderType,
        reduce_only: bool,
    ) -> Decimal:
        if (quantity is None) == (amount is None):
            raise InvalidOrder(f"{instrument.symbol}: give either quantity or amount")
        if amount is not None:
            return self._engine.size_for_amount(instrument.symbol, side, amount, price, type)[0]
        assert quantity is not None
        size = instrument.floor_quantity(quantity)
        reference = price or self.price(instrument.symbol)
        if size <= 0 or (not reduce_only and reference and size < instrument.minimum_order_quantity(reference)):
            minimum = instrument.minimum_order_quantity(reference) if reference else instrument.min_quantity
            raise BelowMinimum(quantity * (reference or 1), minimum * (reference or 1), instrument.quote)
        return size

    def _check_entries(self, symbol: str) -> None:
        if not self._owner.entries_allowed:
            raise Paused(f"{self.instance} is {self._owner.life.state.value}: no new entries")
        until_ns, reason = self._paused_until_ns.get(symbol, (0, ""))
        if until_ns > self._engine.clock.now_ns():
            raise Paused(f"{self.instance} {symbol}: no new entries ({reason})")

    def soft(
        self,
        symbol: str,
        side: Side,
        quantity: Decimal,
        *,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
    ) -> str:
        """Work a quantity by a pegged post-only order."""
        given_symbol(symbol)
        given_choice(symbol, "side", side, Side)
        given_number(symbol, "quantity", quantity)
        given_choice(symbol, "purpose", purpose, Purpose)
        self._check_work(symbol, deadline_s, policy)
        deadline_s, reduce_only = float(deadline_s), bool(reduce_only)
        if not reduce_only:
            self._check_entries(symbol)
        return self._work(
            symbol,
            "soft",
            lambda handle: self._engine.soft(
                self.instance, symbol, side, quantity, deadline_s, policy, reduce_only, purpose, handle=handle
            ),
        )

    def place_incremental_orders(
        self,
        amount: Decimal,
        coin: str,
        side: Side,
        soft: bool = True,
        n_children: int = 1,
        max_child: Decimal | None = None,
        interval_s: float = 0,
        deadline_s: float = 10800,
    ) -> str:
        """Work a quote amount in child orders."""
        given_symbol(coin)
        given_choice(coin, "side", side, Side)
        given_number(coin, "amount", amount)
        if max_child is not None:
            given_number(coin, "max_child", max_child)
        if not isinstance(n_children, int) or n_children < 1:
            raise InvalidOrder(f"{coin}: n_children {n_children!r} must be a whole number of at least 1")
        given_seconds(coin, "interval_s", interval_s)
        self._check_work(coin, deadline_s, DeadlinePolicy.CANCEL)
        soft, interval_s, deadline_s = bool(soft), float(interval_s), float(deadline_s)
        self._check_entries(coin)
        return self._work(
            coin,
            "incremental",
            lambda handle: self._engine.place_incremental_orders(
                self.instance, amount, coin, side, soft, n_children, max_child, interval_s, deadline_s, handle=handle
            ),
        )

    def set_position(
        self,
        symbol: str,
        usd: Decimal,
        *,
        soft: bool = True,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> str:
        """Move the ledger to a signed target notional."""
        self._check_work(symbol, deadline_s, policy)
        self._check_target(symbol, usd)
        soft, deadline_s = bool(soft), float(deadline_s)
        return self._work(
            symbol,
            "target",
            lambda handle: self._engine.set_coin_position(
                self.instance, symbol, usd, soft=soft, deadline_s=deadline_s, policy=policy, handle=handle
            ),
        )

    def _check_work(self, symbol: str, deadline_s: float, policy: DeadlinePolicy) -> None:
        given_symbol(symbol)
        given_seconds(symbol, "deadline_s", deadline_s)
        given_choice(symbol, "policy", policy, DeadlinePolicy)

    def _check_target(self, symbol: str, usd: Decimal) -> None:
        given_symbol(symbol)
        given_number(symbol, "usd", usd, signed=True)
        held = self.position(symbol).quantity
        if abs(usd) > abs(held * (self.price(symbol) or ZERO)) or held * usd < 0:
            self._check_entries(symbol)

    def set_positions(
        self,
        targets: Mapping[str, Decimal],
        *,
        soft: bool = True,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> dict[str, str]:
        """Move several ledgers: all reductions first, then increases; a target that is refused ends alone."""
        good: dict[str, Decimal] = {}
        handles: dict[str, str] = {}
        for symbol, usd in targets.items():
            self._check_work(symbol, deadline_s, policy)
            given_number(symbol, "usd", usd, signed=True)
            try:
                self._check_target(symbol, usd)
                self.fx(self._engine.resolve(symbol).quote)
            except CtosError as error:
                handles[symbol] = self._work(symbol, "target", partial(_refuse, error))
            else:
                handles[symbol] = self._engine.new_handle(self.instance)
                good[symbol] = usd
        soft, deadline_s = bool(soft), float(deadline_s)
        if good:
            self._command(
                lambda: self._owner.carry_out(
                    lambda: self._engine.set_positions(
                        self.instance, good, soft=soft, deadline_s=deadline_s, policy=policy, handles=handles
                    ),
                    "set_positions",
                )
            )
        return handles

    def close(
        self,
        symbol: str,
        fraction: Decimal = Decimal(1),
        *,
        soft: bool = False,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> str:
        """Close a fraction of the ledger, reduce-only."""
        self._check_work(symbol, deadline_s, policy)
        given_number(symbol, "fraction", fraction)
        soft, deadline_s = bool(soft), float(deadline_s)
        return self._work(
            symbol,
            "target",
            lambda handle: self._engine.close(
                self.instance, symbol, fraction, soft=soft, deadline_s=deadline_s, policy=policy, handle=handle
            ),
        )

    def _work(self, symbol: str, kind: str, start: Callable[[str], object]) -> str:
        handle = self._engine.new_handle(self.instance)
        self._command(lambda: self._owner.carry_out_work(start, handle, symbol, kind))
        return handle

    def cancel(self, client_id: str) -> None:
        """Cancel an own order or end a piece of work by its handle."""
        given_text("cancel: id", client_id)

        def send() -> None:
            if self._engine.tracker.get(client_id) is not None:
                self._engine.cancel(client_id, self.instance)
            else:
                self._engine.end(client_id)

        self._command(lambda: self._owner.carry_out(send, "cancel"))

    def amend(self, client_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None) -> None:
        """Change price and/or total quantity of an own order."""
        given_text("amend: id", client_id)
        for what, value in (("price", price), ("quantity", quantity)):
            if value is not None:
                given_number(client_id, what, value, signed=what == "quantity")
        self._command(
            lambda: self._owner.carry_out(
                lambda: self._engine.amend(client_id, price=price, quantity=quantity, by=self.instance), "amend"
            )
        )

    def active(self, handle: str) -> bool:
        """Return whether a soft order, parent, target or amendment by replacement is still at work."""
        return handle in self._engine.work_of(self.instance)

    def log(self, text: str, level: str = "info", **fields: object) -> None:
        """Write to the instance's log; a level that there is not counts as a warning."""
        suffix = " ".join(f"{key}={value}" for key, value in fields.items())
        self._owner.say(f"{text} {suffix}".rstrip(), level if level in LEVELS else "warn")

    def why(self, text: str) -> None:
        """Say why the instance is not trading now; empty when it is."""
        self._owner.set_why(given_text("why", text))

    def anomaly(
        self, kind: str, symbol: str, value: object, threshold: object, text: str, severity: str = "WARN"
    ) -> None:
        """Raise an anomaly for the operator."""
        kind, symbol, severity = (
            given_text(f"anomaly: {what}", given)
            for what, given in (("kind", kind), ("symbol", symbol), ("severity", severity))
        )
        text = given_text(f"anomaly {kind}: text", text)
        self._owner.raise_anomaly(kind, symbol, plain_text(str(value)), plain_text(str(threshold)), text, severity)

    def pause_symbol(self, symbol: str, seconds: float, reason: str) -> None:
        """Refuse new entries on one symbol for a while."""
        self._paused_until_ns[symbol] = (self._engine.clock.now_ns() + round(seconds * NS_PER_S), reason)

    def now_ms(self) -> int:
        """Return the present time in ms, UTC."""
        return self._engine.clock.now_ms()

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument."""
        return self._engine.instrument(symbol)

    def price(self, symbol: str) -> Decimal | None:
        """Return the middle of the touch, None while there is none."""
        quote = self._engine.market.quote(symbol)
        return None if quote is None else self.instrument(symbol).price_from_float(quote.mid)

    def mark(self, symbol: str) -> Decimal | None:
        """Return the mark price, or the middle where there is none."""
        mark = self._engine.market.mark(symbol)
        return self.price(symbol) if mark is None else self.instrument(symbol).price_from_float(mark)

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""
        return self._engine.market.quote(symbol)

    def book(self, symbol: str) -> OrderBook:
        """Return the live order book."""
        return self._engine.market.book(symbol)

    def bars(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return the last closed bars, oldest first."""
        return self._owner.bars.bars(symbol, timeframe, count)

    def position(self, symbol: str) -> Ledger:
        """Return this instance's ledger of a symbol, in whole lots."""
        return self._engine.portfolio.tradable(self.instance, symbol)

    def orders(self, symbol: str | None = None) -> list[Order]:
        """Return this instance's working orders, oldest first."""
        return self._engine.tracker.working(symbol=symbol, instance=self.instance)

    def order(self, client_id: str) -> Order | None:
        """Return one of this instance's orders."""
        order = self._engine.tracker.get(client_id)
        return order if order is not None and order.instance == self.instance else None

    def track_orders(self, coins: Sequence[str] = (), cids: Sequence[str] = ()) -> list[OrderTrack]:
        """Return how far this instance's soft orders and working orders have come, soft ones first."""
        return track_orders(self._engine, self.instance, coins, cids)

    def equity(self) -> Decimal:
        """Return allocated capital plus profit, USD."""
        return self._owner.params.capital_usd + self._owner.profit()

    def funding(self, symbol: str) -> FundingRate | None:
        """Return the predicted funding rate."""
        return self._engine.market.funding(symbol)

    def fx(self, currency: str) -> Decimal:
        """Return USD per unit of a quote currency; raises `CtosError` while no market prices it."""
        return self._engine.portfolio.fx(currency)

    def is_stale(self, symbol: str) -> bool:
        """Return whether the market data of a symbol is too old for entries."""
        return self._engine.market.is_stale(symbol)


def _refuse(error: CtosError, handle: str) -> None:
    """Refuse to start a piece of work, for a reason that is known already."""
    raise error

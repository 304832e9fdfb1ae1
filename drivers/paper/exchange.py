"""The exchange core: synchronous, without I/O. Requests and market events go in, account events come out."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from drivers.paper.account import AuditLine, PaperAccount
from drivers.paper.clearing import Clearing
from drivers.paper.config import PaperConfig, QueueModel
from drivers.paper.margin import Margin
from drivers.paper.matching import Take, crosses
from drivers.paper.registry import Registry, base36
from drivers.paper.rules import check_price, check_quantity, check_request, check_trading
from drivers.paper.state import VERSION, Money, PaperOrder, PaperState
from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.account import Balance, Position
from engine.kernel.clock import Clock
from engine.kernel.errors import (
    ConfigError,
    DuplicateClientOrderId,
    InvalidOrder,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    UnknownSymbol,
)
from engine.kernel.instruments import Instrument
from engine.kernel.market import BookUpdate, Quote
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate, Side
from engine.kernel.syscalls import AccountEvent

ZERO = Decimal(0)
ONE = Decimal(1)


class Exchange:
    """One account on one simulated venue.

    Args:
        instruments: What is traded, with this venue's fees.
        config: Balances, fill model, leverage.
        clock: Venue time.
        state: What an earlier run saved, None to begin with the configured deposits.

    Raises:
        ConfigError: The saved state holds something that this market does not list.
    """

    def __init__(
        self, instruments: Sequence[Instrument], config: PaperConfig, clock: Clock, state: PaperState | None = None
    ) -> None:
        self.clock = clock
        self.config = config
        self.touch_mode = config.queue is QueueModel.TOUCH
        self.instruments: dict[str, Instrument] = {}
        self.markets: dict[str, SymbolMarket] = {}
        self.open(instruments, state)

    def open(self, instruments: Sequence[Instrument], state: PaperState | None) -> None:
        """Begin with these instruments and this state; before it, an exchange without instruments has no business.

        Raises:
            ConfigError: The saved state holds something that this market does not list.
        """
        self.add_instruments(instruments)
        fresh = state or PaperState(VERSION, base36(self.clock.now_ms()), 1, 1, Money(), {}, {}, {}, [], [], [])
        _check_listed(fresh, self.instruments)
        self._begin(fresh)
        if state is None:
            for currency, amount in self.config.balances.items():
                self.account.deposit(currency, amount)

    def add_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Take over what is traded and its newest steps; what was listed before stays."""
        for instrument in instruments:
            self.instruments[instrument.symbol] = instrument
            market = self.markets.get(instrument.symbol)
            if market is None:
                self.markets[instrument.symbol] = SymbolMarket(instrument)
            else:
                market.instrument = instrument

    def _begin(self, state: PaperState) -> None:
        self.account = PaperAccount(self.instruments, state.money, state.ledgers, state.perp_flow)
        self._leverage = state.leverage
        self.registry = Registry(state.epoch, state.next_order, state.next_trade)
        self.registry.restore(state.orders, state.closed, state.fills)
        config = self.config
        self.margin = Margin(self.account, self.markets, self._leverage, config.leverage, config.coin_fees)
        self.clearing = Clearing(
            self.clock, self.markets, self.account, self.margin, self.registry, self.touch_mode, config.coin_fees
        )
        for symbol, mark in state.marks.items():
            self.markets[symbol].mark = float(mark)
        for order in sorted(state.orders, key=lambda order: order.priority):
            market = self.markets[order.symbol]
            market.rest(order, market.queue_ahead(order.side, float(order.price or 0)))

    def state(self) -> PaperState:
        """Return everything that is to be kept between runs."""
        registry, account = self.registry, self.account
        return PaperState(
            VERSION,
            registry.epoch,
            registry.next_order,
            registry.next_trade,
            account.money,
            account.ledgers,
            account.perp_flow,
            self._leverage,
            *registry.saved(),
            marks={symbol: mark for symbol in account.held() if (mark := self.markets[symbol].mark_price())},
        )

    def take_events(self) -> tuple[list[BookUpdate | Quote], list[AccountEvent]]:
        """Complete the present operation and return its public and account events, in order."""
        clearing = self.clearing
        clearing.finish()
        public, events = clearing.public, clearing.events
        clearing.public, clearing.events = [], []
        return public, events

    def market(self, symbol: str) -> SymbolMarket:
        """Return the market of an instrument.

        Raises:
            UnknownSymbol: It is not listed.
        """
        market = self.markets.get(symbol)
        if market is None:
            raise UnknownSymbol(f"{symbol!r} is not listed on the paper venue")
        return market

    def place(self, request: OrderRequest) -> OrderUpdate:
        """Accept an order and match it; returns it as accepted, before its executions.

        Raises:
            CtosError: The typed reason why it was refused; nothing has changed then.
        """
        market = self.market(request.symbol)
        check_request(request, market)
        if request.client_id and self.registry.knows_client_id(request.client_id):
            raise DuplicateClientOrderId(f"client id {request.client_id!r} was used before", request=request.client_id)
        order = self.registry.new_order(request, self.clock.now_ms())
        if request.type is OrderType.STOP or request.reduce_only:
            order.quantity = self._reducible(market, order)
        if order.type is OrderType.POST_ONLY:
            self._refuse_taking(market, order, request.price)
        plan = self._plan(market, order) if self._takes(market, order) else None
        self._check_funds(market, order, plan)
        self.registry.add(order)
        self.clearing.report(order)
        accepted = order.update(self.clock.now_ms())
        if order.type is OrderType.STOP:
            market.rest(order, 0.0)
            if self._already_triggered(market, order):
                self.trigger(order)
        else:
            self._work(market, order, plan)
        return accepted

    def amend(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change price and/or total quantity of a working order; for a stop, `price` is the trigger.

        A smaller quantity keeps the place in the queue; another price or a larger quantity loses it. A total that is
        filled already cancels the rest.

        Raises:
            CtosError: Why it was refused; the order stays as it was.
        """
        order = self.registry.find_open(order_id, symbol)
        market = self.market(symbol)
        check_trading(market)
        is_stop = order.type is OrderType.STOP
        now_price = order.trigger_price if is_stop else order.price
        new_price = price if price is not None else now_price
        new_quantity = quantity if quantity is not None else order.quantity
        assert new_price is not None
        check_price(market.instrument, new_price, "trigger price" if is_stop else "price")
        check_quantity(market.instrument, new_quantity, new_price, order.reduce_only or is_stop)
        if new_quantity <= order.filled:
            return self.cancel(order_id, symbol)
        if order.type is OrderType.POST_ONLY and new_price != now_price:
            self._refuse_taking(market, order, new_price)
        changed = _amended(order, new_price, new_quantity, is_stop)
        if order.reduce_only:
            changed.quantity = order.filled + min(changed.remaining, self._reducible(market, changed))
        keeps_place = new_price == now_price and changed.quantity <= order.quantity
        if not keeps_place and not is_stop:
            self._check_funds(market, changed, None, replacing=order)
        self._apply_amendment(market, order, changed, keeps_place)
        return order.update(self.clock.now_ms())

    def _apply_amendment(self, market: SymbolMarket, order: PaperOrder, changed: PaperOrder, keeps_place: bool) -> None:
        if keeps_place:
            order.quantity = changed.quantity
            self.clearing.report(order)
            return
        market.take_off(order)
        order.price, order.trigger_price, order.quantity = changed.price, changed.trigger_price, changed.quantity
        order.priority = self.registry.new_priority()
        self.clearing.report(order)
        if order.type is OrderType.STOP:
            market.rest(order, 0.0)
            if self._already_triggered(market, order):
                self.trigger(order)
        else:
            self._work(market, order, self._plan(market, order) if self._takes(market, order) else None)

    def cancel(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order.

        Raises:
            OrderNotFound: It is unknown or final already.
        """
        order = self.registry.find_open(order_id, symbol)
        self.clearing.end(order, OrderState.CANCELED, "canceled")
        return order.update(self.clock.now_ms())

    def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every working order, of one instrument or of all, oldest first."""
        if symbol is not None:
            self.market(symbol)
        orders = [o for o in self.registry.open.values() if symbol is None or o.symbol == symbol]
        return [self.cancel(order.id, order.symbol) for order in orders]

    def query(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order, open or recent.

        Raises:
            OrderNotFound: It is not known.
        """
        return self.registry.find(order_id, symbol).update(self.clock.now_ms())

    def open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        now = self.clock.now_ms()
        return [o.update(now) for o in self.registry.open.values() if symbol is None or o.symbol == symbol]

    def balances(self) -> list[Balance]:
        """Return every wallet, in order of currency."""
        return [self.margin.balance(currency) for currency in self.account.currencies()]

    def positions(self) -> list[Position]:
        """Return the open perpetual positions, in order of name."""
        return [self.margin.position(self.markets[symbol]) for symbol in self.account.held()]

    def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set an instrument's leverage.

        Raises:
            InvalidOrder: It is outside 1 and the instrument's maximum, or the margin does not allow it.
        """
        market = self.market(symbol)
        largest = market.instrument.max_leverage
        if not ONE <= leverage <= largest:
            raise InvalidOrder(f"{symbol}: leverage {leverage} must be between 1 and {largest}")
        before = self._leverage.get(symbol)
        self._leverage[symbol] = leverage
        if leverage < (before or self.config.leverage) and self.margin.available(market.instrument.settle) < 0:
            if before is None:
                del self._leverage[symbol]
            else:
                self._leverage[symbol] = before
            raise InvalidOrder(f"{symbol}: leverage {leverage} needs more margin than is free")
        if symbol in self.account.ledgers:
            self.clearing.touch_position(symbol)
        return leverage

    def reset(self) -> None:
        """Cancel everything, flatten every position and begin again with the configured deposits; ids go on."""
        for order in list(self.registry.open.values()):
            self.clearing.end(order, OrderState.CANCELED, "account reset")
        ledgers = self.account.ledgers
        for symbol in ledgers:
            self.clearing.touch_position(symbol)
        for ledger in ledgers.values():
            ledger.quantity = ledger.cost = ledger.realised = ledger.fees = ledger.funding = ledger.traded = ZERO
        currencies = self.account.currencies()
        for currency in currencies:
            self.clearing.touch_currency(currency)
        sums = self.account.money
        for part in (sums.cash, sums.deposits, sums.fees, sums.funding, sums.insurance, sums.spot):
            part.clear()
        self.account.perp_flow.clear()
        self._leverage.clear()
        for currency, amount in self.config.balances.items():
            self.account.deposit(currency, amount)
            self.clearing.touch_currency(currency)

    def audit(self) -> list[AuditLine]:
        """Return the proof of every currency's cash; each `difference` is 0."""
        account = self.account
        return account.audit({s: self.markets[s].mark_price() or account.entry_price(s) for s in account.held()})

    def trigger(self, order: PaperOrder) -> None:
        """Fire a stop: a market order that can only reduce."""
        market = self.markets[order.symbol]
        market.take_off(order)
        position = self.account.position(market.instrument)
        reducible = market.instrument.floor_quantity(max(ZERO, -position * order.side.sign))
        quantity = min(order.remaining, reducible)
        if not quantity:
            self.clearing.end(order, OrderState.EXPIRED, "stop triggered with no position to reduce")
            return
        order.quantity = order.filled + quantity
        order.reason = f"triggered at {order.trigger_price}"
        self.clearing.report(order)
        self.clearing.take(order, self.clearing.plan(market, order.side, quantity, None))
        if order.is_open:
            self.clearing.end(order, OrderState.EXPIRED, "no liquidity left for the stop")

    def _already_triggered(self, market: SymbolMarket, order: PaperOrder) -> bool:
        price = market.mark_price()
        trigger = order.trigger_price
        assert price is not None and trigger is not None
        return price <= trigger if order.side is Side.SELL else price >= trigger

    def _reducible(self, market: SymbolMarket, order: PaperOrder) -> Decimal:
        """Return the order's quantity capped to the position.

        A stop that is not marked reduce-only is capped when it fires.
        """
        if order.type is OrderType.STOP and not order.reduce_only:
            return order.quantity
        position = self.account.position(market.instrument)
        reducible = market.instrument.floor_quantity(max(ZERO, -position * order.side.sign))
        if not reducible:
            raise ReduceOnlyRejected(
                f"{order.symbol}: a reduce-only {order.side} needs a position on the other side; "
                f"the position is {position}"
            )
        return min(order.quantity, reducible)

    def _refuse_taking(self, market: SymbolMarket, order: PaperOrder, price: Decimal | None) -> None:
        assert price is not None
        touch = market.touch
        if touch is not None and crosses(market, order.side, price, self.touch_mode):
            raise PostOnlyWouldTake(
                f"{order.symbol}: post-only {order.side} at {price} would take (bid {touch.bid}, ask {touch.ask})",
                request=order.client_id,
            )

    def _takes(self, market: SymbolMarket, order: PaperOrder) -> bool:
        if order.type is OrderType.LIMIT and order.price is not None:
            return crosses(market, order.side, order.price, self.touch_mode)
        return order.type in (OrderType.MARKET, OrderType.IOC, OrderType.FOK)

    def _plan(self, market: SymbolMarket, order: PaperOrder) -> Take:
        return self.clearing.plan(market, order.side, order.remaining, order.price)

    def _check_funds(
        self, market: SymbolMarket, order: PaperOrder, plan: Take | None, replacing: PaperOrder | None = None
    ) -> None:
        if order.type is OrderType.STOP or order.reduce_only:
            return
        quantity = order.remaining
        if order.price is not None:
            price = order.price
        elif plan is not None and plan.quantity:
            quantity, price = plan.quantity, plan.notional / plan.quantity
        else:
            return
        if market.instrument.is_perp:
            self.margin.check_perp(market, order.side, quantity, price, replacing)
        else:
            self.margin.check_spot(market, order.side, quantity, quantity * price, replacing)

    def _work(self, market: SymbolMarket, order: PaperOrder, plan: Take | None) -> None:
        """Match an accepted order and rest, expire or finish what is left."""
        clearing = self.clearing
        if plan is not None:
            if order.type is OrderType.FOK and plan.quantity < order.remaining:
                clearing.end(order, OrderState.EXPIRED, "fill-or-kill: not enough size within the price")
                return
            clearing.take(order, plan)
        if not order.is_open:
            return
        if order.type.rests:
            ahead = 0.0 if self.touch_mode else market.queue_ahead(order.side, float(order.price or 0))
            market.rest(order, ahead)
        else:
            clearing.end(order, OrderState.EXPIRED, "no more size within the price")


def _amended(order: PaperOrder, price: Decimal, quantity: Decimal, is_stop: bool) -> PaperOrder:
    return PaperOrder(
        id=order.id,
        client_id=order.client_id,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        quantity=quantity,
        price=None if is_stop else price,
        trigger_price=price if is_stop else None,
        reduce_only=order.reduce_only,
        priority=order.priority,
        ts=order.ts,
        state=order.state,
        filled=order.filled,
        notional=order.notional,
    )


def _check_listed(state: PaperState, instruments: dict[str, Instrument]) -> None:
    missing = sorted({*state.ledgers, *(order.symbol for order in state.orders)} - instruments.keys())
    if missing:
        raise ConfigError(
            f"the saved paper account holds {', '.join(missing)}, which this market does not list; "
            "choose the market it was saved with, or reset the paper account"
        )

"""What follows from executions: fills, positions, reduce-only orders, liquidation, funding."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal

from drivers.paper.account import MONEY_STEP, PaperAccount, money
from drivers.paper.margin import Margin
from drivers.paper.matching import Take, plan_take
from drivers.paper.registry import Registry
from drivers.paper.state import PaperOrder
from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.account import Balance, FundingPayment
from engine.kernel.clock import Clock
from engine.kernel.market import BookUpdate, Quote
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, Side
from engine.kernel.syscalls import AccountEvent

ZERO = Decimal(0)


class Clearing:
    """Books executions and keeps the account within its money.

    Account events collect in `events`, public changes of the book in `public`, until the venue delivers them.

    Args:
        clock: Venue time.
        markets: Prices and own orders by symbol.
        account: Wallets and positions.
        margin: Margin over both.
        registry: Orders and executions.
        touch_mode: Whether taking leaves the book as it is.
        coin_fees: Whether a spot buy pays its fee in the coins that it buys.
    """

    def __init__(
        self,
        clock: Clock,
        markets: Mapping[str, SymbolMarket],
        account: PaperAccount,
        margin: Margin,
        registry: Registry,
        touch_mode: bool,
        coin_fees: bool,
    ) -> None:
        self._clock = clock
        self._markets = markets
        self._account = account
        self._margin = margin
        self._registry = registry
        self._touch_mode = touch_mode
        self._coin_fees = coin_fees
        self._positions: dict[str, None] = {}
        self._currencies: dict[str, None] = {}
        self._reported: dict[str, Balance] = {}
        self.events: list[AccountEvent] = []
        self.public: list[BookUpdate | Quote] = []

    def report(self, order: PaperOrder) -> None:
        """Report an order's present state, and look at its currencies' balances afterwards."""
        self.events.append(order.update(self._clock.now_ms()))
        instrument = self._markets[order.symbol].instrument
        self._currencies[instrument.settle if instrument.is_perp else instrument.quote] = None
        if not instrument.is_perp:
            self._currencies[instrument.base] = None

    def end(self, order: PaperOrder, state: OrderState, reason: str = "") -> None:
        """Take an order off the market for good."""
        self._markets[order.symbol].take_off(order)
        self._registry.close(order, state, reason)
        self.report(order)

    def fill(self, order: PaperOrder, price: Decimal, quantity: Decimal, maker: bool, forced: bool = False) -> None:
        """Execute a part of an order and everything that follows from it."""
        market = self._markets[order.symbol]
        instrument = market.instrument
        rate = instrument.maker_fee if maker else instrument.taker_fee
        fee, fee_currency = price * quantity * rate, instrument.settle if instrument.is_perp else instrument.quote
        if self._coin_fees and not instrument.is_perp and order.side is Side.BUY:
            fee, fee_currency = quantity * rate, instrument.base
        fill = Fill(
            trade_id=self._registry.new_trade_id(),
            symbol=order.symbol,
            client_id=order.client_id,
            venue_order_id=order.id,
            side=order.side,
            price=price,
            quantity=quantity,
            fee=money(fee),
            fee_currency=fee_currency,
            maker=maker,
            ts=self._clock.now_ms(),
            liquidation=forced,
        )
        order.filled += quantity
        order.notional += price * quantity
        self._account.book_fill(fill, instrument)
        self._registry.record_fill(fill)
        self.events.append(fill)
        if order.remaining:
            order.state = OrderState.PARTIAL
            self.report(order)
        else:
            self.end(order, OrderState.FILLED)
        if instrument.is_perp:
            self._positions[order.symbol] = None
        self.fit_reduce_only(market)

    def take(self, order: PaperOrder, plan: Take, forced: bool = False) -> None:
        """Execute a planned taking order against the public book; own orders in its way expire."""
        market = self._markets[order.symbol]
        for resting in plan.expired:
            if resting.is_open:
                self.end(resting, OrderState.EXPIRED, "would have traded with the account's own order")
        if plan.levels and not self._touch_mode:
            update, touch = market.consume(order.side, plan.levels, self._clock.now_ms())
            self.public += [touch] if update is None else [update, touch]
        for price, quantity in plan.fills:
            self.fill(order, price, min(quantity, order.remaining), maker=False, forced=forced)
            if not order.is_open:
                break

    def fit_reduce_only(self, market: SymbolMarket) -> None:
        """Shrink reduce-only orders to the position, and expire those with nothing left to reduce."""
        orders = [order for order in market.open_orders() if order.reduce_only]
        if not orders:
            return
        position = self._account.position(market.instrument)
        for order in orders:
            reducible = market.instrument.floor_quantity(max(ZERO, -position * order.side.sign))
            if not reducible:
                self.end(order, OrderState.EXPIRED, "reduce-only: no position left to reduce")
            elif order.remaining > reducible:
                order.quantity = order.filled + reducible
                self.report(order)

    def pay_funding(self, market: SymbolMarket, rate: float, time_ms: int) -> None:
        """Settle funding of one perpetual: longs pay shorts when the rate is positive."""
        position = self._account.position(market.instrument)
        mark = market.mark_price()
        if not position or mark is None:
            return
        exact = Decimal(repr(rate))
        amount = money(-position * mark * exact)
        currency = market.instrument.settle
        self._account.book_funding(market.instrument, amount)
        payment = FundingPayment(market.symbol, time_ms, amount, currency, exact, f"{market.symbol}-{time_ms}")
        self.events.append(payment)
        self._positions[market.symbol] = None
        self._currencies[currency] = None
        self.protect(currency)

    def protect(self, currency: str) -> None:
        """Liquidate while equity is below maintenance margin, and let no wallet stay below zero.

        Nothing is liquidated for a low margin before the market of every position is there.
        """
        margin, account = self._margin, self._account
        while margin.is_priced(currency) and (positions := account.open_positions(currency)):
            if margin.equity(currency) >= margin.maintenance(currency):
                break
            if not self._cancel_for(currency, "liquidation"):
                self._force_close(max(positions, key=margin.maintenance_of))
        if account.cash(currency) < 0:
            self._settle_profits(currency)
        while account.cash(currency) < 0 and (positions := account.open_positions(currency)):
            self._force_close(positions[0])
        if account.insure(currency):
            self._currencies[currency] = None
        while account.cash(currency) < margin.locked(currency):
            self._cancel_newest_lock(currency)

    def finish(self) -> None:
        """Protect the money that was touched, then report changed positions and balances."""
        for currency in tuple(self._currencies):
            self.protect(currency)
        for symbol in self._positions:
            self.events.append(self._margin.position(self._markets[symbol]))
        for currency in self._currencies:
            balance = self._margin.balance(currency)
            if balance != self._reported.get(currency):
                self._reported[currency] = balance
                self.events.append(balance)
        self._positions.clear()
        self._currencies.clear()

    def touch_position(self, symbol: str) -> None:
        """Have a position and its currency's balance reported by `finish`."""
        self._positions[symbol] = None
        self._currencies[self._markets[symbol].instrument.settle] = None

    def touch_currency(self, currency: str) -> None:
        """Have a balance reported by `finish`."""
        self._currencies[currency] = None

    def _cancel_for(self, currency: str, reason: str) -> bool:
        orders = []
        for order in list(self._registry.open.values()):
            instrument = self._markets[order.symbol].instrument
            uses = instrument.settle if instrument.is_perp else self._margin.lock_of(order, instrument)[0]
            if uses == currency:
                orders.append(order)
        for order in orders:
            self.end(order, OrderState.CANCELED, reason)
        return bool(orders)

    def _force_close(self, symbol: str) -> None:
        """Close a position at market; what the book cannot take goes at the worst price met, else at the mark."""
        market = self._markets[symbol]
        held = self._account.position(market.instrument)
        side = Side.SELL if held > 0 else Side.BUY
        request = OrderRequest("", "", symbol, side, OrderType.MARKET, abs(held), reduce_only=True)
        order = self._registry.new_order(request, self._clock.now_ms())
        order.reason = "liquidation"
        self._registry.add(order)
        self.report(order)
        plan = self.plan(market, side, abs(held), None)
        self.take(order, plan, forced=True)
        if order.is_open:
            mark = market.mark_price()
            assert mark is not None
            last = plan.fills[-1][0] if plan.fills else market.instrument.price_from_float(float(mark))
            self.fill(order, last, order.remaining, maker=False, forced=True)

    def plan(self, market: SymbolMarket, side: Side, quantity: Decimal, limit: Decimal | None) -> Take:
        """Plan a taking order by the venue's fill model."""
        touch = market.touch
        if not self._touch_mode or touch is None:
            return plan_take(market, side, quantity, limit)
        price = market.instrument.price_from_float(touch.ask)
        if limit is not None and (price > limit if side is Side.BUY else price < limit):
            return Take()
        return Take(fills=[(price, quantity)], quantity=quantity, notional=price * quantity)

    def _settle_profits(self, currency: str) -> None:
        """Pay out other positions' open profit so that a realised loss does not leave the wallet below zero."""
        for symbol in self._account.open_positions(currency):
            missing = -self._account.cash(currency)
            mark = self._markets[symbol].mark_price()
            if missing <= 0 or mark is None:
                continue
            profit = self._account.ledgers[symbol].unrealised(mark)
            payable = min(profit.quantize(MONEY_STEP, ROUND_FLOOR), missing)
            if payable > 0:
                self._account.settle_profit(symbol, payable)
                self._positions[symbol] = None

    def _cancel_newest_lock(self, currency: str) -> None:
        locking = []
        for order in self._registry.open.values():
            instrument = self._markets[order.symbol].instrument
            locked_currency, amount = self._margin.lock_of(order, instrument)
            if not instrument.is_perp and amount and locked_currency == currency:
                locking.append(order)
        newest = max(locking, key=lambda order: order.priority)
        self.end(newest, OrderState.CANCELED, f"not enough {currency} left")

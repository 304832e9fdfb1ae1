"""Cross margin: what is locked, what is free, and when a position is in danger.

Perpetuals that settle in one currency share that currency's wallet, which spot orders of the same currency use too.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from drivers.paper.account import PaperAccount
from drivers.paper.state import PaperOrder
from drivers.paper.symbol_market import SymbolMarket
from engine.kernel.account import Balance, Position
from engine.kernel.errors import InsufficientFunds
from engine.kernel.instruments import Instrument
from engine.kernel.orders import OrderType, Side

ZERO = Decimal(0)
ONE = Decimal(1)


class Margin:
    """Margin of one account over all markets.

    Args:
        account: Wallets and positions.
        markets: Prices and own orders by symbol.
        leverage: Leverage by symbol where it was set.
        default_leverage: Leverage elsewhere.
        coin_fees: Whether a spot buy pays its fee in the coins that it buys.
    """

    def __init__(
        self,
        account: PaperAccount,
        markets: Mapping[str, SymbolMarket],
        leverage: dict[str, Decimal],
        default_leverage: Decimal,
        coin_fees: bool,
    ) -> None:
        self._account = account
        self._markets = markets
        self._leverage = leverage
        self._default = default_leverage
        self._coin_fees = coin_fees
        self._perps: dict[str, list[SymbolMarket]] = {}
        self._spots: dict[str, list[SymbolMarket]] = {}
        for market in markets.values():
            instrument = market.instrument
            if instrument.is_perp:
                self._perps.setdefault(instrument.settle, []).append(market)
            else:
                self._spots.setdefault(instrument.quote, []).append(market)
                self._spots.setdefault(instrument.base, []).append(market)

    def leverage(self, instrument: Instrument) -> Decimal:
        """Return an instrument's leverage."""
        return min(self._leverage.get(instrument.symbol, self._default), instrument.max_leverage)

    def lock_of(self, order: PaperOrder, instrument: Instrument) -> tuple[str, Decimal]:
        """Return what a working spot order locks, as (currency, amount); stops lock nothing."""
        if order.type is OrderType.STOP or order.price is None:
            return instrument.base, ZERO
        if order.side is Side.SELL:
            return instrument.base, order.remaining
        return instrument.quote, self._with_fee(order.remaining * order.price, instrument)

    def locked(self, currency: str, without: PaperOrder | None = None) -> Decimal:
        """Return what working spot orders lock of a currency."""
        total = ZERO
        for market in self._spots.get(currency, ()):
            for order in market.open_orders():
                if order is not without:
                    locked_currency, amount = self.lock_of(order, market.instrument)
                    if locked_currency == currency:
                        total += amount
        return total

    def is_priced(self, currency: str) -> bool:
        """Return whether the market of every position that settles in a currency is there."""
        return all(self._markets[symbol].touch is not None for symbol in self._account.open_positions(currency))

    def unrealised(self, currency: str) -> Decimal:
        """Return the open profit of all positions that settle in a currency, at their last known marks."""
        total = ZERO
        for symbol in self._account.open_positions(currency):
            mark = self._markets[symbol].mark_price()
            if mark is not None:
                total += self._account.ledgers[symbol].unrealised(mark)
        return total

    def initial(
        self,
        market: SymbolMarket,
        without: PaperOrder | None = None,
        extra: tuple[Side, Decimal, Decimal] | None = None,
    ) -> Decimal:
        """Return the initial margin of one perpetual: the worse of all buys or all sells being filled, / leverage.

        Args:
            market: The perpetual.
            without: A working order to leave out.
            extra: (side, quantity, price) of an order to count in.
        """
        position = self._account.position(market.instrument)
        mark = market.mark_price()
        if mark is None:
            mark = self._account.entry_price(market.symbol)
        quantity = {Side.BUY: ZERO, Side.SELL: ZERO}
        notional = {Side.BUY: ZERO, Side.SELL: ZERO}
        working = [order for order in market.open_orders() if _opens(order) and order is not without]
        orders = [(order.side, order.remaining, order.price or mark) for order in working]
        for side, size, price in [*orders, extra] if extra else orders:
            quantity[side] += size
            notional[side] += size * max(price, mark) if side is Side.SELL else size * price
        worst = abs(position) * mark
        for side in (Side.BUY, Side.SELL):
            held = position * side.sign
            opened = quantity[side] + min(ZERO, held)
            if opened > 0:
                worst = max(worst, opened * notional[side] / quantity[side] + max(ZERO, held) * mark)
        return worst / self.leverage(market.instrument)

    def used(self, currency: str, without: PaperOrder | None = None) -> Decimal:
        """Return the initial margin of all perpetuals that settle in a currency."""
        account = self._account
        return sum(
            (
                self.initial(market, without)
                for market in self._perps.get(currency, ())
                if account.position(market.instrument) or market.buys.orders or market.sells.orders
            ),
            ZERO,
        )

    def available(self, currency: str, without: PaperOrder | None = None) -> Decimal:
        """Return what may be used as margin of new positions; below zero when too much is used."""
        free = self._account.cash(currency) - self.locked(currency, without)
        return free + self.unrealised(currency) - self.used(currency, without)

    def spendable(self, currency: str, without: PaperOrder | None = None) -> Decimal:
        """Return what may be spent on spot: open profit does not count, open loss and margin do."""
        free = self._account.cash(currency) - self.locked(currency, without)
        return max(ZERO, free + min(ZERO, self.unrealised(currency)) - self.used(currency, without))

    def check_perp(
        self, market: SymbolMarket, side: Side, quantity: Decimal, price: Decimal, replacing: PaperOrder | None = None
    ) -> None:
        """Raise `InsufficientFunds` unless the margin covers a new order; one that needs no more margin passes."""
        instrument = market.instrument
        before = self.initial(market, replacing)
        after = self.initial(market, replacing, (side, quantity, price))
        more = after - before
        if more <= 0:
            return
        need = more + max(ZERO, quantity * price * instrument.taker_fee)
        free = self.available(instrument.settle, replacing)
        if need > free:
            raise InsufficientFunds(
                f"{market.symbol}: {side} {quantity} at {price} needs {need:.2f} {instrument.settle} of margin and fee "
                f"at leverage {self.leverage(instrument)}, {max(ZERO, free):.2f} is free"
            )

    def check_spot(
        self, market: SymbolMarket, side: Side, quantity: Decimal, cost: Decimal, replacing: PaperOrder | None = None
    ) -> None:
        """Raise `InsufficientFunds` unless the wallet covers a spot order; `cost` is its notional."""
        instrument = market.instrument
        if side is Side.SELL:
            currency, need = instrument.base, quantity
        else:
            currency, need = instrument.quote, self._with_fee(cost, instrument)
        free = self.spendable(currency, replacing)
        if need > free:
            raise InsufficientFunds(f"{market.symbol}: {side} {quantity} needs {need} {currency}, {free} is free")

    def _with_fee(self, cost: Decimal, instrument: Instrument) -> Decimal:
        """Return what a spot buy may take out of the wallet of its quote currency."""
        return cost if self._coin_fees else cost * (ONE + max(ZERO, instrument.maker_fee, instrument.taker_fee))

    def equity(self, currency: str) -> Decimal:
        """Return what stands behind the positions of a currency: cash less spot locks, plus open profit."""
        return self._account.cash(currency) - self.locked(currency) + self.unrealised(currency)

    def maintenance_of(self, symbol: str) -> Decimal:
        """Return the maintenance margin of one position."""
        market = self._markets[symbol]
        mark = market.mark_price()
        if mark is None:
            return ZERO
        return abs(self._account.position(market.instrument)) * mark * market.instrument.maintenance_margin_rate

    def maintenance(self, currency: str) -> Decimal:
        """Return the maintenance margin of all positions that settle in a currency."""
        return sum((self.maintenance_of(symbol) for symbol in self._account.open_positions(currency)), ZERO)

    def liquidation_price(self, market: SymbolMarket) -> Decimal | None:
        """Return the mark at which the account would be liquidated if only this price moved; None when none would."""
        instrument = market.instrument
        mark = market.mark_price()
        ledger = self._account.ledgers.get(market.symbol)
        if ledger is None or not ledger.quantity or mark is None:
            return None
        behind = self.equity(instrument.settle) - ledger.unrealised(mark)
        others = self.maintenance(instrument.settle) - self.maintenance_of(market.symbol)
        slope = ledger.quantity - abs(ledger.quantity) * instrument.maintenance_margin_rate
        price = (others - behind + ledger.cost) / slope
        return instrument.price_from_float(float(price)) if price > 0 else None

    def balance(self, currency: str) -> Balance:
        """Return a wallet as the venue reports it; locked counts spot orders and margin."""
        total = self._account.cash(currency)
        free = min(total, self.spendable(currency))
        return Balance(currency, total, free, total - free)

    def position(self, market: SymbolMarket) -> Position:
        """Return a perpetual position as the venue reports it."""
        ledger = self._account.ledgers[market.symbol]
        mark = market.mark_price() or ledger.entry_price
        return Position(
            symbol=market.symbol,
            quantity=ledger.quantity,
            entry_price=ledger.entry_price,
            mark_price=mark,
            unrealised=ledger.unrealised(mark),
            leverage=self.leverage(market.instrument),
            liquidation_price=self.liquidation_price(market),
            realised=ledger.realised,
            fees=ledger.fees,
            funding=ledger.funding,
        )


def _opens(order: PaperOrder) -> bool:
    return order.type is not OrderType.STOP and not order.reduce_only

"""What the account holds and what it is worth: ledgers, wallets and the venue's positions at present prices.

Ledgers come from the journal; balances and venue positions are the venue's words and are fetched anew at every
start. Amounts without another unit are USD. What cannot be told is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from engine.kernel.account import Balance, Ledger, Position
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill
from engine.runtime.dollar_rates import DOLLARS, DollarRates
from engine.runtime.fills import FillBook
from engine.runtime.ledgers import LedgerBook
from engine.runtime.market import MarketData
from engine.runtime.records import DayAnchor

ZERO = Decimal(0)


@dataclass(slots=True, frozen=True)
class PositionRow:
    """One position of the account. Prices and money in quote, quantities in signed base coins.

    Attributes:
        mark_price: None while the market has no price; `notional` and `unrealised` stand at the entry price then.
        holders: (instance, quantity) of every ledger that is not flat, largest first.
        venue_quantity: What the venue says, None when it has said nothing.
    """

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal | None
    notional: Decimal
    unrealised: Decimal
    realised: Decimal
    fees: Decimal
    funding: Decimal
    holders: tuple[tuple[str, Decimal], ...]
    venue_quantity: Decimal | None
    leverage: Decimal | None
    liquidation_price: Decimal | None

    @property
    def net_profit(self) -> Decimal:
        """Return realised + unrealised + funding - fees."""
        return self.realised + self.unrealised + self.funding - self.fees


class Portfolio:
    """Reads ledgers at present prices.

    Args:
        books: The ledgers.
        market: Instruments and prices.
    """

    def __init__(self, books: LedgerBook, market: MarketData) -> None:
        self._books = books
        self._market = market
        self._balances: dict[str, Balance] = {}
        self._venue_positions: dict[str, Position] = {}
        self._told_ns: dict[str, int] = {}
        self._listed_ns = 0
        self._marks: dict[str, tuple[float, Decimal]] = {}
        self._rates = DollarRates(market, self.mark)

    @property
    def fills(self) -> FillBook:
        """Return the booked executions."""
        return self._books.fills

    @property
    def anchor(self) -> DayAnchor | None:
        """Return profit and equity at the start of this UTC day."""
        return self._books.anchor

    def ledger(self, instance: str, symbol: str) -> Ledger:
        """Return an instance's ledger of a symbol; a flat one when it never traded."""
        found = self._books.by_instance.get(instance, {}).get(symbol)
        return found if found is not None else Ledger()

    def tradable(self, instance: str, symbol: str) -> Ledger:
        """Return an instance's ledger without the part of a lot that a fee in coins may leave over."""
        ledger = self.ledger(instance, symbol)
        quantity = self.whole_lots(symbol, ledger.quantity)
        if quantity == ledger.quantity:
            return ledger
        return replace(ledger, quantity=quantity, cost=ledger.entry_price * quantity)

    def quantity(self, symbol: str) -> Decimal:
        """Return the signed base coins of the account: all ledgers together."""
        total = self._books.totals.get(symbol)
        return total.quantity if total is not None else ZERO

    def whole_lots(self, symbol: str, quantity: Decimal) -> Decimal:
        """Return what of a signed quantity orders can trade: a fee in coins leaves less than a lot over."""
        instrument = self._market.instruments.get(symbol)
        if instrument is None:
            return quantity
        size = instrument.floor_quantity(abs(quantity))
        return size if quantity > 0 else -size

    def ledgers(self) -> list[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that is not flat."""
        return self._books.open()

    def holdings(self) -> list[tuple[str, str, Decimal]]:
        """Return (instance, symbol, signed base coins) of every ledger that orders can close: without dust."""
        return [ledger for ledger in self._books.open() if self.whole_lots(*ledger[1:])]

    def instances(self) -> list[str]:
        """Return every instance that ever traded."""
        return list(self._books.by_instance)

    def holders(self, symbol: str) -> tuple[tuple[str, Decimal], ...]:
        """Return (instance, quantity) of every ledger of a symbol that is not flat, largest first."""
        found = [(instance, held) for instance, name, held in self._books.open() if name == symbol]
        return tuple(sorted(found, key=lambda pair: (-abs(pair[1]), pair[0])))

    def position(self, symbol: str) -> PositionRow:
        """Return the account's position of a symbol; a flat row when there is none."""
        total = self._books.totals.get(symbol) or Ledger()
        venue = self._venue_positions.get(symbol)
        mark = self.mark(symbol)
        value_at = total.entry_price if mark is None else mark
        return PositionRow(
            symbol=symbol,
            quantity=total.quantity,
            entry_price=total.entry_price,
            mark_price=mark,
            notional=abs(total.quantity) * value_at,
            unrealised=ZERO if mark is None else total.unrealised(mark),
            realised=total.realised,
            fees=total.fees,
            funding=total.funding,
            holders=self.holders(symbol),
            venue_quantity=venue.quantity if venue is not None else None,
            leverage=venue.leverage if venue is not None else None,
            liquidation_price=venue.liquidation_price if venue is not None else None,
        )

    def positions(self) -> list[PositionRow]:
        """Return a row for every symbol in which the account, a ledger or the venue holds something, by name."""
        held = {symbol for symbol, total in self._books.totals.items() if total.quantity}
        held.update(symbol for _, symbol, _ in self._books.open())
        held.update(symbol for symbol, position in self._venue_positions.items() if position.quantity)
        return [self.position(symbol) for symbol in sorted(held)]

    def traded_symbols(self) -> list[str]:
        """Return every symbol that has a ledger, flat or not, by name."""
        return sorted(self._books.totals)

    def mark(self, symbol: str) -> Decimal | None:
        """Return the price that values a symbol: mark, else middle, else last; None while there is none."""
        price = self._market.price(symbol)
        if price is None:
            return None
        known = self._marks.get(symbol)
        if known is None or known[0] != price:
            known = self._marks[symbol] = (price, Decimal(f"{price:.12g}"))
        return known[1]

    def unpriced(self) -> dict[str, str]:
        """Return what keeps the worth of a symbol's ledgers in USD from being known, in words, by symbol."""
        lacks = ((symbol, self._lack(symbol, total)) for symbol, total in self._books.totals.items())
        return {symbol: lack for symbol, lack in sorted(lacks) if lack}

    def is_priced(self, instance: str) -> bool:
        """Return whether the worth in USD of everything that an instance holds or has earned is known."""
        books = self._books.by_instance.get(instance, {})
        return all(self._in_usd(symbol, ledger, _worth) is not None for symbol, ledger in books.items())

    def fx(self, currency: str) -> Decimal:
        """Return USD per unit of a currency; the dollar and its coins count as one.

        Raises:
            CtosError: No market gives a price for it now.
        """
        return self._rates.known(currency)

    def rate_of(self, symbol: str) -> Decimal:
        """Return USD per unit of a symbol's quote currency, 0 while it is not known: what is paid in it counts not."""
        return self._rates.rate(self._quote(symbol)) or ZERO

    def rate_markets(self) -> set[str]:
        """Return the markets without whose prices wallets and ledgers cannot be valued in USD."""
        currencies = {balance.currency for balance in self._balances.values() if balance.total}
        currencies.update(self._quote(symbol) for symbol, total in self._books.totals.items() if _counts(total))
        return {market for currency in currencies if (market := self._rates.market(currency)) is not None}

    def fee_in_quote(self, fill: Fill, instrument: Instrument) -> Decimal:
        """Return a fill's fee in the instrument's quote currency, by present prices where it was charged in another.

        Raises:
            CtosError: No price for the fee's currency is known.
        """
        if not fill.fee or fill.fee_currency == instrument.quote:
            return fill.fee
        if fill.fee_currency == instrument.base:
            return fill.fee * fill.price
        return fill.fee * self.fx(fill.fee_currency) / self.fx(instrument.quote)

    def fees_paid(self) -> dict[str, Decimal]:
        """Return the fees paid, by the currency in which they were charged."""
        return dict(self._books.fees)

    def adjusted(self, symbol: str) -> Decimal:
        """Return the sum of explicit adjustments of a symbol, in signed base coins."""
        return self._books.adjusted.get(symbol, ZERO)

    def balances(self) -> list[Balance]:
        """Return the wallets as the venue reported them, by currency."""
        return [self._balances[currency] for currency in sorted(self._balances)]

    def balance(self, currency: str) -> Balance:
        """Return one wallet; an empty one when the venue named none."""
        return self._balances.get(currency) or Balance(currency, ZERO, ZERO)

    def free_usd(self, currency: str | None = None) -> Decimal | None:
        """Return what is free of a wallet, or of all (what has no price in dollars counts as nothing), in USD.

        None while that is not known: the venue has told no balances, or the wallet that is meant has no price.
        """
        if not self._balances:
            return None
        if currency is not None:
            free, rate = self.balance(currency).free, self._rates.rate(currency)
            return ZERO if not free else None if rate is None else free * rate
        wallets = [balance for balance in self._balances.values() if balance.free]
        return sum((balance.free * (self._rates.rate(balance.currency) or ZERO) for balance in wallets), ZERO)

    def equity(self) -> Decimal | None:
        """Return what the account is worth: wallets and open profit; None while that cannot be told.

        A coin that no market of the venue prices in dollars counts as nothing.
        """
        unrealised = self.unrealised(perps_only=True)
        if not self._balances or unrealised is None:
            return None
        total = unrealised
        for balance in self._balances.values():
            rate = self._rates.rate(balance.currency) if balance.total else ZERO
            if rate is None and self._rates.market(balance.currency) is not None:
                return None
            total += balance.total * (rate or ZERO)
        return total

    def unrealised(self, perps_only: bool = False) -> Decimal | None:
        """Return the open profit of the account; None while something held has no price."""
        return self._sum(lambda ledger, mark: ledger.unrealised(mark), perps_only)

    def profit(self) -> Decimal | None:
        """Return realised + unrealised + funding - fees of everything in the journal; None when unknown.

        As in the equity, what was earned in a currency that no market of the venue prices in dollars counts as nothing.
        """
        return self._sum(_worth)

    def day_profit(self) -> Decimal | None:
        """Return the profit since 00:00 UTC; None while it cannot be told."""
        profit, anchor = self.profit(), self._books.anchor
        return None if profit is None or anchor is None else profit - anchor.profit

    def coin_values(self) -> list[tuple[str, Decimal]]:
        """Return (coin, signed USD) of every position, with prices as in `gross_notional`."""
        found = []
        for symbol, total in self._books.totals.items():
            instrument = self._market.instruments.get(symbol)
            if total.quantity:
                coin = instrument.base if instrument is not None else symbol.partition("-")[0]
                found.append((coin, self._value(symbol, total)))
        return found

    def gross_notional(self) -> Decimal:
        """Return the sum of the sizes of all positions; what has no price counts at its entry price.

        A position whose quote currency has no price in dollars counts as nothing: `profit` is not known then.
        """
        return sum((abs(value) for value in self._signed_notionals()), ZERO)

    def net_notional(self) -> Decimal:
        """Return long less short notional."""
        return sum(self._signed_notionals(), ZERO)

    def leverage(self) -> Decimal | None:
        """Return gross notional / equity; None when equity is not known or not positive."""
        equity = self.equity()
        return None if equity is None or equity <= 0 else self.gross_notional() / equity

    def instance_profit(self, instance: str) -> Decimal:
        """Return realised + unrealised + funding - fees of an instance; what has no price stands at its cost.

        What has no price in dollars for its quote currency counts as nothing.
        """
        total = ZERO
        for symbol, ledger in self._books.by_instance.get(instance, {}).items():
            mark = self.mark(symbol) if ledger.quantity else ZERO
            worth = ledger.net_profit(ledger.entry_price if mark is None else mark)
            total += worth * self.rate_of(symbol)
        return total

    def instance_notional(self, instance: str) -> Decimal:
        """Return the gross notional of an instance; what has no price counts at its entry price."""
        books = self._books.by_instance.get(instance, {})
        return sum((abs(self._value(symbol, ledger)) for symbol, ledger in books.items() if ledger.quantity), ZERO)

    def set_balance(self, balance: Balance) -> bool:
        """Take the venue's word for a wallet; return whether it changed."""
        if self._balances.get(balance.currency) == balance:
            return False
        self._balances[balance.currency] = balance
        return True

    def set_venue_position(self, position: Position, as_of_ns: int) -> None:
        """Take the venue's word for a position, which held at that engine time or later."""
        self._venue_positions[position.symbol] = position
        self._told_ns[position.symbol] = as_of_ns

    def set_venue_positions(self, positions: Iterable[Position], as_of_ns: int) -> None:
        """Take the venue's whole list of positions; what it does not name is flat.

        A position that the venue has told since it was asked for the list stays: the list may not know of it yet.
        """
        self._told_ns = {symbol: told_ns for symbol, told_ns in self._told_ns.items() if told_ns > as_of_ns}
        self._listed_ns = as_of_ns
        listed = {position.symbol: position for position in positions}
        for symbol, known in self._venue_positions.items():
            if symbol in self._told_ns:
                listed[symbol] = known
            elif symbol not in listed:
                listed[symbol] = replace(known, quantity=ZERO, unrealised=ZERO, liquidation_price=None)
        self._venue_positions = listed

    def venue_positions(self) -> Mapping[str, Position]:
        """Return the venue's positions by symbol."""
        return self._venue_positions

    def venue_position_ns(self, symbol: str) -> int:
        """Return the engine time as of which the venue told a position, or that there is none; 0 for never."""
        return self._told_ns.get(symbol, self._listed_ns)

    def is_dollar(self, currency: str) -> bool:
        """Return whether a currency counts as the dollar."""
        return currency in DOLLARS

    def spot_market(self, coin: str) -> str | None:
        """Return the spot market in dollars of a coin, None for the dollar itself and for what is not listed."""
        return self._rates.spot_market(coin)

    def _quote(self, symbol: str) -> str:
        """Return a symbol's quote currency; the dollar for one that the venue does not list."""
        instrument = self._market.instruments.get(symbol)
        return DOLLARS[0] if instrument is None else instrument.quote

    def _value(self, symbol: str, ledger: Ledger) -> Decimal:
        mark = self.mark(symbol)
        return ledger.quantity * (ledger.entry_price if mark is None else mark) * self.rate_of(symbol)

    def _signed_notionals(self) -> list[Decimal]:
        return [self._value(symbol, total) for symbol, total in self._books.totals.items() if total.quantity]

    def _sum(self, figure: _Figure, perps_only: bool = False) -> Decimal | None:
        """Return a figure summed over the account's ledgers in USD, None while that of one is not known."""
        total = ZERO
        for symbol, ledger in self._books.totals.items():
            instrument = self._market.instruments.get(symbol)
            if perps_only and (instrument is None or not instrument.is_perp):
                continue
            value = self._in_usd(symbol, ledger, figure)
            if value is None:
                return None
            total += value
        return total

    def _in_usd(self, symbol: str, ledger: Ledger, figure: _Figure) -> Decimal | None:
        """Return a figure of a ledger in USD, None while it is not known.

        A flat ledger needs no price of its symbol. One whose quote currency no market prices counts as nothing then:
        nothing that is still at stake hangs on it, and no price will ever come.
        """
        mark = self.mark(symbol) if ledger.quantity else ZERO
        if mark is None:
            return None
        amount = figure(ledger, mark)
        quote = self._quote(symbol)
        if quote in DOLLARS or not (amount or ledger.quantity):
            return amount
        rate = self._rates.rate(quote)
        if rate is not None:
            return amount * rate
        return None if ledger.quantity or self._rates.market(quote) is not None else ZERO

    def _lack(self, symbol: str, ledger: Ledger) -> str:
        """Return what lacks to tell what a ledger is worth in USD, in words; empty when nothing does."""
        if ledger.quantity and self.mark(symbol) is None:
            return f"{symbol} has no price"
        quote = self._quote(symbol)
        if not _counts(ledger) or self._rates.rate(quote) is not None:
            return ""
        left_out = not ledger.quantity and self._rates.market(quote) is None
        return f"{self._rates.lack(quote)}{'; what it earned counts as nothing' if left_out else ''}"


_Figure = Callable[[Ledger, Decimal], Decimal]


def _worth(ledger: Ledger, mark: Decimal) -> Decimal:
    return ledger.net_profit(mark)


def _counts(ledger: Ledger) -> bool:
    """Return whether anything of a ledger has a worth: what it holds, or what it has earned or lost."""
    return bool(ledger.quantity or ledger.net_profit(ZERO))

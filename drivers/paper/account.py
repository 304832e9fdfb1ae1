"""Money and positions of the paper account, exact to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from drivers.paper.state import Money
from engine.kernel.account import Ledger
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill

ZERO = Decimal(0)
MONEY_STEP = Decimal("1e-8")


def money(amount: Decimal) -> Decimal:
    """Round an amount that is charged or paid to the venue's smallest unit, 1e-8."""
    return amount.quantize(MONEY_STEP, ROUND_HALF_EVEN)


@dataclass(slots=True, frozen=True)
class AuditLine:
    """The proof of one currency's cash.

    `difference = cash - (deposits + realised + spot + funding + insurance - fees)`; 0 unless money was lost or made
    without a cause. `realised` is computed from prices and quantities of all executions and the cost of what is still
    open, not from the sum of profits that was booked.
    """

    currency: str
    deposits: Decimal
    cash: Decimal
    realised: Decimal
    spot: Decimal
    fees: Decimal
    funding: Decimal
    insurance: Decimal
    unrealised: Decimal
    difference: Decimal

    @property
    def equity(self) -> Decimal:
        """Return cash plus open profit."""
        return self.cash + self.unrealised


class PaperAccount:
    """Wallets and perpetual positions.

    Args:
        instruments: Everything that is traded, by symbol.
        money: The sums so far.
        ledgers: Perpetual positions by symbol.
        perp_flow: Symbol -> minus the sum of signed quantity x price.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        money: Money,
        ledgers: dict[str, Ledger],
        perp_flow: dict[str, Decimal],
    ) -> None:
        self._instruments = instruments
        self.money = money
        self.ledgers = ledgers
        self.perp_flow = perp_flow

    def cash(self, currency: str) -> Decimal:
        """Return a wallet's content."""
        return self.money.cash.get(currency, ZERO)

    def deposit(self, currency: str, amount: Decimal) -> None:
        """Pay in."""
        _add(self.money.deposits, currency, amount)
        _add(self.money.cash, currency, amount)

    def position(self, instrument: Instrument) -> Decimal:
        """Return the signed quantity held: the perpetual position, or the coins in the wallet for spot."""
        if not instrument.is_perp:
            return self.cash(instrument.base)
        ledger = self.ledgers.get(instrument.symbol)
        return ledger.quantity if ledger is not None else ZERO

    def entry_price(self, symbol: str) -> Decimal:
        """Return the average entry price of a perpetual position, 0 without one."""
        ledger = self.ledgers.get(symbol)
        return ledger.entry_price if ledger is not None else ZERO

    def held(self) -> list[str]:
        """Return the symbols with an open perpetual position, in order of name."""
        return [symbol for symbol in sorted(self.ledgers) if self.ledgers[symbol].quantity]

    def open_positions(self, currency: str) -> list[str]:
        """Return the symbols with an open position that settles in a currency, in order of name."""
        return [symbol for symbol in self.held() if self._instruments[symbol].settle == currency]

    def book_fill(self, fill: Fill, instrument: Instrument) -> None:
        """Book an execution and its fee."""
        flow = -fill.signed_quantity * fill.price
        if instrument.is_perp:
            ledger = self.ledgers.setdefault(instrument.symbol, Ledger())
            realised = ledger.apply_fill(fill)
            _add(self.perp_flow, instrument.symbol, flow)
            _add(self.money.cash, instrument.settle, realised)
        else:
            for currency, amount in ((instrument.quote, flow), (instrument.base, fill.signed_quantity)):
                _add(self.money.cash, currency, amount)
                _add(self.money.spot, currency, amount)
        _add(self.money.cash, fill.fee_currency, -fill.fee)
        _add(self.money.fees, fill.fee_currency, fill.fee)

    def book_funding(self, instrument: Instrument, amount: Decimal) -> None:
        """Book a funding payment, positive when received."""
        self.ledgers[instrument.symbol].funding += amount
        _add(self.money.cash, instrument.settle, amount)
        _add(self.money.funding, instrument.settle, amount)

    def settle_profit(self, symbol: str, amount: Decimal) -> None:
        """Pay out a part of a position's open profit; its entry price moves by as much."""
        ledger = self.ledgers[symbol]
        ledger.realised += amount
        ledger.cost += amount
        _add(self.money.cash, self._instruments[symbol].settle, amount)

    def insure(self, currency: str) -> Decimal:
        """Cover a wallet that is below zero; returns what was paid in for it."""
        missing = max(ZERO, -self.cash(currency))
        if missing:
            _add(self.money.cash, currency, missing)
            _add(self.money.insurance, currency, missing)
        return missing

    def currencies(self) -> list[str]:
        """Return every currency that ever held money, in order of name."""
        sums = self.money
        return sorted({*sums.cash, *sums.deposits, *sums.insurance})

    def audit(self, marks: Mapping[str, Decimal]) -> list[AuditLine]:
        """Prove every currency's cash from its causes; `marks` values open positions."""
        return [self._audit_currency(currency, marks) for currency in self.currencies()]

    def _audit_currency(self, currency: str, marks: Mapping[str, Decimal]) -> AuditLine:
        sums = self.money
        realised = unrealised = ZERO
        for symbol, ledger in sorted(self.ledgers.items()):
            if self._instruments[symbol].settle == currency:
                realised += self.perp_flow.get(symbol, ZERO) + ledger.cost
                unrealised += ledger.unrealised(marks[symbol]) if ledger.quantity else ZERO
        cash = self.cash(currency)
        deposits, spot = sums.deposits.get(currency, ZERO), sums.spot.get(currency, ZERO)
        fees, funding = sums.fees.get(currency, ZERO), sums.funding.get(currency, ZERO)
        insurance = sums.insurance.get(currency, ZERO)
        difference = cash - (deposits + realised + spot + funding + insurance - fees)
        return AuditLine(currency, deposits, cash, realised, spot, fees, funding, insurance, unrealised, difference)


def _add(sums: dict[str, Decimal], key: str, amount: Decimal) -> None:
    sums[key] = sums.get(key, ZERO) + amount

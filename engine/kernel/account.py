"""Balances, positions and exact average-cost accounting."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from engine.kernel.amounts import check_amounts
from engine.kernel.orders import Fill

ZERO = Decimal(0)
_COST_STEP = Decimal("1e-12")


@dataclass(slots=True, frozen=True)
class Balance:
    """Money in one currency: `total = free + locked`."""

    currency: str
    total: Decimal
    free: Decimal
    locked: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse what is no amount, with `ValueError`."""
        check_amounts(self.total, self.free, self.locked)


@dataclass(slots=True, frozen=True)
class Position:
    """A position as the venue reports it; `quantity` is signed base coins."""

    symbol: str
    quantity: Decimal
    entry_price: Decimal
    mark_price: Decimal
    unrealised: Decimal
    leverage: Decimal
    liquidation_price: Decimal | None = None
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO

    def __post_init__(self) -> None:
        """Refuse what is no amount, with `ValueError`."""
        check_amounts(self.quantity, self.entry_price, self.mark_price, self.unrealised, self.leverage)
        check_amounts(self.liquidation_price, self.realised, self.fees, self.funding)


@dataclass(slots=True, frozen=True)
class FundingPayment:
    """A settled funding payment; `amount` is positive when received, in `currency`."""

    symbol: str
    ts: int
    amount: Decimal
    currency: str
    rate: Decimal
    id: str

    def __post_init__(self) -> None:
        """Refuse what is no amount, with `ValueError`."""
        check_amounts(self.amount, self.rate)


@dataclass(slots=True, frozen=True)
class CashTransfer:
    """Money that came into the account (negative: left it) by no trade: a deposit, a withdrawal, an own transfer.

    Attributes:
        ts: Venue time, ms.
        note: The venue's word for it.
        id: Unique within the account.
    """

    currency: str
    amount: Decimal
    ts: int
    note: str
    id: str


@dataclass(slots=True, frozen=True)
class AccountStream:
    """The private stream broke, is back, or missed something: what happened must be asked for to be known.

    Attributes:
        live: Whether messages arrive now.
        reason: Why, in words.
        missed: Whether it stayed up and a message on it could not be read.
    """

    live: bool
    reason: str
    missed: bool = False


def unreadable(reason: str) -> AccountStream:
    """Return the news that a message about the account could not be read: what it told must be asked for."""
    return AccountStream(True, f"a message could not be read: {reason}", missed=True)


@dataclass(slots=True, frozen=True)
class KeyRights:
    """What the venue says an API key may do; None where it does not say."""

    trade: bool | None
    withdraw: bool | None
    note: str = ""


@dataclass(slots=True)
class Ledger:
    """Average-cost book of one instrument.

    Attributes:
        quantity: Signed base coins.
        cost: Signed cost of the open quantity in quote, so that entry = cost / quantity.
        realised: Profit of closed quantity, before fees and funding.
        fees: Fees paid, in quote.
        funding: Funding received less paid, in quote.
        traded: Sum of notional of all fills.

    At every moment `realised - cost == -sum(signed quantity x price)` to the last digit, coins that paid a fee
    counted as sold, whatever was rounded when a part of the cost was released.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    traded: Decimal = ZERO

    @property
    def entry_price(self) -> Decimal:
        """Return the average entry price, 0 when flat."""
        return self.cost / self.quantity if self.quantity else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        """Return the open profit at a mark price."""
        return self.quantity * mark - self.cost

    def net_profit(self, mark: Decimal) -> Decimal:
        """Return realised + unrealised + funding - fees."""
        return self.realised + self.unrealised(mark) + self.funding - self.fees

    def apply_fill(self, fill: Fill, fee_coins: Decimal = ZERO) -> Decimal:
        """Book a fill; crossing zero closes and re-opens at the fill price.

        Args:
            fill: The fill, its fee in quote.
            fee_coins: Base coins that left the position to pay the fee: they are sold at the fill price for it.

        Returns:
            The profit realised by this fill, before its fee.
        """
        signed, price = fill.signed_quantity - fee_coins, fill.price
        held = self.quantity
        realised = ZERO
        closing = min(abs(signed), abs(held)) if held and (held > 0) != (signed > 0) else ZERO
        if closing:
            closed = closing if held > 0 else -closing
            released = self.cost
            if closing != abs(held):
                released = (self.cost * closed / held).quantize(_COST_STEP, ROUND_HALF_EVEN)
            realised = closed * price - released
            self.cost -= released
            self.quantity -= closed
        opening = signed + closing if signed < 0 else signed - closing
        if opening:
            self.cost += opening * price
            self.quantity += opening
        self.realised += realised
        self.fees += fill.fee
        self.traded += fill.notional
        return realised

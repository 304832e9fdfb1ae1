"""What the paper venue remembers between runs."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.account import Ledger
from engine.kernel.errors import ConfigError
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side

VERSION = 1
ZERO = Decimal(0)


class PaperOrder(msgspec.Struct):
    """An order as the venue holds it.

    Attributes:
        priority: Place in time; renewed when an amendment loses it.
        notional: Sum of price x quantity of its executions.
    """

    id: str
    client_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    trigger_price: Decimal | None
    reduce_only: bool
    priority: int
    ts: int
    state: OrderState = OrderState.OPEN
    filled: Decimal = ZERO
    notional: Decimal = ZERO
    reason: str = ""

    @property
    def remaining(self) -> Decimal:
        """Return the quantity still to be traded."""
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        """Return whether the order may still trade."""
        return self.state is OrderState.OPEN or self.state is OrderState.PARTIAL

    def update(self, ts: int) -> OrderUpdate:
        """Return the order as an account event of time `ts` (ms)."""
        return OrderUpdate(
            client_id=self.client_id,
            venue_order_id=self.id,
            symbol=self.symbol,
            side=self.side,
            type=self.type,
            state=self.state,
            quantity=self.quantity,
            price=self.price,
            filled=self.filled,
            ts=ts,
            trigger_price=self.trigger_price,
            reduce_only=self.reduce_only,
            average_price=self.notional / self.filled if self.filled else None,
            reason=self.reason,
        )


class Money(msgspec.Struct):
    """Every sum of money that has a cause, by currency, so that the cash can be proved from them.

    Attributes:
        cash: What each currency's wallet holds.
        deposits: What was paid in at the start or by a reset.
        fees: Fees paid.
        funding: Funding received less paid.
        insurance: Losses that exceeded the account's money and were covered for it.
        spot: What spot trades brought in less what they took, base and quote legs, before fees.
    """

    cash: dict[str, Decimal] = {}
    deposits: dict[str, Decimal] = {}
    fees: dict[str, Decimal] = {}
    funding: dict[str, Decimal] = {}
    insurance: dict[str, Decimal] = {}
    spot: dict[str, Decimal] = {}


class PaperState(msgspec.Struct):
    """The whole state as it is saved.

    Attributes:
        epoch: Prefix of this venue's ids.
        perp_flow: Symbol -> minus the sum of signed quantity x price of all its executions.
        closed: Recent final orders, each encoded already.
        fills: Recent executions, each encoded already.
        marks: Last known mark price of every open position, for the time until its market is back.
    """

    version: int
    epoch: str
    next_order: int
    next_trade: int
    money: Money
    ledgers: dict[str, Ledger]
    perp_flow: dict[str, Decimal]
    leverage: dict[str, Decimal]
    orders: list[PaperOrder]
    closed: list[msgspec.Raw]
    fills: list[msgspec.Raw]
    marks: dict[str, Decimal] = {}


class _Version(msgspec.Struct):
    version: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PaperState)
_version = msgspec.json.Decoder(_Version)


def encode(state: PaperState) -> bytes:
    """Return the state as JSON."""
    return _encoder.encode(state)


def decode(data: bytes) -> PaperState:
    """Return the state from JSON.

    Raises:
        ConfigError: The data is damaged or of another version.
    """
    remedy = "reset the paper account to begin anew"
    try:
        version = _version.decode(data).version
        if version != VERSION:
            raise ConfigError(f"the saved paper account has format {version}, this program reads {VERSION}; {remedy}")
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the saved paper account cannot be read ({error}); {remedy}") from error


def pack(item: object) -> msgspec.Raw:
    """Return one item encoded, so that later saves only copy it."""
    return msgspec.Raw(_encoder.encode(item))

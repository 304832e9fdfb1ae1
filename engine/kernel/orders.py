"""Orders and their state machine.

States only move forward: a state of lower rank never overwrites one of higher rank, and a final state accepts
fills but no other status. UNKNOWN is a state, not an error; a pending cancel or amend stands beside the
state.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from engine.kernel.amounts import check_amounts
from engine.kernel.errors import InvalidOrder

ZERO = Decimal(0)


class Side(StrEnum):
    """Direction of an order or trade."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """Return +1 for buy, -1 for sell."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order behaves.

    A stop is a reduce-only market order at a trigger price. `market` walks the book without a limit.
    """

    MARKET = "market"
    LIMIT = "limit"
    POST_ONLY = "post_only"
    IOC = "ioc"
    FOK = "fok"
    STOP = "stop"

    @property
    def rests(self) -> bool:
        """Return whether such an order may rest on the book or wait for its trigger."""
        return self in (OrderType.LIMIT, OrderType.POST_ONLY, OrderType.STOP)

    @property
    def has_price(self) -> bool:
        """Return whether such an order needs a limit price."""
        return self not in (OrderType.MARKET, OrderType.STOP)


_BY_FORCE = {"gtc": OrderType.LIMIT, "ioc": OrderType.IOC, "fok": OrderType.FOK}


def combined_order_type(order_type: OrderType, post_only: bool, time_in_force: str | None) -> OrderType:
    """Return the one order type that a type, a post-only flag and a time in force mean together.

    Raises:
        InvalidOrder: They contradict each other.
    """
    force = (time_in_force or "gtc").lower()
    if force not in _BY_FORCE:
        raise InvalidOrder(f"time_in_force={time_in_force!r}: must be gtc, ioc or fok")
    wanted = {order_type} | ({_BY_FORCE[force]} if force != "gtc" else set())
    wanted |= {OrderType.POST_ONLY} if post_only else set()
    if len(wanted) > 1:
        wanted.discard(OrderType.LIMIT)
    if len(wanted) > 1:
        words = " and ".join(sorted(kind.value for kind in wanted))
        raise InvalidOrder(
            f"an order cannot be {words}: order_type=, post_only= and time_in_force= contradict each other"
        )
    return wanted.pop()


class OrderState(StrEnum):
    """Where an order is in its life."""

    INTENT = "intent"
    SENT = "sent"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELED = "canceled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NEVER_SENT = "never_sent"
    NEVER_ACCEPTED = "never_accepted"

    @property
    def is_final(self) -> bool:
        """Return whether no further status can follow."""
        return _RANK[self] >= _FINAL_RANK

    @property
    def is_working(self) -> bool:
        """Return whether the order may still trade (UNKNOWN included)."""
        return _RANK[self] < _FINAL_RANK


_RANK: dict[OrderState, int] = {
    OrderState.INTENT: 0,
    OrderState.SENT: 1,
    OrderState.UNKNOWN: 2,
    OrderState.OPEN: 3,
    OrderState.PARTIAL: 4,
    OrderState.FILLED: 5,
    OrderState.CANCELED: 5,
    OrderState.REJECTED: 5,
    OrderState.EXPIRED: 5,
    OrderState.NEVER_SENT: 5,
    OrderState.NEVER_ACCEPTED: 5,
}
_FINAL_RANK = 5

_ABSENT = frozenset({OrderState.REJECTED, OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED})
"""States that say the venue never worked the order."""


class Pending(StrEnum):
    """A request about a working order that has no answer yet."""

    NONE = ""
    CANCEL = "cancel"
    AMEND = "amend"


@dataclass(slots=True, frozen=True)
class OrderRequest:
    """What is asked of a venue: base coins, prices in quote, exact multiples of lot and tick."""

    client_id: str
    instance: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False


@dataclass(slots=True)
class Order:
    """One order and everything known about it.

    Attributes:
        quantity: Total asked, after amendments.
        filled: Sum of booked fills.
        reported_filled: Cumulative quantity that status messages named; may run ahead of `filled`.
        filled_notional: Sum of price x quantity of booked fills.
        fees: Sum of fees of booked fills, in the fee currency.
        pending: Request in flight beside the state.
        asked_quantity: Total that an amendment without a known outcome asks for.
        asked_by: Who or what asked for the last cancellation or amendment: an instance, `manual`, the handle of a
            piece of work, or a halt in words.
        sent_ns: When it was handed to the driver; 0 before.
        asked_ns: When the last cancellation or amendment was decided.
        reason: Why it was rejected, cancelled or expired, in words.
        error: Class name of the typed error behind a rejection, if any.
        label: Short number shown to people (`#12`).
        parent: Handle of the work that minds it, if any; else its instance does so itself.
        replaces: Client id of the order whose place it took, by an amendment where the venue cannot amend.
        replaced_by: Client id of the order that took its place; it was not simply cancelled then, but goes on as that.
        external: Whether somebody else placed it on this account.
        held: Whether the engine holds it until its trigger price is met; the venue does not know it yet.
        fired: Whether the engine held it and has sent it since its trigger was met.
        reference_price: Middle of the touch when it was decided, for judging slippage.
        venue_ts: Venue time (ms) of the newest status.
    """

    client_id: str
    instance: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None = None
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    state: OrderState = OrderState.INTENT
    venue_order_id: str = ""
    filled: Decimal = ZERO
    reported_filled: Decimal = ZERO
    filled_notional: Decimal = ZERO
    fees: Decimal = ZERO
    pending: Pending = Pending.NONE
    created_ns: int = 0
    updated_ns: int = 0
    reason: str = ""
    error: str = ""
    label: int = 0
    parent: str = ""
    external: bool = False
    held: bool = False
    reference_price: Decimal | None = None
    venue_ts: int = 0
    asked_quantity: Decimal | None = None
    asked_by: str = ""
    replaces: str = ""
    replaced_by: str = ""
    sent_ns: int = 0
    asked_ns: int = 0
    fired: bool = False

    @classmethod
    def from_request(cls, request: OrderRequest, now_ns: int, label: int = 0) -> Order:
        """Return a new order in state INTENT."""
        return cls(
            client_id=request.client_id,
            instance=request.instance,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            quantity=request.quantity,
            price=request.price,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            created_ns=now_ns,
            updated_ns=now_ns,
            label=label,
        )

    @property
    def remaining(self) -> Decimal:
        """Return the quantity that may still trade, judged by the larger of booked and reported fills."""
        if not self.filled and not self.reported_filled:
            return self.quantity
        return max(ZERO, self.quantity - max(self.filled, self.reported_filled))

    @property
    def working_quantity(self) -> Decimal:
        """Return the quantity that still counts as exposure: nothing once the state is final."""
        return ZERO if self.state.is_final else self.remaining

    @property
    def exposed_quantity(self) -> Decimal:
        """Return what may still come into the books: what may trade, and what was reported but is not booked yet."""
        if self.external or self.reported_filled <= self.filled:
            return self.working_quantity
        return self.working_quantity + self.reported_filled - self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Return the average price of booked fills, None without any."""
        return self.filled_notional / self.filled if self.filled else None

    @property
    def is_open(self) -> bool:
        """Return whether the order may still trade."""
        return not self.state.is_final

    def accepts(self, state: OrderState) -> bool:
        """Return whether `state` is a step forward from the present one.

        A status of lower rank, or any status after a final one, is none, with one exception: evidence that the venue
        worked an order after all replaces NEVER_SENT, NEVER_ACCEPTED or REJECTED.
        """
        current = self.state
        if state is current:
            return False
        if current in _ABSENT and state not in _ABSENT and _RANK[state] >= _RANK[OrderState.OPEN]:
            return True
        return not current.is_final and _RANK[state] >= _RANK[current]

    def advance(self, state: OrderState, now_ns: int, reason: str = "") -> bool:
        """Move to `state` if that is a step forward; return whether anything changed."""
        if not self.accepts(state):
            return False
        self.state = state
        self.updated_ns = now_ns
        if reason:
            self.reason = reason
        if state.is_final:
            self.pending = Pending.NONE
        return True

    def book_fill(self, fill: Fill, now_ns: int) -> None:
        """Add a fill and move to PARTIAL or FILLED; the caller removes duplicates.

        Fills beyond the total prove that an amendment to a larger one, which has no answer yet, was carried out.
        """
        self.filled += fill.quantity
        full = max(self.quantity, self.asked_quantity or ZERO)
        if self.filled > self.quantity:
            self.quantity = full
        self.filled_notional += fill.quantity * fill.price
        self.fees += fill.fee
        self.reported_filled = max(self.reported_filled, self.filled)
        self.updated_ns = now_ns
        self.advance(OrderState.FILLED if self.filled >= full else OrderState.PARTIAL, now_ns)


@dataclass(slots=True, frozen=True)
class Fill:
    """One execution, as the venue reported it.

    Attributes:
        trade_id: The venue's id, unique within (venue, account, symbol).
        fee: Charged amount, positive when paid, in `fee_currency`.
        maker: Whether our order was resting.
        ts: Venue time, ms.
        liquidation: Whether the venue forced this trade.
    """

    trade_id: str
    symbol: str
    client_id: str
    venue_order_id: str
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str
    maker: bool
    ts: int
    liquidation: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no amount, with `ValueError`."""
        check_amounts(self.price, self.quantity, self.fee)
        if self.quantity <= 0 or self.price < 0:
            raise ValueError(f"nothing can be filled for {self.quantity} at {self.price}")

    @property
    def signed_quantity(self) -> Decimal:
        """Return the quantity, negative for a sell."""
        return self.quantity if self.side is Side.BUY else -self.quantity

    @property
    def notional(self) -> Decimal:
        """Return price x quantity."""
        return self.price * self.quantity


@dataclass(slots=True, frozen=True)
class OrderUpdate:
    """What a venue says about an order: a reply, a stream message or the row of a query.

    Attributes:
        error: Class name of the typed error behind a rejection that came after the acknowledgement, if any.
    """

    client_id: str
    venue_order_id: str
    symbol: str
    side: Side
    type: OrderType
    state: OrderState
    quantity: Decimal
    price: Decimal | None
    filled: Decimal
    ts: int
    trigger_price: Decimal | None = None
    reduce_only: bool = False
    average_price: Decimal | None = None
    reason: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no amount, with `ValueError`."""
        check_amounts(self.quantity, self.price, self.filled, self.trigger_price, self.average_price)
        if self.quantity < 0 or self.filled < 0:
            raise ValueError(f"no order is for {self.quantity}, or filled {self.filled}")


@dataclass(slots=True, frozen=True)
class OrderTrack:
    """How far an own order has come.

    Attributes:
        id: Client id; of a soft order its handle, that of the parent or target where it belongs to one.
        filled: Base coins filled; of a soft order by all the orders that it has sent.
        remaining: Base coins still to be filled; none once an order is final.
        order: Client id of the order that works now; empty while none does.
        repegs: How often a soft order was sent to another price since the program started.
        deadline_ms: When the policy of a soft order applies to its rest; None for other orders.
    """

    id: str
    symbol: str
    side: Side
    filled: Decimal
    remaining: Decimal
    order: str
    repegs: int = 0
    deadline_ms: int | None = None

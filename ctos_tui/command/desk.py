"""What the operator's desk knows at one moment: plain values that intents are resolved against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from ctos_tui.command.terms import Ref
from ctos_tui.guard.levels import GuardLimits
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument, InstrumentKind, resolve_symbol
from engine.kernel.orders import Order, OrderType, Side

ZERO: Final = Decimal(0)
PASSIVE: Final = Decimal("0.0005")
"""So far from the mark, on its own side of it, an order rests that is priced `passive`."""


class ResolveError(CtosError):
    """An intent cannot become an order now; the message says what is missing or wrong, and what would do."""


class Market(msgspec.Struct, frozen=True):
    """One market as it stands. Prices in quote, quantities in base coins; None is unknown.

    Attributes:
        bid_depth: Displayed quantity on the bid side.
        ask_depth: Displayed quantity on the ask side.
        age_ms: Age of the book; None without one.
        position: Signed quantity held (on spot: coins owned).
        entry: Average entry price of the position.
        leverage: Leverage set for the market.
        usual_quantity: Median quantity of recent orders; None while too few are known.
        unknown_order: An own order of the market has no known outcome.
        turnover: Traded in 24 hours, in quote.
        listed: The venue still lists it.
    """

    instrument: Instrument
    bid: Decimal | None = None
    ask: Decimal | None = None
    last: Decimal | None = None
    mark: Decimal | None = None
    bid_depth: Decimal | None = None
    ask_depth: Decimal | None = None
    age_ms: int | None = None
    position: Decimal = ZERO
    entry: Decimal | None = None
    leverage: Decimal = Decimal(1)
    usual_quantity: Decimal | None = None
    unknown_order: bool = False
    turnover: float = 0.0
    listed: bool = True

    @property
    def mid(self) -> Decimal | None:
        """Return the middle of the touch."""
        return (self.bid + self.ask) / 2 if self.bid is not None and self.ask is not None else None

    @property
    def crossed(self) -> bool:
        """Return whether bid and ask contradict each other."""
        return self.bid is not None and self.ask is not None and self.bid >= self.ask

    def near(self, side: Side) -> Decimal | None:
        """Return the best price of the order's own side."""
        return self.bid if side is Side.BUY else self.ask

    def far(self, side: Side) -> Decimal | None:
        """Return the best price of the other side."""
        return self.ask if side is Side.BUY else self.bid

    def far_depth(self, side: Side) -> Decimal | None:
        """Return what is displayed on the other side."""
        return self.ask_depth if side is Side.BUY else self.bid_depth

    @property
    def unrealised(self) -> Decimal | None:
        """Return the open profit in quote; None while the mark or the entry price is not known."""
        return self.position * (self.mark - self.entry) if self.mark is not None and self.entry is not None else None

    def reference(self, ref: Ref, side: Side) -> Decimal | None:
        """Return the price that a word of the prompt names for an order of this side."""
        prices = {
            Ref.BEST: self.near(side),
            Ref.OPP: self.far(side),
            Ref.BID: self.bid,
            Ref.ASK: self.ask,
            Ref.MID: self.mid,
            Ref.LAST: self.last,
            Ref.MARK: self.mark,
            Ref.ENTRY: self.entry if self.position else None,
            Ref.PASSIVE: None if self.mark is None else self.mark * (1 - side.sign * PASSIVE),
        }
        return prices[ref]


class Sent(msgspec.Struct, frozen=True):
    """An order that was sent a moment ago."""

    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal | None
    at_ns: int


class Desk(msgspec.Struct, frozen=True):
    """Everything that resolving, previewing and completing a line needs.

    Attributes:
        now_ns: The engine's time.
        focus: Canonical name of the focused market; empty when there is none.
        markets: Every market of the account by canonical name.
        orders: Own working orders, oldest first.
        watch: Watch list, in its order.
        equity: Account equity in quote; None when unknown.
        free: Money free as margin or to pay with; None when unknown.
        exposure: Notional of all positions and working increases.
        limits: Where care begins and where an order is refused.
        default_quote: Quote meant by a bare coin.
        default_kind: Kind meant by a bare coin.
        halted: Why trading is halted; empty when it is not.
        armed_all: Order entry is armed for every market.
        armed: Markets for which it is armed.
        closed: What stands against the others.
        rate_full: The order rate is used up.
        recent: Orders sent in the last seconds.
        slippage_bp: How far beyond the touch a market order may trade.
    """

    now_ns: int
    focus: str
    markets: Mapping[str, Market]
    orders: Sequence[Order] = ()
    watch: Sequence[str] = ()
    equity: Decimal | None = None
    free: Decimal | None = None
    exposure: Decimal = ZERO
    limits: GuardLimits = msgspec.field(default_factory=GuardLimits)
    default_quote: str = "USDT"
    default_kind: InstrumentKind = InstrumentKind.PERP
    halted: str = ""
    armed_all: bool = False
    armed: frozenset[str] = frozenset()
    closed: str = "DISARMED: press A or type arm"
    rate_full: bool = False
    recent: Sequence[Sent] = ()
    slippage_bp: Decimal = Decimal(30)

    def is_armed(self, symbol: str) -> bool:
        """Return whether orders for a market may pass."""
        return self.armed_all or symbol in self.armed

    def market(self, typed: str | None) -> Market:
        """Return the market that a person means; None means the focused one.

        Raises:
            ResolveError: No market is focused.
            UnknownSymbol: Nothing matches; the message names the nearest.
        """
        if typed is None:
            if self.focus not in self.markets:
                raise ResolveError("no market is focused: name one, or type go btc")
            return self.markets[self.focus]
        instruments = {symbol: market.instrument for symbol, market in self.markets.items()}
        return self.markets[resolve_symbol(typed, instruments, self.default_quote, self.default_kind).symbol]

    def order(self, number: str) -> Order:
        """Return the working order that `#number` names, by its short number or its whole client id.

        Raises:
            ResolveError: No working order has it.
        """
        for order in self.orders:
            if str(order.label) == number or order.client_id.lower() == number:
                return order
        working = ", ".join(f"#{order.label}" for order in self.orders[-4:])
        raise ResolveError(f"no working order #{number}" + (f"; working: {working}" if working else "; none works"))

    def left_to_close(self, symbol: str, side: Side, *, replacing: str = "") -> Decimal:
        """Return how much an order of this side may close: the position less own orders that close it already.

        Args:
            symbol: Canonical name.
            side: Side of the order.
            replacing: Client id of the working order whose place it takes.
        """
        held = max(ZERO, -self.markets[symbol].position * side.sign)
        closing = (
            order.working_quantity
            for order in self.orders
            if order.symbol == symbol
            and order.side is side
            and order.type is not OrderType.STOP
            and order.client_id != replacing
        )
        return max(ZERO, held - sum(closing, ZERO))

    def short_name(self, instrument: Instrument) -> str:
        """Return the name shown to people: `BTC-PERP` for the default quote, else the canonical one."""
        if instrument.is_perp and instrument.quote == self.default_quote:
            return f"{instrument.base}-PERP"
        return instrument.symbol

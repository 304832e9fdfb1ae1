"""The trading system calls: one interface over all venues.

A driver offers the asynchronous calls of `Driver` (queries, and trading for scripts and conformance tests)
and, for the engine, an `OrderGateway` whose replies come by callback, so that the same engine runs with and
without an event loop. Market and account streams call plain handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol, runtime_checkable

import msgspec

from engine.kernel.account import AccountStream, Balance, CashTransfer, FundingPayment, KeyRights, Position
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus, VenueHealth
from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
)
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side

Reply = Callable[[OrderUpdate | CtosError], None]
"""Takes the outcome of one order request: the venue's words, or the typed error."""

Unsubscribe = Callable[[], None]
TickEvent = Quote | Ticker | MarkPrice | FundingRate
BookEvent = BookUpdate | BookSynced | BookInvalid
AccountEvent = OrderUpdate | Fill | Position | Balance | FundingPayment | AccountStream


class VenueFeatures(msgspec.Struct, frozen=True):
    """What a venue does by itself, from its `arch.yaml`.

    Attributes:
        stops: It keeps reduce-only stop orders.
        amends: It changes price and quantity of a working order in one call.
        dead_man: It cancels our orders by itself unless a timer is set anew.
        leverage: Leverage can be set for each instrument.
        transfers: It tells every deposit, withdrawal and transfer (`get_transfers`).
        spot_stops: `stops` on spot; None where it is as on perpetuals.
        spot_amends: `amends` on spot; None where it is as on perpetuals.
        spot_dead_man: `dead_man` on spot; None where it is as on perpetuals.
    """

    stops: bool = True
    amends: bool = True
    dead_man: bool = False
    leverage: bool = True
    transfers: bool = False
    spot_stops: bool | None = None
    spot_amends: bool | None = None
    spot_dead_man: bool | None = None

    def keeps_stops(self, kind: InstrumentKind) -> bool:
        """Return whether the venue keeps stop orders on instruments of a kind."""
        return self.stops if kind is InstrumentKind.PERP or self.spot_stops is None else self.spot_stops

    def can_amend(self, kind: InstrumentKind) -> bool:
        """Return whether the venue amends working orders on instruments of a kind in one call."""
        return self.amends if kind is InstrumentKind.PERP or self.spot_amends is None else self.spot_amends

    def has_timer(self, kind: InstrumentKind) -> bool:
        """Return whether the venue's timer covers our orders on instruments of a kind when this program is gone."""
        return self.dead_man if kind is InstrumentKind.PERP or self.spot_dead_man is None else self.spot_dead_man


class ExchangeLimits(msgspec.Struct, frozen=True):
    """Steps and limits of an instrument, as `exchange_limits` reports them."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    contract_size: Decimal
    max_leverage: Decimal


class PriceNow(msgspec.Struct, frozen=True):
    """Current prices of an instrument; None where the venue has none."""

    symbol: str
    ts: int
    bid: Decimal | None
    ask: Decimal | None
    last: Decimal | None
    mark: Decimal | None


class BookLevels(msgspec.Struct, frozen=True):
    """The best levels of a book as (price, quantity), best first."""

    symbol: str
    ts: int
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]


class Fees(msgspec.Struct, frozen=True):
    """Trading fees and funding of an instrument; rates are fractions."""

    symbol: str
    maker: Decimal
    taker: Decimal
    funding_rate: Decimal | None
    funding_rate_per_hour: Decimal | None
    funding_period_h: int | None
    next_funding_time: int | None


@runtime_checkable
class OrderGateway(Protocol):
    """Carries order requests to a venue; each gets exactly one reply, later, never on the caller's stack."""

    def place(self, request: OrderRequest, reply: Reply) -> None:
        """Send a new order."""

    def amend(self, client_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None, reply: Reply) -> None:
        """Change price and/or total quantity of a working order."""

    def cancel(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Cancel a working order."""

    def query(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Ask what became of an order, open or closed; `OrderNotFound` when the venue has never seen it."""


@runtime_checkable
class Driver(Protocol):
    """One venue and account."""

    venue: str

    @property
    def gateway(self) -> OrderGateway:
        """Return the engine's way to place orders."""

    @property
    def features(self) -> VenueFeatures:
        """Return what the venue does by itself."""

    async def start(self) -> None:
        """Connect and be ready for every call; called before any other.

        Raises:
            CtosError: The venue cannot be reached, or refuses the key; the message names the remedy.
        """

    async def stop(self) -> None:
        """Disconnect and release everything."""

    async def symbols(self, kind: InstrumentKind | None = None) -> list[Instrument]:
        """Return the tradable instruments."""

    def remembered(self, symbol: str) -> Instrument | None:
        """Return an instrument that is listed or, as delisted, was once; None for one that was never seen."""

    async def exchange_limits(self, symbol: str) -> ExchangeLimits:
        """Return steps and limits of an instrument."""

    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""

    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side."""

    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; the last may be unclosed."""

    async def fees(self, symbol: str) -> Fees:
        """Return fees and funding."""

    async def server_time(self) -> int:
        """Return the venue's time in ms."""

    async def place_order(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        size: Decimal,
        price: Decimal | None = None,
        client_id: str | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        time_in_force: str | None = None,
        trigger_price: Decimal | None = None,
    ) -> OrderUpdate:
        """Place an order and return the venue's answer."""

    async def amend_order(
        self, order_id: str, symbol: str, price: Decimal | None = None, size: Decimal | None = None
    ) -> OrderUpdate:
        """Amend an order by venue or client id; `size` is the new total."""

    async def revoke_order(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel an order by venue or client id."""

    async def cancel_all(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Cancel every order, of one instrument or all."""

    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders."""

    async def get_order_status(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order."""

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms."""

    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances."""

    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions."""

    async def close_all_positions(
        self,
        symbol: str | None = None,
        mode: str = "market",
        price_offset: Decimal = Decimal(0),
        side: Side | None = None,
    ) -> list[OrderUpdate]:
        """Close positions reduce-only, by market or by limit at mark with an offset (fraction)."""

    async def get_transfers(self, since: int) -> list[CashTransfer]:
        """Return deposits, withdrawals and transfers since a time in ms, oldest first.

        Raises:
            Unsupported: The venue does not tell all of them.
        """

    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage of an instrument."""

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument as last heard of, 1 on spot; None while it is not known."""

    async def check_account(self) -> list[str]:
        """Return what forbids trading on this account (hedge mode, margin mode, a key without rights), with remedies.

        Raises:
            CtosError: The venue could not be asked.
        """

    async def key_rights(self) -> KeyRights:
        """Return what the venue says the key may do."""

    async def cancel_all_after(self, seconds: int) -> None:
        """Let the venue cancel this account's orders unless called again within `seconds`; 0 switches it off.

        Raises:
            Unsupported: The venue has no such timer.
        """

    def links(self) -> list[LinkStatus]:
        """Return the state of every connection; empty where there is none to lose."""

    def health(self) -> VenueHealth:
        """Return whether the venue serves us, and how well its time is known."""

    def clock_offset_ms(self) -> float | None:
        """Return the venue's time less ours, in ms; None where it is not known, or the venue has no time of its own."""

    def book(self, symbol: str) -> OrderBook:
        """Return the live book of an instrument, kept current while it is subscribed."""

    def subscribe_ticks(self, symbol: str, handler: Callable[[TickEvent], None]) -> Unsubscribe:
        """Stream quotes, tickers, mark prices and funding rates."""

    def subscribe_orderbook(self, symbol: str, handler: Callable[[BookEvent], None]) -> Unsubscribe:
        """Stream book changes, each delivered after it was applied to `book(symbol)`."""

    def subscribe_klines(self, symbol: str, timeframe: str, handler: Callable[[Bar], None]) -> Unsubscribe:
        """Stream candles; closed ones are delivered once."""

    def subscribe_trades(self, symbol: str, handler: Callable[[Trade], None]) -> Unsubscribe:
        """Stream public trades."""

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        """Stream the public wire messages as they arrive, REST snapshots among them: what `decode` reads."""

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        """Stream order updates, fills, positions, balances and funding payments of this account."""

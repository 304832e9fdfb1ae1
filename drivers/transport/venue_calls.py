"""What every venue's driver has to bring: its own answers to the calls that differ from venue to venue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import NamedTuple

from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.instruments import Instrument
from engine.kernel.links import LinkStatus
from engine.kernel.market import Bar
from engine.kernel.orders import Fill, OrderRequest, OrderUpdate
from engine.kernel.syscalls import BookLevels, Fees, PriceNow


class Topic(NamedTuple):
    """What a public subscription is about.

    Attributes:
        kind: `ticks`, `book`, `trades` or `klines`.
        symbol: Canonical name.
        timeframe: Candle length; empty for the others.
    """

    kind: str
    symbol: str
    timeframe: str = ""


class VenueCalls(ABC):
    """The calls of one venue; see `VenueDriver` for when they are made.

    - `load_instruments`: asks the venue for its instruments; called first, so it starts what it needs for that (HTTP,
      the venue's time), and later again;
    - `open`, `close`: sockets, private stream; `open` runs after the instruments are loaded and returns when
      everything is ready; `close` must bear an `open` that failed half-way;
    - `submit`, `change`, `withdraw`, `look_up`: one order (see `OrderCalls`), by client id or venue id;
    - `follow`, `unfollow`: a topic got its first handler, or lost its last: subscribe or unsubscribe; called before
      the socket is open too (`topics.active` says what to subscribe when it opens);
    - `resync`: a book has to be asked for anew; a failed try is told by `books.lose(symbol, reason)`;
    - `links`: the state of its connections;
    - the queries: `get_price_now`, `get_orderbook`, `get_klines`, `fees`, `server_time`, `get_open_orders`,
      `get_fills`, `fetch_balance`, `get_position`, `set_leverage`, `leverage`, `check_account`, `key_rights`, and
      `cancel_all_after` where the venue has such a timer.
    """

    @abstractmethod
    async def load_instruments(self) -> list[Instrument]:
        """Ask the venue for its instruments."""

    @abstractmethod
    async def open(self) -> None:
        """Connect; return when everything is ready."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnect and release everything, whatever of it was opened."""

    @abstractmethod
    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`."""

    @abstractmethod
    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working order; see `OrderCalls`."""

    @abstractmethod
    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order; see `OrderCalls`."""

    @abstractmethod
    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order; see `OrderCalls`."""

    @abstractmethod
    def follow(self, topic: Topic) -> None:
        """Subscribe to a topic at the venue."""

    @abstractmethod
    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic."""

    @abstractmethod
    def resync(self, symbol: str, reason: str) -> None:
        """Ask for a symbol's book anew."""

    @abstractmethod
    def links(self) -> list[LinkStatus]:
        """Return the state of every connection."""

    @abstractmethod
    def clock_offset_ms(self) -> float | None:
        """Return the venue's time less ours, in ms; None until it was asked."""

    @abstractmethod
    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""

    @abstractmethod
    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side."""

    @abstractmethod
    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; with a start the first `limit`, else the last."""

    @abstractmethod
    async def fees(self, symbol: str) -> Fees:
        """Return fees and funding."""

    @abstractmethod
    async def server_time(self) -> int:
        """Return the venue's time in ms."""

    @abstractmethod
    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""

    @abstractmethod
    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms."""

    @abstractmethod
    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances."""

    @abstractmethod
    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions."""

    @abstractmethod
    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage of an instrument."""

    @abstractmethod
    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument as last heard of; None while it is not known."""

    @abstractmethod
    async def check_account(self) -> list[str]:
        """Return what forbids trading on this account, with remedies."""

    @abstractmethod
    async def key_rights(self) -> KeyRights:
        """Return what the venue says the key may do."""

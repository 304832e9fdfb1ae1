"""The strategy contract: one class with parameters and synchronous handlers, run unchanged on paper and live.

Handlers do no I/O and return quickly. Commands of the context return at once with a client order id or a handle; what
became of them arrives by `on_order`, `on_fill` and `on_done`. Commands issued in a handler are carried out, in order,
after it returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from engine.kernel.account import FundingPayment, Ledger
from engine.kernel.clock import Rng
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, FundingRate, Quote, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, Order, OrderTrack, OrderType, Side

ZERO = Decimal(0)


class Purpose(StrEnum):
    """Why an order exists; one letter in the client order id."""

    ENTRY = "e"
    EXIT = "x"
    STOP = "s"
    TAKE_PROFIT = "t"
    HEDGE = "h"
    CORRECTION = "c"


class DeadlinePolicy(StrEnum):
    """What happens to the rest of a soft order at its deadline."""

    CANCEL = "cancel"
    CROSS = "cross"
    LEAVE = "leave"


class StopPolicy(StrEnum):
    """What happens to orders and position when an instance stops."""

    KEEP = "keep"
    CANCEL = "cancel"
    FLATTEN = "flatten"


class PauseMode(StrEnum):
    """Whether a paused instance still sees the market."""

    EXITS = "exits"
    FREEZE = "freeze"


class DoneStatus(StrEnum):
    """How a soft order, an incremental order or a position target ended."""

    FILLED = "filled"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"
    DUST = "dust"
    ERROR = "error"


@dataclass(slots=True, frozen=True)
class Done:
    """The end of a soft order, an incremental order, a position target or an amendment by replacement.

    Attributes:
        handle: What the command returned.
        kind: `soft`, `incremental`, `target` or `amend`.
        quantity: Base coins filled (unsigned).
        average_price: Average price of the fills, None without any.
        notional: Quote amount of the fills.
        unspent: Quote amount that was asked for and not used.
        children: Client ids of the orders that were sent.
        reason: Typed error's name and text when it failed, else one word of explanation.
        closes: Whether a position was to be closed as a whole.
    """

    handle: str
    kind: str
    symbol: str
    status: DoneStatus
    quantity: Decimal = ZERO
    average_price: Decimal | None = None
    notional: Decimal = ZERO
    fees: Decimal = ZERO
    unspent: Decimal = ZERO
    children: tuple[str, ...] = ()
    reason: str = ""
    closes: bool = False


class RiskParams(BaseModel):
    """Limits that the engine enforces for one instance. None means: derived or default of the account."""

    model_config = ConfigDict(extra="forbid")

    max_notional_usd: Decimal | None = Field(None, gt=0, description="ledger plus working increases, USD")
    max_order_usd: Decimal | None = Field(None, gt=0, description="largest single order, USD")
    max_open_orders: int = Field(20, ge=1, le=1000, description="working orders at once")
    max_cmds_per_min: int = Field(60, ge=1, le=6000, description="order commands in 60 s")
    price_band_bp: Decimal = Field(
        Decimal(200), gt=0, description="furthest beyond the touch on the aggressive side, bp"
    )
    stop_loss_pct: Decimal = Field(Decimal("0.05"), gt=0, le=1, description="loss of capital that halts the instance")
    daily_loss_pct: Decimal = Field(Decimal("0.03"), gt=0, le=1, description="loss since 00:00 UTC that halts it")
    max_drawdown_pct: Decimal = Field(
        Decimal("0.25"), gt=0, le=1, description="fall from the equity peak that halts it"
    )


class Params(BaseModel):
    """Base of every strategy's parameters.

    A field with `json_schema_extra={"restart": True}` needs a restart to change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    symbols: str | tuple[str, ...] = Field(
        "focus",
        description="instruments: symbols joined by +, or focus, positions, all",
        json_schema_extra={"restart": True},
    )
    capital_usd: Decimal = Field(Decimal(1000), gt=0, description="USD allocated to this instance")
    stop_policy: StopPolicy = Field(StopPolicy.CANCEL, description="orders and position at stop: keep, cancel, flatten")
    on_halt: str = Field("flatten", pattern="^(flatten|hold)$", description="position when a loss limit halts it")
    risk: RiskParams = Field(default_factory=lambda: RiskParams(), description="limits of this instance")


P = TypeVar("P", bound=Params)


class Timers(Protocol):
    """Named timers of one instance; each calls `on_timer(name, payload)`. Binding a name again replaces it."""

    def at(self, name: str, time_ms: int, payload: object = None) -> None:
        """Fire once at a UTC time."""

    def after(self, name: str, seconds: float, payload: object = None) -> None:
        """Fire once after a delay."""

    def every(self, name: str, seconds: float, payload: object = None) -> None:
        """Fire at every UTC-aligned multiple of `seconds`."""

    def cancel(self, name: str) -> None:
        """Take a timer back; harmless when it is not set."""


class Context(Protocol):
    """What a strategy can see and do. All reads come from memory.

    `quantity` is base coins; `amount` is quote currency and is converted at the limit price (floor to lot, never more
    than asked). Commands that would increase exposure raise `Paused` while entries are not allowed, and
    `BelowMinimum` when the size is too small; every other refusal arrives as `on_order` with state REJECTED.
    """

    instance: str
    state: dict[str, Any]
    """Memory of the instance, kept over restarts: JSON values, Decimals as strings. It is filled before the strategy is
    made, saved after every handler (market data handlers: when they commanded something), and as it was before when a
    handler raised."""
    rng: Rng

    @property
    def timer(self) -> Timers:
        """Return the instance's timers."""

    @property
    def entries_allowed(self) -> bool:
        """Return whether commands that increase exposure are accepted now."""

    @property
    def universe(self) -> Sequence[str]:
        """Return the symbols of everything that the venue lists; the instance's own are `Strategy.symbols`."""

    def buy(
        self,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        amount: Decimal | None = None,
        price: Decimal | None = None,
        type: OrderType = OrderType.POST_ONLY,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        trigger_price: Decimal | None = None,
    ) -> str:
        """Send a buy order; returns its client id."""

    def sell(
        self,
        symbol: str,
        *,
        quantity: Decimal | None = None,
        amount: Decimal | None = None,
        price: Decimal | None = None,
        type: OrderType = OrderType.POST_ONLY,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        trigger_price: Decimal | None = None,
    ) -> str:
        """Send a sell order; returns its client id."""

    def soft(
        self,
        symbol: str,
        side: Side,
        quantity: Decimal,
        *,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
    ) -> str:
        """Work a quantity by a pegged post-only order; returns a handle, ends with `on_done`."""

    def place_incremental_orders(
        self,
        amount: Decimal,
        coin: str,
        side: Side,
        soft: bool = True,
        n_children: int = 1,
        max_child: Decimal | None = None,
        interval_s: float = 0,
        deadline_s: float = 10800,
    ) -> str:
        """Work a quote amount in child orders; returns a handle, ends with `on_done`."""

    def set_position(
        self,
        symbol: str,
        usd: Decimal,
        *,
        soft: bool = True,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> str:
        """Move this instance's ledger to a signed target notional; returns a handle, ends with `on_done`."""

    def set_positions(
        self,
        targets: Mapping[str, Decimal],
        *,
        soft: bool = True,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> dict[str, str]:
        """Move several ledgers: all reductions first, then increases; returns a handle for each symbol.

        A target that is refused, also for a pause, ends with `on_done` as ERROR; the others go on.
        """

    def close(
        self,
        symbol: str,
        fraction: Decimal = Decimal(1),
        *,
        soft: bool = False,
        deadline_s: float = 10800,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
    ) -> str:
        """Close a fraction of the ledger with exact reduce-only quantities; returns a handle, ends with `on_done`."""

    def cancel(self, client_id: str) -> None:
        """Cancel an own order, or end a soft order, parent or target by its handle."""

    def amend(self, client_id: str, *, price: Decimal | None = None, quantity: Decimal | None = None) -> None:
        """Change price and/or total quantity of an own order.

        Where the venue cannot amend, another order takes its place. The old one ends with `replaced_by`, or, while the
        new one is still to come, with `active(order.asked_by)`; `on_done` tells when it does not come.
        """

    def active(self, handle: str) -> bool:
        """Return whether a soft order, parent, target or amendment by replacement is still at work."""

    def log(self, text: str, level: str = "info", **fields: object) -> None:
        """Write to the instance's log; `level` is debug, info, warn or error, and any other counts as warn."""

    def why(self, text: str) -> None:
        """Say why the instance is not trading now; empty when it is. Shown beside its name."""

    def anomaly(
        self, kind: str, symbol: str, value: object, threshold: object, text: str, severity: str = "WARN"
    ) -> None:
        """Raise an anomaly for the operator."""

    def pause_symbol(self, symbol: str, seconds: float, reason: str) -> None:
        """Refuse new entries on one symbol for a while."""

    def now_ms(self) -> int:
        """Return the present time in ms, UTC."""

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument; raises `UnknownSymbol`."""

    def price(self, symbol: str) -> Decimal | None:
        """Return the middle of the touch rounded to the tick, None while there is none."""

    def mark(self, symbol: str) -> Decimal | None:
        """Return the mark price (the middle where the venue has none)."""

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""

    def book(self, symbol: str) -> OrderBook:
        """Return the live order book."""

    def bars(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return the last closed bars, oldest first; fewer while history is being loaded."""

    def position(self, symbol: str) -> Ledger:
        """Return this instance's ledger of a symbol (flat when it never traded), in whole lots.

        Where a spot trade is charged in coins, less than a lot is left over that no order can sell; it is not in here.
        """

    def orders(self, symbol: str | None = None) -> list[Order]:
        """Return this instance's working orders, oldest first."""

    def order(self, client_id: str) -> Order | None:
        """Return one of this instance's orders, working or recently final."""

    def track_orders(self, coins: Sequence[str] = (), cids: Sequence[str] = ()) -> list[OrderTrack]:
        """Return how far soft orders and other working orders have come: all, or of some coins, ids or handles.

        What is named by its id is told of when it is final, too. Raises `UnknownSymbol`.
        """

    def equity(self) -> Decimal:
        """Return allocated capital plus this instance's profit, USD."""

    def funding(self, symbol: str) -> FundingRate | None:
        """Return the predicted funding rate."""

    def fx(self, currency: str) -> Decimal:
        """Return USD per unit of a quote currency."""

    def is_stale(self, symbol: str) -> bool:
        """Return whether the market data of a symbol is too old for entries."""


class Strategy(Generic[P]):
    """Base class of all strategies; override the handlers that matter.

    Attributes:
        name: The name under which people launch it.
        title: A few words for lists.
        params_model: Its `Params` model.
        ctx: The context, set before `on_start`.
        params: The present parameters.
        symbols: The resolved canonical symbols, set before `on_start`.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    params_model: ClassVar[type[Params]] = Params
    ctx: Context
    params: P
    symbols: tuple[str, ...] = ()

    def __init__(self, ctx: Context, params: P) -> None:
        self.ctx = ctx
        self.params = params

    @classmethod
    def limits(cls, params: P, n_symbols: int) -> RiskParams:
        """Return the limits this instance needs, given its parameters and the number of symbols."""
        return params.risk

    @classmethod
    def check(cls, params: P, instruments: Sequence[Instrument]) -> None:
        """Refuse parameters that cannot work on these instruments.

        Raises:
            ConfigError: Names the parameter, its value and what would work.
        """

    @classmethod
    def timeframes(cls, params: P) -> tuple[str, ...]:
        """Return the candle lengths this instance wants."""
        return ()

    @classmethod
    def warmup_bars(cls, params: P) -> int:
        """Return how many closed bars must be known before it starts."""
        return 0

    def on_start(self, reason: str) -> None:
        """Begin: `new`, `restart` or `resume`; state is loaded and reconciled.

        A paused instance restarts paused: `entries_allowed` is false, and what it holds is to be looked after.
        """

    def on_bar(self, bar: Bar) -> None:
        """Handle a closed candle."""

    def on_trade(self, trade: Trade) -> None:
        """Handle a public trade."""

    def on_quote(self, quote: Quote) -> None:
        """Handle a change of the touch, conflated to the newest."""

    def on_book(self, book: OrderBook) -> None:
        """Handle a change of the book, conflated to the newest."""

    def on_timer(self, name: str, payload: object) -> None:
        """Handle a timer or an engine topic."""

    def on_order(self, order: Order) -> None:
        """Handle a change of an own order's state."""

    def on_fill(self, fill: Fill) -> None:
        """Handle an own execution; the ledger has it already."""

    def on_done(self, done: Done) -> None:
        """Handle the end of a soft order, parent or target."""

    def on_funding(self, payment: FundingPayment) -> None:
        """Handle this instance's share of a funding payment."""

    def on_params(self, old: P, new: P) -> None:
        """Handle an accepted amendment; `self.params` is the new one already."""

    def on_stop(self, reason: str) -> None:
        """Prepare to stop, before the stop policy runs."""

    def action(self, name: str, **arguments: str) -> str:
        """Carry out an operator's action on the instance (such as `rebase`); returns what was done.

        Raises:
            CtosError: The strategy has no such action.
        """
        raise CtosError(f"strategy {self.name} has no action {name!r}")

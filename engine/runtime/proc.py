"""How the system does: health, latencies, rates, limits, streams and event counts of one execution engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from engine.io.logs import iso_time
from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import BookUpdate, FundingRate, MarkPrice, Quote, Ticker, Trade
from engine.kernel.orders import Order, OrderState, Pending
from engine.runtime.events import CommandRefused, FillBooked, OrderChanged
from engine.runtime.risk import LimitUse
from engine.runtime.trading_state import TradingMode, TradingStatus

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine

KEPT_LATENCIES = 1024
RATE_WINDOW_NS = 10 * NS_PER_S
SLOW_ACK_MS = 1000.0
LAG_WARN_MS = 50.0
LAG_DANGER_MS = 2000.0
LIMIT_WARN_SHARE = 0.8
AGREED_WARN_S = 120.0

GOOD, WARN, DANGER = "good", "warn", "danger"
_COUNTED: tuple[type, ...] = (
    Quote,
    Trade,
    BookUpdate,
    MarkPrice,
    FundingRate,
    Ticker,
    OrderChanged,
    FillBooked,
    CommandRefused,
)
_UNANSWERED = frozenset({OrderState.INTENT, OrderState.SENT, OrderState.UNKNOWN})


class Part(msgspec.Struct, frozen=True):
    """How one part of the system does: `level` is good, warn or danger."""

    name: str
    level: str
    text: str


class LoopLag(msgspec.Struct, frozen=True):
    """How late the event loop runs what is due, ms."""

    p99_ms: float
    max_ms: float


class Latency(msgspec.Struct, frozen=True):
    """Times from a decision to the venue's answer, ms of engine time; `count` of them are kept."""

    p50_ms: float
    p99_ms: float
    max_ms: float
    count: int


class StreamAge(msgspec.Struct, frozen=True):
    """How long ago market data of a symbol arrived, ms; None before the first message."""

    symbol: str
    age_ms: int | None
    stale: bool


class EventCount(msgspec.Struct, frozen=True):
    """Events of one type since the probe began, and per second lately."""

    name: str
    total: int
    per_second: float


class ProcView(msgspec.Struct, frozen=True):
    """Everything about one engine at one moment.

    Attributes:
        ts_ns: Engine time.
        uptime_s: Engine time since the probe began.
        account: Key of the account.
        trading: Whether it may trade.
        parts: Health, part by part.
        order_ack: From an order's intent to the venue's first answer.
        cancel_ack: From a cancellation to the order's end.
        limits: Use of every limit and rate budget.
        streams: Age of every watched instrument's data.
        links: State and round trip of every connection to the venue.
        events: Event counts.
        lag: Of the event loop; None when nobody measures it.
        working_orders: Orders that may still trade.
        work: Pieces of work in progress.
    """

    ts_ns: int
    uptime_s: float
    account: str
    trading: TradingStatus
    parts: tuple[Part, ...]
    order_ack: Latency | None
    cancel_ack: Latency | None
    limits: tuple[LimitUse, ...]
    streams: tuple[StreamAge, ...]
    links: tuple[LinkStatus, ...]
    events: tuple[EventCount, ...]
    lag: LoopLag | None
    working_orders: int
    work: int

    @property
    def level(self) -> str:
        """Return the worst level of all parts."""
        return worst(part.level for part in self.parts)


def worst(levels: Iterable[str]) -> str:
    """Return the worst of several levels."""
    return max(levels, key=(GOOD, WARN, DANGER).index, default=GOOD)


class Counter:
    """Counts one type of event; `per_second` looks at the last ten seconds or more."""

    __slots__ = ("_marks", "total")

    def __init__(self) -> None:
        self.total = 0
        self._marks: deque[tuple[int, int]] = deque()

    def count(self, event: object) -> None:
        """Count one event."""
        self.total += 1

    def per_second(self, now_ns: int) -> float:
        """Return the rate since the oldest reading of the window; 0 at the first reading."""
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= now_ns - RATE_WINDOW_NS:
            marks.popleft()
        marks.append((now_ns, self.total))
        since_ns, before = marks[0]
        return (self.total - before) * NS_PER_S / (now_ns - since_ns) if now_ns > since_ns else 0.0


class Stopwatch:
    """Times something by name from its begin to its end, on the engine's clock."""

    __slots__ = ("_begun", "_kept")

    def __init__(self) -> None:
        self._begun: dict[str, int] = {}
        self._kept: deque[float] = deque(maxlen=KEPT_LATENCIES)

    def begin(self, name: str, now_ns: int) -> None:
        """Begin to time, unless begun."""
        self._begun.setdefault(name, now_ns)

    def end(self, name: str, now_ns: int) -> None:
        """Keep the time since the begin; harmless without one."""
        begun = self._begun.pop(name, None)
        if begun is not None:
            self._kept.append((now_ns - begun) / NS_PER_MS)

    def latency(self) -> Latency | None:
        """Return what the kept times amount to; None without any."""
        if not self._kept:
            return None
        ordered = sorted(self._kept)
        last = len(ordered) - 1
        return Latency(ordered[round(last * 0.5)], ordered[round(last * 0.99)], ordered[-1], len(ordered))


class Probe:
    """Measures one execution engine from its bus.

    Args:
        engine: The engine.
        lag: Reads the event loop's lag, for whoever measures it.
    """

    def __init__(self, engine: ExecutionEngine, lag: Callable[[], LoopLag | None] = lambda: None) -> None:
        self._engine = engine
        self._lag = lag
        self._started_ns = engine.clock.now_ns()
        self._acks = Stopwatch()
        self._cancels = Stopwatch()
        self._counters = {kind: Counter() for kind in _COUNTED}
        bus = engine.bus
        self._subscriptions = [bus.subscribe(kind, counter.count) for kind, counter in self._counters.items()]
        self._subscriptions.append(bus.subscribe(OrderChanged, self._on_order))

    def close(self) -> None:
        """Stop measuring."""
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()

    def view(self) -> ProcView:
        """Return everything as it is now."""
        engine, now_ns = self._engine, self._engine.clock.now_ns()
        limits = tuple(engine.risk.usage())
        streams, links = tuple(self._streams()), tuple(engine.driver.links())
        ack, lag = self._acks.latency(), self._lag()
        return ProcView(
            ts_ns=now_ns,
            uptime_s=(now_ns - self._started_ns) / NS_PER_S,
            account=engine.account.key,
            trading=engine.trading.status,
            parts=(
                _trading(engine),
                _market(streams),
                _orders(engine),
                _journal(engine),
                _venue(engine, now_ns),
                *([_links(links, engine.stream.trouble())] if links else []),
                _latency(ack),
                _limits(limits),
                *([] if lag is None else [_loop(lag)]),
            ),
            order_ack=ack,
            cancel_ack=self._cancels.latency(),
            limits=limits,
            streams=streams,
            links=links,
            events=tuple(
                EventCount(kind.__name__, counter.total, counter.per_second(now_ns))
                for kind, counter in self._counters.items()
            ),
            lag=lag,
            working_orders=len(engine.tracker.working()),
            work=len(engine.active_work()),
        )

    def _streams(self) -> list[StreamAge]:
        market = self._engine.market
        return [StreamAge(symbol, market.age_ms(symbol), market.is_stale(symbol)) for symbol in market.watched]

    def _on_order(self, event: OrderChanged) -> None:
        order, now_ns = event.order, self._engine.clock.now_ns()
        name = order.client_id
        if order.external or order.held:
            return
        if order.state in (OrderState.INTENT, OrderState.SENT):
            self._acks.begin(name, order.created_ns)
        elif order.state not in _UNANSWERED:
            self._acks.end(name, now_ns)
        self._time_cancel(order, now_ns)

    def _time_cancel(self, order: Order, now_ns: int) -> None:
        if order.pending is Pending.CANCEL:
            self._cancels.begin(order.client_id, now_ns)
        elif order.state.is_final:
            self._cancels.end(order.client_id, now_ns)


def _trading(engine: ExecutionEngine) -> Part:
    levels = {TradingMode.ARMED: GOOD, TradingMode.DISARMED: WARN, TradingMode.REDUCE_ONLY: WARN}
    since_ns = engine.trading.status.since_ns
    since = f", since {iso_time(since_ns)}" if since_ns else ""
    return Part("trading", levels.get(engine.trading.mode, DANGER), f"{engine.trading.describe()}{since}")


def _market(streams: tuple[StreamAge, ...]) -> Part:
    if not streams:
        return Part("data", WARN, "nothing is watched")
    stale = [stream for stream in streams if stream.stale]
    if not stale:
        return Part("data", GOOD, f"{len(streams)} live")
    names = ", ".join(stream.symbol for stream in stale[:3]) + (" …" if len(stale) > 3 else "")
    return Part("data", WARN, f"{len(stale)} of {len(streams)} stale: {names}")


def _orders(engine: ExecutionEngine) -> Part:
    unknown = engine.tracker.unknown()
    if unknown:
        names = ", ".join(f"#{order.label}" for order in unknown)
        return Part("orders", DANGER, f"no known outcome: {names}")
    return Part("orders", GOOD, f"{len(engine.tracker.working())} working, all known")


def _journal(engine: ExecutionEngine) -> Part:
    failed = engine.journal.failed
    if failed is not None:
        return Part("journal", DANGER, str(failed))
    return Part("journal", GOOD, f"written, {engine.journal.backlog} waiting")


def _venue(engine: ExecutionEngine, now_ns: int) -> Part:
    reconciler = engine.reconciler
    if reconciler.last_error:
        return Part("venue", DANGER, reconciler.last_error)
    if not reconciler.last_agreed_ns:
        return Part("venue", WARN, "not compared yet")
    age_s = (now_ns - reconciler.last_agreed_ns) / NS_PER_S
    health = engine.driver.health()
    clock = "" if health.clock_error_ms is None else f", its time known to {health.clock_error_ms:.0f} ms"
    return Part("venue", WARN if age_s > AGREED_WARN_S else GOOD, f"agreed {age_s:.0f} s ago{clock}")


def _links(links: tuple[LinkStatus, ...], trouble: str) -> Part:
    """Return how the connections do; a broken account stream is told first, it stops entries."""
    if trouble:
        return Part("links", DANGER, trouble)
    ill = [link for link in links if link.state is not LinkState.LIVE]
    if ill:
        level = DANGER if any(link.state is LinkState.DOWN for link in ill) else WARN
        first = ill[0]
        return Part("links", level, f"{first.name} {first.state.value}" + (f": {first.detail}" if first.detail else ""))
    trips = [f"{link.name} {link.rtt_ms:.0f} ms" for link in links if link.rtt_ms is not None]
    return Part("links", GOOD, f"{len(links)} live" + (f", {', '.join(trips)}" if trips else ""))


def _latency(ack: Latency | None) -> Part:
    if ack is None:
        return Part("latency", GOOD, "no order yet")
    text = f"order p50 {ack.p50_ms:.0f} ms, p99 {ack.p99_ms:.0f} ms"
    return Part("latency", WARN if ack.p99_ms > SLOW_ACK_MS else GOOD, text)


def _limits(limits: tuple[LimitUse, ...]) -> Part:
    near = [use for use in limits if use.share >= LIMIT_WARN_SHARE]
    if not near:
        return Part("limits", GOOD, "all below 80 %")
    top = max(near, key=lambda use: use.share)
    return Part("limits", DANGER if top.share >= 1 else WARN, f"{top.scope} {top.rule} at {top.share * 100:.0f} %")


def _loop(lag: LoopLag) -> Part:
    level = DANGER if lag.p99_ms > LAG_DANGER_MS else WARN if lag.p99_ms > LAG_WARN_MS else GOOD
    return Part("loop", level, f"lag p99 {lag.p99_ms:.1f} ms, max {lag.max_ms:.1f} ms")

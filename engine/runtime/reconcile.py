"""Compares what the engine knows with what the venue says, and books what was missed.

A failed query is never read as an empty answer. What changed in the last seconds is left to the streams. Whatever is
found goes the normal way, so that everybody hears of it exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from engine.kernel.account import Balance, Position
from engine.kernel.clock import NS_PER_MS, NS_PER_S, TimerHandle
from engine.kernel.errors import AuthError, CtosError, VenueUnavailable
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill, Order, OrderState, OrderUpdate, Pending
from engine.runtime.accounts import MANUAL
from engine.runtime.booking import Booking
from engine.runtime.core import EngineCore
from engine.runtime.events import BalanceChanged, PositionChanged
from engine.runtime.found import tell_fills, tell_orders, tell_positions
from engine.runtime.records import Adjustment, Outcome, Reconciled
from engine.runtime.resolver import Resolver
from engine.runtime.shell import Shell
from engine.runtime.unlisted import tell_unlisted

ORDERS_EVERY_S = 10.0
ACCOUNT_EVERY_S = 30.0
INSTRUMENTS_EVERY_S = 3_600.0
REFRESH_GAP_NS = 5 * NS_PER_S
_ABOUT_TERMS = ("InvalidOrder", "BelowMinimum", "UnknownSymbol", "VenueError", "VenueUnavailable", "PermissionDenied")
"""Refusals behind which may be that the venue changed an instrument, or lists it no more."""
BEHIND_S = 2.0
ASK_TRIES = 5
QUIET_NS = 5 * NS_PER_S
ANEW_GAP_NS = NS_PER_S
"""Looks on demand are at least so far apart: a stream of unreadable messages must not use up the request budget."""

OVERLAP_MS = 60_000
"""Fills are asked for from this long before the last agreement on, because venues list some of them late."""

ADOPTED = "held before the engine first saw the account"
ZERO = Decimal(0)
T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class VenueTruth:
    """What the venue says at one moment."""

    orders: Sequence[OrderUpdate]
    fills: Sequence[Fill]
    positions: Sequence[Position]
    balances: Sequence[Balance]
    prices: Mapping[str, Decimal]
    """Prices of coins that were held before the engine first saw the account, by spot symbol."""


class Reconciler:
    """Looks at the venue at start, regularly and on demand.

    Args:
        core: The engine's shared parts.
        booking: Takes in what is found.
        resolver: Looks for orders that the venue does not list.
        shell: Runs the queries.

    Attributes:
        last_error: Why the venue could not be asked; empty when the last look found an answer.
        last_agreed_ns: Engine time of the last agreement about orders and fills.
        refused: Why the venue refuses the account's key; empty while it takes it.
    """

    def __init__(self, core: EngineCore, booking: Booking, resolver: Resolver, shell: Shell) -> None:
        self._core = core
        self._booking = booking
        self._resolver = resolver
        self._shell = shell
        self._timers: dict[str, TimerHandle] = {}
        self._behind: set[str] = set()
        self._asking: dict[str, bool] = {}
        self._looked_anew_ns = 0
        self._instruments_ns = core.clock.now_ns()
        self.last_error = ""
        self.last_agreed_ns = 0
        self.refused = ""
        """When the venue was asked for what was last agreed on."""

    def start(self) -> None:
        """Begin to look regularly."""
        self._every("orders", ORDERS_EVERY_S, self.look_at_orders)
        self._every("account", ACCOUNT_EVERY_S, self.look_at_account)
        self._every("instruments", INSTRUMENTS_EVERY_S, self.look_at_instruments)

    def stop(self) -> None:
        """Stop looking."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def ask(self) -> VenueTruth:
        """Return what the venue says at one moment: nothing is filled between the first query and the last.

        Raises:
            CtosError: A query failed, or the account did not hold still.
        """
        driver = self._core.driver
        since = self._since()
        fills = await driver.get_fills(None, since)
        for _ in range(ASK_TRIES):
            before = fills
            positions = await driver.get_position()
            balances = await driver.fetch_balance()
            orders = await driver.get_open_orders()
            fills = await driver.get_fills(None, since)
            if fills == before:
                break
        else:
            raise VenueUnavailable("the account trades too fast to be read as a whole; try again")
        prices = {}
        if self._core.state.fills_until is None:
            for balance in balances:
                symbol = self._core.portfolio.spot_market(balance.currency)
                now = await driver.get_price_now(symbol) if symbol is not None and balance.total else None
                price = None if now is None else now.last or now.bid
                if symbol is not None and price is not None:
                    prices[symbol] = price
        return VenueTruth(orders, fills, positions, balances, prices)

    def doubt_in_flight(self) -> None:
        """Doubt what was on its way when the program ended, before anything can take it for not sent yet."""
        core = self._core
        for order in core.tracker.working():
            if order.state in (OrderState.INTENT, OrderState.SENT) and not order.held:
                core.change(Outcome(order.client_id, OrderState.UNKNOWN, "the program ended while it was sent"))

    def take_first(self, truth: VenueTruth) -> None:
        """Agree with the venue before trading opens: nothing is in flight, so whatever differs is the venue's truth."""
        core = self._core
        self._take_account(truth.positions, truth.balances, core.clock.now_ns())
        if core.state.fills_until is None:
            self._adopt(truth)
        new = [fill for fill in truth.fills if core.portfolio.fills.get(fill.symbol, fill.trade_id) is None]
        complete = self._take_fills(truth.fills)
        tell_fills(core, [fill for fill in new if core.portfolio.fills.get(fill.symbol, fill.trade_id) is not None])
        known = {order.client_id for order in core.tracker.working()}
        self._take_orders(truth.orders, quiet_ns=0)
        adopted = [order for order in core.tracker.working() if order.external and order.client_id not in known]
        tell_orders(core, adopted)
        self._settle_requests(truth.orders)
        for order in core.tracker.recent():
            if order.reported_filled > order.filled and not order.external:
                self.expect_fills(order)
        for order in core.tracker.unknown():
            self._resolver.watch(order, 0.0)
        self._agree(complete, core.clock.now_ns())

    def look_anew(self) -> None:
        """Ask for everything on demand, as soon as the last such look is a second ago."""
        if "anew" in self._timers:
            return
        now_ns = self._core.clock.now_ns()
        wait_ns = self._looked_anew_ns + ANEW_GAP_NS - now_ns
        if 0 < wait_ns <= ANEW_GAP_NS:
            self._timers["anew"] = self._core.clock.call_later(wait_ns / NS_PER_S, self._look_anew)
        else:
            self._look_anew()

    def _look_anew(self) -> None:
        self._timers.pop("anew", None)
        self._looked_anew_ns = self._core.clock.now_ns()
        self.look_at_orders(anew=True)
        self.look_at_account(anew=True)

    def look_at_orders(self, anew: bool = False) -> None:
        """Compare working orders and recent fills with the venue's.

        Args:
            anew: Whether an answer that is on its way is not enough: it may have been formed too early.
        """

        async def ask() -> tuple[list[OrderUpdate], list[Fill]]:
            driver = self._core.driver
            return await driver.get_open_orders(), await driver.get_fills(None, self._since())

        def found(answer: tuple[list[OrderUpdate], list[Fill]], asked_ns: int) -> None:
            orders, fills = answer
            complete = self._take_fills(fills)
            self._take_orders(orders, QUIET_NS)
            self._agree(complete, asked_ns)

        self._run("orders", ask, found, anew)

    def look_at_account(self, anew: bool = False) -> None:
        """Fetch positions, balances and the account's settings; `anew` as with orders."""

        async def ask() -> tuple[list[Position], list[Balance], list[str]]:
            driver = self._core.driver
            return await driver.get_position(), await driver.fetch_balance(), await self._core.check_account()

        def found(answer: tuple[list[Position], list[Balance], list[str]], asked_ns: int) -> None:
            positions, balances, obstacles = answer
            self._take_account(positions, balances, asked_ns)
            self._take_obstacles(obstacles)

        self._run("account", ask, found, anew)

    def look_at_instruments(self) -> None:
        """Fetch tick, lot and minimum sizes anew."""
        self._instruments_ns = self._core.clock.now_ns()

        def found(instruments: Sequence[Instrument], asked_ns: int) -> None:
            tell_unlisted(self._core, self._core.market.set_instruments(instruments))

        self._run("instruments", self._core.driver.symbols, found)

    def on_refusal(self, order: Order) -> None:
        """Fetch the instruments when the venue refused an order's terms, at most once in five seconds."""
        if order.state is not OrderState.REJECTED or order.error not in _ABOUT_TERMS or "refused" in self._timers:
            return

        def look() -> None:
            del self._timers["refused"]
            self.look_at_instruments()

        due_ns = max(self._instruments_ns + REFRESH_GAP_NS, self._core.clock.now_ns())
        self._timers["refused"] = self._core.clock.call_at(due_ns, look)

    def expect_fills(self, order: Order) -> None:
        """Fetch an order's fills when the stream has not brought them in 2 s, after the venue reported them."""
        if order.client_id not in self._behind:
            self._behind.add(order.client_id)
            self._core.clock.call_later(BEHIND_S, self._check_behind, order.client_id)

    def _check_behind(self, client_id: str) -> None:
        self._behind.discard(client_id)
        order = self._core.tracker.get(client_id)
        if order is None or order.reported_filled <= order.filled:
            return

        def found(fills: list[Fill]) -> None:
            self._take_fills(fills)
            if order.reported_filled > order.filled:
                self.expect_fills(order)

        def failed(error: CtosError) -> None:
            self._failed(error)
            self.expect_fills(order)

        since = self._fills_from(order.created_ns // NS_PER_MS)
        self._shell.run(self._core.driver.get_fills(order.symbol, since), found, failed)

    def _since(self) -> int | None:
        """Return the time (venue ms) from which fills are asked for; None means all that the venue keeps."""
        until = self._core.state.fills_until
        return None if until is None else self._fills_from(until)

    def _fills_from(self, ms: int) -> int:
        """Return the venue's time (ms) from which fills since a time of ours are asked for: ours may be ahead."""
        offset_ms = self._core.driver.clock_offset_ms() or 0.0
        return max(0, min(ms, self._core.clock.now_ms()) + min(0, round(offset_ms)) - OVERLAP_MS)

    def _take_fills(self, fills: Sequence[Fill]) -> bool:
        """Book fills; return whether all are settled: one that has to wait is asked for again."""
        return all([self._booking.on_fill(fill) for fill in fills])

    def _take_orders(self, updates: Sequence[OrderUpdate], quiet_ns: int) -> None:
        """Take in the venue's open orders, and look for those of ours that it does not list."""
        core = self._core
        listed = set()
        for update in updates:
            self._booking.on_update(update)
            order = core.tracker.find(update.client_id, update.symbol, update.venue_order_id)
            if order is not None:
                listed.add(order.client_id)
        now_ns = core.clock.now_ns()
        for order in core.tracker.working():
            if order.client_id in listed or order.held or order.state is OrderState.INTENT:
                continue
            if 0 <= now_ns - order.updated_ns < quiet_ns:
                continue
            self._resolver.watch(order, 0.0)

    def _settle_requests(self, updates: Sequence[OrderUpdate]) -> None:
        """Settle what was in flight when the program ended: an amendment by the order as it is, a cancel anew."""
        for update in updates:
            order = self._core.tracker.find(update.client_id, update.symbol, update.venue_order_id)
            if order is not None and order.pending is Pending.AMEND:
                self._booking.on_update(update, Pending.AMEND)
            elif order is not None and order.pending is Pending.CANCEL:
                self._resolver.on_resolved(order)

    def _take_account(self, positions: Sequence[Position], balances: Sequence[Balance], asked_ns: int) -> None:
        core = self._core
        before = dict(core.portfolio.venue_positions())
        core.portfolio.set_venue_positions(positions, asked_ns)
        for symbol, position in core.portfolio.venue_positions().items():
            if before.get(symbol) != position:
                core.bus.publish(PositionChanged(symbol))
        for balance in balances:
            if core.portfolio.set_balance(balance):
                core.bus.publish(BalanceChanged(balance.currency))

    def _take_obstacles(self, obstacles: list[str]) -> None:
        """Keep what forbids to arm; what came up while armed is a thing to know at once."""
        new = [text for text in obstacles if text not in self._core.obstacles]
        self._core.obstacles = obstacles
        for text in new:
            self._core.alarm("account", text, severity="CRIT")

    def _adopt(self, truth: VenueTruth) -> None:
        """Take over what the account held before this engine first saw it, as the operator's own."""
        held = [(row.symbol, row.quantity, row.entry_price) for row in truth.positions if row.quantity]
        for balance in truth.balances:
            symbol = self._core.portfolio.spot_market(balance.currency)
            if balance.total and symbol is not None:
                held.append((symbol, balance.total, truth.prices.get(symbol, ZERO)))
        for symbol, quantity, price in held:
            self._adjust(symbol, quantity, price)
        tell_positions(self._core, held, ADOPTED, MANUAL)
        newest = max((fill.ts for fill in truth.fills), default=-1)
        self._core.write(Reconciled(self._core.clock.now_ms(), newest))

    def _adjust(self, symbol: str, quantity: Decimal, price: Decimal) -> None:
        self._core.write(Adjustment(MANUAL, symbol, quantity, price, ADOPTED))
        self._core.oplog("LedgerRepair", symbol=symbol, qty=str(quantity), price=str(price), det=ADOPTED)
        self._core.bus.publish(PositionChanged(symbol))

    def _agree(self, complete: bool, asked_ns: int) -> None:
        """Note that all is known up to when the venue was asked; a fill that has to wait is asked for again."""
        core = self._core
        self.last_error = self.refused = ""
        self.last_agreed_ns = asked_ns
        until = asked_ns // NS_PER_MS
        known = core.state.fills_until
        if complete and (known is None or abs(until - known) >= OVERLAP_MS):
            core.write(Reconciled(until))

    def _run(
        self,
        name: str,
        ask: Callable[[], Coroutine[Any, Any, T]],
        found: Callable[[T, int], None],
        anew: bool = False,
    ) -> None:
        """Ask the venue; while the answer to the same question is on its way, after that at most once more.

        `found` gets the answer and the time at which it was asked for.
        """
        if name in self._asking:
            self._asking[name] = self._asking[name] or anew
            return
        asked_ns = self._core.clock.now_ns()

        def answered(answer: T) -> None:
            again = self._asking.pop(name)
            found(answer, asked_ns)
            if again:
                self._run(name, ask, found)

        def failed(error: CtosError) -> None:
            again = self._asking.pop(name)
            self._failed(error)
            if again:
                self._run(name, ask, found)

        self._asking[name] = False
        self._shell.run(ask(), answered, failed)

    def _failed(self, error: CtosError) -> None:
        if isinstance(error, AuthError):
            self.refused = str(error)
        if str(error) != self.last_error:
            self.last_error = str(error)
            self._core.alarm("reconcile", f"the venue could not be asked: {error}")

    def _every(self, name: str, seconds: float, look: Callable[[], None]) -> None:
        def tick() -> None:
            self._timers[name] = self._core.clock.call_later(seconds, tick)
            look()

        self._timers[name] = self._core.clock.call_later(seconds, tick)

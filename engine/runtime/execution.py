"""The execution engine of one account: everything that trades goes through it.

It puts the parts together: order entry, booking, risk, work of several orders, reconciliation, the halt. All of it is
synchronous; only `start` waits for the venue's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from engine.io.journal import Journal
from engine.kernel.account import AccountStream, Balance, Position
from engine.kernel.clock import Clock, Rng
from engine.kernel.ending import end_all, stops
from engine.kernel.errors import CtosError, TradingHalted
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill, Order, OrderType, Side
from engine.kernel.strategy import Purpose
from engine.kernel.syscalls import AccountEvent, Driver, Unsubscribe
from engine.runtime.account_stream import StreamWatch
from engine.runtime.accounts import MANUAL, Account
from engine.runtime.booking import Booking
from engine.runtime.client_ids import load_client_ids
from engine.runtime.commands import OrderCommands
from engine.runtime.conditions import Conditions
from engine.runtime.core import EngineCore, OperationLog
from engine.runtime.day import DayRoller
from engine.runtime.desk import EngineDesk
from engine.runtime.flatten import Flattener
from engine.runtime.missed import missed_events
from engine.runtime.outside import OutsideEnds
from engine.runtime.panic import PanicReport, PanicSwitch, is_protective
from engine.runtime.price_watch import PriceWatch
from engine.runtime.rearming import why_not_rearm
from engine.runtime.reconcile import Reconciler
from engine.runtime.resolver import Resolver
from engine.runtime.risk import RiskWatcher
from engine.runtime.shell import Shell
from engine.runtime.sizing import size_for_amount
from engine.runtime.transfers import Transfers
from engine.runtime.tripwires import Tripwires
from engine.runtime.unlisted import UnlistedInstruments
from engine.runtime.work.book import WorkBook
from engine.runtime.work.pricing import SoftParams
from engine.runtime.work_commands import WorkCommands


def no_oplog(op: str, **fields: Any) -> None:
    """Write no operation log: for tests and single calls."""


class ExecutionEngine:
    """Orders, ledgers and limits of one account.

    Args:
        account: Whose.
        driver: Its venue; started and stopped by whoever made it.
        clock: The engine's time.
        rng: Chooses the parts of client ids that differ between installations and starts.
        bus: Carries market events and what `engine.runtime.events` lists.
        journal: Keeps every change; opened and closed by whoever made it.
        shell: Runs queries.
        oplog: Writes the operation log.
        soft_params: The peg of soft orders.

    Attributes:
        on_halt: Called with the reason when the account halts, after the gate is closed.
        on_rearm: Called with (who, reason) when a person has released a halt.
        stream: Whether the account's stream can be trusted.
        conditions: What restricts the account or halts it.
        outside: Tells which orders of ours ended without being asked to.
    """

    def __init__(
        self,
        account: Account,
        driver: Driver,
        clock: Clock,
        rng: Rng,
        bus: EventBus,
        journal: Journal,
        shell: Shell,
        oplog: OperationLog = no_oplog,
        soft_params: SoftParams | None = None,
    ) -> None:
        self.account = account
        self.driver = driver
        self.clock = clock
        self.bus = bus
        self.journal = journal
        self.shell = shell
        self.oplog = oplog
        core = EngineCore(account, driver, clock, bus, journal, oplog)
        self.core = core
        self.market = core.market
        self.tracker = core.tracker
        self.portfolio = core.portfolio
        self.trading = core.trading
        self.risk = core.risk = RiskWatcher(
            clock, account.limits, core, core.trading, self._halted_by_risk, core.save_trading
        )
        self._ids = load_client_ids(journal, account.key, rng)
        self._ids.register(MANUAL)
        self.outside = OutsideEnds(core)
        self.booking = Booking(core, self._reduced, self._behind, self._liquidated, self._stream_changed)
        self.resolver = Resolver(core, self.booking.on_update, self._resolved)
        self.commands = OrderCommands(
            core, self.booking, self.resolver, lambda instance: self._ids.new(instance, Purpose.STOP)
        )
        self.reconciler = Reconciler(core, self.booking, self.resolver, shell)
        self.commands.on_refusal = self.reconciler.on_refusal
        self.stream = StreamWatch(driver, self.reconciler, clock)
        self.transfers = Transfers(core)
        self.panic_switch = PanicSwitch(core, self.commands.cancel, self.resolver.watch, shell)
        self.on_halt: list[Callable[[str], None]] = self.panic_switch.on_halt
        self.desk = EngineDesk(core, self.commands, self._ids)
        self.desk.closed = self._why_closed
        self.works = WorkBook(self.desk, soft_params)
        self.desk.on_quote = self.works.on_quote
        core.on_order = self.works.on_order
        self.on_halt.append(self._end_work)
        self.on_rearm: list[Callable[[str, str], None]] = []
        work = WorkCommands(core, self.works, self._ids)
        self.resolve = work.resolve
        self.soft = work.soft
        self.place_incremental_orders = work.place_incremental_orders
        self.set_coin_position = work.set_coin_position
        self.set_positions = work.set_positions
        self.close = work.close
        self.end = work.end
        self.work_of = work.work_of
        self.active_work = work.active_work
        self._flattener = Flattener(core, self._reduce_by_hand, self.commands.cancel, shell)
        self._prices = PriceWatch(core)
        self._day = DayRoller(core)
        self._unlisted = UnlistedInstruments(core, journal)
        self._tripwires = Tripwires(core, lambda reason: self.panic_switch.halt("engine", reason))
        self.conditions = Conditions(core, self.reconciler, lambda reason: self.panic_switch.halt("engine", reason))
        self._account_stream: Unsubscribe | None = None
        self._open_doubts: set[str] = set()
        self._started = False

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Return every instrument of the venue by canonical symbol."""
        return self.market.instruments

    async def start(self) -> None:
        """Rebuild the state from the journal, agree with the venue, book what was missed, then open for orders.

        Raises:
            CtosError: The journal cannot be read, or the venue does not answer.
        """
        core = self.core
        self.market.set_instruments(await self.driver.symbols())
        replayed = core.state.load()
        self._unlisted.restore()
        if core.state.trading is not None:
            self.risk.restore(core.state.trading)
        core.save_trading()
        self.works.restore(core.state.works)
        self.commands.fired.resume()
        self.reconciler.doubt_in_flight()
        self._prices.look()
        early: list[AccountEvent] = []
        listening = self.driver.subscribe_account(early.append)
        try:
            truth = await self.reconciler.ask()
        finally:
            listening()
        self._account_stream = self.driver.subscribe_account(self.booking.on_event)
        for client_id in [*(order.client_id for order in truth.orders), *(fill.client_id for fill in truth.fills)]:
            self._ids.learn(client_id)
        self._unlisted.know_told(truth.orders, truth.fills, truth.positions)
        self.reconciler.take_first(truth)
        for event in early:  # before anything is waited for: what comes from now on is newer
            # Positions and balances were asked for later than these arrived.
            if not isinstance(event, Position | Balance):
                self.booking.on_event(event)
        core.obstacles = await core.check_account()
        self.commands.fired.hold_lost()
        for order in self.tracker.working():
            if order.held:
                self.commands.stops.keep(order)
        self._prices.start()
        self._open_doubts = set(self.resolver.in_doubt)
        self.outside.missing = frozenset(self._open_doubts)
        self._started = True
        self._unlisted.start()
        self.works.resume()
        self._day.start()
        self.risk.start()
        self._tripwires.start()
        self.reconciler.start()
        self.conditions.start()
        self.panic_switch.resume()
        self.oplog("Reconcile", det=f"{replayed} records replayed, {len(self._open_doubts)} orders in doubt")

    def stop(self) -> None:
        """End all timers and streams and store the state; working orders stay at the venue."""
        stream, self._account_stream = self._account_stream, None
        end_all(
            *stops(self.risk, self.reconciler, self.resolver, self.commands, self._tripwires, self._unlisted),
            *stops(self.conditions, self._flattener, self._prices, self._day),
            *((stream,) if stream is not None else ()),
            self.market.close,
            self.outside.stop,
            self._store,
        )

    def _store(self) -> None:
        """Store the state for the next start."""
        if self._started:
            self.commands.drop_unsent("not sent: the program ended")
            self.core.save_trading()
            self.core.state.checkpoint()
        self._started = False

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument by canonical symbol; raises `UnknownSymbol`."""
        return self.market.instrument(symbol)

    def register_instance(self, name: str, code: str | None = None) -> str:
        """Return the five-character code of an instance, which its client ids carry."""
        return self._ids.register(name, code)

    def new_client_id(self, instance: str, purpose: Purpose = Purpose.ENTRY) -> str:
        """Return a new client id."""
        return self._ids.new(instance, purpose)

    def new_handle(self, instance: str) -> str:
        """Return a new handle for a piece of work."""
        return self._ids.new_handle(instance)

    def say(self, text: str, level: str = "info") -> None:
        """Publish a line for the operator."""
        self.core.say(text, level)

    def size_for_amount(
        self,
        symbol: str,
        side: Side,
        amount: Decimal,
        price: Decimal | None = None,
        type: OrderType = OrderType.MARKET,
    ) -> tuple[Decimal, Decimal]:
        """Return (base coins, unspent quote) for an amount of quote.

        The reference is the limit price, else the cap of a market buy, else the best bid.

        Raises:
            BelowMinimum: The amount is below the smallest order.
            RiskReject: There is no quote to size by.
        """
        instrument = self.instrument(symbol)
        reference = price
        if reference is None:
            reference = self.commands.cap_price(instrument, side)
            quote = self.market.quote(symbol)
            if side is Side.SELL and quote is not None:
                reference = instrument.price_from_float(quote.bid)
        return size_for_amount(instrument, amount, reference)

    def submit(
        self,
        instance: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        parent: str = "",
        client_id: str | None = None,
    ) -> str:
        """Send an order and return its client id; what becomes of it arrives as `OrderChanged` and `FillBooked`.

        Args:
            instance: Whose order it is; `manual` for the operator.
            symbol: Canonical symbol.
            side: Direction.
            type: A market order is sent as an immediate-or-cancel limit at the slippage cap.
            quantity: Base coins, a multiple of the lot. A reduction is capped to what is left to reduce.
            price: Limit, a multiple of the tick.
            trigger_price: Of a stop.
            reduce_only: Whether it may only reduce the ledger (by hand: the account's position).
            purpose: One letter of its client id.
            parent: Handle of the work it belongs to.
            client_id: One made by `new_client_id` before; a new one when None.

        Raises:
            CtosError: Refused by the instrument's rules, a limit or the trading state; nothing was journalled or sent.
        """
        return self.desk.submit(
            instance, symbol, side, type, quantity, price, trigger_price, reduce_only, purpose, parent, client_id
        )

    def amend(
        self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None, by: str = MANUAL
    ) -> str | None:
        """Change price (of a stop: the trigger) and/or total quantity; a total filled already cancels the rest.

        Returns:
            The handle of the work that replaces the order by a new one, where the venue cannot amend; else None.

        Raises:
            CtosError: Refused; the order works on unchanged.
        """
        order = self.tracker.get(client_id)
        if order is not None and not order.held and not self.desk.can_amend(order.symbol):
            return self.works.replace(self.new_handle(order.instance), client_id, price, quantity)
        self.commands.amendments.amend(client_id, price, quantity, by=by)
        return None

    def cancel(self, client_id: str, by: str = MANUAL) -> None:
        """Ask for the cancellation of an order, for `by`; harmless when it is final or being cancelled.

        One that is being replaced is not replaced any more, and what has its place already is cancelled.
        """
        self.works.end_replacement(client_id, by)
        self.commands.cancel(client_id, by)

    def cancel_all(
        self,
        symbol: str | None = None,
        instance: str | None = None,
        keep_protective: bool = False,
        side: Side | None = None,
        include_external: bool = False,
        by: str = MANUAL,
    ) -> list[str]:
        """Cancel working orders, of one instrument, instance or side or all of ours; return their client ids."""
        chosen = [
            order
            for order in self.tracker.working(symbol, instance)
            if side in (None, order.side)
            and (include_external or not order.external)
            and not (keep_protective and is_protective(order))
        ]
        for order in chosen:
            self.cancel(order.client_id, by)
        return [order.client_id for order in chosen]

    def arm(self, who: str, hand_s: float | None = None) -> None:
        """Accept orders until disarmed; with real money those by hand only for `hand_s` from now on.

        Raises:
            TradingHalted: The account is not fit for trading; the message says why and how to mend it.
        """
        if self.core.obstacles:
            raise TradingHalted(f"cannot arm {self.account.name}: {'; '.join(self.core.obstacles)}")
        self.trading.arm(who, hand_s)
        self.oplog("Armed", who=who, hand_s=hand_s)
        self.conditions.look()

    def disarm(self, who: str, reason: str = "") -> None:
        """Accept only cancels and reductions by hand."""
        self.trading.disarm(who, reason)

    def panic(self, who: str, reason: str = "panic") -> PanicReport:
        """Close the gate at once, halt strategies, cancel what rests except protective stops; latched."""
        return self.panic_switch.halt(who, reason)

    def flatten_all(self, who: str) -> list[str]:
        """Cancel protective stops too and close every position by hand; return the symbols that are being closed.

        What strategies hold is moved to the operator's ledger at the mark first, so that none of them acts later on
        what is no longer there. It goes in slices, never more than the venue says is held, and what is left is said.
        """
        self.cancel_all(by=f"flatten by {who}")
        self.transfers.take_over(f"flattened by {who}")
        return self._flattener.start(who)

    def rearm(self, who: str, reason: str) -> None:
        """Release a halt.

        Raises:
            CtosError: There is no halt to release, no reason was given, or the cause persists: an order has no known
                outcome, the journal or the venue fails, or the account is not fit for trading.
        """
        self.journal.retry()
        causes = why_not_rearm(self)
        if causes:
            raise CtosError(f"cannot rearm: {'; '.join(causes)}")
        self.trading.rearm(who, reason)
        self.risk.losses.release_account()
        for handler in self.on_rearm:
            handler(who, reason)

    def on_journal_error(self, error: CtosError) -> None:
        """Halt because the journal cannot be written: no journal, no orders; cancels still pass."""
        self.core.alarm("journal", str(error), severity="CRIT")
        self.panic_switch.halt("journal", str(error))

    def event_seq(self, instance: str) -> int:
        """Return the number of the newest record about an instance's orders and fills, to be kept with its memory."""
        return self.core.state.event_seq.get(instance, 0)

    def missed(self, instance: str, after_seq: int) -> Iterator[tuple[int, object]]:
        """Yield the number of each later record about an instance with its `FillBooked`, `OrderChanged`, `WorkDone`."""
        return missed_events(self.core, instance, after_seq)

    def _why_closed(self) -> str:
        if not self._started:
            return "the engine has not started: it first agrees with the venue"
        self._open_doubts.intersection_update(self.resolver.in_doubt)
        if self._open_doubts:
            orders = [self.tracker.get(client_id) for client_id in sorted(self._open_doubts)]
            labels = ", ".join(f"#{order.label}" for order in orders if order is not None)
            return f"{labels} of the last run has no known outcome yet; trading opens when the venue has answered"
        return ""

    def _reduced(self, instance: str, symbol: str) -> None:
        self.commands.reductions.fit(instance, symbol)

    def _liquidated(self, fill: Fill) -> None:
        self.panic_switch.halt("venue", f"{fill.symbol}: the venue liquidated {fill.quantity} at {fill.price}")
        self.transfers.take_liquidated(fill)

    def _stream_changed(self, event: AccountStream) -> None:
        """Ask for everything that may have happened while the account's stream was silent."""
        self.stream.on_change(event)
        self.core.say(f"account stream: {event.reason}", "warn" if event.missed or not event.live else "info")
        if event.live:
            self.reconciler.look_anew()

    def _behind(self, order: Order) -> None:
        self.reconciler.expect_fills(order)

    def _resolved(self, order: Order) -> None:
        self.commands.on_resolved(order)

    def _reduce_by_hand(self, symbol: str, side: Side, quantity: Decimal) -> str:
        return self.submit(MANUAL, symbol, side, OrderType.MARKET, quantity, reduce_only=True)

    def _end_work(self, reason: str) -> None:
        self.works.end_all(f"halted: {reason}")

    def _halted_by_risk(self, reason: str) -> None:
        self.panic_switch.halt("risk", reason)
        self.oplog("RiskHalt", det=reason)

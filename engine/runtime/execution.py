"""The execution engine of one account: everything that trades goes through it.

It puts the parts together: order entry, booking, risk, work of several orders, reconciliation, the halt. All of it is
synchronous; only `start` waits for the venue's answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from engine.io.journal import Journal
from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import CtosError
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument, resolve_symbol
from engine.kernel.orders import Fill, Order, OrderType, Side
from engine.kernel.strategy import DeadlinePolicy, Purpose
from engine.kernel.syscalls import Driver, Unsubscribe
from engine.runtime.accounts import MANUAL, Account
from engine.runtime.booking import Booking
from engine.runtime.client_ids import ClientIds, new_prefix
from engine.runtime.commands import OrderCommands
from engine.runtime.core import EngineCore, OperationLog, VenueFeatures
from engine.runtime.day import DayRoller
from engine.runtime.desk import EngineDesk
from engine.runtime.missed import missed_events
from engine.runtime.panic import PanicReport, PanicSwitch, is_protective
from engine.runtime.reconcile import Reconciler
from engine.runtime.records import Transfer
from engine.runtime.resolver import Resolver
from engine.runtime.risk import RiskWatcher
from engine.runtime.shell import Shell
from engine.runtime.sizing import size_for_amount
from engine.runtime.work.book import WorkBook, WorkItem
from engine.runtime.work.close import CloseFilter
from engine.runtime.work.incremental import IncrementalPlan
from engine.runtime.work.pricing import SoftParams
from engine.runtime.work.targets import Basis, TargetPlan
from engine.runtime.work.ticket import Ticket

DEADLINE_S = 10_800.0


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
        features: What the venue does by itself.
        soft_params: The peg of soft orders.

    Attributes:
        on_halt: Called with the reason when the account halts, after the gate is closed.
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
        features: VenueFeatures | None = None,
        soft_params: SoftParams | None = None,
    ) -> None:
        self.account = account
        self.driver = driver
        self.clock = clock
        self.bus = bus
        self.journal = journal
        self.oplog = oplog
        core = EngineCore(account, driver, clock, bus, journal, oplog, features or VenueFeatures())
        self.core = core
        self.market = core.market
        self.tracker = core.tracker
        self.portfolio = core.portfolio
        self.trading = core.trading
        self.risk = core.risk = RiskWatcher(
            clock, account.limits, core, core.trading, self._halted_by_risk, core.save_trading
        )
        self._ids = _client_ids(journal, account.key, rng)
        self._ids.register(MANUAL)
        self.booking = Booking(core, self._reduced, self._behind, self._liquidated)
        self.resolver = Resolver(core, self.booking.on_update, self._resolved)
        self.commands = OrderCommands(core, self.booking, self.resolver)
        self.reconciler = Reconciler(core, self.booking, self.resolver, shell)
        self.panic_switch = PanicSwitch(core, self.commands.cancel, shell)
        self.on_halt: list[Callable[[str], None]] = self.panic_switch.on_halt
        self.desk = EngineDesk(core, self.commands, self._ids)
        self.desk.closed = self._why_closed
        self.works = WorkBook(self.desk, soft_params)
        self.desk.on_quote = self.works.on_quote
        core.on_order = self.works.on_order
        self._day = DayRoller(core)
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
        if core.state.trading is not None:
            self.risk.restore(core.state.trading)
        self.works.restore(core.state.works)
        self._account_stream = self.driver.subscribe_account(self.booking.on_event)
        self._watch_held()
        truth = await self.reconciler.ask()
        self.reconciler.take_first(truth)
        for order in self.tracker.working():
            if order.held:
                self.commands.stops.keep(order)
        self._watch_held()
        self._open_doubts = set(self.resolver.in_doubt)
        self._started = True
        self.works.resume()
        self._day.start()
        self.risk.start()
        self.reconciler.start()
        self.oplog("Reconcile", det=f"{replayed} records replayed, {len(self._open_doubts)} orders in doubt")

    def stop(self) -> None:
        """End all timers and streams and store the state; working orders stay at the venue."""
        self.risk.stop()
        self.reconciler.stop()
        self.resolver.stop()
        self._day.stop()
        if self._account_stream is not None:
            self._account_stream()
            self._account_stream = None
        self.market.close()
        if self._started:
            self.core.state.checkpoint()
        self._started = False

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument by canonical symbol; raises `UnknownSymbol`."""
        return self.market.instrument(symbol)

    def resolve(self, typed: str) -> Instrument:
        """Return the instrument that a person means; raises `UnknownSymbol`."""
        return resolve_symbol(typed, self.instruments, self.account.default_quote, self.account.default_kind)

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

    def amend(self, client_id: str, price: Decimal | None = None, quantity: Decimal | None = None) -> None:
        """Change price (of a stop: the trigger) and/or total quantity; a total filled already cancels the rest.

        Raises:
            CtosError: Refused; the order works on unchanged.
        """
        order = self.tracker.get(client_id)
        if order is not None and not order.held and not self.desk.can_amend(order.symbol):
            self.works.replace(self.new_handle(order.instance), client_id, price, quantity)
        else:
            self.commands.amend(client_id, price, quantity)

    def cancel(self, client_id: str) -> None:
        """Ask for the cancellation of an order; harmless when it is final or being cancelled."""
        self.commands.cancel(client_id)

    def cancel_all(
        self,
        symbol: str | None = None,
        instance: str | None = None,
        keep_protective: bool = False,
        side: Side | None = None,
        include_external: bool = False,
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
            self.commands.cancel(order.client_id)
        return [order.client_id for order in chosen]

    def soft(
        self,
        instance: str,
        symbol: str,
        side: Side,
        quantity: Decimal,
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        handle: str | None = None,
    ) -> str:
        """Work a quantity by a pegged post-only order; return a handle, ends with `WorkDone`."""
        handle = handle or self.new_handle(instance)
        ticket = Ticket(handle, instance, symbol, side, quantity, reduce_only, purpose)
        return self.works.soft(ticket, deadline_s, policy)

    def place_incremental_orders(
        self,
        instance: str,
        amount: Decimal,
        coin: str,
        side: Side,
        soft: bool = True,
        n_children: int = 1,
        max_child: Decimal | None = None,
        interval_s: float = 0,
        deadline_s: float = DEADLINE_S,
        handle: str | None = None,
    ) -> str:
        """Work a quote amount in child orders; return a handle, ends with `WorkDone`."""
        symbol = self.resolve(coin).symbol
        plan = IncrementalPlan(instance, symbol, side, amount, soft, n_children, max_child, interval_s, deadline_s)
        return self.works.incremental(handle or self.new_handle(instance), plan)

    def set_coin_position(
        self,
        instance: str,
        coin: str,
        usdt_amount: Decimal,
        soft: bool = True,
        basis: str = "ledger",
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handle: str | None = None,
    ) -> str:
        """Move a ledger (basis `account`: the account's position) to a signed notional; return a handle."""
        symbol = self.resolve(coin).symbol
        amount = usdt_amount / self.portfolio.fx(self.instrument(symbol).quote)
        plan = TargetPlan(instance, symbol, amount, soft=soft, basis=Basis(basis), deadline_s=deadline_s, policy=policy)
        return self.works.target(handle or self.new_handle(instance), plan)

    def set_positions(
        self,
        instance: str,
        targets: Mapping[str, Decimal],
        soft: bool = True,
        basis: str = "ledger",
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handles: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Move several ledgers, all reductions first; return a handle by the name that was given for each."""
        group = self.new_handle(instance)
        named = {coin: (handles or {}).get(coin) or self.new_handle(instance) for coin in targets}
        plans = {}
        for coin, usd in targets.items():
            symbol = self.resolve(coin).symbol
            amount = usd / self.portfolio.fx(self.instrument(symbol).quote)
            plans[named[coin]] = TargetPlan(
                instance,
                symbol,
                amount,
                soft=soft,
                basis=Basis(basis),
                deadline_s=deadline_s,
                policy=policy,
                group=group,
            )
        self.works.targets(plans)
        return named

    def close(
        self,
        instance: str,
        symbol: str,
        fraction: Decimal = Decimal(1),
        soft: bool = False,
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handle: str | None = None,
    ) -> str:
        """Close a fraction of a ledger (by hand: of the account's position), reduce-only; return a handle."""
        basis = Basis.ACCOUNT if instance == MANUAL else Basis.LEDGER
        plan = TargetPlan(
            instance, symbol, fraction=fraction, soft=soft, basis=basis, deadline_s=deadline_s, policy=policy
        )
        return self.works.target(handle or self.new_handle(instance), plan)

    def close_all(self, wanted: CloseFilter | None = None, passive: bool = False) -> list[str]:
        """Close the account's positions by hand; `passive` rests 5 bp from the mark; return handles or client ids."""
        rows = self.portfolio.positions()
        return self.works.close_all(rows, wanted or CloseFilter(), lambda: self.new_handle(MANUAL), passive)

    def end(self, handle: str) -> bool:
        """End a piece of work; return whether there was such work."""
        return self.works.end(handle)

    def work_of(self, instance: str | None = None) -> list[str]:
        """Return the handles of work in progress, oldest first."""
        return [item.handle for item in self.works.active(instance)]

    def active_work(self, instance: str | None = None) -> list[WorkItem]:
        """Return the work in progress, oldest first."""
        return self.works.active(instance)

    def arm(self, who: str, seconds: float | None = None) -> None:
        """Accept orders, for `seconds` or until disarmed."""
        self.trading.arm(who, seconds)

    def disarm(self, who: str, reason: str = "") -> None:
        """Accept only cancels and reductions by hand."""
        self.trading.disarm(who, reason)

    def panic(self, who: str, reason: str = "panic") -> PanicReport:
        """Close the gate at once, halt strategies, cancel what rests except protective stops; latched."""
        return self.panic_switch.halt(who, reason)

    def flatten_all(self, who: str) -> list[str]:
        """Cancel protective stops too and close every position by hand; strategies' ledgers end flat.

        What strategies hold is moved to the operator's ledger at the mark first, so that none of them acts later on
        what is no longer there.
        """
        self.oplog("ClosePosition", who=who, det="flatten all")
        self.cancel_all()
        for instance, symbol, quantity in self.portfolio.ledgers():
            price = self.portfolio.mark(symbol)
            if instance != MANUAL and price is not None:
                self._transfer(instance, symbol, quantity, price, f"flattened by {who}")
        return self.close_all()

    def rearm(self, who: str, reason: str) -> None:
        """Release a halt.

        Raises:
            CtosError: The cause persists: an order has no known outcome, the journal or the venue fails.
        """
        unknown = ", ".join(f"#{order.label}" for order in self.tracker.unknown())
        if unknown:
            raise CtosError(f"cannot rearm: {unknown} has no known outcome yet; it is being looked for")
        if self.journal.failed is not None:
            raise CtosError(f"cannot rearm: {self.journal.failed}")
        if self.reconciler.last_error:
            raise CtosError(f"cannot rearm: the venue does not answer: {self.reconciler.last_error}")
        self.trading.rearm(who, reason)

    def on_journal_error(self, error: CtosError) -> None:
        """Halt because the journal cannot be written: no journal, no orders; cancels still pass."""
        self.core.alarm("journal", str(error), severity="CRIT")
        self.panic_switch.halt("journal", str(error))

    def event_seq(self, instance: str) -> int:
        """Return the number of the newest record about an instance's orders and fills, to be kept with its memory."""
        return self.core.state.event_seq.get(instance, 0)

    def missed(self, instance: str, after_seq: int) -> Iterator[object]:
        """Yield what happened to an instance after a record, as `FillBooked` and `OrderChanged`, in order."""
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

    def _watch_held(self) -> None:
        """Stream prices of everything that is held or worked."""
        symbols = {row.symbol for row in self.portfolio.positions()}
        symbols.update(order.symbol for order in self.tracker.working())
        symbols.update(
            symbol
            for balance in self.portfolio.balances()
            if balance.total and (symbol := self.portfolio.spot_market(balance.currency)) is not None
        )
        for symbol in sorted(symbols & self.instruments.keys()):
            self.market.watch(symbol, depth=False)

    def _reduced(self, instance: str, symbol: str) -> None:
        self.commands.reductions.fit(instance, symbol)

    def _behind(self, order: Order) -> None:
        self.reconciler.expect_fills(order)

    def _resolved(self, order: Order) -> None:
        self.commands.on_resolved(order)

    def _halted_by_risk(self, reason: str) -> None:
        self.oplog("RiskHalt", det=reason)
        self.panic_switch.halt("risk", reason)

    def _liquidated(self, fill: Fill) -> None:
        """Halt after a liquidation, and take what the venue closed out of the ledgers that held it."""
        text = f"{fill.symbol}: the venue liquidated {fill.quantity} at {fill.price}"
        self.core.alarm("liquidation", text, fill.symbol, severity="CRIT")
        self.panic_switch.halt("venue", text)
        left = fill.quantity
        for instance, held in self.portfolio.holders(fill.symbol):
            if instance != MANUAL and held * fill.side.sign < 0 and left > 0:
                moved = min(left, abs(held))
                self._transfer(instance, fill.symbol, moved if held > 0 else -moved, fill.price, "liquidated")
                left -= moved

    def _transfer(self, instance: str, symbol: str, quantity: Decimal, price: Decimal, reason: str) -> None:
        self.core.write(Transfer(instance, MANUAL, symbol, quantity, price, reason))
        self.oplog("LedgerTransfer", instance=instance, symbol=symbol, qty=str(quantity), price=str(price), det=reason)


def _client_ids(journal: Journal, account: str, rng: Rng) -> ClientIds:
    """Return the client ids of an account, going on after the last number that was ever reserved."""
    key = f"client_sequence:{account}"
    saved = journal.get("settings", "installation")
    installation = saved.decode() if saved is not None else new_prefix(rng.fork("installation"))
    if saved is None:
        journal.put("settings", "installation", installation.encode())
    reserved = journal.get("settings", key)
    first = int(reserved) if reserved is not None else 1
    epoch = new_prefix(rng.fork(f"epoch {first}"))
    return ClientIds(installation, epoch, first, lambda end: journal.put("settings", key, str(end).encode()))

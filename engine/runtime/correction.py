"""Auto-correction of positions: the cheapest remedy first, an order only for what is proved to be our own and unwanted.

A drift is looked at twice. Executions that were missed are booked, which needs no order. What is left without a trade
that explains it is a person's to decide. An order, reduce-only, small and rare, is sent only for an excess that our
own orders have made; with `dry_run` it is shown and not sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

import msgspec

from engine.kernel.account import Position
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.kernel.orders import Fill, Side
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import DeadlinePolicy, Purpose
from engine.kernel.syscalls import Unsubscribe
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Anomaly
from engine.runtime.correction_proof import APART_NS, Look, missing_proof
from engine.runtime.correction_state import (
    Claim,
    CorrectionState,
    Running,
    correction_size,
    note_sent,
    refusal,
)
from engine.runtime.events import OrderChanged, WorkDone
from engine.runtime.excess import ExcessBook
from engine.runtime.execution import ExecutionEngine
from engine.runtime.human_lock import HumanLock
from engine.runtime.records import Adjustment
from engine.runtime.trading_state import TradingMode

TABLE = "notes"
PROPOSAL = "correction"
"""Under this name an anomaly's data say what would be sent, or why nothing is."""
SOFT_S = 30.0
SEARCH_BACK_MS = 3_600_000
OVERLAP_MS = 60_000
AGAIN_NS = 20 * NS_PER_S
ZERO = Decimal(0)
_NOT_CORRECTED = (
    InstanceState.PAUSED,
    InstanceState.HALTED,
    InstanceState.FAULTED,
    InstanceState.STOPPING,
    InstanceState.WARMUP,
)
_MAY_TRADE = (TradingMode.ARMED, TradingMode.REDUCE_ONLY)


class CorrectionMode(StrEnum):
    """What auto-correction may do: nothing, say what it would send, or send it."""

    OFF = "off"
    DRY_RUN = "dry_run"
    ON = "on"


@dataclass(slots=True)
class _Case:
    """What is known about one drift.

    Attributes:
        since_ms: When it came up.
        looks: Looks at the venue, oldest first.
        asking: Whether an answer is on its way.
        unexplained: Whether everything was looked at and no trade explains it.
        proposed: The last proposal that was logged.
    """

    since_ms: int
    looks: list[Look] = field(default_factory=list)
    asking: bool = False
    unexplained: bool = False
    proposed: str = ""


class Corrector:
    """Auto-correction of one account.

    Args:
        engine: The account's engine.
        mode: What it may do.

    Attributes:
        owner_state: Returns the state of a strategy instance, None when there is none of that name.
    """

    def __init__(self, engine: ExecutionEngine, mode: CorrectionMode) -> None:
        self.owner_state: Callable[[str], InstanceState | None] = lambda instance: None
        self._engine = engine
        self._mode = mode
        self._key = f"{engine.account.key}/correction"
        saved = engine.journal.get(TABLE, self._key)
        self._state = msgspec.json.decode(saved, type=CorrectionState) if saved else CorrectionState()
        self._excess = ExcessBook(engine.core, self._state, self._save)
        self._cases: dict[str, _Case] = {}
        self._human = HumanLock(engine.clock, engine.bus, self._state, self._save)
        self._subscriptions: list[Unsubscribe] = []

    def start(self) -> None:
        """Follow orders, fills and work; a correction that ended while nobody looked is judged now."""
        bus = self._engine.bus
        self._subscriptions = [
            *self._human.start(),
            bus.subscribe(OrderChanged, lambda event: self._excess.on_order(event.order)),
            bus.subscribe(WorkDone, self._on_done),
        ]
        running = self._state.running
        if running is not None and running.handle not in self._engine.work_of():
            self._ended(running, "it ended while the program was down")

    def stop(self) -> None:
        """Follow nothing any more."""
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions.clear()

    def excess(self, symbol: str) -> Decimal:
        """Return the signed base coins of a symbol that are held and proved to be unwanted."""
        return self._excess.of(symbol) if self._mode is not CorrectionMode.OFF else ZERO

    def is_unexplained(self, symbol: str) -> bool:
        """Return whether everything was looked at and no trade explains the drift of a symbol."""
        case = self._cases.get(symbol)
        return case is not None and case.unexplained

    def why_unwanted(self, symbol: str) -> str:
        """Return what proves that a part of a position is unwanted, else nothing."""
        claim = self._excess.largest(symbol)
        return "" if claim is None else claim.why

    def decision(self, symbol: str) -> str:
        """Return what a person can decide about the drift of a symbol, in words; empty when nothing."""
        if self.is_unexplained(symbol):
            return f"book the venue's quantity: {self._drift(symbol):+f} goes to the ledger '{MANUAL}'"
        return f"let corrections of {symbol} go on" if symbol in self._state.disarmed else ""

    def decide(self, symbol: str, who: str, reason: str) -> None:
        """Carry out a person's decision: take the venue's quantity as it is, or let corrections go on.

        Raises:
            CtosError: No reason is given, or there is nothing to decide.
        """
        if not reason.strip():
            raise CtosError("a decision needs a reason: it is kept in the journal")
        if self.is_unexplained(symbol):
            missing = missing_proof(self._engine, symbol, self._cases[symbol].looks)
            if missing:
                raise CtosError(f"the drift of {symbol} is being looked at again, {missing}: decide in a moment")
            self._adjust(symbol, who, reason)
        elif symbol in self._state.disarmed:
            del self._state.disarmed[symbol]
            self._save()
            self._engine.core.say(f"corrections of {symbol} go on: {who}: {reason}")
        else:
            raise CtosError(f"there is nothing to decide about {symbol}: its drift is still being looked at, or gone")

    def evaluate(self, drifts: Iterable[Anomaly]) -> None:
        """Look at the drifts that hold now, and act on those that are proved."""
        if self._mode is CorrectionMode.OFF:
            return
        self._excess.tidy()
        held = {anomaly.symbol: anomaly for anomaly in drifts}
        for symbol in list(self._cases):
            if symbol not in held and not self._cases[symbol].asking:
                del self._cases[symbol]
        for symbol, anomaly in held.items():
            self._follow(anomaly, self._cases.setdefault(symbol, _Case(anomaly.raised_ms)))

    def _follow(self, anomaly: Anomaly, case: _Case) -> None:
        symbol, now_ns = anomaly.symbol, self._engine.clock.now_ns()
        if case.asking:
            return
        since_ns = now_ns - case.looks[-1].ns if case.looks else AGAIN_NS
        if not case.looks or since_ns >= (APART_NS if len(case.looks) == 1 else AGAIN_NS):
            self._look(symbol, case)
            return
        missing = missing_proof(self._engine, symbol, case.looks)
        if missing:
            anomaly.data[PROPOSAL] = f"not judged yet: {missing}"
            return
        instrument = self._engine.instrument(symbol)
        drift = self._drift(symbol)
        claim = self._excess.largest(symbol)
        if abs(drift) >= instrument.lot_size:
            self._leave_to_a_person(anomaly, case, drift)
        elif claim is not None:
            self._correct(anomaly, case, claim)

    def _look(self, symbol: str, case: _Case) -> None:
        """Ask for the venue's position and executions; the first look of a case reaches far back."""
        engine = self._engine
        since = max(0, case.since_ms - (OVERLAP_MS if case.looks else SEARCH_BACK_MS))
        case.asking = True

        async def ask() -> tuple[list[Position], list[Fill]]:
            positions = await engine.driver.get_position(symbol)
            return positions, await engine.driver.get_fills(symbol, since)

        def found(answer: tuple[list[Position], list[Fill]]) -> None:
            case.asking = False
            positions, fills = answer
            complete = self._book(fills)
            quantity = next((row.quantity for row in positions if row.symbol == symbol), ZERO)
            case.looks = [*case.looks[-1:], Look(engine.clock.now_ns(), quantity, complete)]

        def failed(error: CtosError) -> None:
            case.asking, case.looks = False, []
            engine.core.say(f"the drift of {symbol} cannot be looked at: {error}", "warn", "monitor")

        engine.shell.run(ask(), found, failed)

    def _book(self, fills: list[Fill]) -> bool:
        """Book what was missed; return whether all are booked."""
        engine = self._engine
        complete = True
        for fill in fills:
            known = engine.portfolio.fills.get(fill.symbol, fill.trade_id) is not None
            complete = engine.booking.on_fill(fill) and complete
            booked = engine.portfolio.fills.get(fill.symbol, fill.trade_id)
            if not known and booked is not None:
                text = f"missed execution {fill.trade_id}: {fill.side.value} {fill.quantity} at {fill.price}"
                engine.oplog(
                    "LedgerRepair",
                    instance=booked.instance,
                    actor="monitor",
                    symbol=fill.symbol,
                    cid=fill.client_id,
                    det=text,
                )
                engine.core.say(f"{fill.symbol}: {text} is in the ledger '{booked.instance}'", "warn", "monitor")
        return complete

    def _leave_to_a_person(self, anomaly: Anomaly, case: _Case, drift: Decimal) -> None:
        """Say that no trade explains a drift; entries of the symbol are blocked until a person decides."""
        case.unexplained = True
        side = Side.SELL if drift > 0 else Side.BUY
        text = f"{side.value} {abs(drift)} {anomaly.symbol} would restore our ledgers"
        self._propose(case, anomaly, f"{text}; never sent: nothing proves that it is our own", "no trade explains it")

    def _correct(self, anomaly: Anomaly, case: _Case, claim: Claim) -> None:
        engine, symbol = self._engine, anomaly.symbol
        case.unexplained = False
        left = self._excess.left(claim)
        side = Side.SELL if left > 0 else Side.BUY
        instrument, mark = engine.instrument(symbol), engine.portfolio.mark(symbol)
        venue = case.looks[-1].quantity
        if mark is None or venue * left <= 0:
            anomaly.data[PROPOSAL] = "not sent: it would not reduce the venue's position"
            return
        price_usd = mark * engine.portfolio.fx(instrument.quote)
        base = max(abs(venue), claim.base)
        quantity = min(correction_size(abs(left), base, price_usd, instrument), abs(venue))
        what = f"{side.value} {quantity} {symbol} reduce-only, soft for {SOFT_S:.0f} s, for {claim.instance}"
        if not quantity:
            self._propose(case, anomaly, f"{abs(left)} {symbol} is too small for an order", claim.why)
            return
        if self._mode is CorrectionMode.DRY_RUN:
            self._propose(case, anomaly, f"{what}; not sent: monitor.correction is dry_run", claim.why)
            return
        why = self._lock(symbol, claim.instance) or refusal(
            self._state, symbol, claim.instance, side, engine.clock.now_ms()
        )
        if why:
            self._propose(case, anomaly, what, claim.why, f"; not sent: {why}")
            return
        self._send(anomaly, case, Running("", claim.instance, symbol, side, quantity, left), what)

    def _lock(self, symbol: str, owner: str) -> str:
        """Return why the state of trading or of the owner forbids a correction; empty when it does not."""
        mode = self._engine.trading.mode
        if mode not in _MAY_TRADE:
            return self._engine.trading.describe()
        state = None if owner == MANUAL else self.owner_state(owner)
        return f"{owner} is {state.value}" if state in _NOT_CORRECTED and state is not None else ""

    def _propose(self, case: _Case, anomaly: Anomaly, what: str, why: str, suffix: str = "") -> None:
        anomaly.data[PROPOSAL] = f"{what}{suffix}"
        anomaly.data["reason"] = why
        if what != case.proposed:
            case.proposed = what
            self._log("AutoCorrectionProposed", anomaly.symbol, f"{what} ({why})", anomaly=anomaly.id)
            self._engine.core.say(f"correction proposed: {what} ({why})", "warn", "monitor")

    def _send(self, anomaly: Anomaly, case: _Case, running: Running, what: str) -> None:
        engine, state = self._engine, self._state
        running.handle = engine.new_handle(running.instance)
        state.running = running
        note_sent(state, running.symbol, running.side, engine.clock.now_ms())
        self._save()  # before the order's intent, so that no crash can forget that it was sent
        case.looks = []
        case.proposed = ""
        anomaly.data[PROPOSAL] = f"sent: {what}"
        anomaly.action = f"corrected {len(state.sent)} times in 60 min, last: {what}"
        self._log("AutoCorrectionSent", running.symbol, what, instance=running.instance, anomaly=anomaly.id)
        engine.core.say(f"correction sent: {what}", "warn", "monitor")
        try:
            engine.soft(
                running.instance,
                running.symbol,
                running.side,
                running.quantity,
                SOFT_S,
                DeadlinePolicy.CANCEL,
                reduce_only=True,
                purpose=Purpose.CORRECTION,
                handle=running.handle,
            )
        except CtosError as error:
            self._ended(running, f"{type(error).__name__}: {error}")

    def _on_done(self, event: WorkDone) -> None:
        running = self._state.running
        if running is not None and event.done.handle == running.handle:
            self._ended(running, event.done.reason)
        else:
            self._excess.on_done(event.instance, event.done)

    def _ended(self, running: Running, reason: str) -> None:
        """Judge what a correction did; one that did not help disarms the symbol until a person decides."""
        self._state.running = None
        self._excess.tidy()
        symbol, before, after = running.symbol, running.excess, self._excess.of(running.symbol)
        if abs(after) < abs(before) and after * before >= 0:
            self._log("AutoCorrectionDone", symbol, f"{before} became {after}", instance=running.instance)
            self._engine.core.say(f"{symbol}: the correction is done, {after} is left", "info", "monitor")
        else:
            text = f"the unwanted {before} became {after}" + (f" ({reason})" if reason else "")
            self._state.disarmed[symbol] = text
            self._log("AutoCorrectionFailed", symbol, text, instance=running.instance)
            self._log("AutoCorrectionDisarmed", symbol, text, instance=running.instance)
            self._engine.core.alarm(
                "correction", f"{symbol}: no more corrections until a person decides: {text}", symbol
            )
        self._save()

    def _adjust(self, symbol: str, who: str, reason: str) -> None:
        """Book the difference to the operator's ledger, because a person says that the venue is right."""
        core, drift = self._engine.core, self._drift(symbol)
        price = self._engine.portfolio.mark(symbol)
        if price is None:
            raise CtosError(f"{symbol} has no price now, at which its quantity could be booked; try again")
        text = f"accepted by {who}: {reason}"
        core.write(Adjustment(MANUAL, symbol, drift, price, text))
        core.oplog("LedgerRepair", symbol=symbol, actor="human", qty=str(drift), price=str(price), det=text)
        core.say(f"{symbol}: {drift:+f} at {price} is in the ledger '{MANUAL}': {text}", "warn", "monitor")
        self._cases.pop(symbol, None)
        self._human.touched(symbol)

    def _drift(self, symbol: str) -> Decimal:
        row = self._engine.portfolio.position(symbol)
        return (row.venue_quantity or ZERO) - row.quantity

    def _log(self, op: str, symbol: str, text: str, instance: str = "", **fields: str) -> None:
        self._engine.oplog(op, instance=instance, src="monitor", actor="monitor", symbol=symbol, det=text, **fields)

    def _save(self) -> None:
        self._engine.journal.put(TABLE, self._key, msgspec.json.encode(self._state))

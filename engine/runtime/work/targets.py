"""Position targets: a ledger is moved to a signed quantity, reductions first.

A target has at most two legs. What reduces is sent reduce-only; when the target lies on the other side of zero, the
second leg opens only after the first is final and the ledger is flat, or holds less than can be traded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from engine.kernel.errors import CtosError, InvalidOrder, ReduceOnlyRejected, RiskReject
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderTrack, Side
from engine.kernel.strategy import DeadlinePolicy, Done, DoneStatus, Purpose
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.execution import Execution, OnDone
from engine.runtime.work.parts import load_part, new_part
from engine.runtime.work.pricing import SoftParams, has_touch, middle, smallest_quantity
from engine.runtime.work.soft import SoftOrder
from engine.runtime.work.ticket import Tally, Ticket

ZERO = Decimal(0)
SMALLEST_USD = Decimal(1)
SUPERSEDED = "superseded"


class Basis(StrEnum):
    """What a target is compared with: the instance's ledger, or the account's position."""

    LEDGER = "ledger"
    ACCOUNT = "account"


class TargetPhase(StrEnum):
    """Where a target is.

    `waiting` for its predecessor's final fills, `reducing`, `ready` to increase as soon as all of its group have
    reduced, `increasing`.
    """

    WAITING = "waiting"
    REDUCING = "reducing"
    READY = "ready"
    INCREASING = "increasing"


@dataclass(slots=True, frozen=True)
class TargetPlan:
    """What a target is asked to do; either `amount` or `fraction` is given.

    Attributes:
        amount: Signed target notional in quote.
        fraction: Share of the position to close.
        soft: Whether legs are soft orders; else market orders.
        deadline_s: Seconds for each leg.
        policy: What happens to the rest of a soft leg at its deadline.
        group: Targets of one group increase only when all of them have reduced; empty for none.
    """

    instance: str
    symbol: str
    amount: Decimal | None = None
    fraction: Decimal | None = None
    soft: bool = True
    basis: Basis = Basis.LEDGER
    deadline_s: float = 10800
    policy: DeadlinePolicy = DeadlinePolicy.CANCEL
    group: str = ""

    @property
    def closes(self) -> bool:
        """Return whether nothing is to be left."""
        return self.fraction == 1 or (self.fraction is None and not self.amount)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "instance": self.instance,
            "symbol": self.symbol,
            "amount": None if self.amount is None else str(self.amount),
            "fraction": None if self.fraction is None else str(self.fraction),
            "soft": self.soft,
            "basis": self.basis.value,
            "deadline_s": self.deadline_s,
            "policy": self.policy.value,
            "group": self.group,
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> TargetPlan:
        """Return what `to_dict` saved."""
        return cls(
            instance=str(body["instance"]),
            symbol=str(body["symbol"]),
            amount=None if body["amount"] is None else Decimal(body["amount"]),
            fraction=None if body["fraction"] is None else Decimal(body["fraction"]),
            soft=bool(body["soft"]),
            basis=Basis(body["basis"]),
            deadline_s=float(body["deadline_s"]),
            policy=DeadlinePolicy(body["policy"]),
            group=str(body["group"]),
        )


class Target:
    """A position target.

    Args:
        desk: Where orders go.
        handle: Its handle.
        plan: What to do.
        params: The peg of soft legs.
        on_done: Called once with the report.
        on_change: Called when `to_dict` has changed.

    Attributes:
        phase: Where it is.
        predecessor: Handle of the target that it replaces, until that one is final.
    """

    kind = "target"

    def __init__(
        self,
        desk: OrderDesk,
        handle: str,
        plan: TargetPlan,
        params: SoftParams,
        on_done: OnDone,
        on_change: Callable[[], None],
    ) -> None:
        instrument = desk.instrument(plan.symbol)
        if plan.amount is not None and plan.amount < ZERO and not instrument.is_perp:
            raise RiskReject("no_short", "", f"{plan.symbol} is spot: a target of {plan.amount:f} would be short")
        if plan.fraction is not None and not ZERO < plan.fraction <= 1:
            raise InvalidOrder(f"close {plan.symbol}: the fraction {plan.fraction} must be above 0 and at most 1")
        self.handle = handle
        self.instance = plan.instance
        self.symbol = plan.symbol
        self.plan = plan
        self.phase = TargetPhase.WAITING
        self.predecessor = ""
        self._desk = desk
        self._instrument = instrument
        self._params = params
        self._on_done = on_done
        self._on_change = on_change
        self._tally = Tally()
        self._goal = ZERO
        self._leg: Execution | None = None
        self._ending = ""

    @property
    def deadline_ns(self) -> int | None:
        """Return when the soft leg at work ends, None while there is none."""
        return self._leg.deadline_ns if isinstance(self._leg, SoftOrder) else None

    def track(self) -> OrderTrack | None:
        """Return how far the soft leg at work has come, None while there is none."""
        return self._leg.track() if isinstance(self._leg, SoftOrder) else None

    def start(self) -> None:
        """Work out the goal from the present price and ledger, and reduce or get ready to increase.

        Raises:
            CtosError: The first leg was refused before it was sent.
        """
        held, price = self._held(), middle(self._desk, self.symbol)
        self._goal = self._goal_at(price, held)
        delta = self._goal - held
        smallest = max(SMALLEST_USD, self._smallest(delta) * price)
        if not delta:
            self._finish(DoneStatus.SKIPPED, "the position is there already")
        elif self._goal and abs(delta) * price < smallest:
            value, least = (abs(delta) * price).normalize(), smallest.normalize()
            reason = f"the change of {value:f} is below the minimum {least:f} {self._instrument.quote}"
            self._finish(DoneStatus.SKIPPED, reason)
        elif held * delta < ZERO:
            self.phase = TargetPhase.REDUCING
            self._reduce(held, delta)
        else:
            self.phase = TargetPhase.READY
            self._on_change()

    def increase(self) -> None:
        """Send the leg that increases; every target of the group has reduced.

        Raises:
            CtosError: It was refused before it was sent.
        """
        delta = self._goal - self._held()
        quantity = self._instrument.floor_quantity(abs(delta))
        if quantity < self._smallest(delta):
            reason = f"the rest of {quantity.normalize():f} is below the minimum"
            self._finish(DoneStatus.PARTIAL if self._tally.quantity else DoneStatus.SKIPPED, reason)
            return
        self.phase = TargetPhase.INCREASING
        self._send(quantity, _side(delta), False)

    def on_order(self, order: Order) -> None:
        """Follow a change of the leg's order."""
        if self._leg is not None:
            self._leg.on_order(order)

    def on_quote(self, quote: Quote) -> None:
        """Follow the touch."""
        if self._leg is not None:
            self._leg.on_quote(quote)

    def end(self, reason: str) -> None:
        """Cancel what works and report what was done."""
        self._ending = self._ending or reason
        self._on_change()
        if self._leg is not None:
            self._leg.end(reason)
        else:
            self._finish(DoneStatus.PARTIAL if self._tally.quantity else DoneStatus.CANCELED, reason)

    def fail(self, error: CtosError) -> None:
        """End with an error that came up outside the caller's command."""
        self._finish(DoneStatus.ERROR, f"{type(error).__name__}: {error}")

    def resume(self) -> None:
        """Go on after a restart from the truth of the tracker; READY and WAITING are the book's to move."""
        leg = self._leg
        if leg is None:
            return
        leg.resume(self._tally.children)
        if self._ending and self._leg is not None:
            self._leg.end(self._ending)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "handle": self.handle,
            "plan": self.plan.to_dict(),
            "phase": self.phase.value,
            "predecessor": self.predecessor,
            "tally": self._tally.to_dict(),
            "goal": str(self._goal),
            "leg": None if self._leg is None else self._leg.to_dict(),
            "ending": self._ending,
        }

    @classmethod
    def from_dict(
        cls,
        desk: OrderDesk,
        body: dict[str, Any],
        params: SoftParams,
        on_done: OnDone,
        on_change: Callable[[], None],
    ) -> Target:
        """Return what `to_dict` saved; `resume` sets it going."""
        target = cls(desk, str(body["handle"]), TargetPlan.from_dict(body["plan"]), params, on_done, on_change)
        target.phase = TargetPhase(body["phase"])
        target.predecessor = str(body["predecessor"])
        target._tally = Tally.from_dict(body["tally"])
        target._goal = Decimal(body["goal"])
        target._ending = str(body["ending"])
        if body["leg"] is not None:
            target._leg = load_part(desk, body["leg"], params, target._leg_done, on_change)
        return target

    def _held(self) -> Decimal:
        if self.plan.basis is Basis.ACCOUNT:
            return self._desk.account_quantity(self.symbol)
        return self._desk.ledger_quantity(self.instance, self.symbol)

    def _goal_at(self, price: Decimal, held: Decimal) -> Decimal:
        amount, fraction = self.plan.amount, self.plan.fraction
        if amount is not None:
            size = self._instrument.quantity_for(abs(amount), price)
            return size if amount > ZERO else -size
        if fraction is None or fraction == 1:
            return ZERO
        closed = self._instrument.floor_quantity(abs(held) * fraction)
        return held - closed if held > ZERO else held + closed

    def _reduce(self, held: Decimal, delta: Decimal) -> None:
        quantity = self._instrument.floor_quantity(min(abs(delta), abs(held)))
        if not quantity:
            self._after_dust(held)
            return
        try:
            self._send(quantity, _side(delta), True)
        except (InvalidOrder, ReduceOnlyRejected) as error:
            if not self._is_dust(held):
                raise
            self._leg = None
            self._after_dust(held, str(error))

    def _after_dust(self, held: Decimal, why: str = "") -> None:
        """Go on with what is too small to be closed: open the other side, or report it."""
        if self._goal:
            self.phase = TargetPhase.READY
            self._on_change()
        elif held:
            text = f"{abs(held).normalize():f} {self._instrument.base} is too small to be closed"
            self._finish(DoneStatus.DUST, f"{text}: {why}" if why else text)
        else:
            self._finish(DoneStatus.SKIPPED, "the position is flat already")

    def _smallest(self, delta: Decimal) -> Decimal:
        return smallest_quantity(self._desk, self.symbol, _side(delta), self.plan.soft, self._params)

    def _is_dust(self, held: Decimal) -> bool:
        """Return whether what is held is smaller than the smallest order."""
        if not has_touch(self._desk, self.symbol):
            return abs(held) < self._instrument.min_quantity
        return abs(held) < self._instrument.minimum_order_quantity(middle(self._desk, self.symbol))

    def _send(self, quantity: Decimal, side: Side, reduce_only: bool) -> None:
        plan = self.plan
        purpose = Purpose.EXIT if reduce_only else Purpose.ENTRY
        ticket = Ticket(self.handle, plan.instance, plan.symbol, side, quantity, reduce_only, purpose)
        leg = new_part(
            self._desk, ticket, plan.soft, plan.deadline_s, plan.policy, self._params, self._leg_done, self._on_change
        )
        self._leg = leg
        self._on_change()
        leg.start()

    def _leg_done(self, done: Done) -> None:
        self._leg = None
        self._tally.add_done(done)
        held = self._held()
        if self._ending:
            self._finish(DoneStatus.PARTIAL if self._tally.quantity else DoneStatus.CANCELED, self._ending)
        elif self.phase is TargetPhase.INCREASING:
            self._finish(_status(done), done.reason)
        elif done.status is DoneStatus.FAILED and self._is_dust(held):
            self._after_dust(held, done.reason)
        elif done.status is DoneStatus.FAILED:
            self._finish(DoneStatus.ERROR, done.reason)
        elif self._goal * held <= ZERO and self._goal and (not held or self._is_dust(held)):
            self.phase = TargetPhase.READY
            self._on_change()
        else:
            self._finish(done.status, done.reason)

    def _finish(self, status: DoneStatus, reason: str) -> None:
        self._leg = None
        done = self._tally.done(self.handle, self.kind, self.symbol, status, reason)
        self._on_done(replace(done, closes=self.plan.closes))


def _side(delta: Decimal) -> Side:
    return Side.BUY if delta > ZERO else Side.SELL


def _status(done: Done) -> DoneStatus:
    return DoneStatus.ERROR if done.status is DoneStatus.FAILED else done.status

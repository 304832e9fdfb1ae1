"""Soft orders: a post-only limit pegged to its own side of the touch.

The price starts a little behind the touch and closes up in small steps. It follows the touch only in the direction
that makes a fill more likely, and not further than a limit from where the touch first was; it never crosses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from decimal import Decimal
from functools import partial
from typing import Any

from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.errors import CtosError, PostOnlyWouldTake, TooManyCommands
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderState, OrderTrack, OrderType, Pending, Side
from engine.kernel.strategy import DeadlinePolicy, DoneStatus
from engine.runtime.accounts import MANUAL
from engine.runtime.work.alarms import Alarms
from engine.runtime.work.desk import OrderDesk, is_settled
from engine.runtime.work.execution import CANCELED_OUTSIDE, OnChange, OnDone, end_status, refusal, unknown_orders
from engine.runtime.work.pricing import SoftParams, ahead, behind, chase_limit, has_touch, peg, touch
from engine.runtime.work.ticket import Tally, Ticket

ZERO = Decimal(0)
MOVE = 0.0005
EARLY_NS = NS_PER_S
QUOTE_WAIT_NS = NS_PER_S
RETRY_NS = 250 * NS_PER_MS
RETRIES = 5
RETRY_WINDOW_NS = 10 * NS_PER_S
DEADLINE = "deadline"
_ABSENT = (OrderState.REJECTED, OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)
_WORKING = (OrderState.OPEN, OrderState.PARTIAL)


class SoftOrder:
    """A soft order.

    Args:
        desk: Where orders go.
        ticket: What to do.
        deadline_s: Seconds until `policy` applies to the rest.
        policy: Cancel the rest, cross the spread with it, or leave the order where it is.
        params: The peg.
        on_done: Called once with the report.
        on_change: Called when `to_dict` has changed.
        budget: Quote amount that fills and the working order together never exceed; None for no such limit.
    """

    kind = "soft"

    def __init__(
        self,
        desk: OrderDesk,
        ticket: Ticket,
        deadline_s: float,
        policy: DeadlinePolicy,
        params: SoftParams,
        on_done: OnDone,
        on_change: OnChange,
        budget: Decimal | None = None,
    ) -> None:
        self.handle = ticket.handle
        self.instance = ticket.instance
        self.symbol = ticket.symbol
        self._desk = desk
        self._ticket = ticket
        self._deadline_s = deadline_s
        self._policy = policy
        self._params = params
        self._on_done = on_done
        self._on_change = on_change
        self._budget = budget
        self._alarms = Alarms(desk.clock)
        self._instrument = desk.instrument(ticket.symbol)
        self._tally = Tally()
        self._started_ns = 0
        self._first_touch = ZERO
        self._working = ""
        self._price: Decimal | None = None
        self._ending = ""
        self._left = ""
        self._crossing = False
        self._retries_ns: list[int] = []
        self._seen_touch = 0.0
        self._evaluated_ns = 0
        self._step_ns = round(params.interval_s * NS_PER_S)
        self._over = False
        self._repegs = 0

    @property
    def deadline_ns(self) -> int | None:
        """Return when its policy applies to the rest, None before it has started."""
        return self._started_ns + round(self._deadline_s * NS_PER_S) if self._started_ns else None

    def track(self) -> OrderTrack:
        """Return how far it has come."""
        order = self._desk.order(self._working) if self._working else None
        filled = self._tally.quantity + (ZERO if order is None else order.filled)
        deadline_ns = self.deadline_ns
        return OrderTrack(
            id=self.handle,
            symbol=self.symbol,
            side=self._ticket.side,
            filled=filled,
            remaining=max(ZERO, self._ticket.quantity - filled),
            order=self._working,
            repegs=self._repegs,
            deadline_ms=None if deadline_ns is None else deadline_ns // NS_PER_MS,
        )

    def start(self) -> None:
        """Place the first order behind the touch."""
        self._first_touch = touch(self._desk, self.symbol, self._ticket.side)
        self._started_ns = self._desk.clock.now_ns()
        self._place(self._target())
        if not self._over:
            self._set_alarms()

    def on_order(self, order: Order) -> None:
        """Go on when the working order is settled."""
        if order.client_id != self._working or not is_settled(order):
            return
        if order.replaced_by:
            self._follow(order)
        else:
            self._settle(order)

    def on_quote(self, quote: Quote) -> None:
        """Look again when the touch moved by more than 5 bp, at most once a second."""
        own = quote.bid if self._ticket.side is Side.BUY else quote.ask
        seen = self._seen_touch
        if abs(own - seen) <= MOVE * seen or self._ending or self._over or self._alarms.is_set("early"):
            return
        early_ns = self._evaluated_ns + EARLY_NS
        if self._desk.clock.now_ns() >= early_ns:
            self._evaluate()
        else:
            self._alarms.set("early", early_ns, self._evaluate)

    def end(self, reason: str) -> None:
        """Cancel what works and report what was done."""
        self._ending = self._ending or reason
        self._on_change()
        if self._working:
            self._desk.cancel(self._working, self.handle)
        else:
            self._finish(end_status(self._tally.quantity, False), reason)

    def resume(self, known: Collection[str] = ()) -> None:
        """Go on after a restart from the truth of the tracker."""
        if self._left:
            self._let_go()
            return
        orders = unknown_orders(self._desk, self.handle, self._tally, known)
        for order in orders[:-1]:
            self._tally.add_order(order)
        if not self._started_ns:
            if not orders:
                self._when_quoted(lambda: self._try(self.start))
                return
            self._started_ns = orders[0].created_ns
            self._first_touch = orders[0].price or touch(self._desk, self.symbol, self._ticket.side)
        self._set_alarms()
        if not orders:
            self._working = ""
            self._after_order()
            return
        order = orders[-1]
        self._working = order.client_id
        self._crossing = order.type not in (OrderType.POST_ONLY, OrderType.LIMIT)
        self._price = order.price
        self.on_order(order)
        if self._working and self._ending and not self._crossing:
            self._desk.cancel(self._working, self.handle)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "kind": self.kind,
            "ticket": self._ticket.to_dict(),
            "deadline_s": self._deadline_s,
            "policy": self._policy.value,
            "budget": None if self._budget is None else str(self._budget),
            "tally": self._tally.to_dict(),
            "started_ns": self._started_ns,
            "first_touch": str(self._first_touch),
            "ending": self._ending,
            "left": self._left,
        }

    @classmethod
    def from_dict(
        cls, desk: OrderDesk, body: dict[str, Any], params: SoftParams, on_done: OnDone, on_change: OnChange
    ) -> SoftOrder:
        """Return what `to_dict` saved; `resume` sets it going."""
        budget = None if body["budget"] is None else Decimal(body["budget"])
        policy = DeadlinePolicy(body["policy"])
        ticket = Ticket.from_dict(body["ticket"])
        soft = cls(desk, ticket, float(body["deadline_s"]), policy, params, on_done, on_change, budget)
        soft._tally = Tally.from_dict(body["tally"])
        soft._started_ns = int(body["started_ns"])
        soft._first_touch = Decimal(body["first_touch"])
        soft._ending = str(body["ending"])
        soft._left = str(body.get("left", ""))
        return soft

    def _set_alarms(self) -> None:
        self._alarms.set("deadline", self._started_ns + round(self._deadline_s * NS_PER_S), self._on_deadline)
        self._set_step()

    def _set_step(self) -> None:
        self._alarms.set("step", self._started_ns + (self._step() + 1) * self._step_ns, self._on_step)

    def _step(self) -> int:
        return (self._desk.clock.now_ns() - self._started_ns) // self._step_ns

    def _on_step(self) -> None:
        self._set_step()
        self._evaluate()

    def _target(self, behind_ticks: int = 0) -> Decimal:
        """Return the price to work at now; `behind_ticks` ticks behind the touch instead of the peg, when given."""
        side, instrument = self._ticket.side, self._instrument
        now_touch = touch(self._desk, self.symbol, side)
        price = peg(instrument, side, now_touch, self._step(), self._params)
        if behind_ticks:
            price = now_touch - side.sign * behind_ticks * instrument.tick_size
        elif self._price is not None:
            price = ahead(side, price, self._price)
        return behind(side, price, chase_limit(instrument, side, self._first_touch, self._params))

    def _rest(self, price: Decimal) -> Decimal:
        """Return the quantity still to be worked at `price`, in whole lots."""
        rest = self._ticket.quantity - self._tally.quantity
        if self._budget is not None:
            rest = min(rest, max(ZERO, self._budget - self._tally.notional) / price)
        return self._instrument.floor_quantity(rest)

    def _evaluate(self) -> None:
        if self._ending or self._alarms.is_set("retry") or not has_touch(self._desk, self.symbol):
            return
        self._mark_evaluated()
        if not self._working:
            self._try(lambda: self._place(self._target()))
            return
        order = self._desk.order(self._working)
        if order is None or order.pending is not Pending.NONE or order.state not in _WORKING:
            return
        self._price = order.price
        target = self._target()
        if target != order.price:
            self._repeg(order, target)

    def _mark_evaluated(self) -> None:
        self._evaluated_ns = self._desk.clock.now_ns()
        self._seen_touch = float(touch(self._desk, self.symbol, self._ticket.side))
        self._alarms.cancel("early")

    def _repeg(self, order: Order, target: Decimal) -> None:
        if not self._desk.can_amend(self.symbol):
            self._desk.cancel(order.client_id, self.handle)
            self._repegs += 1
            return
        quantity = None
        if self._budget is not None:
            left = self._budget - self._tally.notional - order.filled_notional
            total = order.filled + min(order.remaining, self._instrument.floor_quantity(max(ZERO, left) / target))
            quantity = total if total < order.quantity else None
        try:
            self._desk.amend(order.client_id, target, quantity, by=self.handle)
        except CtosError:
            return  # Refused: the order works on at its price, and the next step asks again.
        self._repegs += 1

    def _place(self, price: Decimal, type: OrderType = OrderType.POST_ONLY) -> None:
        """Send an order for the rest, or finish when there is none."""
        rest = self._rest(price)
        if rest <= ZERO:
            self._finish_filled()
            return
        self._mark_evaluated()
        ticket = self._ticket
        try:
            self._working = self._desk.submit(
                ticket.instance,
                ticket.symbol,
                ticket.side,
                type,
                rest,
                None if type is OrderType.MARKET else price,
                reduce_only=ticket.reduce_only,
                purpose=ticket.purpose,
                parent=ticket.handle,
            )
        except TooManyCommands as error:
            retry_ns = self._desk.clock.now_ns() + round(error.retry_in_s * NS_PER_S)
            self._alarms.set("retry", retry_ns, lambda: self._try(lambda: self._place(price, type)))
            return
        self._price = price
        self._on_change()
        order = self._desk.order(self._working)
        if order is not None:
            self.on_order(order)

    def _try(self, send: Callable[[], None]) -> None:
        try:
            send()
        except CtosError as error:
            self._finish(end_status(self._tally.quantity, True), f"{type(error).__name__}: {error}")

    def _follow(self, order: Order) -> None:
        """Go on with the order that took the place of the working one, because somebody amended that."""
        self._tally.add_order(order)
        self._working = order.replaced_by
        self._on_change()
        if self._ending:
            self._desk.cancel(self._working, self.handle)
        successor = self._desk.order(order.replaced_by)
        if successor is not None:
            self._price = successor.price
            self.on_order(successor)

    def _settle(self, order: Order) -> None:
        self._working = ""
        self._tally.add_order(order)
        if self._ticket.quantity - self._tally.quantity < self._instrument.lot_size:
            self._finish_filled()
        elif self._crossing:
            failed = order.state in _ABSENT
            reason = refusal(order) if failed else order.reason or "no more within the slippage cap"
            self._finish(end_status(self._tally.quantity, failed), reason)
        elif self._is_taken_back(order):
            self._finish(end_status(self._tally.quantity, False), CANCELED_OUTSIDE)
        elif self._ending or order.state is OrderState.FILLED or self._is_repegged(order):
            self._on_change()
            self._after_order()
        elif order.error == PostOnlyWouldTake.__name__:
            self._price = None
            self._on_change()
            self._retry_behind_touch()
        elif order.state in _ABSENT:
            self._finish(end_status(self._tally.quantity, True), refusal(order))
        else:
            self._finish(end_status(self._tally.quantity, False), CANCELED_OUTSIDE)

    def _is_repegged(self, order: Order) -> bool:
        """Return whether it was taken back to be placed at another price: the journal says so, over a restart too."""
        return order.asked_by == self.handle and not self._desk.can_amend(self.symbol)

    def _is_taken_back(self, order: Order) -> bool:
        """Return whether its owner cancelled it while the deadline passed: then the rest is not to cross either."""
        is_cancelled = order.state is OrderState.CANCELED and order.asked_by in (MANUAL, order.instance)
        return is_cancelled and self._ending == DEADLINE

    def _after_order(self) -> None:
        """Go on without a working order: cross or report when ending, else place the rest."""
        if not self._ending:
            self._when_quoted(lambda: self._try(lambda: self._place(self._target())))
        elif self._ending == DEADLINE and self._policy is DeadlinePolicy.CROSS:
            self._when_quoted(lambda: self._try(self._cross))
        else:
            self._finish(end_status(self._tally.quantity, False), self._ending)

    def _cross(self) -> None:
        self._crossing = True
        self._place(touch(self._desk, self.symbol, self._ticket.side), OrderType.MARKET)

    def _when_quoted(self, send: Callable[[], None]) -> None:
        """Go on now, or when there is a bid and an ask again; a restart may come before the first quote."""
        if has_touch(self._desk, self.symbol):
            send()
        else:
            later_ns = self._desk.clock.now_ns() + QUOTE_WAIT_NS
            self._alarms.set("retry", later_ns, lambda: self._when_quoted(send))

    def _retry_behind_touch(self) -> None:
        now_ns = self._desk.clock.now_ns()
        self._retries_ns = [when for when in self._retries_ns if when > now_ns - RETRY_WINDOW_NS]
        if len(self._retries_ns) < RETRIES:
            self._retries_ns.append(now_ns)
            again = partial(self._try, lambda: self._place(self._target(1)))
            self._alarms.set("retry", now_ns + RETRY_NS, lambda: self._when_quoted(again))

    def _on_deadline(self) -> None:
        if self._ending:
            return
        if self._policy is DeadlinePolicy.LEAVE:
            self._leave()
            return
        self._ending = DEADLINE
        self._alarms.cancel("retry")
        self._on_change()
        if self._working:
            self._desk.cancel(self._working, self.handle)
        else:
            self._after_order()

    def _leave(self) -> None:
        """Let go of the order: it rests as a plain limit that the instance owns."""
        order = self._desk.order(self._working) if self._working else None
        if order is not None and (order.pending is Pending.CANCEL or not order.is_open):
            self._alarms.set("deadline", self._desk.clock.now_ns() + RETRY_NS, self._on_deadline)
            return
        if order is None:
            self._try(lambda: self._place(self._target(), OrderType.LIMIT))
            order = self._desk.order(self._working) if self._working else None
        if order is not None:
            self._working = ""
            self._tally.add_order(order)
            self._left = order.client_id
            self._on_change()  # saved first: once it is let go, nothing else tells of it after a crash
            self._let_go()

    def _let_go(self) -> None:
        order = self._desk.order(self._left)
        if order is not None and order.is_open and order.parent == self.handle:
            self._desk.release(self._left)
        self._finish(DoneStatus.PARTIAL, f"the rest is left working as {self._left}")

    def _finish_filled(self) -> None:
        residual = self._ticket.quantity - self._tally.quantity
        status = DoneStatus.FILLED if self._tally.quantity else DoneStatus.CANCELED
        self._finish(status, f"residual {residual.normalize():f}" if residual else "")

    def _finish(self, status: DoneStatus, reason: str) -> None:
        self._over = True
        self._alarms.cancel_all()
        self._working = ""
        self._on_done(self._tally.done(self.handle, self.kind, self.symbol, status, reason))

"""Order entry: check, journal, send; cancel. What the venue answers is taken in here.

An order is sent when its intent is durable, never twice, and not at all when it was cancelled, trading was halted or
too much time has passed meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import (
    CtosError,
    DuplicateClientOrderId,
    InvalidOrder,
    JournalError,
    NotSent,
    RiskReject,
    TradingHalted,
    UnknownOutcome,
)
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Order, OrderRequest, OrderState, OrderType, OrderUpdate, Pending, Side
from engine.kernel.permit import under
from engine.runtime.amendments import Amendments
from engine.runtime.booking import Booking, about
from engine.runtime.cancels import Cancels
from engine.runtime.core import EngineCore
from engine.runtime.fired_stops import FiredStops
from engine.runtime.records import Asked, Intent, Outcome, Sent
from engine.runtime.reductions import LESS_HELD, Reductions
from engine.runtime.resolver import Resolver
from engine.runtime.sizing import check_minimum, check_terms, market_cap
from engine.runtime.stops import HeldStops

ZERO = Decimal(0)
DEADLINE_NS = 2 * NS_PER_S
"""An order that could not be sent by then is dropped."""

_FIRE_AGAIN_S = 1.0


class OrderCommands:
    """Carries out commands about orders.

    Args:
        core: The engine's shared parts.
        booking: Takes in the account's stream.
        resolver: Looks for orders whose outcome is not known.
        new_stop_id: Makes a client id of a stop, for an instance.

    Attributes:
        booking: Takes in the account's stream.
        resolver: Looks for orders whose outcome is not known.
        reductions: Caps reduce-only orders.
        stops: Stops that the venue does not keep.
        fired: Those of them that were sent.
        amendments: Changes of working orders.
        cancels: Cancellations under way.
        on_refusal: Called with an order that the venue refused.
    """

    def __init__(
        self, core: EngineCore, booking: Booking, resolver: Resolver, new_stop_id: Callable[[str], str]
    ) -> None:
        self._core = core
        self.booking = booking
        self.resolver = resolver
        self.reductions = Reductions(core, self._resize, self.cancel)
        self.stops = HeldStops(core, self._fire)
        self.fired = FiredStops(core, new_stop_id, self.reductions.cap, self.stops.keep, self._fire)
        self.on_refusal: Callable[[Order], None] = lambda order: None
        self.cancels = Cancels(core, booking, resolver)
        self.amendments = Amendments(core, booking, resolver, self.reductions, self.cancel, self.permit)
        self._deadlines: deque[tuple[int, str]] = deque()
        self._next_deadline: TimerHandle | None = None

    def request(
        self,
        instance: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None,
        trigger_price: Decimal | None,
        reduce_only: bool,
        client_id: str,
        replacing: str = "",
    ) -> OrderRequest:
        """Return an order as it would be sent: a market order with its cap, a reduction capped to what is held.

        Raises:
            CtosError: A rule of the instrument forbids it, there is no price for it, or nothing is left to reduce.
        """
        instrument = self._core.instrument(symbol)
        check_terms(instrument, side, type, quantity, price, trigger_price)
        reduce_only = reduce_only or type is OrderType.STOP
        if type is OrderType.MARKET and price is None:
            price = self.cap_price(instrument, side)
        if reduce_only:
            quantity = self.reductions.cap(instance, symbol, side, type is OrderType.STOP, quantity, replacing)
        else:
            assert price is not None
            check_minimum(instrument, quantity, price)
        return OrderRequest(client_id, instance, symbol, side, type, quantity, price, trigger_price, reduce_only)

    def cap_price(self, instrument: Instrument, side: Side) -> Decimal:
        """Return the limit at which a market order is sent.

        Raises:
            RiskReject: There is no quote.
        """
        quote = self._core.quote(instrument.symbol)
        if quote is None or quote.bid <= 0 or quote.ask <= 0:
            raise RiskReject("market_data", "", f"{instrument.symbol} has no quote, so a market order has no cap")
        return market_cap(instrument, side, quote)

    def submit(self, request: OrderRequest, parent: str = "", replaces: str = "") -> Order:
        """Let risk check an order, journal its intent, and send it when that is durable.

        Args:
            request: What to send.
            parent: Handle of the work that minds it.
            replaces: Client id of the order, now final, whose place it takes: the decision was made with that one.

        Raises:
            CtosError: It was refused; nothing was journalled or sent.
        """
        core = self._core
        if core.tracker.get(request.client_id) is not None:
            raise InvalidOrder(f"client id {request.client_id} was used before; every order needs a new one")
        self._refuse_while_in_doubt(request)
        core.risk.check(request, parent=parent or replaces)
        intent = Intent(
            client_id=request.client_id,
            label=core.tracker.next_label,
            instance=request.instance,
            symbol=request.symbol,
            side=request.side,
            type=request.type,
            quantity=request.quantity,
            price=request.price,
            trigger_price=request.trigger_price,
            reduce_only=request.reduce_only,
            parent=parent,
            held=request.type is OrderType.STOP and not self._venue_keeps(request),
            reference_price=core.market.middle(request.symbol),
            replaces=replaces,
        )
        deadline_ns = core.clock.now_ns() + DEADLINE_NS
        durable = partial(self._intent_durable, request.client_id, deadline_ns)
        order = core.write(intent, durable).order
        assert order is not None
        core.oplog("OrderPlaced", **about(order), type=order.type.value, parent=parent, replaces=replaces or None)
        if order.state is OrderState.INTENT:
            core.publish_order(order)
            if not order.held:
                self._watch_deadline(deadline_ns, request.client_id)
        return order

    def cancel(self, client_id: str, by: str) -> None:
        """Ask for the cancellation of an order; harmless when it is final or being cancelled.

        Args:
            client_id: The order.
            by: Who or what asks: an instance, `manual`, the handle of a piece of work, or a halt in words.

        Raises:
            OrderNotFound: There is no such order.
        """
        core = self._core
        order = self._core.known(client_id)
        if not order.is_open:
            return
        if order.state is OrderState.INTENT:
            state = OrderState.CANCELED if order.held else OrderState.NEVER_SENT
            core.change(Outcome(client_id, state, "cancelled before it was sent"))
            core.oplog("OrderCanceled", **about(order), det=order.reason, by=by)
            self.stops.forget(order)
        elif order.pending is not Pending.CANCEL:
            core.risk.count_cancel(order.instance)
            self.amendments.forget(client_id)
            core.change(Asked(client_id, Pending.CANCEL, by=by))
            self.cancels.send(client_id)
        elif order.asked_by == order.parent != by:  # its work asked, to place it anew: this wish is another
            core.change(Asked(client_id, Pending.CANCEL, by=by))

    def check_replacement(self, client_id: str, price: Decimal | None, quantity: Decimal) -> None:
        """Check the order that would take a working one's place, as if that were gone already.

        Raises:
            CtosError: It would be refused.
        """
        order = self._core.known(client_id)
        request = self.request(
            order.instance,
            order.symbol,
            order.side,
            order.type,
            quantity,
            order.price if price is None else price,
            order.trigger_price,
            order.reduce_only,
            client_id,
            replacing=client_id,
        )
        self._core.risk.check(request, parent=order.parent, replacing=client_id, dry=True)

    def _venue_keeps(self, request: OrderRequest) -> bool:
        """Return whether the venue can keep a stop: it must reduce the account's net position by its full size."""
        net = self._core.account_quantity(request.symbol)
        kind = self._core.instrument(request.symbol).kind
        return self._core.features.keeps_stops(kind) and -net * request.side.sign >= request.quantity

    def _refuse_while_in_doubt(self, request: OrderRequest) -> None:
        """Refuse an increase beside an order of the same instance, symbol and side whose outcome is not known."""
        if request.reduce_only:
            return
        for order in self._core.tracker.unknown():
            same = (order.instance, order.symbol, order.side) == (request.instance, request.symbol, request.side)
            if same:
                raise RiskReject(
                    "unknown_order",
                    "",
                    f"#{order.label} {order.symbol} {order.side.value} has no known outcome yet",
                    hint="it is being looked for",
                )

    def _intent_durable(self, client_id: str, deadline_ns: int) -> None:
        core = self._core
        order = core.tracker.get(client_id)
        if order is None or order.state is not OrderState.INTENT:
            return
        if order.held:
            self.stops.keep(order)
            core.publish_order(order)
        elif core.clock.now_ns() > deadline_ns:
            self._drop_late(client_id)
        else:
            self._send_if_permitted(order)

    def _send_if_permitted(self, order: Order) -> None:
        try:
            self._core.risk.check_gate(order)
        except TradingHalted as error:
            self._core.change(Outcome(order.client_id, OrderState.NEVER_SENT, str(error), type(error).__name__))
        else:
            self._send(order, order.type)

    def permit(self, client_id: str, deadline_ns: int, adds: bool = True) -> None:
        """Let an order or amendment leave for the venue, asked at the last line before the wire, or keep it back.

        Args:
            client_id: The order.
            deadline_ns: Until when it may leave, engine time.
            adds: False for an amendment that only makes it smaller, which no gate keeps back.

        Raises:
            NotSent: It is being cancelled, is done, or waited past its deadline: what it was decided on is gone.
            TradingHalted: The gate has closed since it was decided.
        """
        if self._core.clock.now_ns() > deadline_ns:
            raise NotSent(f"{client_id} could not leave within {DEADLINE_NS // NS_PER_S} s")
        order = self._core.tracker.get(client_id)
        if order is None or not order.is_open or order.pending is Pending.CANCEL:
            raise NotSent(f"{client_id} was taken back before it was sent")
        if adds:
            self._core.risk.check_gate(order)

    def drop_unsent(self, reason: str) -> None:
        """Give up what was not handed to the venue yet: the program ends, and nothing may go out late."""
        for order in self._core.tracker.working():
            if order.state is OrderState.INTENT and not order.held:
                self._core.change(Outcome(order.client_id, OrderState.NEVER_SENT, reason))

    def _watch_deadline(self, deadline_ns: int, client_id: str) -> None:
        """See to it that an order is dropped at its deadline; one timer watches the oldest of all."""
        self._deadlines.append((deadline_ns, client_id))
        if self._next_deadline is None:
            self._next_deadline = self._core.clock.call_at(deadline_ns, self._drop_all_late)

    def _drop_all_late(self) -> None:
        core, deadlines = self._core, self._deadlines
        self._next_deadline = None
        while deadlines:
            deadline_ns, client_id = deadlines[0]
            order = core.tracker.get(client_id)
            if order is not None and order.state is OrderState.INTENT and core.clock.now_ns() < deadline_ns:
                self._next_deadline = core.clock.call_at(deadline_ns, self._drop_all_late)
                return
            deadlines.popleft()
            self._drop_late(client_id)

    def _drop_late(self, client_id: str) -> None:
        order = self._core.tracker.get(client_id)
        if order is not None and order.state is OrderState.INTENT:
            reason = f"not sent: the journal took longer than {DEADLINE_NS // NS_PER_S} s"
            self._core.change(Outcome(client_id, OrderState.NEVER_SENT, reason))

    def _send(self, order: Order, type: OrderType, quantity: Decimal | None = None) -> None:
        core = self._core
        request = request_of(order, OrderType.IOC if type is OrderType.MARKET and order.price is not None else type)
        if quantity is not None:
            request = replace(request, quantity=quantity)
        if request.reduce_only and not self.reductions.reduces_account(order):
            request = replace(request, reduce_only=False)
        place = partial(self._place, request)
        if order.held:
            # Its intent says "not sent": that must be overwritten on the disk first, or a restart would send it again.
            core.write(Sent(order.client_id), place)
            core.publish_order(order)
        else:
            core.change(Sent(order.client_id))
            place()

    def _place(self, request: OrderRequest) -> None:
        deadline_ns = self._core.clock.now_ns() + DEADLINE_NS
        with under(partial(self.permit, request.client_id, deadline_ns)):
            self._core.gateway.place(request, partial(self._placed, request.client_id))

    def _placed(self, client_id: str, outcome: OrderUpdate | CtosError) -> None:
        core = self._core
        order = self._core.known(client_id)
        if isinstance(outcome, OrderUpdate):
            self.booking.on_update(outcome)
        elif isinstance(outcome, UnknownOutcome | DuplicateClientOrderId):
            core.oplog("OrderInDoubt", **about(order), det=str(outcome))
            core.change(Outcome(client_id, OrderState.UNKNOWN, str(outcome), type(outcome).__name__))
            if order.is_open:
                self.resolver.watch(order)
        elif outcome.unsent or isinstance(outcome, NotSent | TradingHalted):
            core.change(Outcome(client_id, OrderState.NEVER_SENT, str(outcome), type(outcome).__name__))
        elif order.is_open:
            core.oplog("OrderPlaceFail", **about(order), error=type(outcome).__name__, det=str(outcome))
            core.change(Outcome(client_id, OrderState.REJECTED, str(outcome), type(outcome).__name__))
            self.on_refusal(order)

    def stop(self) -> None:
        """Send nothing any more by itself."""
        self.fired.stop()
        self.amendments.stop()
        self.cancels.stop()

    def on_resolved(self, order: Order) -> None:
        """Go on with an order that is no longer in doubt: cancel it after all, or amend it as wanted meanwhile."""
        if order.is_open and order.pending is Pending.CANCEL:
            self.cancels.send_again(order.client_id)
        else:
            self.cancels.forget(order.client_id)
            self.amendments.take_waiting(order.client_id)

    def _resize(self, order: Order, quantity: Decimal) -> None:
        """Make a reduction smaller because less is held; where the venue cannot do that, it goes."""
        if not order.held and not self._core.features.can_amend(self._core.instrument(order.symbol).kind):
            self.cancel(order.client_id, LESS_HELD)
            return
        try:
            self.amendments.amend(order.client_id, quantity=quantity, by=LESS_HELD)
        except CtosError as error:
            self._core.alarm(
                "reduction", f"#{order.label} is larger than what it reduces: {error}", order.symbol, order.instance
            )

    def _fire(self, order: Order) -> None:
        """Send a stop whose trigger was met, as a market order for what is left to reduce."""
        reducible = self._core.reducible(order.instance, order.symbol, order.side)
        if not reducible:
            self._core.change(Outcome(order.client_id, OrderState.EXPIRED, "triggered with nothing to reduce"))
            return
        self._core.oplog("OrderPlaced", **about(order), type="stop", det=f"triggered at {order.trigger_price}")
        try:
            self._send(order, OrderType.MARKET, min(order.remaining, reducible))
        except JournalError as error:
            text = f"stop #{order.label} of {order.symbol} is met and cannot be sent: {error}"
            self._core.alarm("journal", text, order.symbol, order.instance, "CRIT")
            self._core.clock.call_later(_FIRE_AGAIN_S, self.stops.keep, order)


def request_of(order: Order, type: OrderType | None = None) -> OrderRequest:
    """Return a tracked order as a request."""
    kind = type or order.type
    return OrderRequest(
        client_id=order.client_id,
        instance=order.instance,
        symbol=order.symbol,
        side=order.side,
        type=kind,
        quantity=order.remaining,
        price=order.price if kind is not OrderType.MARKET else None,
        trigger_price=order.trigger_price if kind is OrderType.STOP else None,
        reduce_only=order.reduce_only,
    )

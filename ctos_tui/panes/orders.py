"""Own orders: what rests, what was filled, what is done."""

from __future__ import annotations

from decimal import Decimal

from ctos_tui.command.intents import CancelOrders, CancelScope
from ctos_tui.numbers import age, by_step, compact, fixed, pnl, utc_time
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.describe import order_type, short_symbol, side_letter, signed
from ctos_tui.text import clean
from engine.kernel.clock import NS_PER_MS, NS_PER_S
from engine.kernel.orders import Order, OrderState, OrderType, Pending, Side

_STATE_ROLES = {
    OrderState.FILLED: "good",
    OrderState.PARTIAL: "accent",
    OrderState.OPEN: "text",
    OrderState.UNKNOWN: "danger",
    OrderState.REJECTED: "danger",
    OrderState.NEVER_ACCEPTED: "danger",
}


def state_words(order: Order, may_rest: bool = False) -> Span:
    """Return an order's state, and the request that is under way; what may be wrong goes first.

    Args:
        order: The order.
        may_rest: Whether a halt has not been able to confirm that it is cancelled.
    """
    if order.state is OrderState.UNKNOWN:
        return ("unknown", "danger")
    if may_rest:
        return ("rests?", "danger")
    if order.pending is not Pending.NONE:
        return (f"{order.pending.value}…", "warn")
    if order.held and order.is_open:
        return ("held", "accent")
    word = {OrderState.OPEN: "open", OrderState.SENT: "sent…", OrderState.INTENT: "sending…"}.get(
        order.state, order.state.value
    )
    return (word, _STATE_ROLES.get(order.state, "label"))


def _columns(state: int, away: int) -> Columns:
    """Return the columns of the working orders with the priorities of two of them."""
    return Columns(
        (
            Column("#", 4, "left"),
            Column("", 8, "left"),
            Column("", 1, "left"),
            Column("size", 7),
            Column("price", 9),
            Column("away", 7, priority=away),
            Column("type", 5, "left", priority=5),
            Column("state", 7, "left", priority=state, grow=1),
            Column("queue", 6, priority=7),
            Column("age", 4, priority=3),
            Column("by", 6, "left", priority=6, grow=1),
        )
    )


_CALM = _columns(state=2, away=1)
_TELLING = _columns(state=0, away=2)
_USUAL_NS = NS_PER_S * 2


class Orders(Pane):
    """Working orders: first those of which nobody knows whether they rest, then the focused market's, newest first.

    While an order does something else than rest, its state has room at every size.
    """

    TITLE = "ORDERS"
    CONTEXT = "orders"
    EMPTY = "nothing rests"
    COLUMNS = _CALM

    def pull(self) -> None:
        """Show the working orders."""
        port = self.host.port
        working = port.working_orders()
        unconfirmed = port.halt_progress().unconfirmed
        now_ns = port.now_ns()
        tells = any(order.label in unconfirmed or _tells(order, now_ns) for order in working)
        layout = self.layout_columns(_TELLING if tells else _CALM)

        def place(order: Order) -> tuple[bool, bool, int]:
            is_doubtful = order.state is OrderState.UNKNOWN or order.label in unconfirmed
            return (not is_doubtful, order.symbol != self.session.focus, -order.label)

        rows = [
            Row(order.client_id, layout.line(self._cells(order, order.label in unconfirmed)))
            for order in sorted(working, key=place)
        ]
        info: list[Span] = [(str(len(rows)), "label")]
        unknown = sum(order.state is OrderState.UNKNOWN for order in working)
        if unknown:
            info += [("·", "dim"), (f"{unknown} unknown", "danger")]
        if unconfirmed:
            info += [("·", "dim"), (f"{len(unconfirmed)} unconfirmed", "danger")]
        self.set_rows(rows, tuple(info))

    def _cells(self, order: Order, may_rest: bool) -> list[Span]:
        port = self.host.port
        instrument = port.instruments.get(order.symbol)
        tick = instrument.tick_size if instrument is not None else Decimal("0.01")
        lot = instrument.lot_size if instrument is not None else Decimal("0.0001")
        queue = self.host.feed.queue.ahead(order)
        price = order.trigger_price if order.type is OrderType.STOP else order.price
        return [
            _number(order, may_rest),
            (short_symbol(order.symbol, port.account.default_quote), "text"),
            side_letter(order.side),
            (by_step(order.remaining, lot), "bright"),
            ("mkt" if price is None else by_step(price, tick), "price"),
            (self._distance(order, price, tick), "label"),
            (order_type(order.type) + ("r" if order.reduce_only else ""), "dim"),
            state_words(order, may_rest),
            (compact(queue) if queue is not None else "—", "label"),
            (age((port.now_ns() - order.created_ns) / NS_PER_S), "dim"),
            (clean(order.instance) if order.instance != "manual" else "you", "dim"),
        ]

    def _distance(self, order: Order, price: Decimal | None, tick: Decimal) -> str:
        """Return how many ticks the market must come to reach the order; a stop waits for it on the other side."""
        quote = self.host.port.quote(order.symbol)
        if quote is None or price is None:
            return "—"
        is_below = (order.side is Side.BUY) is not (order.type is OrderType.STOP)
        near = quote.bid if order.side is Side.BUY else quote.ask
        ticks = (Decimal(repr(near)) - price) * (1 if is_below else -1) / tick
        return f"{fixed(ticks, 0, group=False)}t" if abs(ticks) < 10_000 else f"{compact(ticks)}t"

    def actions(self) -> Actions:
        """Return what can be done with an order."""
        return self.row_actions() | {
            "orders.amend": self._amend,
            "orders.cancel": self._cancel,
            "orders.cancel_market": self._cancel_market,
            "orders.life": lambda: open_life(self),
        }

    def _chosen(self) -> Order | None:
        row = self.selected
        found = None
        if row is not None:
            found = next((order for order in self.host.port.working_orders() if order.client_id == row.key), None)
        if found is None:
            self.nothing_selected("order")
        return found

    def _amend(self) -> None:
        order = self._chosen()
        if order is None:
            return
        if order.price is None:
            self.session.say(f"#{order.label} has no limit price to move; x cancels it", "warn", log=False)
            return
        self.host.open_prompt(f"mv #{order.label} {order.quantity.normalize():f} @ {order.price.normalize():f}")

    def _cancel(self) -> None:
        order = self._chosen()
        if order is not None:
            self.host.cancel_now(CancelOrders((str(order.label),)))

    def _cancel_market(self) -> None:
        order = self._chosen()
        if order is not None:
            self.host.cancel_now(CancelOrders(scope=CancelScope.MARKET, symbol=order.symbol))


def _number(order: Order, may_rest: bool) -> Span:
    """Return an order's number; a mark takes the place of its `#` while nobody knows whether the order rests."""
    if order.state is OrderState.UNKNOWN:
        return (f"?{order.label}", "danger")
    return (f"!{order.label}", "danger") if may_rest else (f"#{order.label}", "own_order")


def _tells(order: Order, now_ns: int) -> bool:
    """Return whether a state is worth a column: not plainly open, nor under way for no longer than usual."""
    if order.pending is not Pending.NONE:
        return order.state is OrderState.UNKNOWN or now_ns - order.asked_ns > _USUAL_NS
    if order.state in (OrderState.INTENT, OrderState.SENT):
        return order.held or now_ns - order.created_ns > _USUAL_NS
    return order.state is not OrderState.OPEN


def open_life(pane: Pane) -> None:
    """Open the life of the selected order, execution or finished order."""
    from ctos_tui.screens.details import OrderLife

    row = pane.selected
    client_id = "" if row is None else str(row.key).partition("/")[0]
    order = next((order for order in pane.host.port.recent_orders() if order.client_id == client_id), None)
    if order is None:
        pane.nothing_selected("order that is still remembered")
        return
    pane.host.open_card(OrderLife(client_id))


class Fills(Pane):
    """Own executions, newest first."""

    TITLE = "FILLS"
    CONTEXT = "fills"
    EMPTY = "nothing filled yet"
    COLUMNS = Columns(
        (
            Column("time", 8, "left"),
            Column("", 8, "left"),
            Column("", 1, "left"),
            Column("size", 7),
            Column("price", 9),
            Column("", 1, "left", priority=1),
            Column("PnL", 8, priority=3),
            Column("fee", 7, priority=4),
            Column("by", 6, "left", priority=5, grow=1),
        )
    )

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._seen: object = None

    def pull(self) -> None:
        """Show the executions."""
        version = (self.host.feed.versions["fills"], self.row_width, self.host.port.ready)
        layout = self.layout_columns()
        if version == self._seen and self.view.rows:
            return
        self._seen = version
        booked = self.host.port.fills()
        rows = []
        for entry in reversed(booked):
            fill = entry.fill
            instrument = self.host.port.instruments.get(fill.symbol)
            tick = instrument.tick_size if instrument is not None else Decimal("0.01")
            lot = instrument.lot_size if instrument is not None else Decimal("0.0001")
            cells: list[Span] = [
                (utc_time(fill.ts), "dim"),
                (short_symbol(fill.symbol, self.host.port.account.default_quote), "text"),
                side_letter(fill.side),
                (by_step(fill.quantity, lot), "bright"),
                (by_step(fill.price, tick), "price"),
                ("m" if fill.maker else "t", "good" if fill.maker else "label"),
                signed(pnl(entry.realised), entry.realised) if entry.realised else ("·", "dim"),
                (fixed(entry.fee_quote, 3), "label"),
                (clean(entry.instance) if entry.instance != "manual" else "you", "dim"),
            ]
            rows.append(Row(f"{fill.client_id}/{fill.symbol}/{fill.trade_id}", layout.line(cells)))
        self.set_rows(rows, ((str(len(rows)), "label"),))

    def actions(self) -> Actions:
        """Return what can be done with an execution."""
        return self.row_actions() | {"orders.life": lambda: open_life(self)}


class History(Pane):
    """Orders that are done, newest first, with the reason where there is one."""

    TITLE = "HISTORY"
    CONTEXT = "history"
    EMPTY = "no order is done yet"
    COLUMNS = Columns(
        (
            Column("time", 8, "left"),
            Column("#", 4, "left"),
            Column("", 9, "left", priority=2),
            Column("", 1, "left"),
            Column("size", 8, priority=3),
            Column("price", 10, priority=1),
            Column("state", 9, "left"),
            Column("why", 10, "left", priority=4, grow=1),
        )
    )

    def pull(self) -> None:
        """Show the finished orders."""
        layout = self.layout_columns()
        rows = []
        for order in reversed(self.host.port.recent_orders()):
            if order.is_open:
                continue
            instrument = self.host.port.instruments.get(order.symbol)
            tick = instrument.tick_size if instrument is not None else Decimal("0.01")
            lot = instrument.lot_size if instrument is not None else Decimal("0.0001")
            price = order.average_price or order.price
            cells: list[Span] = [
                (utc_time(order.updated_ns // NS_PER_MS), "dim"),
                (f"#{order.label}", "own_order"),
                (short_symbol(order.symbol, self.host.port.account.default_quote), "text"),
                side_letter(order.side),
                (by_step(order.quantity, lot), "bright"),
                ("mkt" if price is None else by_step(price, tick), "price"),
                state_words(order),
                (clean(order.reason), "warn" if order.error else "dim"),
            ]
            rows.append(Row(order.client_id, layout.line(cells)))
        self.set_rows(rows, ((str(len(rows)), "label"),))

    def actions(self) -> Actions:
        """Return what can be done with a finished order."""
        return self.row_actions() | {"orders.life": lambda: open_life(self)}

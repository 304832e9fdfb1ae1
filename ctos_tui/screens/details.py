"""Cards that show one thing in full: the life of an order, a strategy instance, an anomaly."""

from __future__ import annotations

from decimal import Decimal

from ctos_tui.command.schema import values_of
from ctos_tui.feed import LogEntry
from ctos_tui.numbers import UNKNOWN, by_step, fixed, pnl, utc_time
from ctos_tui.panes.cells import Row, Span
from ctos_tui.panes.describe import order_type, short_symbol, side_word, signed
from ctos_tui.panes.orders import state_words
from ctos_tui.panes.strategies import state_cell
from ctos_tui.port import AnomalyRow
from ctos_tui.screens.card import BLANK, Card, pair, paragraph
from ctos_tui.text import clean
from engine.kernel.clock import NS_PER_MS
from engine.kernel.orders import Order
from engine.runtime.accounts import MANUAL

LABEL_CELLS = 16
_LOG_LINES = 40
_FILLS = 40


class OrderLife(Card):
    """The life of an order: what was asked, what became of it, every execution."""

    def __init__(self, client_id: str) -> None:
        super().__init__(title="ORDER")
        self._client_id = client_id

    def pull(self) -> None:
        """Show the order as it stands."""
        port = self.host.port
        order = next((order for order in port.recent_orders() if order.client_id == self._client_id), None)
        if order is None:
            self.set_rows(paragraph("gone", "this order is no longer remembered", self.row_width, "dim"))
            return
        rows = [*self._asked(order), Row("gap1", BLANK), *self._became(order), Row("gap2", BLANK), *self._fills(order)]
        self.set_rows(rows, ((f"#{order.label}", "own_order"), self._state(order)))

    def _state(self, order: Order) -> Span:
        return state_words(order, order.label in self.host.port.halt_progress().unconfirmed)

    def _steps(self, order: Order) -> tuple[Decimal, Decimal]:
        instrument = self.host.port.instruments.get(order.symbol)
        if instrument is None:
            return Decimal("0.01"), Decimal("0.0001")
        return instrument.tick_size, instrument.lot_size

    def _asked(self, order: Order) -> list[Row]:
        tick, lot = self._steps(order)
        flags = " reduce-only" if order.reduce_only else ""
        rows = [
            pair("what", "order", side_word(order.side), (f" {by_step(order.quantity, lot)} {order.symbol}", "bright")),
            pair("how", "type", (order_type(order.type) + flags, "text")),
            pair("price", "price", (by_step(order.price, tick) if order.price is not None else "market", "price")),
            pair("by", "sent by", (clean(order.instance) if order.instance != MANUAL else "you", "text")),
            pair(
                "id",
                "client id",
                (order.client_id, "dim"),
                (f"  venue {clean(order.venue_order_id) or UNKNOWN}", "dim"),
            ),
        ]
        if order.trigger_price is not None:
            rows.insert(3, pair("trigger", "trigger", (by_step(order.trigger_price, tick), "price")))
        if order.reference_price is not None:
            rows.append(pair("mid", "mid when sent", (by_step(order.reference_price, tick, extra=1), "text")))
        return rows

    def _became(self, order: Order) -> list[Row]:
        tick, lot = self._steps(order)
        average = by_step(order.average_price, tick, extra=2)
        rows = [
            pair("made", "decided", (utc_time(order.created_ns // NS_PER_MS), "text")),
            pair(
                "last",
                "last change",
                (utc_time(order.updated_ns // NS_PER_MS), "text"),
                ("  ", "text"),
                self._state(order),
            ),
            pair(
                "filled",
                "filled",
                (by_step(order.filled, lot), "bright"),
                (f" of {by_step(order.quantity, lot)}", "dim"),
                (f"  average {average}", "text"),
            ),
            pair("fees", "fees", (fixed(order.fees, 4), "text")),
        ]
        if order.held and order.is_open:
            rows.insert(2, pair("held", "held", ("by the engine: the venue does not know it", "accent")))
        if order.asked_by:
            who = "you" if order.asked_by == MANUAL else clean(order.asked_by)
            rows.append(pair("asked", "changed for", (who, "text")))
        queue = self.host.feed.queue.ahead(order)
        if order.is_open and queue is not None:
            rows.append(pair("queue", "ahead in queue", (f"≈ {queue.normalize():f}", "text")))
        if order.reason:
            rows += paragraph(
                "why", f"{order.error + ': ' if order.error else ''}{clean(order.reason)}", self.row_width, "warn"
            )
        return rows

    def _fills(self, order: Order) -> list[Row]:
        tick, lot = self._steps(order)
        rows = []
        for entry in self.host.port.fills():
            fill = entry.fill
            if fill.client_id != order.client_id:
                continue
            rows.append(
                Row(
                    f"fill {fill.trade_id}",
                    (
                        (utc_time(fill.ts), "dim"),
                        (f"  {by_step(fill.quantity, lot)} @ {by_step(fill.price, tick)}", "bright"),
                        (f"  {'maker' if fill.maker else 'taker'}", "good" if fill.maker else "label"),
                        (f"  fee {fixed(entry.fee_quote, 4)}", "label"),
                        (f"  realised {pnl(entry.realised)}" if entry.realised else "", "text"),
                    ),
                )
            )
        return rows or [Row("none", (("no execution yet", "dim"),))]


class InstanceDetail(Card):
    """One strategy instance: state, parameters, orders, executions, and its log."""

    def __init__(self, instance: str) -> None:
        super().__init__(title="STRATEGY")
        self._instance = instance

    def pull(self) -> None:
        """Show the instance as it stands."""
        port = self.host.port
        row = next((row for row in port.instances() if row.name == self._instance), None)
        if row is None:
            self.set_rows(paragraph("gone", f"{self._instance} has gone", self.row_width, "dim"))
            return
        quote = port.account.default_quote
        rows = [
            Row("state", (("state           ", "label"), *state_cell(row.state), (f"  {clean(row.reason)}", "dim"))),
            pair("markets", "markets", (" ".join(short_symbol(symbol, quote) for symbol in row.symbols), "text")),
            pair(
                "profit", "profit", signed(pnl(row.profit), row.profit), (f"   held {fixed(row.notional, 0)} $", "text")
            ),
        ]
        if row.why:
            rows += paragraph("why", f"why not: {clean(row.why)}", self.row_width, "warn")
        rows += [self._head("LEDGER"), *self._ledger(), self._head("ORDERS"), *self._orders()]
        rows += [self._head("FILLS"), *self._fills(), self._head("PARAMETERS"), *self._params()]
        rows += [self._head("LOG"), *self._log()]
        self.set_rows(rows, ((clean(row.name), "bright"), (clean(row.strategy), "label")))

    def _head(self, text: str) -> Row:
        return Row(f"head {text}", ((text, "title"),))

    def _ledger(self) -> list[Row]:
        rows = []
        for position in self.host.port.positions():
            for holder, quantity in position.holders:
                if holder == self._instance:
                    instrument = self.host.port.instruments.get(position.symbol)
                    size = by_step(quantity, instrument.lot_size) if instrument is not None else f"{quantity:f}"
                    rows.append(
                        Row(f"ledger {position.symbol}", ((f"  {position.symbol}  ", "text"), (size, "bright")))
                    )
        return rows or [Row("ledger none", (("  flat", "dim"),))]

    def _orders(self) -> list[Row]:
        rows = []
        for order in self.host.port.working_orders():
            if order.instance == self._instance:
                price = "mkt" if order.price is None else f"{order.price.normalize():f}"
                spans: tuple[Span, ...] = (
                    (f"  #{order.label} ", "own_order"),
                    side_word(order.side),
                    (f" {order.remaining.normalize():f} @ {price} ", "text"),
                    state_words(order),
                )
                rows.append(Row(f"order {order.client_id}", spans))
        return rows or [Row("orders none", (("  none", "dim"),))]

    def _fills(self) -> list[Row]:
        own = [entry for entry in self.host.port.fills() if entry.instance == self._instance]
        rows = []
        for entry in reversed(own[-_FILLS:]):
            fill = entry.fill
            spans: tuple[Span, ...] = (
                (f"  {utc_time(fill.ts)} ", "dim"),
                side_word(fill.side),
                (f" {fill.quantity.normalize():f} @ {fill.price.normalize():f}", "text"),
                (f"  {pnl(entry.realised)}" if entry.realised else "", "text"),
            )
            rows.append(Row(f"fill {fill.symbol} {fill.trade_id}", spans))
        return rows or [Row("fills none", (("  none", "dim"),))]

    def _params(self) -> list[Row]:
        values = values_of(self.host.port.params(self._instance))
        return [
            pair(f"param {name}", f"  {name}", (value or UNKNOWN, "text"), cells=26) for name, value in values.items()
        ]

    def _log(self) -> list[Row]:
        lines = [entry for entry in self.host.feed.log if entry.source == self._instance][-_LOG_LINES:]
        rows = [
            Row(
                f"log {entry.number}",
                (
                    (f"  {utc_time(entry.ts_ms)} ", "dim"),
                    (entry.text, "warn" if entry.level in ("warn", "error") else "text"),
                ),
            )
            for entry in reversed(lines)
        ]
        return rows or [Row("log none", (("  it has said nothing yet", "dim"),))]


class AnomalyDetail(Card):
    """An anomaly in full."""

    def __init__(self, anomaly: str) -> None:
        super().__init__(title="ANOMALY")
        self._anomaly = anomaly

    def pull(self) -> None:
        """Show the anomaly as it stands."""
        row = next((row for row in self.host.port.anomalies() if row.id == self._anomaly), None)
        if row is None:
            self.set_rows(paragraph("gone", "this anomaly has been forgotten", self.row_width, "dim"))
            return
        role = {"CRIT": "danger", "WARN": "warn"}.get(row.severity, "text")
        cells = self.row_width
        rows = [
            *paragraph("text", clean(row.text), cells, "bright"),
            Row("gap", BLANK),
            pair("severity", "severity", (row.severity, role)),
            pair("market", "market", (row.symbol or UNKNOWN, "text")),
            pair("instance", "strategy", (clean(row.instance) or UNKNOWN, "text")),
            pair("value", "value", (clean(row.value) or UNKNOWN, "bright"), (_worst(row), "label")),
            pair("threshold", "threshold", (clean(row.threshold) or UNKNOWN, "text"), (_clears(row), "label")),
            pair("count", "seen", (f"{row.count}×, {utc_time(row.raised_ms)} to {utc_time(row.ts_ms)}", "text")),
            pair("state", "state", *self._state(row)),
            *self._told("done", "what was done", clean(row.done) or "nothing yet", "text"),
        ]
        if row.proposal:
            rows += self._told("proposal", "correction", clean(row.proposal), "bright")
        if row.proposal_reason:
            rows += self._told("because", "because", clean(row.proposal_reason), "text")
        for number, effect in enumerate(row.effects):
            rows.append(pair(f"effect {number}", "effects" if not number else "", (clean(effect), "text")))
        seen = f"by {clean(row.acked_by)}" if row.acked_by else "yes"
        rows.append(pair("ack", "acknowledged", (seen if row.acknowledged else "no: k in the anomalies pane", "text")))
        if row.muted_until_ms:
            rows.append(pair("muted", "quiet until", (utc_time(row.muted_until_ms), "text")))
        if row.decision:
            rows += self._told("decide", "to decide (e)", clean(row.decision), "warn")
        self.set_rows(rows, ((f"#{row.id} ", "label"), (clean(row.title or row.kind), role)))

    def _state(self, row: AnomalyRow) -> tuple[Span, ...]:
        if row.active:
            return (("active", "warn"),)
        return (("cleared", "good"), (f" at {utc_time(row.cleared_ms)}" if row.cleared_ms else "", "label"))

    def _told(self, key: str, label: str, text: str, role: str) -> list[Row]:
        """Return a labelled text, broken between words."""
        lines = paragraph(key, text, self.row_width - LABEL_CELLS, role)
        return [
            Row(f"{key} {number}", (((label if not number else "").ljust(LABEL_CELLS), "label"), *line.spans))
            for number, line in enumerate(lines)
        ]


def _worst(row: AnomalyRow) -> str:
    return f"   worst {clean(row.peak)}" if row.peak else ""


def _clears(row: AnomalyRow) -> str:
    return f"   clears at {clean(row.clear)}" if row.clear else "   clears when it is acknowledged, or forgotten"


class LogLineDetail(Card):
    """A line of the log in full."""

    def __init__(self, entry: LogEntry) -> None:
        super().__init__(title="LOG LINE")
        self._entry = entry

    def pull(self) -> None:
        """Show the line, broken between words."""
        entry = self._entry
        role = {"warn": "warn", "error": "danger"}.get(entry.level, "text")
        self.set_rows(
            paragraph("line", clean(entry.text), self.row_width, role),
            ((utc_time(entry.ts_ms), "label"), (f" {entry.level} ", role), (clean(entry.source), "accent")),
        )

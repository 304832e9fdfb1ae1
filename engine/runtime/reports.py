"""What the system monitor writes and answers: position backup, anomaly report, summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from engine.io.logs import iso_time
from engine.kernel.account import Ledger, Position
from engine.kernel.clock import NS_PER_MS
from engine.kernel.orders import Order
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Anomaly, Effect
from engine.runtime.execution import ExecutionEngine
from engine.runtime.portfolio import PositionRow

SCHEMA_VERSION = 1
HOUR_MS = 3_600_000
ZERO = Decimal(0)


class PositionSummary(msgspec.Struct, frozen=True):
    """The account's positions at present prices; money in USD, `rows` in quote currency.

    Attributes:
        count: Open positions.
        long: Notional of long positions.
        short: Notional of short positions, positive.
        net: Long less short.
        gross: Long and short together.
        unrealised: Open profit; None while something held has no price.
    """

    count: int
    long: Decimal
    short: Decimal
    net: Decimal
    gross: Decimal
    unrealised: Decimal | None
    realised: Decimal
    funding: Decimal
    fees: Decimal
    rows: tuple[PositionRow, ...]


class AnomalySummary(msgspec.Struct, frozen=True):
    """Anomalies of the last hours: how many in all, by kind and by severity, and the last ten, newest first."""

    hours: float
    total: int
    by_kind: Mapping[str, int]
    by_severity: Mapping[str, int]
    last: tuple[Anomaly, ...]


def position_summary(engine: ExecutionEngine) -> PositionSummary:
    """Return the summary of an account's positions; what is paid in a currency without a price counts as nothing."""
    portfolio = engine.portfolio
    rows = portfolio.positions()
    net, gross = portfolio.net_notional(), portfolio.gross_notional()
    realised = funding = fees = ZERO
    for symbol in portfolio.traded_symbols():
        row = portfolio.position(symbol)
        rate = portfolio.rate_of(symbol)
        realised += row.realised * rate
        funding += row.funding * rate
        fees += row.fees * rate
    return PositionSummary(
        count=sum(1 for row in rows if row.quantity),
        long=(gross + net) / 2,
        short=(gross - net) / 2,
        net=net,
        gross=gross,
        unrealised=portfolio.unrealised(),
        realised=realised,
        funding=funding,
        fees=fees,
        rows=tuple(rows),
    )


def anomaly_summary(anomalies: Iterable[Anomaly], now_ms: int, hours: float) -> AnomalySummary:
    """Return the summary of the anomalies that were raised or found in the last hours."""
    since_ms = now_ms - round(hours * HOUR_MS)
    recent = [anomaly for anomaly in anomalies if anomaly.updated_ms >= since_ms]
    return AnomalySummary(
        hours=hours,
        total=len(recent),
        by_kind=Counter(anomaly.kind for anomaly in recent),
        by_severity=Counter(anomaly.severity.value for anomaly in recent),
        last=tuple(reversed(recent[-10:])),
    )


def position_backup(engine: ExecutionEngine) -> dict[str, Any]:
    """Return the position backup: for forensics and the comparison at a restart, never the source of truth."""
    account, portfolio = engine.account, engine.portfolio
    return {
        "schema_version": SCHEMA_VERSION,
        "written_at": iso_time(engine.clock.now_ns()),
        "exchange": account.venue,
        "account": account.name,
        "mode": account.mode.value,
        "equity": _text(portfolio.equity()),
        "journal_seq": engine.journal.last_seq,
        "positions": [_position(engine, row) for row in portfolio.positions()],
        "open_orders": [_order(order) for order in engine.tracker.working()],
    }


def anomaly_report(engine: ExecutionEngine, anomalies: Iterable[Anomaly]) -> dict[str, Any]:
    """Return the anomaly report: the last 1000, oldest first."""
    return {
        "schema_version": SCHEMA_VERSION,
        "exchange": engine.account.venue,
        "account": engine.account.name,
        "generated_at": iso_time(engine.clock.now_ns()),
        "anomalies": [anomaly_record(anomaly) for anomaly in anomalies],
    }


def anomaly_record(anomaly: Anomaly) -> dict[str, Any]:
    """Return one anomaly as it stands in the report."""
    return {
        "id": anomaly.id,
        "kind": anomaly.kind,
        "title": anomaly.title,
        "severity": anomaly.severity.value,
        "state": anomaly.state.value,
        "symbol": anomaly.symbol,
        "instance": anomaly.instance,
        "raised_at": _when(anomaly.raised_ms),
        "updated_at": _when(anomaly.updated_ms),
        "cleared_at": _when(anomaly.cleared_ms),
        "count": anomaly.count,
        "value": anomaly.value,
        "threshold": anomaly.threshold,
        "clear_threshold": anomaly.clear_threshold,
        "peak": anomaly.peak,
        "data": {**anomaly.data, "text": anomaly.text},
        "cause_id": anomaly.cause_id,
        "effects": [_effect(effect) for effect in anomaly.effects],
        "action": anomaly.action,
        "acked_by": anomaly.acked_by,
        "acked_at": _when(anomaly.acked_ms),
    }


def _position(engine: ExecutionEngine, row: PositionRow) -> dict[str, Any]:
    ledgers = {instance: engine.portfolio.ledger(instance, row.symbol) for instance in engine.portfolio.instances()}
    manual = ledgers.get(MANUAL, Ledger()).quantity
    drift = None if row.venue_quantity is None else row.venue_quantity - row.quantity
    venue = engine.portfolio.venue_positions().get(row.symbol)
    return {
        "symbol": row.symbol,
        "side": "long" if row.quantity > 0 else "short" if row.quantity < 0 else "flat",
        "qty": _text(row.quantity),
        "notional": _text(row.notional),
        "entry_price": _text(row.entry_price),
        "mark_price": _text(row.mark_price),
        "liq_price": _text(row.liquidation_price),
        "break_even": _text(_break_even(row)),
        "leverage": _text(_leverage(venue)),
        "unrealised": _text(row.unrealised),
        "realised": _text(row.realised),
        "funding": _text(row.funding),
        "ledgers": [_ledger(name, ledger) for name, ledger in ledgers.items() if ledger != Ledger()],
        "manual_qty": _text(manual),
        "drift_qty": _text(drift),
    }


def _ledger(instance: str, ledger: Ledger) -> dict[str, Any]:
    return {
        "instance": instance,
        "qty": _text(ledger.quantity),
        "avg_price": _text(ledger.entry_price),
        "realised": _text(ledger.realised),
        "fees": _text(ledger.fees),
        "funding": _text(ledger.funding),
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "cid": order.client_id,
        "venue_id": order.venue_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.type.value,
        "price": _text(order.price if order.price is not None else order.trigger_price),
        "qty": _text(order.quantity),
        "filled": _text(order.filled),
        "status": order.state.value,
        "reduce_only": order.reduce_only,
        "instance": order.instance,
    }


def _effect(effect: Effect) -> dict[str, str]:
    return {
        "kind": effect.kind,
        "symbol": effect.symbol,
        "instance": effect.instance,
        "severity": effect.severity.value,
        "value": effect.value,
    }


def _break_even(row: PositionRow) -> Decimal | None:
    """Return the price at which closing the position leaves neither profit nor loss, fees to close not counted."""
    if not row.quantity:
        return None
    return row.entry_price - (row.realised + row.funding - row.fees) / row.quantity


def _leverage(venue: Position | None) -> Decimal | None:
    return venue.leverage if venue is not None else None


def _when(ms: int | None) -> str | None:
    return None if ms is None else iso_time(ms * NS_PER_MS)


def _text(value: Decimal | None) -> str | None:
    """Return a decimal as text with at most twelve decimals, None for the unknown."""
    if value is None:
        return None
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -12:
        value = value.quantize(Decimal("1e-12"))
    return f"{value:f}"

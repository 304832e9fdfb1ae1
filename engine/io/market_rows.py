"""Market events as rows of a table and back: the form in which recordings are kept as Parquet.

A row has the receive time, the event's kind, and the event's own fields under their own names; fields of other kinds
are empty. Book levels are lists of prices and lists of sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from engine.kernel.market import (
    Bar,
    BookInvalid,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarketEvent,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
)
from engine.kernel.orders import Side

if TYPE_CHECKING:
    import polars as pl

TimedEvent = tuple[int, MarketEvent]
"""Receive time in ns, and the event."""

CHECKPOINT = "checkpoint"
"""Kind of a whole book written by the recorder itself, so that each part can be read without those before it."""

KINDS: dict[str, type] = {
    "trade": Trade,
    "quote": Quote,
    "book": BookUpdate,
    "book_synced": BookSynced,
    "book_invalid": BookInvalid,
    "mark": MarkPrice,
    "funding": FundingRate,
    "ticker": Ticker,
    "kline": Bar,
}
_NAMES = {event_type: name for name, event_type in KINDS.items()}
_ORDER = "row"
_LEVELS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")


def to_frame(rows: Sequence[tuple[int, str | None, MarketEvent]]) -> pl.DataFrame:
    """Return a table of (receive time, kind or None for the event's own, event), in that order."""
    import polars as pl

    groups: dict[str, list[tuple[int, int, Any]]] = {}
    for number, (recv_ns, kind, event) in enumerate(rows):
        groups.setdefault(kind or _NAMES[type(event)], []).append((number, recv_ns, event))
    frames = [_group_frame(kind, group) for kind, group in groups.items()]
    return pl.concat(frames, how="diagonal").sort(_ORDER).drop(_ORDER)


def _group_frame(kind: str, group: list[tuple[int, int, Any]]) -> pl.DataFrame:
    import polars as pl

    events = [event for _, _, event in group]
    event_type = BookUpdate if kind == CHECKPOINT else KINDS[kind]
    columns: dict[str, list[Any]] = {
        _ORDER: [number for number, _, _ in group],
        "recv_ns": [recv_ns for _, recv_ns, _ in group],
        "kind": [kind] * len(group),
    }
    for name in event_type.__struct_fields__:  # type: ignore[attr-defined]
        if name in ("bids", "asks"):
            prices, sizes = (f"{name[:-1]}_{part}" for part in ("prices", "sizes"))
            columns[prices] = [[price for price, _ in getattr(event, name)] for event in events]
            columns[sizes] = [[size for _, size in getattr(event, name)] for event in events]
        else:
            columns[name] = list(map(attrgetter(name), events))
    if event_type is Trade:
        columns["side"] = [side.value for side in columns["side"]]
    return pl.DataFrame(columns, schema_overrides={name: _dtype(name) for name in columns})


def _dtype(name: str) -> Any:
    import polars as pl

    if name in _LEVELS:
        return pl.List(pl.Float64)
    if name in (_ORDER, "recv_ns", "ts", "open_time", "period_h", "next_time"):
        return pl.Int64
    if name in ("kind", "symbol", "side", "id", "timeframe", "reason"):
        return pl.String
    return pl.Boolean if name in ("snapshot", "closed", "missing") else pl.Float64


def from_frame(frame: pl.DataFrame) -> list[tuple[int, str, MarketEvent]]:
    """Return the (receive time, kind, event) rows of a table written by `to_frame`.

    Raises:
        KeyError: The table has a kind that is not known here.
        polars.exceptions.PolarsError: A column is missing.
    """
    rows: list[Any] = [None] * frame.height
    numbered = frame.with_row_index(_ORDER)
    for (kind,), group in numbered.partition_by("kind", as_dict=True, include_key=False).items():
        events = _events(kind, group)
        for number, recv_ns, event in zip(group[_ORDER].to_list(), group["recv_ns"].to_list(), events, strict=True):
            rows[number] = (recv_ns, kind, event)
    return rows


def _events(kind: str, group: pl.DataFrame) -> Iterator[MarketEvent]:
    if kind in (CHECKPOINT, "book"):
        columns = (group[name].to_list() for name in ("symbol", "ts", *_LEVELS, "snapshot"))
        for symbol, ts, bid_prices, bid_sizes, ask_prices, ask_sizes, snapshot in zip(*columns, strict=True):
            bids = list(zip(bid_prices, bid_sizes, strict=True))
            asks = list(zip(ask_prices, ask_sizes, strict=True))
            yield BookUpdate(symbol, ts, bids, asks, snapshot)
        return
    event_type = KINDS[kind]
    values = [group[name].to_list() for name in event_type.__struct_fields__]  # type: ignore[attr-defined]
    if event_type is Trade:
        side = Trade.__struct_fields__.index("side")
        values[side] = [Side(text) for text in values[side]]
    for fields in zip(*values, strict=True):
        yield event_type(*fields)

"""From OKX's messages to events: what the sockets of the driver and the decoder of recordings share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from drivers.okx import codec
from drivers.okx.messages import decode
from drivers.okx.symbols import Contract, Contracts, arch, parse_native, read_instrument
from drivers.okx.wire import (
    BARS,
    AccountRow,
    BookRow,
    CandleRow,
    Event,
    FundingRow,
    IndexRow,
    InstrumentRow,
    MarkRow,
    OpReply,
    OrderRow,
    PositionRow,
    Push,
    Reply,
    TickerRow,
    TradeRow,
)
from drivers.transport.depth import DepthSync
from drivers.transport.line_decoder import DecodedEvent, Undecodable
from drivers.transport.snapshots import Book, Snapshot, WaitingSnapshots
from engine.kernel.errors import UnknownSymbol
from engine.kernel.market import MarketEvent, MarkPrice

_NO_PREVIOUS = -1
"""The number before that of the stream's own snapshot."""
_DEPTH_CHANNELS = ("books", "books-l2-tbt", "books50-l2-tbt")
Handler = Callable[[Any, Contract, int | None], list[DecodedEvent]]


class Feed:
    """Turns messages into events, keeping each symbol's depth sequence and what belongs together.

    Args:
        contracts: Contract sizes known from the start; an instruments reply adds to them.
    """

    def __init__(self, contracts: Contracts) -> None:
        self.contracts = contracts
        self._depths: dict[str, DepthSync] = {}
        self._indices: dict[str, float] = {}
        self._marks: dict[str, MarkPrice] = {}
        self._snapshots = WaitingSnapshots(self._books)
        self._handlers: dict[str, Handler] = {
            "books5": self._on_touch,
            "bbo-tbt": self._on_touch,
            "trades": self._on_trade,
            "tickers": self._on_ticker,
            "mark-price": self._on_mark,
            "funding-rate": self._on_funding,
            "orders": self._on_order,
            "positions": self._on_position,
            **{f"candle{bar}": self._candle_handler(name) for name, bar in BARS.items()},
        }

    # For the decoder of recordings.

    def take(self, payload: bytes, received_ms: int | None) -> tuple[str, list[DecodedEvent]]:
        """Return a message's name for the counts and the events that it leads to (see `MessageDecoder`)."""
        if payload.strip() in (b"ping", b"pong"):
            return payload.strip().decode(), []
        message = decode(payload)
        if isinstance(message, Event):
            if message.event == "error":
                raise Undecodable(f"the venue refused a request: {message.code} {message.msg[:120]}")
            return message.event[:40], []
        if isinstance(message, OpReply):
            return message.op[:40], []
        if isinstance(message, Push):
            return message.arg.channel, self.events(message, received_ms)
        return self._on_reply(message)

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name, None where it has none."""
        try:
            return parse_native(native).symbol
        except UnknownSymbol:
            return None

    def state(self) -> dict[str, Any]:
        """Return the state of each book, and how many REST snapshots found none."""
        books = {depth.symbol: depth.state() for depth in self._depths.values() if depth.last is not None}
        return {"books": books, "unplaced_snapshots": self._snapshots.unplaced()}

    # For the sockets as well.

    def events(self, push: Push[Any], received_ms: int | None) -> list[DecodedEvent]:
        """Return what a push tells.

        Raises:
            Undecodable: A field has no sensible value.
            UnknownSymbol: The instrument is none of ours, or its contract size is not known.
        """
        channel = push.arg.channel
        if channel in _DEPTH_CHANNELS:
            return self._on_depth(push)
        if channel == "index-tickers":
            return self._on_index(push.data)
        if channel == "account":
            return [balance for row in push.data for balance in _balances(row)]
        if channel == "instruments":
            return self._learn(push.data)
        handler = self._handlers[channel]
        events: list[DecodedEvent] = []
        for row in push.data:
            native = push.arg.instId or getattr(row, "instId", "")
            if not native:
                raise Undecodable(f"{channel}: a message without instId")
            events += handler(row, self.contracts.get(native), received_ms)
        return events

    def rest_book(self, native: str, row: BookRow) -> list[MarketEvent]:
        """Take the REST snapshot of a book that is being synced."""
        contract = self.contracts.get(native)
        bids, asks = codec.levels(row.bids, contract), codec.levels(row.asks, contract)
        return self._depth(native).snapshot(row.seqId, row.ts, bids, asks)

    def is_synced(self, native: str) -> bool:
        """Return whether a book is complete and continuous."""
        depth = self._depths.get(native)
        return depth is not None and depth.synced

    def lose_book(self, native: str) -> None:
        """Forget a book's sequence: it is asked for anew."""
        if native in self._depths:
            self._depths[native].lose()

    def lose_books(self) -> None:
        """Forget every book's sequence: the connection broke."""
        for depth in self._depths.values():
            depth.lose()

    def _depth(self, native: str) -> DepthSync:
        depth = self._depths.get(native)
        if depth is None:
            depth = self._depths[native] = DepthSync(self.contracts.get(native).symbol)
        return depth

    def _on_depth(self, push: Push[BookRow]) -> list[DecodedEvent]:
        native = push.arg.instId
        events: list[DecodedEvent] = []
        contract = self.contracts.get(native)
        depth = self._depths.get(native) or self._depth(native)
        for row in push.data:
            if row.prevSeqId is None or row.seqId < 0:
                raise Undecodable(f"{push.arg.channel}: a message without seqId and prevSeqId", native)
            bids, asks = codec.levels(row.bids, contract), codec.levels(row.asks, contract)
            if push.action == "snapshot" or row.prevSeqId == _NO_PREVIOUS:
                events += depth.restart(row.seqId, row.ts, bids, asks)
            else:
                events += depth.update(row.prevSeqId, row.seqId, row.ts, bids, asks)
        if not depth.synced and self._snapshots:
            events += self._snapshots.place()
        return events

    def _on_reply(self, reply: Reply[Any]) -> tuple[str, list[DecodedEvent]]:
        data = reply.data or []
        first = data[0] if data else None
        if isinstance(first, BookRow):
            rows = [Snapshot(row.seqId, row.ts, row.bids, row.asks) for row in data]
            return "snapshot", [event for row in rows for event in self._snapshots.take(row)]
        if isinstance(first, InstrumentRow):
            return "instruments", self._learn(data)
        return "reply", []

    def _books(self, group: str) -> Iterator[Book]:
        for native, depth in self._depths.items():
            yield Book(depth, partial(codec.levels, contract=self.contracts.get(native)))

    def _learn(self, rows: list[InstrumentRow]) -> list[DecodedEvent]:
        for row in rows:
            try:
                self.contracts.add(read_instrument(row)[1])
            except UnknownSymbol:
                continue  # dated futures, options and inverse swaps are listed among ours
        return []

    def _on_touch(self, row: BookRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        return [codec.quote(row, contract)]

    def _on_trade(self, row: TradeRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        return [codec.trade(row, contract)]

    def _on_ticker(self, row: TickerRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        ticker = codec.ticker(row, contract)
        return [] if ticker is None else [ticker]

    def _on_index(self, rows: list[IndexRow]) -> list[DecodedEvent]:
        """Tell the last mark of the pair's swap with its new index."""
        events: list[DecodedEvent] = []
        for row in rows:
            self._indices[row.instId] = row.idxPx
            last = self._marks.get(f"{row.instId}-SWAP")
            if last is not None and last.index != row.idxPx:
                events.append(self._marked(row.instId, MarkPrice(last.symbol, row.ts, last.mark, row.idxPx)))
        return events

    def _on_mark(self, row: MarkRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        """Tell the mark with the last index of its pair; until that is heard of, the mark stands for it."""
        pair = row.instId.removesuffix("-SWAP")
        index = self._indices.get(pair, row.markPx)
        return [self._marked(pair, MarkPrice(contract.symbol, row.ts, row.markPx, index))]

    def _marked(self, pair: str, event: MarkPrice) -> MarkPrice:
        self._marks[f"{pair}-SWAP"] = event
        return event

    def _on_funding(self, row: FundingRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        return [codec.funding(row, contract, arch().extra["funding_period_h"])]

    def _candle_handler(self, timeframe: str) -> Handler:
        def on_candle(row: CandleRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
            return [codec.bar(row, timeframe, contract, received_ms or 0)]

        return on_candle

    def _on_order(self, row: OrderRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        """Tell the execution before the state that it leads to."""
        fill = codec.stream_fill(row, contract)
        update = codec.order_update(row, contract)
        return [update] if fill is None else [fill, update]

    def _on_position(self, row: PositionRow, contract: Contract, received_ms: int | None) -> list[DecodedEvent]:
        return [codec.position(row, contract)]


def _balances(row: AccountRow) -> list[DecodedEvent]:
    return list(codec.balances(row))

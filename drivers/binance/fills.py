"""Executions of the account. Binance lists them by symbol and without client ids.

The symbols that were ever traded are kept durably, joined with those of positions, orders and coins held. Client ids
come from what is known of the orders, else from the venue's order lists.
Facts: EXCHANGES 2.4 and 3.4: windows of 7 days (futures) and 24 hours (spot); `fromId` excludes times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from drivers.binance.convert import order_update, trade_fill
from drivers.binance.orders import OrderNotes
from drivers.binance.rest import Rest
from drivers.binance.signer import Params
from drivers.binance.wire import FuturesTradeRow, OrderRow, SpotTradeRow
from drivers.transport.setup import VenueStore
from engine.kernel.clock import Clock
from engine.kernel.errors import InvalidOrder, OrderNotFound
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus
from engine.kernel.orders import Fill

TradeRow = FuturesTradeRow | SpotTradeRow
_KEY = "traded_symbols"
_FEW = 5
_DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
_ORDER_PAGES = 5
_IN_TURN = 8
"""How many symbols without activity are asked for in one call."""
_TURNS_MS = 900_000
_OVERLAP_MS = 60_000


class TradedSymbols:
    """The canonical symbols in which this account ever traded, kept over restarts.

    Args:
        store: Keeps them.
    """

    def __init__(self, store: VenueStore) -> None:
        self._store = store
        saved = store.load(_KEY)
        self._symbols: set[str] = set(msgspec.json.decode(saved, type=list[str])) if saved else set()

    def add(self, symbols: Iterable[str]) -> None:
        """Remember symbols; written only when one is new."""
        new = set(symbols) - self._symbols
        if new:
            self._symbols |= new
            self._store.save(_KEY, msgspec.json.encode(sorted(self._symbols)))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._symbols))


class FillPages:
    """Reads an interface's executions page by page.

    Args:
        rest: The interface.
        notes: What is known of orders.
    """

    def __init__(self, rest: Rest, notes: OrderNotes) -> None:
        self._rest = rest
        self._notes = notes
        self._nameless: set[tuple[str, int]] = set()
        limits = rest.product.limits
        self._page: int = limits["trades"]
        self._window_ms: int = limits["fills_window_h"] * _HOUR_MS
        self._kept_ms: int = limits["history_days"] * _DAY_MS
        self._type: Any = list[FuturesTradeRow] if rest.product.kind is InstrumentKind.PERP else list[SpotTradeRow]

    async def read(self, instrument: Instrument, since: int | None) -> list[Fill]:
        """Return an instrument's executions since a venue time (ms), or all that the venue keeps; oldest first.

        Raises:
            VenueError: A page could not be had; there is no partial answer.
        """
        rows = await (self._from_id(instrument, 0) if since is None else self._since(instrument, since))
        names = await self._client_ids(instrument, rows)
        return [trade_fill(instrument, row, names.get(row.orderId, "")) for row in rows]

    async def _since(self, instrument: Instrument, since: int) -> list[TradeRow]:
        now = self._rest.time.now_ms()
        start = min(max(since, now - self._kept_ms), now)
        if self._rest.product.kind is InstrumentKind.SPOT and now - start >= self._window_ms:
            latest = await self._ask(instrument, {})
            if len(latest) < self._page or latest[0].time < start:
                return [row for row in latest if row.time >= since]
        while True:
            end = start + self._window_ms - 1
            rows = await self._ask(instrument, {"startTime": start, "endTime": end})
            if rows and (len(rows) == self._page or end < now):
                return rows + await self._from_id(instrument, rows[-1].id + 1)
            if rows or end >= now:
                return rows
            start = end + 1

    async def _from_id(self, instrument: Instrument, first: int) -> list[TradeRow]:
        found: list[TradeRow] = []
        while True:
            rows = await self._ask(instrument, {"fromId": first})
            found += rows
            if len(rows) < self._page:
                return found
            first = rows[-1].id + 1

    async def _ask(self, instrument: Instrument, window: Params) -> list[TradeRow]:
        product = self._rest.product
        params: Params = {"symbol": instrument.native, **window, "limit": self._page}
        rows: list[TradeRow] = await self._rest.signed(
            "GET", product.trades, params, self._type, weight=product.history
        )
        return sorted(rows, key=lambda row: row.id)

    async def _client_ids(self, instrument: Instrument, rows: list[TradeRow]) -> dict[int, str]:
        """Return the client ids of the orders behind executions; those that the venue has forgotten have none."""
        names, unknown = {}, set()
        settled_ms = self._rest.time.now_ms() - _OVERLAP_MS
        newest = {row.orderId: row.time for row in rows}
        for order_id in newest:
            known = self._notes.get(instrument.symbol, str(order_id))
            if known is not None:
                names[order_id] = known.client_id
            elif (instrument.symbol, order_id) not in self._nameless:
                unknown.add(order_id)
        if len(unknown) <= _FEW:
            for order_id in unknown:
                await self._name_one(instrument, order_id)
        else:
            await self._name_many(instrument, unknown)
        for order_id in unknown:
            known = self._notes.get(instrument.symbol, str(order_id))
            if known is not None:
                names[order_id] = known.client_id
            elif newest[order_id] < settled_ms:  # a replica may not know a younger one yet
                self._nameless.add((instrument.symbol, order_id))
        return names

    async def _name_one(self, instrument: Instrument, order_id: int) -> None:
        product = self._rest.product
        params: Params = {"symbol": instrument.native, "orderId": order_id}
        try:
            row = await self._rest.signed("GET", "order", params, OrderRow, weight=product.query)
        except OrderNotFound:
            return
        self._notes.note(order_update(instrument, row))

    async def _name_many(self, instrument: Instrument, unknown: set[int]) -> None:
        left = set(unknown)
        for _ in range(_ORDER_PAGES):
            if not left:
                return
            first = min(left)
            params: Params = {"symbol": instrument.native, "orderId": first, "limit": self._page}
            rows = await self._rest.signed(
                "GET", "allOrders", params, list[OrderRow], weight=self._rest.product.history
            )
            for row in rows:
                self._notes.note(order_update(instrument, row))
            newest = max((row.orderId for row in rows), default=first)
            left = {order_id for order_id in left if order_id > newest}


class AccountFills:
    """Executions of the whole account: those of every symbol that was ever traded.

    Symbols without a working order or recent execution are asked for in turns, each from where it was left, so that
    many of them do not use up the request budget.

    Args:
        pages: Reads one instrument's executions.
        traded: The symbols.
        notes: What is known of orders.
        clock: Time.
    """

    def __init__(
        self,
        pages: Callable[[Instrument], FillPages],
        traded: TradedSymbols,
        notes: OrderNotes,
        clock: Clock,
    ) -> None:
        self._pages = pages
        self._traded = traded
        self._notes = notes
        self._clock = clock
        self._asked_ms: dict[str, int] = {}
        self._active_ms: dict[str, int] = {}

    def is_active(self, symbol: str) -> None:
        """Hear that something happened in a symbol."""
        self._active_ms[symbol] = self._clock.now_ms()
        self._traded.add([symbol])

    async def read(self, instruments: Mapping[str, Instrument], more: Iterable[str], since: int | None) -> list[Fill]:
        """Return the account's executions since a venue time (ms), oldest first.

        Args:
            instruments: What is listed and may be asked for.
            more: Further symbols in which there may be some.
            since: None for all that the venue keeps.

        Raises:
            VenueError: A symbol could not be asked; there is no partial answer.
        """
        now_ms = self._clock.now_ms()
        working = self._notes.working_symbols()
        wanted = {symbol for symbol in {*self._traded, *more, *working} if symbol in instruments}
        recent = {symbol for symbol, at_ms in self._active_ms.items() if now_ms - at_ms < _HOUR_MS}
        quiet = [symbol for symbol in wanted if self._is_known(symbol, since) and symbol not in working | recent]
        later = set(sorted(quiet, key=lambda symbol: self._asked_ms[symbol])[_IN_TURN:])
        asked = sorted(wanted - later)
        parts = await asyncio.gather(*(self._one(instruments[symbol], since, now_ms) for symbol in asked))
        found = [fill for part in parts for fill in part]
        self._traded.add(fill.symbol for fill in found)
        return sorted(found, key=lambda fill: (fill.ts, fill.symbol, int(fill.trade_id)))

    def _is_known(self, symbol: str, since: int | None) -> bool:
        """Return whether a symbol was asked for so recently that what is new can wait for its turn."""
        asked = self._asked_ms.get(symbol)
        return since is not None and asked is not None and since >= asked - _TURNS_MS

    async def _one(self, instrument: Instrument, since: int | None, now_ms: int) -> list[Fill]:
        asked = self._asked_ms.get(instrument.symbol)
        if since is not None and asked is not None and asked < since:
            since = asked - _OVERLAP_MS
        try:
            fills = await self._pages(instrument).read(instrument, since)
        except InvalidOrder:
            if instrument.status is not InstrumentStatus.DELISTED:
                raise
            fills = []  # the venue does not speak of it any more; one such symbol must not hide the others
        self._asked_ms[instrument.symbol] = now_ms
        return fills

"""What the venue remembers: working and done orders, executions, candles, funding payments; paged to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from drivers.okx import codec
from drivers.okx.rest import OkxRest
from drivers.okx.symbols import Contract, Contracts, arch
from drivers.okx.wire import BARS, BillRow, CandleRow, FillRow, FundingHistoryRow, OrderRow
from drivers.transport.gateway import is_venue_id
from drivers.transport.line_decoder import understanding
from drivers.transport.rate_limits import Urgency
from engine.kernel.account import CashTransfer, FundingPayment
from engine.kernel.errors import InvalidOrder, OrderNotFound, UnknownSymbol
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.orders import Fill, OrderUpdate

DAY_MS = 86_400_000
PAGE = 100
HISTORY_PAGES = 10
"""How many pages of done orders are looked through for one that the venue's own query does not find."""
_SAFETY_MS = 3_600_000
_NO_INSTRUMENT = "51001"
"""The venue's code for an instrument that does not exist, or no longer."""
FUNDING_BILLS = "8"
TRANSFER_BILLS = "1"
RowT = TypeVar("RowT")


class History:
    """Queries over pages.

    Args:
        rest: The REST interface.
        contracts: Contract sizes.
        inst_types: Returns the venue's kinds of instruments that this account trades.
        now_ms: Returns the venue's time.
        log: Takes lines for the operator.
    """

    def __init__(
        self,
        rest: OkxRest,
        contracts: Contracts,
        inst_types: Callable[[], tuple[str, ...]],
        now_ms: Callable[[], int],
        log: Callable[[str, str], None],
    ) -> None:
        self._rest = rest
        self._contracts = contracts
        self._inst_types = inst_types
        self._now_ms = now_ms
        self._log = log
        self._foreign: set[str] = set()

    async def open_orders(self, contract: Contract | None) -> list[OrderUpdate]:
        """Return the working orders, of one instrument or all, oldest first."""
        return await self._open_orders(self._types(contract), contract.native if contract else None)

    async def _open_orders(self, inst_types: tuple[str, ...], native: str | None) -> list[OrderUpdate]:
        found: list[OrderUpdate] = []
        for inst_type in inst_types:
            query = {"instType": inst_type, "instId": native}
            async for rows in self._pages("/trade/orders-pending", OrderRow, "orders_pending", "ordId", **query):
                found += self._updates(rows)
        found.sort(key=lambda order: (order.ts, order.venue_order_id))
        return found

    async def find_order(self, order_id: str, contract: Contract) -> OrderUpdate:
        """Return an order, open or done, by client or venue id.

        The venue's own query is asked first. What it does not know may be a lagging copy's fault: working orders, the
        history and the executions are looked through before the order counts as not found. An instrument that is gone
        cannot be asked for: those of all instruments are looked through then.

        Raises:
            OrderNotFound: None of them knows it.
            CtosError: One of them could not be asked.
        """
        venue_id = order_id if is_venue_id(order_id) else None
        native: str | None = contract.native
        try:
            return await self._ask_order(contract, venue_id, order_id)
        except OrderNotFound:
            pass  # looked for elsewhere before that is believed
        except InvalidOrder as error:
            if error.code != _NO_INSTRUMENT:
                raise
            native = None
        for order in await self._open_orders(self._types(contract), native):
            if order_id in (order.client_id, order.venue_order_id):
                return order
        row = await self._in_history(order_id, contract, native)
        if row is not None:
            with understanding(f"okx: order {order_id}"):
                return codec.order_update(row, contract)
        filled = await self._in_fills(order_id, contract, native)
        if filled is not None:
            return await self._ask_order(contract, filled, order_id)
        raise OrderNotFound(f"okx: {contract.symbol}: no order {order_id}", request=f"query {order_id}")

    async def fills(self, contract: Contract | None, since: int | None) -> list[Fill]:
        """Return executions, oldest first: of the last three days, or since a time up to three months ago."""
        now_ms = self._now_ms()
        limits = arch().limits
        recent_from = now_ms - limits["fills_days"] * DAY_MS + _SAFETY_MS
        begin = since if since is not None else recent_from
        rows: dict[tuple[str, str], FillRow] = {}
        native = contract.native if contract else None
        for inst_type in self._types(contract):
            ways = [("/trade/fills", "fills")]
            if begin < recent_from:
                ways.insert(0, ("/trade/fills-history", "fills_history"))
            for path, bucket in ways:
                for row in await self._fill_pages(path, bucket, inst_type, native, begin):
                    rows[row.instId, codec.trade_id(row)] = row
        with understanding("okx: fills"):
            found = [(row.billId, codec.fill(row, known)) for row in rows.values() if (known := self.known(row.instId))]
        ordered = sorted(found, key=lambda each: (each[1].ts, len(each[0]), each[0]))
        return [fill for _, fill in ordered if since is None or fill.ts >= since]

    async def candles(
        self, contract: Contract, timeframe: str, limit: int, start: int | None, end: int | None
    ) -> list[Bar]:
        """Return candles whose opening times lie in [start, end], oldest first.

        With a start the first `limit` from there on, else the last `limit`.

        Raises:
            InvalidOrder: The timeframe is unknown or the limit below 1.
        """
        if timeframe not in TIMEFRAME_MS:
            raise InvalidOrder(f"timeframe {timeframe!r} is not one of {', '.join(TIMEFRAME_MS)}")
        if limit < 1:
            raise InvalidOrder(f"limit {limit} must be at least 1")
        step, now_ms = TIMEFRAME_MS[timeframe], self._now_ms()
        before = now_ms + step if end is None else min(end, now_ms) + 1
        if start is not None:
            first = -(-start // step) * step
            before = min(before, first + limit * step)
        found: dict[int, Bar] = {}
        while len(found) < limit and (start is None or before > start):
            rows = await self._candle_page(contract, timeframe, before, min(limit - len(found), 300))
            kept = [row for row in rows if row[0] < before and (start is None or row[0] >= start)]
            for row in kept:
                found[row[0]] = codec.bar(row, timeframe, contract)
            if not kept or len(kept) < len(rows):
                break
            before = min(row[0] for row in kept)
        return [found[opened] for opened in sorted(found)][-limit:]

    async def funding_payments(self, since: int) -> list[FundingPayment]:
        """Return the account's funding payments since a time within the last seven days, oldest first.

        The rate of a payment is 0 where the venue tells it no more.
        """
        bills: list[BillRow] = []
        query: dict[str, str | int | None] = {"instType": "SWAP", "type": FUNDING_BILLS, "begin": since}
        async for rows in self._pages("/account/bills", BillRow, "bills", "billId", **query):
            with understanding("okx: funding bills"):
                bills += [row for row in rows if row.type == FUNDING_BILLS and codec.time_ms(row.ts) >= since]
                if rows and codec.time_ms(rows[-1].ts) < since:
                    break
        found: list[FundingPayment] = []
        rates: dict[str, list[FundingHistoryRow]] = {}
        for bill in bills:
            known = self.known(bill.instId)
            if known is None:
                continue
            if bill.instId not in rates:
                rates[bill.instId] = await self._funding_rates(bill.instId)
            with understanding("okx: funding bills"):
                found.append(codec.funding_payment(bill, rates[bill.instId], known))
        found.sort(key=lambda payment: (payment.ts, payment.id))
        return found

    async def _funding_rates(self, native: str) -> list[FundingHistoryRow]:
        """Return the rates that a swap has settled at, newest first; none of one that the venue lists no more."""
        try:
            return await self._rest.get(
                "/public/funding-rate-history", FundingHistoryRow, "funding_history", instId=native
            )
        except InvalidOrder as error:
            if error.code != _NO_INSTRUMENT:
                raise
            return []

    async def transfers(self, since: int) -> list[CashTransfer]:
        """Return deposits, withdrawals and transfers since a time within the last seven days, oldest first."""
        found: list[CashTransfer] = []
        query: dict[str, str | int | None] = {"type": TRANSFER_BILLS, "begin": since}
        async for rows in self._pages("/account/bills", BillRow, "bills", "billId", **query):
            with understanding("okx: transfer bills"):
                found += [
                    codec.cash_transfer(row)
                    for row in rows
                    if row.type == TRANSFER_BILLS and codec.time_ms(row.ts) >= since
                ]
                if rows and codec.time_ms(rows[-1].ts) < since:
                    break
        found.sort(key=lambda transfer: (transfer.ts, transfer.id))
        return found

    def _types(self, contract: Contract | None) -> tuple[str, ...]:
        if contract is None:
            return self._inst_types()
        if contract.kind is InstrumentKind.PERP:
            return ("SWAP",)
        return tuple(kind for kind in self._inst_types() if kind != "SWAP")

    def known(self, native: str) -> Contract | None:
        """Return the contract of an instrument; one that this driver does not trade is told once and left out."""
        try:
            return self._contracts.get(native)
        except UnknownSymbol as error:
            if native not in self._foreign:
                self._foreign.add(native)
                self._log("warning", f"okx: {native} of this account is left out: {error}")
            return None

    def _updates(self, rows: list[OrderRow]) -> list[OrderUpdate]:
        with understanding("okx: working orders"):
            return [codec.order_update(row, known) for row in rows if (known := self.known(row.instId))]

    async def _ask_order(self, contract: Contract, venue_id: str | None, order_id: str) -> OrderUpdate:
        rows = await self._rest.get(
            "/trade/order", OrderRow, f"get_order/{contract.native}", private=True, urgency=Urgency.RECONCILE,
            instId=contract.native, ordId=venue_id, clOrdId=None if venue_id else order_id,
        )  # fmt: skip
        if not rows:
            raise OrderNotFound(f"okx: {contract.symbol}: no order {order_id}", request=f"query {order_id}")
        with understanding(f"okx: order {order_id}"):
            return codec.order_update(rows[0], contract)

    async def _in_history(self, order_id: str, contract: Contract, native: str | None) -> OrderRow | None:
        for inst_type in self._types(contract):
            query, looked = {"instType": inst_type, "instId": native}, 0
            async for rows in self._pages("/trade/orders-history", OrderRow, "orders_history", "ordId", **query):
                for row in rows:
                    if order_id in (row.clOrdId, row.ordId):
                        return row
                looked += 1
                if looked == HISTORY_PAGES:
                    break
        return None

    async def _in_fills(self, order_id: str, contract: Contract, native: str | None) -> str | None:
        """Return the venue id of an order that was executed, None when no execution names it."""
        for inst_type in self._types(contract):
            begin = self._now_ms() - DAY_MS
            for row in await self._fill_pages("/trade/fills", "fills", inst_type, native, begin):
                if order_id in (row.clOrdId, row.ordId):
                    return row.ordId
        return None

    async def _fill_pages(
        self, path: str, bucket: str, inst_type: str, native: str | None, begin: int
    ) -> list[FillRow]:
        found: list[FillRow] = []
        query = {"instType": inst_type, "instId": native, "begin": begin}
        async for rows in self._pages(path, FillRow, bucket, "billId", **query):
            found += rows
            with understanding("okx: fills"):
                if rows and codec.time_ms(rows[-1].fillTime or rows[-1].ts) < begin:
                    break
        return found

    async def _pages(
        self, path: str, row_type: type[RowT], bucket: str, number: str, **query: str | int | None
    ) -> AsyncIterator[list[RowT]]:
        """Yield the pages of one of the account's lists, newest first, to the end.

        Args:
            path: The list.
            row_type: What a row is.
            bucket: Its budget of requests.
            number: The field by which the next page is asked for.
            query: What to list.
        """
        after: str | None = None
        while True:
            rows = await self._rest.get(
                path, row_type, bucket, private=True, urgency=Urgency.RECONCILE, after=after, limit=PAGE, **query
            )
            yield rows
            if len(rows) < PAGE:
                return
            after = getattr(rows[-1], number)

    async def _candle_page(self, contract: Contract, timeframe: str, before: int, count: int) -> list[CandleRow]:
        """Return up to `count` candles opened before a time, newest first; old ones are kept elsewhere."""
        reach = TIMEFRAME_MS[timeframe] * (arch().limits["klines_recent"] - 10)
        recent = before - count * TIMEFRAME_MS[timeframe] > self._now_ms() - reach
        path, bucket = ("/market/candles", "candles") if recent else ("/market/history-candles", "history_candles")
        row: Any = CandleRow
        rows: list[CandleRow] = await self._rest.get(
            path, row, bucket, instId=contract.native, bar=BARS[timeframe], after=before, limit=count
        )
        return rows

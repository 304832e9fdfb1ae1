"""OKX v5: REST and the public, business and private sockets, written from the venue's published facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from drivers.paper.config import PaperConfig
from drivers.paper.markets.model import MarketModel
from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.clock import Clock
from engine.kernel.instruments import Instrument
from engine.kernel.market import FundingRate, Trade
from engine.kernel.orders import Fill, OrderUpdate
from engine.kernel.syscalls import AccountEvent, TickEvent
from tests.venues.emulators import okx_listing
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.market import BookChange
from tests.venues.emulators.okx_account import AccountDesk
from tests.venues.emulators.okx_auth import check_request
from tests.venues.emulators.okx_bills import Bills
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_market import PublicData
from tests.venues.emulators.okx_orders import OrderDesk
from tests.venues.emulators.okx_private import PrivatePushes
from tests.venues.emulators.okx_streams import Streams
from tests.venues.emulators.okx_wire import OkxError, Row, acted, data, required
from tests.venues.emulators.wire import Seen, Socket, json_answer

_BATCH = 20
_CONNECTIONS_A_SECOND = 3
_KINDS = ("public", "private", "business")
_API = "/api/v5"
_LIMITS: dict[str, tuple[int, float, bool]] = {
    "public/instruments": (20, 2, False),
    "public/mark-price": (10, 2, False),
    "public/funding-rate": (10, 2, True),
    "public/funding-rate-history": (10, 2, True),
    "public/price-limit": (20, 2, False),
    "public/time": (10, 2, False),
    "market/ticker": (20, 2, False),
    "market/tickers": (20, 2, False),
    "market/books": (40, 2, False),
    "market/candles": (40, 2, False),
    "market/history-candles": (20, 2, False),
    "trade/order": (60, 2, True),
    "trade/batch-orders": (300, 2, True),
    "trade/cancel-order": (60, 2, True),
    "trade/cancel-batch-orders": (300, 2, True),
    "trade/amend-order": (60, 2, True),
    "trade/amend-batch-orders": (300, 2, True),
    "trade/orders-pending": (60, 2, False),
    "trade/orders-history": (40, 2, False),
    "trade/orders-history-archive": (20, 2, False),
    "trade/cancel-all-after": (1, 1, False),
    "trade/fills": (60, 2, False),
    "trade/fills-history": (10, 2, False),
    "trade/close-position": (20, 2, False),
    "account/balance": (10, 2, False),
    "account/positions": (10, 2, False),
    "account/instruments": (20, 2, False),
    "account/bills": (5, 1, False),
    "account/bills-archive": (5, 2, False),
    "account/set-leverage": (20, 2, False),
    "account/leverage-info": (20, 2, False),
    "account/set-position-mode": (5, 2, False),
    "account/config": (5, 2, False),
    "account/trade-fee": (5, 2, False),
}
"""(requests, seconds, counted apart by instrument) of each endpoint."""

Query = Callable[[Mapping[str, str]], Answer]
Act = Callable[[Mapping[str, Any]], Row]


class OkxEmulator(Emulator):
    """OKX on the loopback, with one account.

    Attributes:
        demo: Whether it is the demo environment: then requests need `x-simulated-trading: 1`, else they must not.
        perm: What the key may do.
        acct_lv: Account mode: 1 simple (spot only), 2 single currency, 3 multi-currency, 4 portfolio.
        pos_mode: `net_mode` or `long_short_mode`.
        units: Instruments with their sizes on the wire, by the venue's name; `by_code` has names by instIdCode.
        desk: Orders and executions as the venue keeps them.
    """

    name: ClassVar[str] = "okx"
    coin_fees: ClassVar[bool] = True

    def __init__(
        self, *, market: MarketModel | None = None, clock: Clock | None = None, config: PaperConfig | None = None
    ) -> None:
        super().__init__(market=market, clock=clock, config=config)
        self.key, self.secret = "985d5b66-57ce-40fb-b714-afc0b9787083", "22582BD0CFF14C41EDBF1AB98506286D"
        self.passphrase = "okx-passphrase-1"
        self.demo = False
        self.perm = "read_only,trade"
        self.acct_lv = "2"
        self.pos_mode = "net_mode"
        listed = enumerate(self.instruments.values())
        self.units = {each.native: Units(each, position) for position, each in listed}
        self.by_code = {units.code: native for native, units in self.units.items()}
        self.public = PublicData(self)
        self.streams = Streams(self)
        self.private = PrivatePushes(self)
        self.account = AccountDesk(self)
        self.desk = OrderDesk(self, self.private.on_order)
        self.bills = Bills(self)
        self._paid_funding = False
        public, account = self.public, self.account
        self._open: dict[str, Query] = {
            "public/instruments": public.instruments,
            "public/mark-price": public.mark_prices,
            "public/funding-rate": public.funding_rate,
            "public/funding-rate-history": public.funding_history,
            "public/price-limit": public.price_limit,
            "public/time": self._time,
            "market/ticker": public.ticker,
            "market/tickers": public.tickers,
            "market/books": public.books,
        }
        self._signed: dict[str, Query] = {
            "trade/order": account.order,
            "trade/orders-pending": account.pending,
            "trade/orders-history": lambda given: account.history(given, "orders-history"),
            "trade/orders-history-archive": lambda given: account.history(given, "orders-history-archive"),
            "trade/fills": lambda given: account.fills(given, "fills"),
            "trade/fills-history": lambda given: account.fills(given, "fills-history"),
            "account/balance": account.balance,
            "account/positions": account.positions,
            "account/config": account.config,
            "account/instruments": public.instruments,
            "account/bills": lambda given: self.bills.bills(given, "bills"),
            "account/bills-archive": lambda given: self.bills.bills(given, "bills-archive"),
            "account/leverage-info": account.leverage_info,
            "account/trade-fee": account.trade_fee,
        }
        self._acts: dict[str, Act] = {
            "trade/cancel-all-after": self.desk.cancel_all_after,
            "trade/close-position": self.desk.close_position,
            "account/set-leverage": account.set_leverage,
            "account/set-position-mode": account.set_position_mode,
        }
        self._trades: dict[str, tuple[Act, bool]] = {
            "trade/order": (self.desk.place, True),
            "trade/batch-orders": (self.desk.place, False),
            "trade/cancel-order": (self.desk.cancel, True),
            "trade/cancel-batch-orders": (self.desk.cancel, False),
            "trade/amend-order": (self.desk.amend, True),
            "trade/amend-batch-orders": (self.desk.amend, False),
        }

    @property
    def overrides(self) -> dict[str, str]:
        """Return the host fields of `venues.okx` in `ctos.yaml`."""
        sockets = {f"ws_{kind}_url": f"{self.ws_url}/ws/v5/{kind}" for kind in _KINDS}
        return {"rest_url": self.rest_url, **sockets, "ws_trade_url": sockets["ws_private_url"]}

    def default_instruments(self) -> list[Instrument]:
        """Return swaps and spot pairs with the venue's own steps."""
        return okx_listing.default_instruments()

    def adapt(self, instrument: Instrument) -> Instrument | None:
        """Return an instrument of another market as OKX lists it."""
        return okx_listing.adapt(instrument)

    def units_of(self, parameters: Mapping[str, Any]) -> Units:
        """Return the instrument that a request names."""
        required(parameters, "instId")
        units = self.units.get(parameters["instId"])
        if units is None:
            raise OkxError("51001")
        return units

    def set_state(self, symbol: str, state: str) -> None:
        """Suspend an instrument (`suspend`) or let it trade again (`live`)."""
        units = self.units_of_symbol(self.canonical(symbol))
        self.public.states[units.native] = state
        self.streams.on_instrument(units)

    def restart_sequence(self, symbol: str) -> None:
        """Number a book anew as after maintenance: one update with a number below the one before it."""
        chain = self.books[self.canonical(symbol)]
        previous, chain.last = chain.last, 10
        units = self.units_of_symbol(chain.symbol)
        self.streams.on_book(units, BookChange(chain.symbol, self.clock.now_ms(), [], [], previous, 10, 10))

    def now_us(self) -> int:
        """Return the venue's time in microseconds."""
        return self.clock.now_ns() // 1000

    # REST.

    async def answer(self, seen: Seen) -> Answer:
        """Carry a request out."""
        try:
            return await self._route(seen)
        except OkxError as error:
            return error.answer()

    def banned(self, seconds: float) -> Answer:
        """Return what a blocked address gets, from the wall before the venue."""
        page = b"<html><head><title>403 Forbidden</title></head><body>Access denied</body></html>"
        return Answer(403, page, {"Content-Type": "text/html", "Retry-After": str(round(seconds))})

    async def _route(self, seen: Seen) -> Answer:
        path = seen.path.removeprefix(f"{_API}/") if seen.path.startswith(f"{_API}/") else ""
        name = seen.params.get("instId", "")
        if seen.method == "GET" and (path in self._open or path in ("market/candles", "market/history-candles")):
            if seen.headers.get("OK-ACCESS-KEY"):
                self._authorise(seen)
            self.count_request("GET", path, name)
            if path in self._open:
                return self._open[path](seen.params)
            return await self.public.candles(seen.params, path.removeprefix("market/"))
        if seen.method == "GET" and path in self._signed:
            self._authorise(seen)
            self.count_request("GET", path, name)
            return self._signed[path](seen.params)
        if seen.method == "POST" and (path in self._acts or path in self._trades):
            self._authorise(seen)
            return self._post(seen, path)
        return json_answer({"msg": "Not Found", "code": "404", "data": []}, 404)

    def _post(self, seen: Seen, path: str) -> Answer:
        if not seen.body:
            raise OkxError("50000")
        if not seen.headers.get("Content-Type", "").startswith("application/json"):
            raise OkxError("50006")
        try:
            request = msgspec.json.decode(seen.body)
        except msgspec.DecodeError as error:
            raise OkxError("50002") from error
        self.check_trading_right()
        if path in self._acts:
            if not isinstance(request, dict):
                raise OkxError("50002")
            self.count_request("POST", path, str(request.get("instId", "")))
            return data([self._acts[path](request)])
        singly = self._trades[path][1]
        requests = [request] if singly else request
        if not isinstance(requests, list) or not requests or not all(isinstance(each, dict) for each in requests):
            raise OkxError("50002")
        if len(requests) > _BATCH:
            raise OkxError("51000", "size of the batch")
        self.check_expiry(seen.headers.get("expTime"))
        self.count_request("POST", path, str(requests[0].get("instId", "")), len(requests))
        return json_answer(acted(self.trade(path, requests, singly), self.now_us(), singly))

    def trade(self, path: str, requests: list[Row], singly: bool) -> list[Row]:
        """Carry order requests out and return their items."""
        action = self._trades[path.removeprefix(f"{_API}/")][0]
        return [self.desk.attempt(action, request, singly) for request in requests]

    def check_trading_right(self) -> None:
        """Refuse a key that may only read."""
        if "trade" not in self.perm.split(","):
            raise OkxError("50120")

    def check_expiry(self, deadline_ms: str | None) -> None:
        """Refuse a request that came after its own deadline."""
        if deadline_ms and not deadline_ms.isdecimal():
            raise OkxError("51000", "expTime")
        if deadline_ms and int(deadline_ms) < self.clock.now_ms():
            raise OkxError("50036")

    def count_request(self, method: str, path: str, instrument: str, weight: int = 1) -> None:
        """Refuse what exceeds an endpoint's limit; REST and sockets share the limits of orders."""
        path = path.removeprefix(f"{_API}/")
        limit, window_s, by_instrument = _LIMITS[path]
        key = f"{method} {path} {instrument if by_instrument else ''}"
        if self.limits.add(key, window_s, weight) > limit and self.limits_on:
            raise OkxError("50011")

    def _authorise(self, seen: Seen) -> None:
        check_request(seen, self.key, self.secret, self.passphrase, self.demo)
        seen.account = self.key

    def _time(self, parameters: Mapping[str, str]) -> Answer:
        return data([{"ts": str(self.clock.now_ms())}])

    # Sockets and events.

    def socket_kind(self, path: str) -> str | None:
        """Return which socket a path is."""
        kind = path.removeprefix("/ws/v5/")
        return kind if kind in _KINDS and kind != path else None

    def refuse_socket(self, kind: str) -> Answer | None:
        """Refuse more than three new connections in a second."""
        if self.limits.add("connections", 1.0) > _CONNECTIONS_A_SECOND and self.limits_on:
            return OkxError("50011").answer()
        return None

    async def on_text(self, socket: Socket, text: str) -> None:
        """Take a client's message."""
        await self.streams.on_text(socket, text)

    def on_close(self, socket: Socket) -> None:
        """Forget a socket."""
        self.streams.on_close(socket)

    def on_second(self) -> None:
        """Let the sockets do what is due."""
        self.streams.on_second()

    def on_book(self, change: BookChange) -> None:
        """Push a book's change."""
        self.streams.on_book(self.units_of_symbol(change.symbol), change)

    def on_trade(self, trade: Trade) -> None:
        """Push a public trade."""
        self.streams.on_trade(self.units_of_symbol(trade.symbol), trade)

    def on_tick(self, event: TickEvent) -> None:
        """Push quotes, marks and funding rates."""
        if isinstance(event, FundingRate):
            self.public.take_funding(event)
        self.streams.on_tick(self.units_of_symbol(event.symbol), event)

    def on_account(self, event: AccountEvent) -> None:
        """Push what happens on the account, in the venue's order."""
        if isinstance(event, OrderUpdate):
            self.desk.take_update(event)
        elif isinstance(event, Fill):
            self.desk.take_fill(event)
            self.account.take_fill(event, self.desk.fills[-1][2])
        elif isinstance(event, Position):
            self.private.on_position(event)
        elif isinstance(event, FundingPayment):
            self.bills.take_payment(event)
            self._paid_funding = True
        elif isinstance(event, Balance):
            self.private.on_balance(event, "funding_fee" if self._paid_funding else "filled")
            self._paid_funding = False

    def units_of_symbol(self, symbol: str) -> Units:
        """Return an instrument by its canonical name."""
        return self.units[self.instruments[symbol].native]

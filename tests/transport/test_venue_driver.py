"""What all venues' drivers have in common, over a venue that answers from memory."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers.transport.arch import Arch
from drivers.transport.setup import MemoryStore, VenueSetup
from drivers.transport.venue_driver import Topic, VenueDriver
from engine.kernel.account import AccountStream, Position
from engine.kernel.clock import Rng, VirtualClock
from engine.kernel.errors import (
    AuthError,
    InvalidOrder,
    OrderNotFound,
    UnknownSymbol,
    Unsupported,
    VenueUnavailable,
)
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import (
    Bar,
    BookSynced,
    BookUpdate,
    FundingRate,
    MarkPrice,
    Quote,
    Ticker,
    Trade,
    Unparsed,
)
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate, Side
from engine.kernel.syscalls import Driver

D = Decimal
BTC, ETH = "BTC-USDT-PERP", "ETH-USDT"


def listed(symbol: str, kind: InstrumentKind) -> Instrument:
    base, quote = symbol.split("-")[:2]
    return Instrument(symbol, "fake", base, quote, quote, kind, D("0.5"), D("0.01"))


def update(order_id: str, symbol: str = BTC, state: OrderState = OrderState.SENT) -> OrderUpdate:
    return OrderUpdate(order_id, "77", symbol, Side.BUY, OrderType.LIMIT, state, D(1), D(100), D(0), 1)


class FakeVenue(VenueDriver):
    """Keeps what it was asked in `calls`."""

    def __init__(self, setup: VenueSetup) -> None:
        super().__init__(setup, Arch(venue="fake", hosts={"live": {}}))
        self.calls: list[tuple[object, ...]] = []
        self.failures: dict[str, Exception] = {}
        self.working = [update("a"), update("b", ETH)]
        self.positions: list[Position] = []
        self.answer = OrderState.SENT

    def _called(self, name: str, *arguments: object) -> None:
        self.calls.append((name, *arguments))
        if name in self.failures:
            raise self.failures[name]

    async def load_instruments(self):
        self._called("load_instruments")
        return [listed(BTC, InstrumentKind.PERP), listed(ETH, InstrumentKind.SPOT)]

    async def open(self):
        self._called("open")

    async def close(self):
        self._called("close")

    async def submit(self, request: OrderRequest):
        self._called("submit", request)
        return update(request.client_id, request.symbol, self.answer)

    async def change(self, order_id, symbol, price, quantity):
        self._called("change", order_id, symbol, price, quantity)
        return update(order_id, symbol, OrderState.OPEN)

    async def withdraw(self, order_id, symbol):
        self._called("withdraw", order_id, symbol)
        if f"withdraw {order_id}" in self.failures:
            raise self.failures[f"withdraw {order_id}"]
        return update(order_id, symbol)

    async def look_up(self, order_id, symbol):
        self._called("look_up", order_id, symbol)
        return update(order_id, symbol, OrderState.OPEN)

    def follow(self, topic):
        self._called("follow", topic)

    def unfollow(self, topic):
        self._called("unfollow", topic)

    def resync(self, symbol, reason):
        self._called("resync", symbol, reason)

    def links(self):
        return []

    def clock_offset_ms(self):
        return None

    async def get_open_orders(self, symbol=None):
        return [order for order in self.working if symbol in (None, order.symbol)]

    async def get_position(self, symbol=None):
        return [position for position in self.positions if symbol in (None, position.symbol)]

    async def get_price_now(self, symbol):
        raise NotImplementedError

    get_orderbook = get_klines = fees = server_time = get_fills = fetch_balance = get_price_now
    set_leverage = check_account = key_rights = get_price_now

    def leverage(self, symbol):
        return None


@pytest.fixture
def lines():
    return []


@pytest.fixture
def venue(lines):
    clock = VirtualClock(1_700_000_000_000_000_000)
    setup = VenueSetup(clock, Rng(1), MemoryStore(), {}, log=lambda level, text: lines.append(text))
    return FakeVenue(setup)


@pytest.fixture
async def ready(venue):
    await venue.start()
    venue.calls.clear()
    return venue


async def test_start_loads_opens_and_closes_what_a_failure_left_open(venue):
    assert isinstance(venue, Driver)
    venue.failures["open"] = VenueUnavailable("no network")
    with pytest.raises(VenueUnavailable):
        await venue.start()
    assert [call[0] for call in venue.calls] == ["load_instruments", "open", "close"]
    del venue.failures["open"]
    await venue.start()
    assert [i.symbol for i in await venue.symbols(InstrumentKind.SPOT)] == [ETH]
    assert (await venue.exchange_limits(BTC)).tick_size == D("0.5")
    with pytest.raises(UnknownSymbol, match="'XRP-USDT' is not listed on fake"):
        await venue.exchange_limits("XRP-USDT")
    with pytest.raises(AuthError, match="no keys"):
        venue.require_keys()
    with pytest.raises(Unsupported):
        await venue.cancel_all_after(60)


async def test_the_list_of_instruments_is_asked_for_anew_when_it_is_three_seconds_old(ready):
    await ready.symbols()
    ready.clock.advance(2.9)
    await ready.symbols()
    assert ready.calls == []
    ready.clock.advance(0.2)
    await ready.symbols()
    await ready.symbols()
    assert ready.calls == [("load_instruments",)]


async def test_an_order_is_placed_then_looked_up(ready):
    placed = await ready.place_order(BTC, Side.BUY, OrderType.LIMIT, D(1), D(100), post_only=True)
    request = ready.calls[0][1]
    assert request.type is OrderType.POST_ONLY and placed.state is OrderState.OPEN
    assert len(request.client_id) == 18 and request.client_id.isalnum() and request.client_id.islower()
    assert ready.calls[1] == ("look_up", request.client_id, BTC)
    again = await ready.place_order(BTC, Side.BUY, OrderType.LIMIT, D(1), D(100))
    assert again.client_id != placed.client_id
    ready.answer = OrderState.FILLED
    ready.calls.clear()
    filled = await ready.place_order(ETH, Side.SELL, OrderType.MARKET, D(1), client_id="mine")
    assert filled.state is OrderState.FILLED and [call[0] for call in ready.calls] == ["submit"]


async def test_an_accepted_order_that_cannot_be_looked_up_stays_accepted(ready, lines):
    for failure in (OrderNotFound("not there yet"), VenueUnavailable("broke")):
        ready.failures["look_up"] = failure
        placed = await ready.place_order(BTC, Side.BUY, OrderType.LIMIT, D(1), D(100), client_id="mine")
        assert placed.state is OrderState.SENT and placed.venue_order_id == "77"
        assert "mine was accepted, but could not be looked up" in lines[-1]


async def test_nothing_wrong_reaches_the_venue(ready):
    with pytest.raises(InvalidOrder):
        await ready.place_order(BTC, Side.BUY, OrderType.MARKET, D(1), post_only=True)
    with pytest.raises(InvalidOrder, match="give a price"):
        await ready.amend_order("a", BTC)
    for call in (
        ready.place_order("X-Y", Side.BUY, OrderType.MARKET, D(1)),
        ready.amend_order("a", "X-Y", D(1)),
        ready.revoke_order("a", "X-Y"),
        ready.get_order_status("a", "X-Y"),
        ready.cancel_all("X-Y"),
    ):
        with pytest.raises(UnknownSymbol):
            await call
    assert ready.calls == []


async def test_cancel_all_tries_every_order_and_tells_the_first_failure(ready):
    ready.failures["withdraw a"] = OrderNotFound("filled meanwhile")
    assert [order.client_id for order in await ready.cancel_all()] == ["b"]
    ready.failures["withdraw a"] = VenueUnavailable("broke")
    with pytest.raises(VenueUnavailable):
        await ready.cancel_all()
    assert [call[1] for call in ready.calls if call[0] == "withdraw"] == ["a", "b", "a", "b"]
    ready.working = [update("")]
    await ready.cancel_all(BTC)
    assert ready.calls[-1] == ("withdraw", "77", BTC)


async def test_positions_are_closed_reduce_only_at_market_or_off_the_mark(ready):
    held = [Position(BTC, D("0.5"), D(90), D(100), D(5), D(1)), Position(ETH, D(-2), D(90), D(100), D(5), D(1))]
    ready.positions = [*held, Position(BTC, D(0), D(0), D(100), D(0), D(1))]
    await ready.close_all_positions()
    await ready.close_all_positions(mode="limit", price_offset=D("0.013"))
    await ready.close_all_positions(side=Side.SELL)
    sent = [call[1] for call in ready.calls if call[0] == "submit"]
    assert all(request.reduce_only for request in sent)
    assert [(r.symbol, r.side, r.type, r.quantity, r.price) for r in sent] == [
        (BTC, Side.SELL, OrderType.MARKET, D("0.5"), None),
        (ETH, Side.BUY, OrderType.MARKET, D(2), None),
        (BTC, Side.SELL, OrderType.LIMIT, D("0.5"), D("101.5")),
        (ETH, Side.BUY, OrderType.LIMIT, D(2), D("98.5")),
        (ETH, Side.BUY, OrderType.MARKET, D(2), None),
    ]
    with pytest.raises(InvalidOrder, match="must be market or limit"):
        await ready.close_all_positions(mode="twap")


async def test_the_venue_is_told_of_first_and_last_listeners_only(ready):
    heard: list[tuple[str, object]] = []
    first = ready.subscribe_trades(BTC, lambda trade: heard.append(("first", trade)))
    second = ready.subscribe_trades(BTC, lambda trade: heard.append(("second", trade)))
    bars = ready.subscribe_klines(BTC, "1m", lambda bar: heard.append(("bar", bar)))
    trade = Trade(BTC, 1, 100.0, 1.0, Side.BUY, "1")
    bar = Bar(BTC, "1m", 0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
    ready.on_market([trade, bar, Trade(ETH, 1, 1.0, 1.0, Side.BUY, "2")])
    assert heard == [("first", trade), ("second", trade), ("bar", bar)]
    first()
    first()
    ready.on_market([trade])
    assert heard[3:] == [("second", trade)]
    second()
    bars()
    assert [(call[0], call[1]) for call in ready.calls] == [
        ("follow", Topic("trades", BTC)),
        ("follow", Topic("klines", BTC, "1m")),
        ("unfollow", Topic("trades", BTC)),
        ("unfollow", Topic("klines", BTC, "1m")),
    ]
    with pytest.raises(InvalidOrder, match="timeframe '7m'"):
        ready.subscribe_klines(BTC, "7m", heard.append)
    with pytest.raises(UnknownSymbol):
        ready.subscribe_ticks("X-Y", heard.append)


async def test_what_is_known_of_the_ticks_comes_first_but_later(ready):
    quote, newer = Quote(BTC, 1, 99.0, 1.0, 101.0, 1.0), Quote(BTC, 2, 98.0, 1.0, 101.0, 1.0)
    others = [MarkPrice(BTC, 1, 100.0, 100.0), FundingRate(BTC, 1, 0.0, 8, 9), Ticker(BTC, 1, 1, 1, 1, 1, 1)]
    early: list[object] = []
    late: list[object] = []
    leave = ready.subscribe_ticks(BTC, early.append)
    ready.on_market([quote, *others, newer])
    assert early == [quote, *others, newer]
    leave_late = ready.subscribe_ticks(BTC, late.append)
    gone = ready.subscribe_ticks(BTC, lambda event: late.append("gone"))
    gone()
    assert late == []
    ready.clock.advance(0.0)
    assert late == [newer, *others]
    leave()
    leave_late()
    fresh: list[object] = []
    ready.subscribe_ticks(BTC, fresh.append)
    ready.clock.advance(0.0)
    assert fresh == []


async def test_a_book_is_announced_to_who_comes_later_and_forgotten_after_the_last(ready):
    early: list[object] = []
    leave = ready.subscribe_orderbook(BTC, early.append)
    snapshot = BookUpdate(BTC, 5, [(99.0, 1.0)], [(101.0, 1.0)], snapshot=True)
    ready.on_market([BookSynced(BTC, 5), snapshot])
    assert early == [BookSynced(BTC, 5), snapshot]
    late: list[object] = []
    leave_late = ready.subscribe_orderbook(BTC, late.append)
    assert late == []
    ready.clock.advance(0.0)
    assert late == [BookSynced(BTC, 5)] and ready.book(BTC).best_bid == 99.0
    ready.books.lose(BTC, "gap")
    assert ready.calls[-1] == ("resync", BTC, "gap") and not ready.book(BTC).valid
    leave()
    leave_late()
    assert ready.calls[-1] == ("unfollow", Topic("book", BTC)) and not ready.book(BTC).bids


async def test_account_and_wire_are_passed_on_while_somebody_listens(ready):
    heard: list[object] = []
    assert not ready.streams.account_heard and not ready.streams.raw_heard
    account, raw = ready.subscribe_account(heard.append), ready.subscribe_raw(heard.append)
    assert ready.streams.account_heard and ready.streams.raw_heard
    event = AccountStream(live=True, reason="")
    ready.on_account(event)
    ready.on_raw(b"{}")
    account()
    raw()
    ready.on_account(event)
    ready.on_raw(b"{}")
    assert heard == [event, b"{}"]


async def test_what_cannot_be_understood_is_counted_and_told_now_and_then(ready, lines):
    for number in range(120):
        ready.on_market([Unparsed(f"reason {number}", "raw")])
    assert ready.streams.unparsed_count == 120
    assert [line.split(":")[1] for line in lines] == [
        f" {count} messages could not be understood; the last" for count in (1, 10, 100)
    ]


async def test_stop_gives_up_what_runs_and_failures_in_the_background_are_reported(ready):
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    failure = KeyError("a bug")

    async def fail() -> None:
        raise failure

    never = ready.in_background(asyncio.Event().wait(), "wait")
    ready.in_background(fail(), "fail")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reported == [failure]
    await ready.stop()
    assert never.cancelled() and ready.calls == [("close",)]

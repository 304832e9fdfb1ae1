"""The driver's syscalls and streams."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.scripted import ScriptedMarket
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import LoopClock, Rng
from engine.kernel.errors import ConfigError, InvalidOrder, OrderNotFound, UnknownSymbol, VenueUnavailable
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import Bar, BookInvalid, BookSynced, FundingRate, MarkPrice, Quote, Ticker, Unparsed
from engine.kernel.orders import OrderState, OrderType
from engine.kernel.syscalls import Driver, OrderGateway
from tests.paper.venue import BUY, FREE, OTHER, PERP, SELL, SPOT, START_NS, Venue, instruments, opened

MARKET, LIMIT, POST, IOC, FOK = OrderType.MARKET, OrderType.LIMIT, OrderType.POST_ONLY, OrderType.IOC, OrderType.FOK
MINUTE_MS = 60_000


async def answered(venue: Venue, call):
    """Wait for a syscall while the venue's latency passes."""
    task = asyncio.ensure_future(call)
    while not task.done():
        await asyncio.sleep(0)
        venue.wait(5)
    return task.result()


def now(call):
    """Return the result of a query, which needs no time."""
    return asyncio.run(call)


def test_it_is_a_driver_and_a_gateway():
    venue = opened()
    assert isinstance(venue.driver, Driver)
    assert isinstance(venue.driver.gateway, OrderGateway)


def test_market_queries():
    venue = opened(spot_maker=Decimal("0.001"), spot_taker=Decimal("0.002"))
    driver = venue.driver
    assert [i.symbol for i in now(driver.symbols(InstrumentKind.SPOT))] == [SPOT]
    assert len(now(driver.symbols())) == 3
    limits = now(driver.exchange_limits(PERP))
    assert (limits.tick_size, limits.lot_size, limits.max_leverage) == (Decimal("0.01"), Decimal("0.001"), 100)
    venue.print(100)
    price = now(driver.get_price_now(PERP))
    assert (price.bid, price.ask, price.last, price.mark) == (
        Decimal("99.90"), Decimal("100.10"), Decimal("100.00"), Decimal("100.0"),
    )  # fmt: skip
    book = now(driver.get_orderbook(PERP, 1))
    assert (book.bids, book.asks) == ([(Decimal("99.9"), Decimal(1))], [(Decimal("100.1"), Decimal(1))])
    assert now(driver.server_time()) == venue.clock.now_ms()
    venue.funding(0.0001, venue.clock.now_ms() + 1000)
    fees = now(driver.fees(PERP))
    assert (fees.funding_rate, fees.funding_rate_per_hour) == (Decimal("0.0001"), Decimal("0.0000125"))
    assert now(driver.fees(SPOT)).taker == Decimal("0.002")
    for query in (
        driver.exchange_limits("X"),
        driver.get_price_now("X"),
        driver.get_klines("X", "1m"),
        driver.fees("X"),
    ):
        with pytest.raises(UnknownSymbol):
            now(query)
    for query in (driver.get_klines(PERP, "7m"), driver.get_klines(PERP, "1m", 0), driver.get_orderbook(PERP, 0)):
        with pytest.raises(InvalidOrder):
            now(query)


def test_before_the_book_is_whole_its_query_gives_the_touch_or_says_that_there_is_nothing():
    venue = Venue()
    with pytest.raises(VenueUnavailable, match="no market yet"):
        now(venue.driver.get_orderbook(PERP))
    venue.quote(99.9, 2, 100.1, 3)
    book = now(venue.driver.get_orderbook(PERP))
    assert (book.bids, book.asks) == ([(Decimal("99.9"), 2)], [(Decimal("100.1"), 3)])


async def test_trading_syscalls():
    venue = opened()
    driver = venue.driver
    filled = await answered(venue, driver.place_order(PERP, BUY, MARKET, Decimal(1)))
    assert (filled.state, filled.average_price) == (OrderState.FILLED, Decimal("100.1"))
    resting = await answered(
        venue, driver.place_order(PERP, BUY, LIMIT, Decimal(1), Decimal("99.5"), client_id="mine", post_only=True)
    )
    assert (resting.type, resting.state, resting.client_id) == (POST, OrderState.OPEN, "mine")
    amended = await answered(venue, driver.amend_order("mine", PERP, price=Decimal("99.4")))
    assert amended.price == Decimal("99.4")
    assert (await driver.get_order_status(resting.venue_order_id, PERP)).price == Decimal("99.4")
    revoked = await answered(venue, driver.revoke_order(resting.venue_order_id, PERP))
    assert revoked.state is OrderState.CANCELED
    with pytest.raises(OrderNotFound):
        await answered(venue, driver.revoke_order("mine", PERP))
    ioc = await answered(
        venue, driver.place_order(PERP, SELL, LIMIT, Decimal(9), Decimal("99.9"), time_in_force="IOC", reduce_only=True)
    )
    assert (ioc.type, ioc.filled, ioc.state) == (IOC, 1, OrderState.FILLED)
    assert [fill.side for fill in await driver.get_fills(PERP)] == [BUY, SELL]
    assert await driver.get_fills(PERP, since=venue.clock.now_ms() + 1) == []
    for symbol in (PERP, OTHER):
        await answered(venue, driver.place_order(symbol, BUY, LIMIT, Decimal(1), Decimal(99)))
    assert len(await driver.get_open_orders()) == 2
    assert [u.symbol for u in await answered(venue, driver.cancel_all(OTHER))] == [OTHER]
    assert [u.symbol for u in await answered(venue, driver.cancel_all())] == [PERP]
    assert await driver.get_open_orders() == []


@pytest.mark.parametrize(
    ("kind", "flags", "text"),
    [
        (LIMIT, {"time_in_force": "day"}, "must be gtc, ioc or fok"),
        (MARKET, {"time_in_force": "fok"}, "cannot be fok and market"),
        (MARKET, {"post_only": True}, "cannot be market and post_only"),
        (LIMIT, {"post_only": True, "time_in_force": "ioc"}, "cannot be ioc and post_only"),
    ],
)
async def test_contradicting_flags_are_refused(kind, flags, text):
    venue = opened()
    with pytest.raises(InvalidOrder, match=text):
        await answered(venue, venue.driver.place_order(PERP, BUY, kind, Decimal(1), Decimal(99), **flags))


async def test_close_all_positions_by_market_by_limit_and_by_side():
    venue = opened()
    driver = venue.driver
    venue.order(BUY, MARKET, "1")
    venue.order(SELL, MARKET, "1", symbol=OTHER)
    venue.mark(100)
    resting = await answered(venue, driver.close_all_positions(mode="limit", price_offset=Decimal("0.0005"), side=BUY))
    assert [(u.symbol, u.side, u.price, u.reduce_only) for u in resting] == [(PERP, SELL, Decimal("100.05"), True)]
    with pytest.raises(InvalidOrder, match="market or limit"):
        await driver.close_all_positions(mode="soft")
    closed = await answered(venue, driver.close_all_positions())
    assert [(u.symbol, u.filled) for u in closed] == [(OTHER, 1), (PERP, 1)]
    assert await driver.get_position() == []
    assert [b.currency for b in await driver.fetch_balance("USD")] == ["USD"]
    assert await driver.set_leverage(PERP, Decimal(3)) == 3


def test_streams_begin_with_what_is_known_but_not_on_the_callers_stack():
    venue = opened()
    venue.mark(100)
    venue.funding(0.0001, venue.clock.now_ms() + 1000)
    ticks, books = [], []
    stop = venue.driver.subscribe_ticks(PERP, ticks.append)
    venue.driver.subscribe_orderbook(PERP, books.append)
    gone = venue.driver.subscribe_ticks(PERP, lambda event: pytest.fail("unsubscribed"))
    gone()
    assert not ticks
    venue.wait(0)
    assert [type(event) for event in ticks] == [Quote, FundingRate, MarkPrice]
    assert [type(event) for event in books] == [BookSynced]
    stop()
    venue.quote(99, 1, 101, 1)
    assert len(ticks) == 3


def test_an_invalid_book_is_announced_and_not_traded_against():
    venue = opened()
    books: list = []
    venue.driver.subscribe_orderbook(PERP, books.append)
    venue.play(BookInvalid(PERP, venue.clock.now_ms(), "gap"))
    assert books[-1].reason == "gap" and not venue.driver.book(PERP).valid
    order = venue.order(BUY, MARKET, "2")
    assert venue.traded(order) == [(100.1, 1.0)], "only the touch is trusted"


def test_marks_and_tickers_are_derived_where_the_market_has_none():
    venue = opened()
    seen: list = []
    venue.driver.subscribe_ticks(PERP, seen.append)
    venue.print(100, 2)
    venue.quote(100.1, 1, 100.3, 1)
    venue.wait(1_000)
    marks = [event for event in seen if isinstance(event, MarkPrice)]
    assert marks[-1].mark == pytest.approx(100.2)
    tickers = [event for event in seen if isinstance(event, Ticker)]
    assert (tickers[-1].last, tickers[-1].quote_volume_24h) == (100, 200)


def test_candles_join_history_and_trades_and_flag_holes():
    opened_ms = START_NS // 1_000_000
    start_ms = opened_ms - opened_ms % MINUTE_MS
    history = {
        (PERP, "1m"): [
            Bar(PERP, "1m", start_ms - MINUTE_MS, 98, 99, 97, 98.5, 10, 985),
            Bar(PERP, "1m", start_ms, 98.5, 98.6, 98.4, 98.6, 5, 493, closed=False),
        ]
    }
    venue = opened()
    venue.market._history = history
    formed: list[Bar] = []
    venue.driver.subscribe_klines(PERP, "1m", formed.append)
    venue.driver.subscribe_klines(PERP, "3m", formed.append)
    venue.print(100, 2)
    venue.wait(1_000)
    assert [
        (bar.closed, bar.open, bar.high, bar.close, bar.base_volume) for bar in formed if bar.timeframe == "1m"
    ] == [(False, 98.5, 100, 100, 7)]
    venue.wait(MINUTE_MS)
    bars = now(venue.driver.get_klines(PERP, "1m"))
    assert [(bar.open_time - start_ms, bar.open, bar.low, bar.close, bar.closed) for bar in bars] == [
        (-MINUTE_MS, 98, 97, 98.5, True),
        (0, 98.5, 98.4, 100, True),
    ]
    venue.wait(MINUTE_MS)
    venue.quote(99, 1, 101, 1)
    venue.wait(MINUTE_MS)
    bars = now(venue.driver.get_klines(PERP, "1m"))[2:]
    assert [(bar.missing, bar.base_volume, bar.close) for bar in bars] == [(True, 0, 100), (False, 0, 100)]
    closed = [bar.open_time for bar in formed if bar.closed and bar.timeframe == "1m"]
    assert closed == [start_ms, start_ms + MINUTE_MS, start_ms + 2 * MINUTE_MS], "each closed candle once"
    assert now(venue.driver.get_klines(PERP, "1m", 1, start_time=start_ms))[0].open_time == start_ms
    assert [b.open_time for b in now(venue.driver.get_klines(PERP, "1m", end_time=start_ms))] == [
        start_ms - MINUTE_MS,
        start_ms,
    ]


def test_unparsed_messages_are_counted():
    venue = opened()
    venue.play(Unparsed("no JSON", "xx"))
    assert venue.driver.unparsed == 1


def test_full_speed_plays_no_event_before_its_time():
    venue = Venue(**FREE)
    start_ns = venue.clock.now_ns()
    for ms in (0, 5, 5, 20):
        venue.market.add_print(start_ns + ms * 1_000_000, 100 + ms)
    seen: list[tuple[float, int]] = []
    venue.driver.subscribe_trades(PERP, lambda trade: seen.append((trade.price, venue.clock.now_ns() - start_ns)))
    venue.send(BUY, LIMIT, 1, 90)
    venue.driver.run_virtual(venue.clock, start_ns + 30_000_000)
    assert seen == [(100, 0), (105, 5_000_000), (105, 5_000_000), (120, 20_000_000)]
    assert venue.clock.now_ns() == start_ns + 30_000_000


async def test_the_market_plays_with_the_loop():
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop, START_NS)
    driver = PaperDriver(
        SyntheticMarket(1, START_NS, rate=2_000), clock, Rng(1), PaperConfig(latency_ms=1), MemoryStore()
    )
    moved: asyncio.Future[Quote] = loop.create_future()

    def on_tick(event) -> None:
        if isinstance(event, Quote) and event.ts > START_NS // 1_000_000 and not moved.done():
            moved.set_result(event)

    driver.subscribe_ticks("BTC-USDT-PERP", on_tick)
    await driver.start()
    quote = await asyncio.wait_for(moved, 10)
    assert quote.bid < quote.ask
    bars = await driver.get_klines("BTC-USDT-PERP", "1h", 1500)
    assert len(bars) == 1500 and not bars[-1].closed
    update = await asyncio.wait_for(driver.place_order("BTC-USDT-PERP", BUY, MARKET, Decimal("0.002")), 10)
    assert update.state is OrderState.FILLED
    await driver.stop()
    assert all(line.difference == 0 for line in driver.audit())


async def test_a_market_that_fails_is_not_silent():
    class Broken(ScriptedMarket):
        def step(self):
            raise ConfigError("the recording is damaged")

    loop = asyncio.get_running_loop()
    failed: asyncio.Future[BaseException] = loop.create_future()
    loop.set_exception_handler(lambda _, context: failed.set_result(context["exception"]))
    market = Broken(instruments(), start_ns=START_NS)
    market.add_print(START_NS, 100)
    driver = PaperDriver(market, LoopClock(loop, START_NS), Rng(1), PaperConfig(), MemoryStore())
    await driver.start()
    assert "damaged" in str(await asyncio.wait_for(failed, 10))
    await driver.stop()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"queue": "lifo"}, "queue is 'lifo'; it must be one of fifo, touch"),
        ({"leverage": Decimal(0)}, "leverage is 0"),
        ({"latency_ms": -1}, "latency"),
        ({"perp_taker": Decimal(1)}, "perp_taker is 1"),
        ({"balances": {"USD": Decimal(-1)}}, "USD is -1"),
    ],
)
def test_senseless_settings_are_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        PaperConfig(**settings)

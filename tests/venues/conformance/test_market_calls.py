"""Market calls: what every driver says about instruments, prices, books, candles and fees is what the venue has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from engine.kernel.errors import CtosError, InvalidOrder, UnknownSymbol
from engine.kernel.instruments import InstrumentKind, InstrumentStatus
from engine.kernel.links import LinkState
from engine.kernel.market import Bar
from engine.kernel.orders import OrderType, Side
from engine.kernel.syscalls import Driver, OrderGateway
from tests.venues.conformance.rig import BOOKS, Rig

MINUTE_MS = 60_000


async def test_a_driver_offers_every_call(rig: Rig):
    assert isinstance(rig.driver, Driver)
    assert isinstance(rig.driver.gateway, OrderGateway)
    assert rig.driver.venue == rig.venue


async def test_instruments_are_listed_in_coins_with_exact_steps(rig: Rig):
    listed = {instrument.symbol: instrument for instrument in await rig.driver.symbols()}
    for symbol in (rig.perp, rig.other, rig.tiny, rig.spot):
        ours, truth = listed[symbol], rig.listed[symbol]
        limits = await rig.driver.exchange_limits(symbol)
        assert (limits.tick_size, limits.lot_size, limits.min_quantity) == (
            truth.tick_size,
            truth.lot_size,
            truth.min_quantity,
        )
        assert ours.min_notional == truth.min_notional
        assert (ours.base, ours.quote, ours.settle, ours.kind) == (truth.base, truth.quote, truth.settle, truth.kind)
        assert ours.venue == rig.venue
        assert ours.status is InstrumentStatus.TRADING
        assert ours.funding_period_h == (truth.funding_period_h if truth.is_perp else 0)
    perps = await rig.driver.symbols(InstrumentKind.PERP)
    assert rig.spot not in [i.symbol for i in perps] and all(i.is_perp for i in perps)
    assert all(i.max_leverage >= 10 for i in perps if i.symbol == rig.perp)


async def test_prices_now_are_the_venues(rig: Rig):
    for symbol in (rig.perp, rig.tiny, rig.spot):
        bids, asks = BOOKS[symbol.partition("-")[0]]
        now = await rig.patiently(rig.driver.get_price_now(symbol))
        assert (now.bid, now.ask) == (_exact(bids[0][0]), _exact(asks[0][0]))
        assert now.mark == (None if symbol == rig.spot and now.mark is None else _exact((bids[0][0] + asks[0][0]) / 2))
        assert now.last == _exact(asks[0][0])
        assert abs(now.ts - rig.clock.now_ms()) < 120_000


async def test_the_book_comes_best_first_in_coins(rig: Rig):
    for symbol in (rig.perp, rig.tiny, rig.spot):
        bids, asks = BOOKS[symbol.partition("-")[0]]
        book = await rig.patiently(rig.driver.get_orderbook(symbol, 2))
        assert book.bids == [(_exact(price), _exact(size)) for price, size in bids[:2]]
        assert book.asks == [(_exact(price), _exact(size)) for price, size in asks[:2]]
    with pytest.raises(InvalidOrder):
        await rig.driver.get_orderbook(rig.perp, 0)


def _minutes(symbol: str, last_ms: int, count: int) -> list[Bar]:
    bars = []
    for number in range(count):
        opened = 60_000.0 + number % 50
        start = last_ms - (count - 1 - number) * MINUTE_MS
        bars.append(Bar(symbol, "1m", start, opened, opened + 3, opened - 2, opened + 1, 2.0, 2.0 * opened))
    return bars


async def test_candles_come_oldest_first_whatever_the_venues_page_size_is(rig: Rig):
    now_minute = rig.clock.now_ms() // MINUTE_MS * MINUTE_MS
    history = _minutes(rig.perp, now_minute - MINUTE_MS, 2_000)
    rig.give_history(rig.perp, "1m", history)
    bars = await rig.patiently(rig.driver.get_klines(rig.perp, "1m", 1_200))
    assert len(bars) == 1_200
    assert all(later.open_time - earlier.open_time == MINUTE_MS for earlier, later in pairwise(bars))
    assert bars[-1].open_time == now_minute and not bars[-1].closed
    assert all(bar.closed for bar in bars[:-1])
    truth = {bar.open_time: bar for bar in history}
    middle = bars[500]
    wanted = truth[middle.open_time]
    assert (middle.open, middle.high, middle.low, middle.close) == (wanted.open, wanted.high, wanted.low, wanted.close)
    assert middle.base_volume == pytest.approx(2.0)
    assert middle.quote_volume == pytest.approx(wanted.quote_volume)
    assert (middle.symbol, middle.timeframe) == (rig.perp, "1m")


async def test_candles_of_a_span_start_and_end_where_asked(rig: Rig):
    now_minute = rig.clock.now_ms() // MINUTE_MS * MINUTE_MS
    rig.give_history(rig.perp, "1m", _minutes(rig.perp, now_minute - MINUTE_MS, 2_000))
    start = now_minute - 1_900 * MINUTE_MS
    bars = await rig.patiently(rig.driver.get_klines(rig.perp, "1m", 1_100, start_time=start))
    assert [bars[0].open_time, bars[-1].open_time] == [start, start + 1_099 * MINUTE_MS]
    bars = await rig.patiently(rig.driver.get_klines(rig.perp, "1m", 500, start, start + 9 * MINUTE_MS))
    assert [bar.open_time for bar in bars] == [start + number * MINUTE_MS for number in range(10)]
    end = now_minute - 100 * MINUTE_MS
    bars = await rig.patiently(rig.driver.get_klines(rig.perp, "1m", 3, end_time=end))
    assert [bar.open_time for bar in bars] == [end - 2 * MINUTE_MS, end - MINUTE_MS, end]


async def test_fees_and_funding_are_the_accounts(rig: Rig):
    fees = await rig.patiently(rig.driver.fees(rig.perp))
    truth = rig.exchange.market(rig.perp)
    assert truth.funding is not None
    assert (fees.maker, fees.taker) == (rig.config.perp_maker, rig.config.perp_taker)
    assert fees.funding_rate == Decimal("0.0001")
    assert fees.funding_period_h == truth.funding.period_h
    assert fees.funding_rate_per_hour == Decimal("0.0001") / truth.funding.period_h
    assert fees.next_funding_time == truth.funding.next_time
    spot = await rig.patiently(rig.driver.fees(rig.spot))
    assert (spot.maker, spot.taker, spot.funding_rate) == (rig.config.spot_maker, rig.config.spot_taker, None)


async def test_server_time_is_the_venues(rig: Rig):
    if rig.emulator is not None:
        rig.emulator.skew_ms = 5_000
    told = await rig.patiently(rig.driver.server_time())
    truth = rig.clock.now_ms() if rig.emulator is None else rig.emulator.clock.now_ms()
    assert abs(told - truth) < 2_000


UNKNOWN = "NOSUCH-USDT-PERP"
CALLS: dict[str, Callable[[Driver], Awaitable[object]]] = {
    "exchange_limits": lambda d: d.exchange_limits(UNKNOWN),
    "get_price_now": lambda d: d.get_price_now(UNKNOWN),
    "get_orderbook": lambda d: d.get_orderbook(UNKNOWN),
    "get_klines": lambda d: d.get_klines(UNKNOWN, "1m"),
    "fees": lambda d: d.fees(UNKNOWN),
    "place_order": lambda d: d.place_order(UNKNOWN, Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(1)),
    "amend_order": lambda d: d.amend_order("1", UNKNOWN, Decimal(1)),
    "revoke_order": lambda d: d.revoke_order("1", UNKNOWN),
    "get_order_status": lambda d: d.get_order_status("1", UNKNOWN),
    "get_open_orders": lambda d: d.get_open_orders(UNKNOWN),
    "get_fills": lambda d: d.get_fills(UNKNOWN),
    "get_position": lambda d: d.get_position(UNKNOWN),
    "close_all_positions": lambda d: d.close_all_positions(UNKNOWN),
    "set_leverage": lambda d: d.set_leverage(UNKNOWN, Decimal(3)),
    "cancel_all": lambda d: d.cancel_all(UNKNOWN),
}


@pytest.mark.parametrize("call", CALLS)
async def test_an_unknown_symbol_is_named(rig: Rig, call: str):
    with pytest.raises(UnknownSymbol, match=UNKNOWN):
        await rig.patiently(CALLS[call](rig.driver))


@pytest.mark.parametrize("call", ["subscribe_ticks", "subscribe_orderbook", "subscribe_trades", "book"])
async def test_an_unknown_symbol_cannot_be_followed(rig: Rig, call: str):
    with pytest.raises(UnknownSymbol, match=UNKNOWN):
        if call == "book":
            rig.driver.book(UNKNOWN)
        else:
            getattr(rig.driver, call)(UNKNOWN, lambda event: None)


async def test_bad_arguments_are_refused_in_words(rig: Rig):
    for timeframe, limit in (("7m", 10), ("1m", 0)):
        with pytest.raises(CtosError) as refusal:
            await rig.patiently(rig.driver.get_klines(rig.perp, timeframe, limit))
        assert isinstance(refusal.value, InvalidOrder)
        assert str(timeframe if limit else limit) in str(refusal.value)
    with pytest.raises(InvalidOrder, match="7m"):
        rig.driver.subscribe_klines(rig.perp, "7m", lambda bar: None)


async def test_every_link_is_live_after_start(wired: Rig):
    links = wired.driver.links()
    assert {link.name for link in links} >= {"rest"} and len(links) >= 2
    assert all(link.state is LinkState.LIVE for link in links), links


def _exact(value: float) -> Decimal:
    return Decimal(repr(round(value, 12)))

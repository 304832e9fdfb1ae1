"""History: executions of every instrument and of more than one query window, candles of every length."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.orders import OrderType, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL
DAY_S = 86_400.0


async def test_fills_of_every_instrument_are_found_by_the_next_driver(wired: Rig):
    await wired.placed(BUY, "0.02", None, OrderType.MARKET)
    await wired.placed(SELL, "0.5", None, OrderType.MARKET, symbol=wired.other)
    await wired.placed(BUY, "30000000", None, OrderType.MARKET, symbol=wired.tiny)
    await wired.placed(BUY, "0.01", None, OrderType.MARKET, symbol=wired.spot)
    await wired.placed(SELL, "0.02", None, OrderType.MARKET, reduce_only=True)
    await wired.until(lambda: len(wired.executions()) == 5)
    since = wired.clock.now_ms() - 600_000
    await wired.restart()
    asked = await wired.patiently(wired.driver.get_fills(None, since))
    truth = wired.executions()
    key = [(f.symbol, f.side, f.price, f.quantity, f.fee, f.fee_currency) for f in truth]
    assert sorted((f.symbol, f.side, f.price, f.quantity, f.fee, f.fee_currency) for f in asked) == sorted(key)
    assert [f.ts for f in asked] == sorted(f.ts for f in asked)


async def test_e13_fills_of_nine_days_are_found_whatever_the_venues_window_is(wired: Rig):
    since = wired.clock.now_ms() - 60_000
    for days in (4.5, 4.5, 0.0):
        await wired.placed(BUY, "0.02", None, OrderType.MARKET)
        await wired.placed(BUY, "0.01", None, OrderType.MARKET, symbol=wired.spot)
        await wired.until(lambda: len(wired.fills()) == len(wired.executions()), within_s=60)
        if days:
            await wired.sleep(days * DAY_S)
            await wired.until(wired.is_live, within_s=180, alive=True)
    assert len(wired.executions()) == 6
    asked = await wired.patiently(wired.driver.get_fills(None, since), within_s=300)
    assert sorted((f.symbol, f.ts, f.quantity) for f in asked) == sorted(
        (f.symbol, f.ts, f.quantity) for f in wired.executions()
    )
    recent = await wired.patiently(wired.driver.get_fills(None, wired.clock.now_ms() - 3_600_000), within_s=300)
    assert len(recent) == 2


def _candles(symbol: str, timeframe: str, current: int) -> list[Bar]:
    step = TIMEFRAME_MS[timeframe]
    return [
        Bar(symbol, timeframe, current - n * step, 60_000.0 + n, 60_100.0, 59_900.0, 60_001.0, 24.0, 1_440_000.0)
        for n in range(8, 0, -1)
    ]


def _hours(day: Bar) -> list[Bar]:
    hour = TIMEFRAME_MS["1h"]
    return [
        Bar(day.symbol, "1h", day.open_time + n * hour, day.open, day.high, day.low, day.close, 1.0, 60_000.0)
        for n in range(24)
    ]


@pytest.mark.parametrize("timeframe", list(TIMEFRAME_MS))
async def test_candles_of_every_length_begin_where_utc_says(rig: Rig, timeframe: str):
    step = TIMEFRAME_MS[timeframe]
    current = rig.clock.now_ms() // step * step
    rig.give_history(rig.perp, timeframe, _candles(rig.perp, timeframe, current))
    if timeframe == "1d":
        # A venue whose days begin elsewhere joins its candles from hours.
        days = _candles(rig.perp, "1d", current)
        rig.give_history(rig.perp, "1h", [hour for day in days for hour in _hours(day)])
    asked = await rig.patiently(rig.driver.get_klines(rig.perp, timeframe, 6))
    assert [bar.open_time % step for bar in asked] == [0] * 6
    assert [bar.open_time for bar in asked] == [current - number * step for number in range(5, -1, -1)]
    assert [bar.open for bar in asked[:-1]] == [60_005.0, 60_004.0, 60_003.0, 60_002.0, 60_001.0]
    assert [bar.closed for bar in asked] == [True] * 5 + [False]
    assert {bar.timeframe for bar in asked} == {timeframe}


@pytest.mark.parametrize("timeframe", ["5m", "1h", "1d"])
async def test_streams_of_longer_candles_form(rig: Rig, timeframe: str):
    heard: list[Bar] = []
    rig.driver.subscribe_klines(rig.perp, timeframe, heard.append)
    await rig.wind(1.0)
    step = TIMEFRAME_MS[timeframe]
    rig.stage.print(rig.perp, 60_007.0, 0.25, BUY)
    await rig.until(lambda: heard and heard[-1].close == 60_007.0, alive=True)
    bar = heard[-1]
    assert (bar.symbol, bar.timeframe, bar.closed) == (rig.perp, timeframe, False)
    assert bar.open_time == rig.clock.now_ms() // step * step


async def test_orders_that_are_done_are_found_in_a_crowd(rig: Rig):
    ids = []
    for number in range(30):
        client_id = await rig.placed(BUY, "0.02", str(58_000 + number))
        await rig.cancel(client_id)
        ids.append(client_id)
    await rig.until(lambda: rig.exchange.open_orders() == [])
    for client_id in (ids[0], ids[15], ids[-1]):
        found = await rig.query(client_id)
        assert getattr(found, "client_id", None) == client_id, repr(found)
        assert getattr(found, "price", None) == Decimal(58_000 + ids.index(client_id))

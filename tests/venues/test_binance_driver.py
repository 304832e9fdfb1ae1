"""What only Binance has: two interfaces, listen keys, order sockets, executions by symbol; against the emulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from drivers.binance.driver import BinanceDriver
from engine.kernel.account import AccountStream, Balance
from engine.kernel.errors import AuthError, CtosError, UnknownOutcome, Unsupported
from engine.kernel.links import LinkState
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig
from tests.venues.emulators.binance import BinanceEmulator

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    opened = await Rig.open("binance")
    yield opened
    await opened.close()


@pytest.fixture
async def unstarted() -> AsyncIterator[Rig]:
    prepared = await Rig.prepare("binance")
    yield prepared
    await prepared.close()


def emulator_of(rig: Rig) -> BinanceEmulator:
    assert isinstance(rig.emulator, BinanceEmulator)
    return rig.emulator


def driver_of(rig: Rig) -> BinanceDriver:
    assert isinstance(rig.driver, BinanceDriver)
    return rig.driver


def sent(rig: Rig, method: str, path: str) -> list[Any]:
    return [seen for seen in emulator_of(rig).requests if (seen.method, seen.path) == (method, path)]


@pytest.mark.parametrize("kind", ["perp", "spot"])
async def test_orders_go_over_the_order_socket_when_that_is_wanted(unstarted: Rig, kind: str):
    rig = unstarted
    await rig.restart(trade_over_ws=True)
    symbol = rig.perp if kind == "perp" else rig.spot
    client_id = await rig.placed(BUY, "0.02", "59000", symbol=symbol)
    await rig.until(lambda: rig.told(client_id))
    if kind == "perp":
        amended = await rig.ask(
            lambda answer: rig.driver.gateway.amend(client_id, symbol, Decimal(58_900), None, answer)
        )
        assert isinstance(amended, OrderUpdate) and amended.price == 58_900
    gone = await rig.cancel(client_id, symbol)
    assert isinstance(gone, OrderUpdate) and gone.state is OrderState.CANCELED
    path = "/fapi/v1/order" if kind == "perp" else "/api/v3/order"
    by_rest = [seen for method in ("POST", "PUT", "DELETE") for seen in sent(rig, method, path) if seen.headers]
    assert not by_rest, "an order went by REST"
    assert len(rig.orders()) == 1


async def test_a_lost_order_socket_leaves_an_unknown_order_and_rest_takes_over(unstarted: Rig):
    rig = unstarted
    await rig.restart(trade_over_ws=True)
    faults = emulator_of(rig).faults
    faults.black_hole("trade")
    client_id, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome)
    await rig.until(
        lambda: any(link.name == "trade" and link.state is not LinkState.LIVE for link in rig.driver.links())
    )
    faults.clear()
    found = await rig.query(client_id)
    assert len(rig.orders()) == (1 if isinstance(found, OrderUpdate) else 0)
    second = await rig.placed(BUY, "0.02", "58000")
    await rig.until(lambda: rig.told(second))


async def test_the_listen_key_is_kept_alive_and_replaced_when_it_is_gone(rig: Rig):
    assert len(sent(rig, "POST", "/fapi/v1/listenKey")) == 1
    await rig.wind(2.0)
    assert len(sent(rig, "PUT", "/fapi/v1/listenKey")) == 1, "a key that is not good would be silent"
    await rig.clock.wind(1810, step_s=5)
    await rig.until(lambda: len(sent(rig, "PUT", "/fapi/v1/listenKey")) == 2)
    keys = emulator_of(rig).listen_keys
    keys.expires_ms = rig.clock.now_ms() - 1
    before = len(rig.events)
    await rig.until(lambda: len(sent(rig, "POST", "/fapi/v1/listenKey")) == 2, within_s=2000, alive=True)
    await rig.until(rig.is_live)
    news = [event.live for event in rig.events[before:] if isinstance(event, AccountStream)]
    assert news == [False, True]
    client_id = await rig.placed(BUY, "0.02", "59000")
    await rig.until(lambda: rig.told(client_id))


async def test_a_key_without_futures_trades_spot_alone(unstarted: Rig):
    rig = unstarted
    refused = '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}'
    emulator_of(rig).faults.answer(
        lambda method, path, body: path.startswith("/fapi/v1/symbolConfig"), 401, refused, times=None
    )
    await rig.start_driver()
    assert any(level == "warning" and "perp" in text for level, text in rig.logs)
    with pytest.raises(AuthError):
        await rig.patiently(rig.driver.place_order(rig.perp, BUY, OrderType.LIMIT, Decimal("0.02"), Decimal(59_000)))
    done = await rig.patiently(
        rig.driver.place_order(rig.spot, BUY, OrderType.LIMIT, Decimal("0.02"), Decimal(59_000), client_id="abc")
    )
    assert done.state is OrderState.OPEN
    assert [order.client_id for order in await rig.patiently(rig.driver.get_open_orders())] == ["abc"]
    assert await rig.patiently(rig.driver.get_position()) == []
    assert not sent(rig, "POST", "/fapi/v1/order")


async def test_spot_orders_become_smaller_in_place_and_nothing_else(rig: Rig):
    client_id = await rig.placed(BUY, "0.02", "59000", symbol=rig.spot)

    async def change(price: str | None, quantity: str | None) -> Any:
        terms = (None if price is None else Decimal(price), None if quantity is None else Decimal(quantity))
        return await rig.ask(lambda answer: rig.driver.gateway.amend(client_id, rig.spot, *terms, answer))

    smaller = await change(None, "0.015")
    assert isinstance(smaller, OrderUpdate)
    assert (smaller.client_id, smaller.quantity, smaller.state) == (client_id, Decimal("0.015"), OrderState.OPEN)
    assert isinstance(await change("58000", None), Unsupported)
    assert isinstance(await change(None, "0.03"), Unsupported)
    found = await rig.query(client_id, rig.spot)
    assert isinstance(found, OrderUpdate) and found.quantity == Decimal("0.015")
    assert not rig.driver.features.can_amend(rig.listed[rig.spot].kind)
    assert rig.driver.features.can_amend(rig.listed[rig.perp].kind)


async def test_the_timer_cancels_futures_orders_unless_it_is_set_anew(rig: Rig):
    first = await rig.placed(BUY, "0.02", "59000")
    await rig.until(lambda: rig.told(first))
    for _ in range(3):
        await rig.patiently(rig.driver.cancel_all_after(60))
        await rig.wind(30)
    assert rig.told(first)[-1].state is OrderState.OPEN
    await rig.until(lambda: rig.told(first)[-1].state is OrderState.CANCELED, within_s=90, alive=True)
    second = await rig.placed(BUY, "0.02", "59000")
    await rig.patiently(rig.driver.cancel_all_after(60))
    await rig.patiently(rig.driver.cancel_all_after(0))
    await rig.wind(90)
    assert rig.told(second)[-1].state is OrderState.OPEN


async def test_the_timer_of_a_symbol_without_orders_does_not_cancel_the_next_one(rig: Rig):
    first = await rig.placed(BUY, "0.02", "59000")
    await rig.patiently(rig.driver.cancel_all_after(60))
    await rig.cancel(first)
    await rig.until(lambda: rig.told(first)[-1:] and rig.told(first)[-1].state is OrderState.CANCELED)
    await rig.wind(45)
    await rig.patiently(rig.driver.cancel_all_after(60))
    next_one = await rig.placed(BUY, "0.02", "59000")
    await rig.wind(20)
    assert rig.told(next_one)[-1].state is OrderState.OPEN


async def test_one_symbols_failure_leaves_no_other_timer_as_it_was(rig: Rig):
    """Its failure is told after all others were set, or switched off; a timer that ran out is not switched off."""
    faults, countdowns = emulator_of(rig).faults, emulator_of(rig).account.countdowns
    orders = [await rig.placed(BUY, "0.02", "59000"), await rig.placed(BUY, "0.02", "2900", symbol=rig.other)]
    await rig.patiently(rig.driver.cancel_all_after(60))
    assert set(countdowns) == {rig.perp, rig.other}
    refusal = b'{"code":-1121,"msg":"Invalid symbol."}'
    for seconds in (60, 0):
        before = dict(countdowns)
        await rig.wind(1)
        faults.answer("countdownCancelAll", 400, refusal)
        with pytest.raises(CtosError):
            await rig.patiently(rig.driver.cancel_all_after(seconds))
        assert countdowns.get(rig.other) != before[rig.other] and countdowns[rig.perp] == before[rig.perp]
    for order, symbol in zip(orders, (rig.perp, rig.other), strict=True):
        await rig.patiently(rig.driver.revoke_order(order, symbol))
    await rig.wind(150)
    faults.answer("countdownCancelAll", 400, refusal, times=None)
    await rig.patiently(rig.driver.cancel_all_after(60))


async def test_executions_of_a_closed_symbol_are_found_after_a_restart(rig: Rig):
    for symbol, side in ((rig.other, BUY), (rig.other, SELL), (rig.spot, BUY)):
        await rig.placed(side, "0.5", None, OrderType.MARKET, symbol=symbol)
    await rig.until(lambda: len(rig.fills()) >= 3)
    told = sorted(rig.fills(), key=lambda fill: (fill.symbol, fill.trade_id))
    since = rig.clock.now_ms() - 60_000
    await rig.restart()
    for asked_since in (since, None):
        found = await rig.patiently(rig.driver.get_fills(None, asked_since))
        assert sorted(found, key=lambda fill: (fill.symbol, fill.trade_id)) == told


async def test_both_wallets_are_one_balance(rig: Rig):
    truth = {balance.currency: balance.total for balance in rig.balances()}
    asked = {balance.currency: balance for balance in await rig.patiently(rig.driver.fetch_balance())}
    assert asked["USDT"].total == truth["USDT"]
    rig.events.clear()
    await rig.placed(BUY, "0.1", None, OrderType.MARKET, symbol=rig.spot)

    def usdt() -> list[Balance]:
        return [event for event in rig.events if isinstance(event, Balance) and event.currency == "USDT"]

    await rig.until(usdt)
    assert usdt()[-1].total == {balance.currency: balance.total for balance in rig.balances()}["USDT"]


async def test_a_refused_time_is_measured_anew_and_the_order_signed_once_more(rig: Rig):
    emulator_of(rig).skew_ms += 40_000
    client_id = await rig.placed(BUY, "0.02", "59000")
    posts = sent(rig, "POST", "/fapi/v1/order")
    assert len(posts) == 2 and len(rig.orders()) == 1
    assert [order.client_id for order in await rig.patiently(rig.driver.get_open_orders())] == [client_id]


async def test_margin_and_leverage_follow_what_was_set(rig: Rig):
    driver = driver_of(rig)
    before = driver.leverage(rig.perp)
    assert before is not None
    assert await rig.patiently(driver.set_leverage(rig.perp, before + 1)) == before + 1
    assert driver.leverage(rig.perp) == before + 1 and driver.leverage(rig.spot) == 1

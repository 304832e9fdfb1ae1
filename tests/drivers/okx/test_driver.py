"""What only OKX has, over the wire: orders on the private socket, books without snapshot, account modes, funding."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from drivers.okx.driver import OkxDriver
from engine.kernel.account import FundingPayment
from engine.kernel.errors import InvalidOrder, OrderNotFound, UnknownOutcome
from engine.kernel.market import BookInvalid, BookSynced
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig
from tests.venues.emulators.okx import OkxEmulator
from tests.venues.emulators.okx_order import OkxOrder

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    opened = await Rig.open("okx")
    yield opened
    await opened.close()


def emulator_of(rig: Rig) -> OkxEmulator:
    assert isinstance(rig.emulator, OkxEmulator)
    return rig.emulator


def driver_of(rig: Rig) -> OkxDriver:
    assert isinstance(rig.driver, OkxDriver)
    return rig.driver


def sent(rig: Rig, path: str) -> list[Any]:
    return [seen for seen in emulator_of(rig).requests if seen.path.partition("?")[0] == path]


def bodies(rig: Rig, path: str) -> list[Any]:
    return [msgspec.json.decode(seen.body) for seen in sent(rig, path)]


async def test_orders_over_the_private_socket(rig: Rig):
    await rig.restart(trade_over_ws=True)
    client_id, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, OrderUpdate) and reply.state is OrderState.SENT and reply.venue_order_id
    await rig.until(lambda: rig.told(client_id))
    gateway = driver_of(rig).gateway
    amended = await rig.ask(lambda answer: gateway.amend(client_id, rig.perp, Decimal(59_100), None, answer))
    assert isinstance(amended, OrderUpdate) and amended.price == 59100
    canceled = await rig.cancel(client_id)
    assert isinstance(canceled, OrderUpdate) and canceled.state is OrderState.SENT
    assert isinstance(await rig.cancel(client_id), OrderNotFound)
    assert not sent(rig, "/api/v5/trade/order") and not sent(rig, "/api/v5/trade/amend-order")
    assert not sent(rig, "/api/v5/trade/cancel-order")
    _, short = await rig.place(BUY, "0.02", "59000.05")
    assert isinstance(short, InvalidOrder), "what the venue refuses on the socket is refused for good"


async def test_an_order_on_a_socket_that_breaks_has_no_known_outcome(rig: Rig):
    await rig.restart(trade_over_ws=True)
    emulator = emulator_of(rig)
    fault = emulator.faults.lose_response("WS order")
    client_id, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome), repr(reply)
    fault.stop()
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and found.client_id == client_id


async def test_an_order_that_expired_on_the_way_is_signed_anew(rig: Rig):
    await rig.restart(trade_over_ws=True)
    emulator_of(rig).skew_ms = 20_000
    client_id, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, OrderUpdate) and reply.client_id == client_id, repr(reply)
    assert len(rig.orders()) == 1 and abs(driver_of(rig)._rest.time.offset_ms - 20_000) < 500


async def test_orders_take_rest_while_the_socket_is_away(rig: Rig):
    await rig.restart(trade_over_ws=True)
    emulator_of(rig).faults.cut_sockets("private")
    driver = driver_of(rig)
    await rig.until(lambda: [link for link in driver.links() if link.name == "private" and link.state != "live"])
    _, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, OrderUpdate) and len(sent(rig, "/api/v5/trade/order")) == 1


async def test_a_book_without_snapshot_takes_the_rest_one(rig: Rig):
    driver, heard = driver_of(rig), []
    emulator_of(rig).faults.drop_message("books:BTC-USDT-SWAP", 1)
    driver.subscribe_orderbook(rig.perp, heard.append)
    raw: list[bytes] = []
    driver.subscribe_raw(raw.append)
    await rig.until(lambda: driver.book(rig.perp).valid, within_s=15, alive=True)
    assert any(isinstance(event, BookSynced) for event in heard)
    assert len(sent(rig, "/api/v5/market/books")) == 1
    assert any(b'"seqId"' in line and b'"arg"' not in line for line in raw), "the snapshot is recorded too"
    truth = rig.exchange.market(rig.perp).book
    await rig.until(lambda: driver.book(rig.perp).top_bids(3) == truth.top_bids(3))


async def test_a_book_that_falls_silent_is_asked_for_anew(rig: Rig):
    driver, heard = driver_of(rig), []
    driver.subscribe_orderbook(rig.perp, heard.append)
    driver.subscribe_orderbook(rig.other, lambda event: None)
    await rig.until(lambda: driver.book(rig.perp).valid)
    emulator_of(rig).faults.mute("books:BTC-USDT-SWAP")
    await rig.until(lambda: not driver.book(rig.perp).valid, within_s=120, alive=True)
    assert any(isinstance(e, BookInvalid) and "no message of the book" in e.reason for e in heard)
    assert driver.book(rig.other).valid, "the others are not touched"
    emulator_of(rig).faults.unmute("books:BTC-USDT-SWAP")
    await rig.until(lambda: driver.book(rig.perp).valid, within_s=60, alive=True)


async def test_a_quiet_book_stays(rig: Rig):
    driver = driver_of(rig)
    driver.subscribe_orderbook(rig.perp, lambda event: None)
    await rig.until(lambda: driver.book(rig.perp).valid)
    await rig.wind(200, alive=False)
    assert driver.book(rig.perp).valid and driver.books.resyncs[rig.perp] == 0


async def test_e19_numbers_that_begin_anew_after_maintenance_are_no_gap(rig: Rig):
    driver, heard = driver_of(rig), []
    driver.subscribe_orderbook(rig.perp, heard.append)
    await rig.until(lambda: driver.book(rig.perp).valid)
    emulator_of(rig).restart_sequence(rig.perp)
    await rig.wind(5)
    assert driver.book(rig.perp).valid and not [e for e in heard if isinstance(e, BookInvalid)]
    assert driver.books.resyncs[rig.perp] == 0


async def test_subscriptions_of_one_tick_are_one_request(rig: Rig):
    driver = driver_of(rig)
    for symbol in (rig.perp, rig.other, rig.spot):
        driver.subscribe_ticks(symbol, lambda event: None)
        driver.subscribe_orderbook(symbol, lambda event: None)
    await rig.until(lambda: all(driver.book(s).valid for s in (rig.perp, rig.other, rig.spot)))
    assert len(driver._market._public._operations) == 1


async def test_the_hourly_number_of_requests_is_kept_by_a_new_connection(rig: Rig):
    driver = driver_of(rig)
    driver.subscribe_orderbook(rig.perp, lambda event: None)
    await rig.until(lambda: driver.book(rig.perp).valid)
    socket = driver._market._public
    socket._operations.extend([rig.clock.now_ns()] * 479)
    driver.subscribe_trades(rig.perp, lambda event: None)
    await rig.until(lambda: len(socket._operations) == 1 and driver.book(rig.perp).valid, within_s=30)


async def test_market_orders_of_spot_are_sized_in_coins(rig: Rig):
    _, reply = await rig.place(BUY, "0.01", kind=OrderType.MARKET, symbol=rig.spot)
    assert isinstance(reply, OrderUpdate)
    (body,) = bodies(rig, "/api/v5/trade/order")
    assert body["tgtCcy"] == "base_ccy" and body["sz"] == "0.01" and body["tdMode"] == "cash"
    assert "posSide" not in body and "reduceOnly" not in body


async def test_an_order_carries_an_expiry(rig: Rig):
    await rig.place(BUY, "0.02", "59000")
    (seen,) = sent(rig, "/api/v5/trade/order")
    assert 0 < int(seen.headers["expTime"]) - rig.clock.now_ms() <= 5_000
    assert bodies(rig, "/api/v5/trade/order")[0]["sz"] == "2"


async def test_account_modes_that_cannot_trade_are_told(rig: Rig):
    emulator, driver = emulator_of(rig), driver_of(rig)
    emulator.acct_lv = "1"
    (spot_only,) = await driver.check_account()
    assert "spot mode" in spot_only
    emulator.pos_mode, emulator.acct_lv = "long_short_mode", "2"
    (hedge,) = await driver.check_account()
    assert "hedge mode" in hedge


async def test_a_query_waits_when_another_program_used_the_budget(rig: Rig):
    busy = '{"code":"50011","msg":"Too Many Requests","data":[]}'
    emulator_of(rig).faults.answer("GET /api/v5/account/config", 429, busy, times=1)
    assert (await rig.patiently(driver_of(rig).key_rights())).trade is True


async def test_a_dead_man_timer_outside_the_venues_range_is_refused(rig: Rig):
    with pytest.raises(InvalidOrder, match="10 to 120"):
        await driver_of(rig).cancel_all_after(5)


async def test_cancel_all_goes_in_batches_of_twenty(rig: Rig):
    for number in range(23):
        await rig.place(BUY, "0.01", str(50_000 + number))
    canceled = await rig.patiently(driver_of(rig).cancel_all())
    assert len(canceled) == 23 and {order.state for order in canceled} == {OrderState.SENT}
    assert [len(body) for body in bodies(rig, "/api/v5/trade/cancel-batch-orders")] == [20, 3]
    await rig.until(lambda: rig.exchange.open_orders() == [])


async def test_funding_is_read_from_the_bills_once(rig: Rig):
    driver, emulator = driver_of(rig), emulator_of(rig)
    settled = rig.clock.now_ms() + 30_000
    bill = {
        "billId": "900", "ts": str(settled), "instId": "BTC-USDT-SWAP", "ccy": "USDT", "type": "8", "subType": "173",
        "pnl": "-0.6", "balChg": "-0.6", "sz": "100", "px": "60000",
    }  # fmt: skip
    emulator.faults.answer(
        "GET /api/v5/account/bills", 200, _reply(bill, {**bill, "billId": "899", "ts": "1"}), times=None
    )
    emulator.faults.answer(
        "GET /api/v5/public/funding-rate-history", 200,
        _reply({"instId": "BTC-USDT-SWAP", "fundingTime": str(settled - 500), "realizedRate": "0.00001"}), times=None,
    )  # fmt: skip
    await rig.wind(200)
    paid = [event for event in rig.events if isinstance(event, FundingPayment)]
    assert paid == [FundingPayment(rig.perp, settled, Decimal("-0.6"), "USDT", Decimal("0.00001"), "900")], (
        "once, though it is listed every time"
    )
    assert dataclasses.asdict(paid[0])["id"] == "900" and driver.features.dead_man


def _reply(*rows: dict[str, str]) -> str:
    return msgspec.json.encode({"code": "0", "msg": "", "data": list(rows)}).decode()


async def test_an_order_is_found_though_its_instrument_is_gone(rig: Rig):
    """Code 51001 says nothing about an order: it is looked for among those of all instruments."""
    emulator = emulator_of(rig)
    working, canceled, filled = rig.new_id(), rig.new_id(), rig.new_id()
    for client_id, price in ((working, "59000"), (canceled, "59000"), (filled, "60100")):
        await rig.patiently(
            rig.driver.place_order(rig.perp, BUY, OrderType.LIMIT, Decimal("0.02"), Decimal(price), client_id=client_id)
        )
    await rig.cancel(canceled)
    gone = '{"code":"51001","data":[],"msg":"Instrument ID does not exist."}'
    emulator.faults.answer(lambda m, path, b: (m, path) == ("GET", "/api/v5/trade/order"), 200, gone, times=None)
    before = len(emulator.requests)
    for client_id, state in (
        (working, OrderState.OPEN),
        (canceled, OrderState.CANCELED),
        (filled, OrderState.FILLED),
    ):
        found = await rig.patiently(rig.driver.get_order_status(client_id, rig.perp))
        assert (found.client_id, found.state) == (client_id, state)
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.get_order_status(rig.new_id(), rig.perp))
    lists = [
        seen
        for seen in emulator.requests[before:]
        if seen.path.startswith(("/api/v5/trade/orders", "/api/v5/trade/fills"))
    ]
    assert len(lists) >= 6 and not any("instId" in seen.query for seen in lists)


@pytest.mark.parametrize("number", ["", "0"])
async def test_executions_without_a_number_are_told_apart(rig: Rig, monkeypatch: pytest.MonkeyPatch, number: str):
    numbered = OkxOrder.fill_row
    monkeypatch.setattr(OkxOrder, "fill_row", lambda *given: {**numbered(*given), "tradeId": number})
    for quantity in ("0.02", "0.03"):
        await rig.placed(BUY, quantity, None, OrderType.MARKET)
    asked = await rig.patiently(rig.driver.get_fills(rig.perp, rig.clock.now_ms() - 60_000))
    assert [fill.quantity for fill in asked] == [Decimal("0.02"), Decimal("0.03")]
    assert len({fill.trade_id for fill in asked}) == 2

"""The driver against the emulator, where Backpack is unlike other venues."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from drivers.backpack.aliases import SETTLED_MS
from drivers.transport.setup import MemoryStore
from engine.kernel.account import AccountStream, Balance, FundingPayment
from engine.kernel.errors import (
    DuplicateClientOrderId,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    UnknownOutcome,
    Unsupported,
    VenueUnavailable,
)
from engine.kernel.market import Quote
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig

D = Decimal
CID = "abcd0000000000000a"
ACCEPTED = (
    b'{"id":"1","symbol":"BTC_USDC_PERP","side":"Bid","orderType":"Limit","status":"New","createdAt":1,"quantity":"1"}'
)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    opened = await Rig.open("backpack")
    yield opened
    await opened.close()


def order_call(method: str, path: str, body: bytes) -> bool:
    return method == "POST" and path.split("?")[0] == "/api/v1/order"


def asked(rig: Rig, method: str, path: str) -> int:
    return sum(seen.method == method and seen.path.split("?")[0] == path for seen in rig.emulator.requests)


async def rest(rig: Rig, client_id: str = CID, price: str = "50000") -> OrderUpdate:
    return await rig.patiently(
        rig.driver.place_order(rig.perp, Side.BUY, OrderType.LIMIT, D("0.01"), D(price), client_id=client_id)
    )


async def test_a_resting_order_is_found_and_cancelled_by_our_id_after_a_restart(rig: Rig):
    placed = await rest(rig)
    driver = await rig.restart()
    (found,) = await rig.patiently(driver.get_open_orders())
    assert (found.client_id, found.venue_order_id) == (CID, placed.venue_order_id)
    assert (await rig.patiently(driver.revoke_order(CID, rig.perp))).state is OrderState.CANCELED
    await rig.until(lambda: any(isinstance(e, OrderUpdate) and e.client_id == CID for e in rig.events))


async def test_a_resting_order_is_found_and_cancelled_however_many_orders_followed(rig: Rig, monkeypatch):
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENT_PAIRS", 2)
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENTS", 2)
    placed = await rest(rig)
    await rig.driver._aliases.make("never")
    await rig.wind(SETTLED_MS / 1000)
    for life in ("first", "second"):
        driver = rig.driver if life == "first" else await rig.restart()
        for n in range(10):
            assert [order.client_id for order in await rig.patiently(driver.get_open_orders())] == [CID]
            await driver._aliases.make(f"{life}{n}")
        assert driver._aliases.find("never") is None
        assert (await rig.patiently(driver.get_order_status(CID, rig.perp))).venue_order_id == placed.venue_order_id
    assert (await rig.patiently(driver.revoke_order(CID, rig.perp))).state is OrderState.CANCELED


async def test_an_order_without_a_number_does_not_count_as_absent_while_an_unknown_one_rests(rig: Rig, monkeypatch):
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENT_PAIRS", 1)
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENTS", 1)
    placed = await rest(rig)
    aliases = rig.driver._aliases
    aliases._listed_ms = aliases._clock.now_ms() + SETTLED_MS  # as if a list had left the order out for so long
    await aliases.make("another")
    with pytest.raises(VenueUnavailable, match=placed.venue_order_id):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    await rig.patiently(rig.driver.revoke_order(placed.venue_order_id, rig.perp))
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))


@pytest.mark.parametrize("skew_s", [0, 900])
async def test_an_unknown_order_younger_than_any_dropped_number_hides_no_absence(rig: Rig, monkeypatch, skew_s: int):
    """Another program's orders with client ids do not keep an order in doubt that was never sent."""
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENT_PAIRS", 1)
    monkeypatch.setattr("drivers.backpack.aliases.SEGMENTS", 1)
    rig.emulator.skew_ms = skew_s * 1000
    aliases = rig.driver._aliases
    await aliases.make("dropped")
    await rig.wind(SETTLED_MS / 1000)
    await rig.patiently(rig.driver.get_open_orders())
    await aliases.make("kept")
    assert aliases.find("dropped") is None
    stranger = rig.new_driver(store=MemoryStore())
    await rig.patiently(stranger.start())

    async def foreign_order(client_id: str) -> str:
        terms = (rig.perp, Side.BUY, OrderType.LIMIT, D("0.01"), D("50000"))
        placed = await rig.patiently(stranger.place_order(*terms, client_id=client_id))
        return placed.venue_order_id

    await rig.wind(310.0)
    young = await foreign_order("young")
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    await aliases.make("newer")
    await foreign_order("new")
    with pytest.raises(VenueUnavailable, match=young):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))


async def test_without_the_numbers_an_order_is_not_taken_for_ours(rig: Rig):
    placed = await rest(rig)
    driver = await rig.restart(store=MemoryStore())
    (found,) = await rig.patiently(driver.get_open_orders())
    assert (found.client_id, found.venue_order_id) == ("", placed.venue_order_id)
    with pytest.raises(OrderNotFound, match="no order was sent under the client id"):
        await rig.patiently(driver.get_order_status(CID, rig.perp))
    by_venue_id = await rig.patiently(driver.get_order_status(placed.venue_order_id, rig.perp))
    assert by_venue_id.state is OrderState.OPEN
    assert len(await rig.patiently(driver.cancel_all())) == 1


@pytest.mark.parametrize("skew_s", [-900, 0, 900])
async def test_a_filled_order_is_not_resting_and_is_found_in_the_history(rig: Rig, skew_s: int):
    """Also when our clock is wrong."""
    rig.emulator.skew_ms = skew_s * 1000
    await rig.wind(310.0)  # until the venue's time was measured anew
    rig.emulator.requests.clear()
    rig.emulator.faults.lose_response(order_call)
    with pytest.raises(UnknownOutcome):
        await rig.patiently(rig.driver.place_order(rig.perp, Side.BUY, OrderType.MARKET, D("0.01"), client_id=CID))
    found = await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    assert (found.state, found.filled, found.client_id) == (OrderState.FILLED, D("0.01"), CID)
    assert asked(rig, "GET", "/api/v1/order") == asked(rig, "GET", "/wapi/v1/history/orders") == 1
    assert asked(rig, "POST", "/api/v1/order") == 1


async def test_absence_is_only_said_when_order_call_and_both_histories_say_so(rig: Rig):
    rig.emulator.faults.lose_request(order_call)
    with pytest.raises(UnknownOutcome):
        await rest(rig)
    rig.emulator.faults.answer(lambda m, p, b: "history/fills" in p, 503, b"busy")
    with pytest.raises(VenueUnavailable):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    rig.emulator.faults.answer(lambda m, p, b: "history/orders" in p, 503, b"busy")
    with pytest.raises(VenueUnavailable):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))


async def test_the_same_number_on_an_older_order_of_another_program_is_not_ours(rig: Rig):
    rig.emulator.faults.lose_request(order_call)
    with pytest.raises(UnknownOutcome):
        await rest(rig)
    number = json.loads(next(seen.body for seen in rig.emulator.requests if seen.method == "POST"))["clientId"]
    row = {**json.loads(ACCEPTED), "clientId": number, "status": "Filled", "executedQuantity": "1"}
    history = json.dumps([{**row, "createdAt": "2026-09-20T00:00:00"}]).encode()
    rig.emulator.faults.answer(lambda m, p, b: "history/orders" in p, 200, history)
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))
    history = json.dumps([{**row, "createdAt": "2026-09-21T14:01:30"}]).encode()
    rig.emulator.faults.answer(lambda m, p, b: "history/orders" in p, 200, history)
    assert (await rig.patiently(rig.driver.get_order_status(CID, rig.perp))).state is OrderState.FILLED


async def test_fills_without_a_history_are_no_proof_of_absence(rig: Rig):
    await rig.patiently(rig.driver.place_order(rig.perp, Side.BUY, OrderType.MARKET, D("0.01"), client_id=CID))
    rig.emulator.faults.answer(lambda m, p, b: "history/orders" in p, 200, b"[]")
    with pytest.raises(VenueUnavailable, match="traded, but its history is behind"):
        await rig.patiently(rig.driver.get_order_status(CID, rig.perp))


async def test_a_client_id_is_never_sent_twice(rig: Rig):
    await rest(rig)
    with pytest.raises(DuplicateClientOrderId):
        await rest(rig)
    assert asked(rig, "POST", "/api/v1/order") == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (202, b""),
        (202, ACCEPTED),
        (200, b"not json"),
        (200, b'{"id": "1"}'),
        (503, b"<html>"),
        (504, b'{"code":"TIMEOUT","message":""}'),
    ],
)
async def test_an_answer_that_proves_nothing_leaves_the_outcome_unknown(rig: Rig, status, body):
    rig.emulator.faults.unknown_but_done(order_call, status, body)
    with pytest.raises(UnknownOutcome):
        await rest(rig)
    assert (await rig.patiently(rig.driver.get_order_status(CID, rig.perp))).state is OrderState.OPEN


async def test_a_cancel_that_is_only_accepted_is_no_cancel_yet(rig: Rig):
    await rest(rig)
    rig.emulator.slow_cancels = True
    answer = await rig.patiently(rig.driver.revoke_order(CID, rig.perp))
    assert (answer.state, answer.client_id, answer.quantity) == (OrderState.SENT, CID, D("0.01"))

    def canceled() -> bool:
        return any(isinstance(e, OrderUpdate) and e.state is OrderState.CANCELED for e in rig.events)

    await rig.until(canceled)


async def test_all_orders_are_cancelled_with_one_call_a_market(rig: Rig):
    for number, price in enumerate(("50000", "50001", "50002")):
        await rest(rig, f"abcd000000000000a{number}", price)
    await rig.patiently(
        rig.driver.place_order(rig.tiny, Side.BUY, OrderType.LIMIT, D(1_000_000), D("0.000009"), client_id=CID)
    )
    canceled = await rig.patiently(rig.driver.cancel_all())
    assert {order.state for order in canceled} == {OrderState.CANCELED}
    assert sorted(order.client_id for order in canceled) == sorted([CID, *(f"abcd000000000000a{n}" for n in range(3))])
    assert asked(rig, "DELETE", "/api/v1/orders") == 2
    assert await rig.patiently(rig.driver.get_open_orders()) == await rig.patiently(rig.driver.cancel_all()) == []


async def test_orders_that_expire_at_once_are_refusals(rig: Rig):
    rig.emulator.late_refusals = True
    with pytest.raises(PostOnlyWouldTake):
        await rig.patiently(
            rig.driver.place_order(rig.perp, Side.BUY, OrderType.POST_ONLY, D("0.01"), D("61000"), client_id=CID)
        )
    with pytest.raises(ReduceOnlyRejected):
        await rig.patiently(
            rig.driver.place_order(rig.perp, Side.BUY, OrderType.LIMIT, D("0.01"), D("50000"), reduce_only=True)
        )
    expired = [e for e in rig.events if isinstance(e, OrderUpdate) and e.state is OrderState.EXPIRED]
    assert [e.error for e in expired] == ["PostOnlyWouldTake", "ReduceOnlyRejected"]


async def test_lent_money_is_ours_and_follows_the_stream(rig: Rig):
    before = {b.currency: b for b in await rig.patiently(rig.driver.fetch_balance())}
    rig.emulator.lent["USDC"] = D(1000)
    (balance,) = await rig.patiently(rig.driver.fetch_balance("USDC"))
    assert balance.total == balance.free + balance.locked == before["USDC"].total
    rig.events.clear()
    await rig.patiently(
        rig.driver.place_order(rig.spot, Side.BUY, OrderType.LIMIT, D("0.01"), D("50000"), client_id=CID)
    )
    await rig.until(lambda: [e for e in rig.events if isinstance(e, Balance) and e.currency == "USDC"])
    told = [e for e in rig.events if isinstance(e, Balance) and e.currency == "USDC"][-1]
    assert told.total == before["USDC"].total
    assert told.locked >= D(500)


async def test_funding_is_told_once_a_payment_also_over_a_restart(rig: Rig):
    def payments() -> list[FundingPayment]:
        return [event for event in rig.events if isinstance(event, FundingPayment)]

    await rig.patiently(rig.driver.place_order(rig.perp, Side.BUY, OrderType.MARKET, D("0.01"), client_id=CID))
    row = {"symbol": "BTC_USDC_PERP", "quantity": "-0.06", "fundingRate": "0.0001", "subaccountId": 0}
    rig.emulator.funding_rows.append({**row, "intervalEndTimestamp": "2026-09-21T14:01:33"})
    await rig.wind(10.0)
    (payment,) = payments()
    assert (payment.symbol, payment.amount, payment.rate) == (rig.perp, D("-0.06"), D("0.0001"))
    await rig.driver.stop()
    await rig.wind(3700.0, alive=False)  # the emulator pays at 15:00
    await rig.restart()
    await rig.until(lambda: len({each.id for each in payments()}) == 2)
    newest = payments()[-1]
    rig.events.clear()
    await rig.restart()
    await rig.wind(10.0)
    assert {each.id for each in payments()} <= {newest.id}, "what lies far back is not told again"
    await rig.wind(300.0)
    assert len(payments()) <= 1


async def test_a_quiet_market_has_a_quote_and_amending_is_refused(rig: Rig):
    heard: list = []
    rig.driver.subscribe_ticks(rig.other, heard.append)
    await rig.until(lambda: any(isinstance(event, Quote) for event in heard))
    assert next(e for e in heard if isinstance(e, Quote)).bid == 3000.0
    with pytest.raises(Unsupported):
        await rig.driver.amend_order(CID, rig.perp, D(1))


async def test_what_the_private_stream_says_in_other_words_leads_to_a_reconciliation(rig: Rig):
    rig.events.clear()
    await rest(rig)
    await rig.until(lambda: any(isinstance(event, OrderUpdate) for event in rig.events))
    rig.driver._private.on_message(b'{"stream":"account.orderUpdate","data":{"e":"orderFill","s":"SOL_USDC_PERP"}}')
    told = [event for event in rig.events if isinstance(event, AccountStream)]
    assert [(event.live, event.missed) for event in told] == [(True, True)]


async def test_many_candles_wait_for_the_small_budget_of_history(rig: Rig):
    begin = rig.clock.now_ms()
    for _ in range(30):
        await rig.patiently(rig.driver.get_klines(rig.perp, "1m", 5), within_s=200.0)
    assert rig.clock.now_ms() - begin > 30_000, "24 a minute, the rest is kept back"
    statuses = [line for level, line in rig.logs if level == "warning"]
    assert statuses == []

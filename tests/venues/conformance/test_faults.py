"""What goes wrong with a request: every outcome is either proven or called unknown, and nothing is sent twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import (
    AuthError,
    CtosError,
    OrderNotFound,
    PermissionDenied,
    RateLimited,
    UnknownOutcome,
    VenueUnavailable,
)
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig
from tests.venues.conformance.wire import WIRES, Wire
from tests.venues.emulators.faults import Faults

BUY, SELL = Side.BUY, Side.SELL


def parts(rig: Rig) -> tuple[Wire, Faults]:
    """Return how faults are called here, and the faults."""
    assert rig.wire is not None and rig.emulator is not None
    return rig.wire, rig.emulator.faults


def sent(rig: Rig, match: str) -> int:
    """Return how many requests of a kind arrived."""
    assert rig.emulator is not None
    method, _, path = match.partition(" ")
    return sum(seen.method == method and path in seen.path for seen in rig.emulator.requests)


async def test_n02_a_lost_answer_is_unknown_and_the_order_is_found(wired: Rig):
    wire, faults = parts(wired)
    await wired.placed(BUY, "0.02", "58000")
    faults.lose_response(wire.place)
    client_id, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome), repr(reply)
    found = await wired.query(client_id)
    assert isinstance(found, OrderUpdate)
    assert (found.client_id, found.state, found.price) == (client_id, OrderState.OPEN, Decimal(59000))
    assert len(wired.orders()) == 2 and sent(wired, wire.place) == 2, "nothing was sent twice"


async def test_n03_a_lost_answer_to_an_order_that_filled_and_went(wired: Rig):
    wire, faults = parts(wired)
    faults.lose_response(wire.place)
    client_id, reply = await wired.place(BUY, "0.02", None, OrderType.MARKET)
    assert isinstance(reply, UnknownOutcome), repr(reply)
    found = await wired.query(client_id)
    assert isinstance(found, OrderUpdate), repr(found)
    assert (found.client_id, found.state, found.filled) == (client_id, OrderState.FILLED, Decimal("0.02"))
    assert len(wired.orders()) == 1


async def test_n01_a_lost_request_is_unknown_and_never_existed(wired: Rig):
    wire, faults = parts(wired)
    faults.lose_request(wire.place)
    client_id, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome), repr(reply)
    assert isinstance(await wired.query(client_id), OrderNotFound)
    assert wired.orders() == [] and sent(wired, wire.place) == 1


ANSWERS = [(venue, number) for venue, wire in WIRES.items() for number in range(len(wire.unknown))]


@pytest.mark.parametrize("number", range(max(number for _, number in ANSWERS) + 1))
@pytest.mark.parametrize("done", [True, False], ids=["carried out", "not carried out"])
async def test_e01_e02_answers_that_say_nothing_leave_the_outcome_open(wired: Rig, number: int, done: bool):
    wire, faults = parts(wired)
    if number >= len(wire.unknown):
        pytest.skip("the venue has fewer such answers")
    trouble = wire.unknown[number]
    scripted = faults.unknown_but_done if done else faults.answer
    scripted(wire.place, trouble.status, trouble.body, trouble.headers)
    client_id, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome), repr(reply)
    found = await wired.query(client_id)
    if done:
        assert isinstance(found, OrderUpdate) and found.state is OrderState.OPEN
    else:
        assert isinstance(found, OrderNotFound)
    assert len(wired.orders()) == done and sent(wired, wire.place) == 1


async def test_e11_an_order_that_queries_do_not_show_yet_is_not_lost(wired: Rig):
    wire, faults = parts(wired)
    faults.lag(4.0)
    faults.lose_response(wire.place)
    client_id, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome)
    early = await wired.query(client_id)
    assert isinstance(early, OrderUpdate | OrderNotFound)
    await wired.wind(5.0)
    late = await wired.query(client_id)
    assert isinstance(late, OrderUpdate) and late.state is OrderState.OPEN
    assert len(wired.orders()) == 1


async def test_e03_too_many_requests_refuse_for_good_and_are_waited_out(wired: Rig):
    wire, faults = parts(wired)
    busy = wire.busy
    faults.answer(wire.place, busy.status, busy.body, busy.headers)
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, RateLimited), repr(reply)
    assert wired.orders() == [] and sent(wired, wire.place) == 1
    before, asked = wired.clock.now_ns(), sent(wired, wire.balance)
    await wired.patiently(wired.driver.fetch_balance())
    assert sent(wired, wire.balance) == asked + 1
    assert wired.clock.now_ns() - before > 1.5 * NS_PER_S, "the time that the venue named was waited"


async def test_e04_a_ban_stops_every_request_until_it_ends(wired: Rig):
    wire, faults = parts(wired)
    assert wired.emulator is not None
    faults.ban(90)
    with pytest.raises(RateLimited if wire.bans else (RateLimited, VenueUnavailable, PermissionDenied)) as first:
        await wired.patiently(wired.driver.fetch_balance())
    refused = len(wired.emulator.requests)
    for _ in range(3):
        with pytest.raises(type(first.value)):
            await wired.patiently(wired.driver.fetch_balance())
        _, reply = await wired.place(BUY, "0.02", "59000")
        assert isinstance(reply, CtosError), repr(reply)
        await wired.wind(5.0)
    if isinstance(first.value, RateLimited):
        assert len(wired.emulator.requests) <= refused + 1, "what understands the refusal sends hardly anything"
    await wired.wind(95.0)
    assert await wired.patiently(wired.driver.fetch_balance())
    assert wired.orders() == []


async def test_e04_a_ban_is_remembered_by_the_next_driver(wired: Rig):
    wire, faults = parts(wired)
    if not wire.bans:
        pytest.skip("the venue has no words for a ban")
    faults.ban(300)
    with pytest.raises(RateLimited):
        await wired.patiently(wired.driver.fetch_balance())
    await wired.driver.stop()
    assert wired.emulator is not None
    asked = len(wired.emulator.requests)
    following = wired.new_driver()
    with pytest.raises(RateLimited):
        await wired.patiently(following.start())
    assert len(wired.emulator.requests) == asked, "nothing at all was sent"
    await wired.wind(310.0)
    again = wired.new_driver()
    await wired.patiently(again.start())
    assert await wired.patiently(again.fetch_balance())


async def test_e09_a_cancel_whose_answer_is_lost_is_tried_again_by_the_engine(wired: Rig):
    wire, faults = parts(wired)
    client_id = await wired.placed(BUY, "0.02", "59000")
    faults.lose_response(wire.cancel)
    reply = await wired.cancel(client_id)
    assert isinstance(reply, VenueUnavailable | UnknownOutcome), repr(reply)
    assert isinstance(await wired.cancel(client_id), OrderNotFound)
    found = await wired.query(client_id)
    assert isinstance(found, OrderUpdate) and found.state is OrderState.CANCELED


async def test_a_cancel_that_the_venue_could_not_serve_leaves_the_order(wired: Rig):
    wire, faults = parts(wired)
    client_id = await wired.placed(BUY, "0.02", "59000")
    faults.answer(wire.cancel, 502, "<html>bad gateway</html>")
    reply = await wired.cancel(client_id)
    assert isinstance(reply, VenueUnavailable | UnknownOutcome), repr(reply)
    assert len(wired.exchange.open_orders()) == 1
    done = await wired.cancel(client_id)
    assert isinstance(done, OrderUpdate), repr(done)


async def test_an_amendment_whose_answer_is_lost_ends_in_the_truth(wired: Rig):
    wire, faults = parts(wired)
    if not wired.driver.features.amends:
        pytest.skip("the venue has no amendment")
    client_id = await wired.placed(BUY, "0.02", "59000")
    faults.lose_response(wire.amend)
    reply = await wired.ask(
        lambda answer: wired.driver.gateway.amend(client_id, wired.perp, Decimal(59100), None, answer)
    )
    assert isinstance(reply, OrderUpdate | UnknownOutcome), repr(reply)
    if isinstance(reply, OrderUpdate):
        assert reply.price == Decimal(59100)
    assert sent(wired, wire.amend) == 1
    found = await wired.query(client_id)
    assert isinstance(found, OrderUpdate) and found.price == Decimal(59100)


@pytest.mark.parametrize(
    "trouble", [(502, "<html>bad gateway</html>"), (200, "<html>login</html>"), (200, ""), (500, "")], ids=str
)
async def test_e12_a_failed_query_is_an_error_never_an_empty_list(wired: Rig, trouble: tuple[int, str]):
    _, faults = parts(wired)
    await wired.placed(BUY, "0.5", None, OrderType.MARKET)
    client_id = await wired.placed(BUY, "0.02", "59000")
    faults.answer(lambda method, path, body: method == "GET", *trouble, times=None)
    driver = wired.driver
    for call in (
        driver.get_open_orders(),
        driver.get_fills(None, wired.clock.now_ms() - 60_000),
        driver.fetch_balance(),
        driver.get_position(),
        driver.get_order_status(client_id, wired.perp),
    ):
        with pytest.raises(CtosError) as failure:
            await wired.patiently(call)
        assert not isinstance(failure.value, OrderNotFound), repr(failure.value)
    assert not isinstance(await wired.query(client_id), OrderUpdate | OrderNotFound)
    faults.clear()
    assert len(await wired.patiently(driver.get_open_orders())) == 1


@pytest.mark.parametrize("skew_ms", [2_000, -2_000, 40_000, -40_000])
async def test_c01_a_wrong_clock_of_ours_does_not_matter(unstarted: Rig, skew_ms: int):
    assert unstarted.emulator is not None
    unstarted.emulator.skew_ms = skew_ms
    await unstarted.start_driver()
    offset_ms = unstarted.driver.clock_offset_ms()
    assert offset_ms is not None and abs(offset_ms - skew_ms) < 500
    client_id = await unstarted.placed(BUY, "0.02", "59000")
    await unstarted.until(lambda: unstarted.told(client_id))
    assert isinstance(await unstarted.cancel(client_id), OrderUpdate)


@pytest.mark.parametrize("skew_ms", [40_000, -40_000])
async def test_c01_a_clock_that_steps_is_measured_again(wired: Rig, skew_ms: int):
    assert wired.emulator is not None
    kept = await wired.placed(BUY, "0.02", "58000")
    wired.emulator.skew_ms = skew_ms
    taken = 1
    for number in range(4):
        _, reply = await wired.place(BUY, "0.02", str(59_000 + number))
        taken += isinstance(reply, OrderUpdate)
        assert not isinstance(reply, UnknownOutcome), "the venue did not look at it"
        await wired.wind(1.0)
    assert taken >= 3 and len(wired.orders()) == taken
    assert isinstance(await wired.cancel(kept), OrderUpdate)


async def test_a_wrong_key_is_named_at_the_start(unstarted: Rig):
    from drivers.transport.setup import Credentials
    from engine.kernel.secret import Secret

    assert unstarted.wire is not None
    key, secret = unstarted.wire.wrong_key
    driver = unstarted.new_driver(credentials=Credentials(Secret(key), Secret(secret), Secret("wrong")))
    with pytest.raises(AuthError) as refusal:
        await unstarted.patiently(driver.start())
    assert secret not in str(refusal.value)
    await driver.stop()


async def test_without_a_key_public_data_works_and_private_calls_say_so(unstarted: Rig):
    driver = unstarted.driver = unstarted.new_driver(credentials=None)
    await unstarted.patiently(driver.start())
    assert (await unstarted.patiently(driver.get_price_now(unstarted.perp))).bid == 60_000
    driver.subscribe_orderbook(unstarted.perp, lambda event: None)
    await unstarted.until(lambda: driver.book(unstarted.perp).valid)
    for call in (driver.fetch_balance(), driver.get_open_orders(), driver.get_position(), driver.get_fills()):
        with pytest.raises(AuthError, match="key"):
            await unstarted.patiently(call)
    _, reply = await unstarted.place(BUY, "0.02", "59000")
    assert isinstance(reply, AuthError), repr(reply)


async def test_n06_an_unreachable_venue_is_certainly_not_served(wired: Rig):
    assert wired.emulator is not None
    await wired.emulator.stop()
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, VenueUnavailable | UnknownOutcome), repr(reply)
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, VenueUnavailable), repr(reply)
    with pytest.raises(VenueUnavailable):
        await wired.patiently(wired.driver.get_open_orders())
    other = wired.new_driver()
    with pytest.raises(VenueUnavailable):
        await wired.patiently(other.start())


async def test_hedge_mode_and_missing_rights_are_told_with_a_remedy(wired: Rig):
    wire, _ = parts(wired)
    if wire.hedge is not None:
        wire.hedge(wired.emulator)
        told = await wired.patiently(wired.driver.check_account())
        assert any("hedge" in text.lower() for text in told), told
    wire.no_trading(wired.emulator)
    told = await wired.patiently(wired.driver.check_account())
    assert told and all("\n" not in text for text in told)

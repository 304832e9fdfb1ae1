"""Orders that change while they fill, orders of others, many at once, and what the venue does by force."""

from __future__ import annotations

from decimal import Decimal

import pytest

from drivers.transport.setup import MemoryStore
from engine.kernel.account import Position
from engine.kernel.errors import (
    AuthError,
    CtosError,
    OrderNotFound,
    PermissionDenied,
    PostOnlyWouldTake,
    RateLimited,
    ReduceOnlyRejected,
    UnknownOutcome,
)
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL


async def half_filled(rig: Rig) -> str:
    """Return the client id of a buy of 0.02 at 60005 of which 0.015 is filled."""
    client_id = await rig.placed(BUY, "0.02", "60005")
    await rig.until(lambda: rig.told(client_id))
    rig.stage.print(rig.perp, 60005.0, 0.015)
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.PARTIAL)
    return client_id


async def test_an_amended_quantity_is_the_total_with_what_is_filled(rig: Rig):
    if not rig.driver.features.amends:
        pytest.skip("the venue has no amendment")
    client_id = await half_filled(rig)
    reply = await rig.ask(lambda answer: rig.driver.gateway.amend(client_id, rig.perp, None, Decimal("0.03"), answer))
    assert isinstance(reply, OrderUpdate), repr(reply)
    assert (reply.quantity, reply.filled, reply.state) == (Decimal("0.03"), Decimal("0.015"), OrderState.PARTIAL)
    order = rig.orders()[-1]
    assert (order.quantity, order.filled, order.price) == (Decimal("0.03"), Decimal("0.015"), Decimal(60005))


async def test_n02_e10_an_amendment_that_nothing_confirms_is_not_called_refused(wired: Rig):
    rig, wire = wired, wired.wire
    assert rig.emulator is not None and wire is not None
    if not rig.driver.features.amends:
        pytest.skip("the venue has no amendment")
    client_id = await rig.placed(BUY, "0.02", "59000")
    await rig.until(lambda: rig.told(client_id))
    rig.emulator.faults.mute(wire.account_channels)
    rig.emulator.faults.lose_response(lambda method, path, body: method == "GET", times=None)
    reply = await rig.ask(lambda answer: rig.driver.gateway.amend(client_id, rig.perp, None, Decimal("0.03"), answer))
    assert rig.orders()[-1].quantity == Decimal("0.03")
    assert isinstance(reply, OrderUpdate | UnknownOutcome), repr(reply)


async def test_e08_a_part_filled_order_keeps_its_fills_when_it_is_cancelled(rig: Rig):
    client_id = await half_filled(rig)
    reply = await rig.cancel(client_id)
    assert isinstance(reply, OrderUpdate), repr(reply)
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.CANCELED)
    told, found = rig.told(client_id)[-1], await rig.query(client_id)
    assert isinstance(found, OrderUpdate)
    for seen in (told, found):
        assert (seen.state, seen.filled, seen.quantity) == (OrderState.CANCELED, Decimal("0.015"), Decimal("0.02"))


async def test_e08_a_cancel_that_comes_after_the_fill_is_no_cancel(rig: Rig):
    client_id = await half_filled(rig)
    rig.stage.print(rig.perp, 60004.0, 1.0)
    reply = await rig.cancel(client_id)
    assert isinstance(reply, OrderNotFound), repr(reply)
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and (found.state, found.filled) == (OrderState.FILLED, Decimal("0.02"))


async def test_an_order_of_somebody_else_is_seen_and_can_be_cancelled(wired: Rig):
    stranger = wired.new_driver(store=MemoryStore())
    await wired.patiently(stranger.start())
    theirs = await wired.patiently(
        stranger.place_order(wired.perp, BUY, OrderType.LIMIT, Decimal("0.02"), Decimal(59000))
    )
    await wired.until(lambda: [e for e in wired.events if isinstance(e, OrderUpdate)])
    told = [e for e in wired.events if isinstance(e, OrderUpdate)][-1]
    listed = await wired.patiently(wired.driver.get_open_orders())
    assert [order.venue_order_id for order in listed] == [told.venue_order_id] == [theirs.venue_order_id]
    assert (listed[0].quantity, listed[0].price, listed[0].side) == (Decimal("0.02"), Decimal(59000), BUY)
    found = await wired.patiently(wired.driver.get_order_status(theirs.venue_order_id, wired.perp))
    assert found.state is OrderState.OPEN
    await wired.patiently(wired.driver.revoke_order(theirs.venue_order_id, wired.perp))
    await wired.until(lambda: wired.exchange.open_orders() == [])


async def test_a_fill_of_somebody_elses_order_is_told(wired: Rig):
    stranger = wired.new_driver(store=MemoryStore())
    await wired.patiently(stranger.start())
    await wired.patiently(stranger.place_order(wired.perp, BUY, OrderType.MARKET, Decimal("0.02")))
    await wired.until(wired.fills)
    assert [(fill.quantity, fill.price) for fill in wired.fills()] == [(Decimal("0.02"), Decimal(60010))]
    asked = await wired.patiently(wired.driver.get_fills(wired.perp, wired.clock.now_ms() - 60_000))
    assert [fill.trade_id for fill in asked] == [fill.trade_id for fill in wired.fills()]


async def test_a_burst_is_spread_over_the_venues_limits(wired: Rig):
    replies: list[OrderUpdate | CtosError] = []
    for number in range(120):
        request = OrderRequest(
            wired.new_id(), "c", wired.perp, BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(58_000 + number)
        )
        wired.driver.gateway.place(request, replies.append)
    await wired.until(lambda: len(replies) == 120, within_s=60)
    refused = [reply for reply in replies if not isinstance(reply, OrderUpdate)]
    assert all(isinstance(error, RateLimited) and not error.code for error in refused), "the venue never has to refuse"
    taken = 120 - len(refused)
    assert len(wired.orders()) == taken >= 40
    canceled = await wired.patiently(wired.driver.cancel_all())
    assert len(canceled) == taken
    await wired.until(lambda: wired.exchange.open_orders() == [])


async def test_a_position_that_turns_changes_its_sign_and_entry(rig: Rig):
    await rig.placed(BUY, "0.5", None, OrderType.MARKET)
    await rig.placed(SELL, "1.5", None, OrderType.MARKET)
    await rig.until(lambda: [e.quantity for e in rig.events if isinstance(e, Position)][-1:] == [Decimal(-1)])
    [position] = await rig.patiently(rig.driver.get_position(rig.perp))
    truth = rig.exchange.positions()[0]
    assert (position.quantity, position.entry_price) == (Decimal(-1), Decimal(60000))
    assert truth.entry_price == Decimal(60000)
    told = [e for e in rig.events if isinstance(e, Position)][-1]
    assert told.entry_price == Decimal(60000)


async def test_a_forced_trade_is_marked(rig: Rig):
    rig.stage.book(rig.perp, [(60_000.0, 50.0)], [(60_010.0, 50.0)])
    wallet = rig.exchange.instruments[rig.perp].settle
    most = rig.exchange.margin.available(wallet) * Decimal("0.9") * rig.config.leverage / 60_010
    quantity = round(most, 1)
    await rig.placed(BUY, str(quantity), None, OrderType.MARKET)
    await rig.until(lambda: rig.exchange.positions() and rig.fills())
    rig.stage.book(rig.perp, [(56_800.0, 50.0)], [(56_810.0, 50.0)])
    rig.stage.mark(rig.perp, 56_805.0)
    await rig.until(lambda: not rig.exchange.positions())
    if rig.venue != "okx":  # which numbers such trades in its query only
        await rig.until(lambda: [fill for fill in rig.fills() if fill.side is SELL])
    told = [fill for fill in rig.fills() if fill.side is SELL]
    assert not any(fill.liquidation for fill in rig.fills() if fill.side is BUY)
    asked = await rig.patiently(rig.driver.get_fills(rig.perp, rig.clock.now_ms() - 60_000))
    assert {(fill.side, fill.liquidation) for fill in asked} == {(BUY, False), (SELL, True)}
    forced = [fill for fill in asked if fill.side is SELL]
    assert sum(fill.quantity for fill in forced) == quantity and told == ([] if rig.venue == "okx" else forced)


@pytest.mark.parametrize("fault", ["duplicate", "reorder", "drop_message"])
async def test_e05_e06_e07_private_messages_doubled_swapped_or_lost_leave_the_truth_to_be_found(wired: Rig, fault: str):
    assert wired.emulator is not None and wired.wire is not None
    for _ in range(3):
        getattr(wired.emulator.faults, fault)(wired.wire.account_channels)
    client_id = await wired.placed(BUY, "0.02", "60005")
    rig = wired
    rig.stage.print(rig.perp, 60005.0, 0.015)
    rig.stage.print(rig.perp, 60004.0, 1.0)
    await rig.placed(BUY, "0.01", "59000")
    await rig.wind(3.0)
    truth = rig.executions()
    assert {fill.trade_id for fill in rig.fills()} <= {
        fill.trade_id for fill in await rig.patiently(rig.driver.get_fills(rig.perp))
    }
    asked = await rig.patiently(rig.driver.get_fills(rig.perp))
    assert sorted((f.price, f.quantity) for f in asked) == sorted((f.price, f.quantity) for f in truth)
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and (found.state, found.filled) == (OrderState.FILLED, Decimal("0.02"))


async def test_a_cancel_that_is_only_accepted_is_not_told_as_done(wired: Rig):
    assert wired.wire is not None
    if wired.wire.late_cancels is None:
        pytest.skip("the venue's cancels have no such answer")
    client_id = await wired.placed(BUY, "0.02", "59000")
    await wired.until(lambda: wired.told(client_id))
    wired.wire.late_cancels(wired.emulator)
    reply = await wired.cancel(client_id)
    assert isinstance(reply, OrderUpdate) and reply.state is OrderState.SENT, repr(reply)
    await wired.until(lambda: wired.told(client_id)[-1].state is OrderState.CANCELED)


@pytest.mark.parametrize("what", ["post only", "reduce only"])
async def test_an_order_that_is_taken_and_ended_at_once_never_rests(wired: Rig, what: str):
    assert wired.wire is not None
    if wired.wire.late_refusals is None:
        pytest.skip("the venue has no such switch")
    wired.wire.late_refusals(wired.emulator)
    if what == "post only":
        client_id, reply = await wired.place(BUY, "0.02", "60010", OrderType.POST_ONLY)
        error: type[CtosError] = PostOnlyWouldTake
    else:
        client_id, reply = await wired.place(SELL, "0.02", "61000", reduce_only=True)
        error = ReduceOnlyRejected
    if isinstance(reply, OrderUpdate):
        assert reply.state in (OrderState.EXPIRED, OrderState.CANCELED, OrderState.REJECTED)
        assert what.partition(" ")[0] in reply.reason.lower()
    else:
        assert isinstance(reply, error), repr(reply)
    await wired.wind(1.0)
    assert not [update for update in wired.told(client_id) if not update.state.is_final]
    assert wired.fills() == [] and await wired.patiently(wired.driver.get_open_orders()) == []


async def test_what_may_not_trade_is_refused_for_good(wired: Rig):
    assert wired.wire is not None
    wired.wire.no_trading(wired.emulator)
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, PermissionDenied | AuthError), repr(reply)
    assert wired.orders() == []


async def test_the_next_order_after_each_refusal_is_taken(rig: Rig):
    for quantity, price in (("0.02", "59000.05"), ("900", "59000"), ("0.000001", "59000")):
        await rig.place(BUY, quantity, price)
    client_id = await rig.placed(BUY, "0.02", "59000")
    await rig.until(lambda: rig.told(client_id))
    assert len(rig.orders()) == 1

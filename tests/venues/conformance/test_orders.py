"""The life of an order: what the gateway replies, what the private stream tells, what queries find: one truth."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.errors import (
    CtosError,
    DuplicateClientOrderId,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
    PostOnlyWouldTake,
    ReduceOnlyRejected,
    UnknownSymbol,
)
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL
LIVE = (OrderState.OPEN, OrderState.PARTIAL)


def totals(fills: list[Fill]) -> list[tuple[object, ...]]:
    """Return executions without what differs from venue to venue: ids and client ids of foreign orders."""
    return sorted((f.symbol, f.side, f.price, f.quantity, f.fee, f.fee_currency, f.maker) for f in fills)


async def test_a_resting_order_is_told_found_and_cancelled(rig: Rig):
    client_id, reply = await rig.place(BUY, "0.02", "59000")
    assert isinstance(reply, OrderUpdate)
    assert reply.state in (OrderState.SENT, OrderState.OPEN)
    assert reply.client_id == client_id and reply.venue_order_id
    await rig.until(lambda: OrderState.OPEN in [update.state for update in rig.told(client_id)])
    told = rig.told(client_id)[-1]
    found = await rig.query(client_id)
    listed = await rig.patiently(rig.driver.get_open_orders(rig.perp))
    assert isinstance(found, OrderUpdate)
    for seen in (told, found, *listed):
        assert (seen.client_id, seen.venue_order_id) == (client_id, reply.venue_order_id)
        assert (seen.symbol, seen.side, seen.type) == (rig.perp, BUY, OrderType.LIMIT)
        assert (seen.quantity, seen.price, seen.filled) == (Decimal("0.02"), Decimal(59000), 0)
        assert seen.state is OrderState.OPEN
    assert len(listed) == 1
    by_venue_id = await rig.patiently(rig.driver.get_order_status(reply.venue_order_id, rig.perp))
    assert by_venue_id.client_id == client_id
    canceled = await rig.cancel(client_id)
    assert isinstance(canceled, OrderUpdate)
    assert canceled.state in (OrderState.SENT, OrderState.CANCELED)
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.CANCELED)
    gone = await rig.query(client_id)
    assert isinstance(gone, OrderUpdate) and gone.state is OrderState.CANCELED
    assert (gone.quantity, gone.price, gone.filled) == (Decimal("0.02"), Decimal(59000), 0)
    assert await rig.patiently(rig.driver.get_open_orders(None)) == []
    assert len(rig.orders()) == 1


async def test_fills_come_in_parts_once_each_and_equal_the_venues(rig: Rig):
    client_id = await rig.placed(BUY, "0.02", "60005")
    await rig.until(lambda: rig.told(client_id))
    rig.stage.print(rig.perp, 60005.0, 0.015)
    await rig.until(lambda: len(rig.fills()) == 1)
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.PARTIAL)
    partial = await rig.query(client_id)
    assert isinstance(partial, OrderUpdate)
    assert (partial.state, partial.filled, partial.average_price) == (
        OrderState.PARTIAL,
        Decimal("0.015"),
        Decimal(60005),
    )
    rig.stage.print(rig.perp, 60004.0, 1.0)
    await rig.until(lambda: len(rig.fills()) == 2)
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.FILLED)
    done = await rig.query(client_id)
    assert isinstance(done, OrderUpdate)
    assert (done.state, done.filled, done.quantity) == (OrderState.FILLED, Decimal("0.02"), Decimal("0.02"))
    asked = await rig.patiently(rig.driver.get_fills(rig.perp))
    truth = rig.executions()
    assert totals(rig.fills()) == totals(asked) == totals(truth)
    assert {fill.trade_id for fill in rig.fills()} == {fill.trade_id for fill in asked}
    assert all(fill.client_id == client_id for fill in [*rig.fills(), *asked])
    assert all(fill.venue_order_id == done.venue_order_id for fill in asked)
    assert [fill.ts for fill in asked] == sorted(fill.ts for fill in asked)


async def test_an_order_that_takes_is_filled_at_the_books_prices(rig: Rig):
    client_id = await rig.placed(BUY, "3", None, OrderType.MARKET)
    await rig.until(lambda: sum(fill.quantity for fill in rig.fills()) == 3)
    assert sorted((fill.price, fill.quantity) for fill in rig.fills()) == [(60010, 2), (60020, 1)]
    assert not any(fill.maker for fill in rig.fills())
    await rig.until(lambda: rig.told(client_id)[-1].state is OrderState.FILLED)
    assert totals(rig.fills()) == totals(rig.executions())


@pytest.mark.parametrize("kind", [OrderType.IOC, OrderType.FOK])
async def test_what_cannot_be_filled_at_once_ends(rig: Rig, kind: OrderType):
    client_id, reply = await rig.place(BUY, "3", "60010", kind)
    assert isinstance(reply, OrderUpdate)

    async def end() -> OrderUpdate:
        found = await rig.query(client_id)
        assert isinstance(found, OrderUpdate)
        return found

    await rig.until(lambda: rig.orders() and not rig.orders()[-1].is_open)
    done = await end()
    assert done.state in (OrderState.CANCELED, OrderState.EXPIRED)
    assert done.filled == (2 if kind is OrderType.IOC else 0)
    await rig.until(lambda: rig.told(client_id) and rig.told(client_id)[-1].state.is_final)
    assert sum((fill.quantity for fill in rig.fills()), Decimal(0)) == done.filled
    assert await rig.patiently(rig.driver.get_open_orders(rig.perp)) == []


async def test_a_post_only_order_that_would_take_never_takes(rig: Rig):
    client_id, reply = await rig.place(BUY, "0.02", "60010", OrderType.POST_ONLY)
    if isinstance(reply, OrderUpdate):
        # Some venues take such an order and cancel it at once: the reply must not say that it rests.
        assert reply.state not in LIVE
        await rig.until(lambda: rig.told(client_id) and rig.told(client_id)[-1].state.is_final)
        last = rig.told(client_id)[-1]
        assert last.state in (OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
        assert "post" in last.reason.lower()
    else:
        assert isinstance(reply, PostOnlyWouldTake), repr(reply)
    assert rig.fills() == []
    client_id, reply = await rig.place(BUY, "0.02", "60005", OrderType.POST_ONLY)
    assert isinstance(reply, OrderUpdate)
    await rig.until(lambda: rig.told(client_id))
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate)
    assert (found.state, found.type) == (OrderState.OPEN, OrderType.POST_ONLY)


async def test_a_reduce_only_order_needs_a_position(rig: Rig):
    _, reply = await rig.place(SELL, "0.02", "61000", reduce_only=True)
    assert isinstance(reply, ReduceOnlyRejected), repr(reply)
    await rig.placed(BUY, "0.02", None, OrderType.MARKET)
    await rig.until(rig.fills)
    client_id = await rig.placed(SELL, "0.02", "61000", reduce_only=True)
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and found.reduce_only


async def test_an_amendment_is_known_when_it_is_replied(rig: Rig):
    if not rig.driver.features.amends:
        pytest.skip("the venue has no amendment")
    client_id = await rig.placed(BUY, "0.02", "59000")
    reply = await rig.ask(
        lambda answer: rig.driver.gateway.amend(client_id, rig.perp, Decimal(59100), Decimal("0.03"), answer)
    )
    assert isinstance(reply, OrderUpdate)
    assert (reply.client_id, reply.price, reply.quantity) == (client_id, Decimal(59100), Decimal("0.03"))
    order = rig.orders()[-1]
    assert (order.price, order.quantity, len(rig.orders())) == (Decimal(59100), Decimal("0.03"), 1)
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate)
    assert (found.price, found.quantity) == (Decimal(59100), Decimal("0.03"))
    price_only = await rig.patiently(rig.driver.amend_order(client_id, rig.perp, price=Decimal(59200)))
    assert (price_only.price, price_only.quantity) == (Decimal(59200), Decimal("0.03"))
    size_only = await rig.patiently(rig.driver.amend_order(client_id, rig.perp, size=Decimal("0.01")))
    assert (size_only.price, size_only.quantity) == (Decimal(59200), Decimal("0.01"))


async def test_a_refused_amendment_leaves_the_order_as_it_was(rig: Rig):
    if not rig.driver.features.amends:
        pytest.skip("the venue has no amendment")
    client_id = await rig.placed(BUY, "0.02", "59000")
    for price, quantity in ((Decimal("59000.05"), None), (None, Decimal(40_000))):
        reply = await rig.ask(
            lambda answer, p=price, q=quantity: rig.driver.gateway.amend(client_id, rig.perp, p, q, answer)  # type: ignore[misc]
        )
        assert isinstance(reply, CtosError), repr(reply)
        order = rig.orders()[-1]
        assert order.is_open and (order.price, order.quantity) == (Decimal(59000), Decimal("0.02"))
    reply = await rig.ask(
        lambda answer: rig.driver.gateway.amend("ab1znosuchorder000", rig.perp, Decimal(1), None, answer)
    )
    assert isinstance(reply, OrderNotFound)


async def test_a_stop_waits_and_reduces(rig: Rig):
    if not rig.driver.features.stops:
        pytest.skip("the venue keeps no stop orders")
    await rig.placed(BUY, "0.02", None, OrderType.MARKET)
    await rig.until(rig.fills)
    client_id = await rig.placed(SELL, "0.02", None, OrderType.STOP, trigger="59500", reduce_only=True)
    listed = await rig.patiently(rig.driver.get_open_orders(rig.perp))
    assert [(order.client_id, order.type, order.trigger_price) for order in listed] == [
        (client_id, OrderType.STOP, Decimal(59500))
    ]
    rig.stage.mark(rig.perp, 59400.0)
    rig.stage.print(rig.perp, 59400.0, 0.001)
    await rig.until(lambda: rig.exchange.positions() == [])
    await rig.until(lambda: len(rig.fills()) == 2)
    canceled = await rig.query(client_id)
    assert isinstance(canceled, OrderUpdate) and canceled.state is OrderState.FILLED


async def test_a_stop_can_be_cancelled(rig: Rig):
    if not rig.driver.features.stops:
        pytest.skip("the venue keeps no stop orders")
    await rig.placed(BUY, "0.02", None, OrderType.MARKET)
    await rig.until(rig.fills)
    client_id = await rig.placed(SELL, "0.02", None, OrderType.STOP, trigger="59500", reduce_only=True)
    reply = await rig.cancel(client_id)
    assert isinstance(reply, OrderUpdate), repr(reply)
    await rig.until(lambda: not rig.exchange.open_orders())
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and found.state is OrderState.CANCELED


REFUSALS = {
    "price off the tick": (("0.02", "59000.05"), InvalidOrder),
    "quantity off the lot": (("0.0200001", "59000"), InvalidOrder),
    "quantity too small": (("0.000001", "59000"), InvalidOrder),
    "no price": (("0.02", None), InvalidOrder),
    "more than the money": (("900", "59000"), InsufficientFunds),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_has_its_class_and_leaves_nothing(rig: Rig, what: str):
    (quantity, price), error = REFUSALS[what]
    _, reply = await rig.place(BUY, quantity, price)
    assert isinstance(reply, error), repr(reply)
    assert str(reply) and "\n" not in str(reply)
    assert rig.orders() == []


async def test_spot_needs_the_coins_that_it_sells(rig: Rig):
    _, reply = await rig.place(SELL, "5", "61000", symbol=rig.spot)
    assert isinstance(reply, InsufficientFunds), repr(reply)


async def test_one_client_id_makes_one_order(rig: Rig):
    client_id = await rig.placed(BUY, "0.02", "59000")
    _, reply = await rig.place(BUY, "0.02", "59000", client_id=client_id)
    assert isinstance(reply, DuplicateClientOrderId), repr(reply)
    assert len(rig.orders()) == 1


async def test_what_was_never_placed_is_not_found(rig: Rig):
    assert isinstance(await rig.query("ab1znosuchorder000"), OrderNotFound)
    assert isinstance(await rig.cancel("ab1znosuchorder000"), OrderNotFound)
    with pytest.raises(OrderNotFound):
        await rig.patiently(rig.driver.revoke_order("123456789", rig.perp))


async def test_a_done_order_cannot_be_cancelled_again(rig: Rig):
    client_id = await rig.placed(BUY, "0.02", None, OrderType.MARKET)
    await rig.until(rig.fills)
    reply = await rig.cancel(client_id)
    assert isinstance(reply, OrderNotFound), repr(reply)
    found = await rig.query(client_id)
    assert isinstance(found, OrderUpdate) and found.state is OrderState.FILLED


async def test_prices_of_a_billionth_and_large_quantities_are_exact(rig: Rig):
    price, quantity = Decimal("0.000009998"), Decimal(30_000_000)
    client_id = await rig.placed(BUY, str(quantity), f"{price:f}", symbol=rig.tiny)
    found = await rig.query(client_id, rig.tiny)
    assert isinstance(found, OrderUpdate)
    assert (found.price, found.quantity) == (price, quantity)
    order = rig.orders()[-1]
    assert (order.price, order.quantity) == (price, quantity)
    rig.stage.print(rig.tiny, 0.000009, 1e9)
    await rig.until(lambda: rig.fills())
    assert [(fill.price, fill.quantity) for fill in rig.fills()] == [(price, quantity)]
    positions = await rig.patiently(rig.driver.get_position(rig.tiny))
    assert [(p.symbol, p.quantity, p.entry_price) for p in positions] == [(rig.tiny, quantity, price)]


async def test_spot_orders_move_coins(rig: Rig):
    market = await rig.placed(BUY, "0.01", None, OrderType.MARKET, symbol=rig.spot)
    await rig.until(lambda: len(rig.fills()) == 1)
    found = await rig.query(market, rig.spot)
    assert isinstance(found, OrderUpdate)
    assert (found.state, found.filled) == (OrderState.FILLED, Decimal("0.01"))
    resting = await rig.placed(SELL, "0.01", "61000", symbol=rig.spot)
    await rig.until(lambda: rig.told(resting))
    listed = await rig.patiently(rig.driver.get_open_orders(None))
    assert [(order.symbol, order.side, order.quantity) for order in listed] == [(rig.spot, SELL, Decimal("0.01"))]
    balances = {b.currency: b for b in await rig.patiently(rig.driver.fetch_balance())}
    truth = {b.currency: b for b in rig.balances()}
    assert balances["BTC"].total == truth["BTC"].total
    assert balances["BTC"].locked >= Decimal("0.01")
    asked = await rig.patiently(rig.driver.get_fills(None, rig.clock.now_ms() - 60_000))
    assert [(f.symbol, f.quantity, f.price) for f in asked] == [(rig.spot, Decimal("0.01"), Decimal(60010))]
    reply = await rig.cancel(resting, rig.spot)
    assert isinstance(reply, OrderUpdate), repr(reply)


async def test_cancel_all_takes_one_instrument_or_all(rig: Rig):
    kept = await rig.placed(BUY, "0.5", "2900", symbol=rig.other)
    for price in ("59000", "59100"):
        await rig.placed(BUY, "0.02", price)
    spot = await rig.placed(BUY, "0.01", "59000", symbol=rig.spot)
    canceled = await rig.patiently(rig.driver.cancel_all(rig.perp))
    assert len(canceled) == 2 and {update.symbol for update in canceled} == {rig.perp}
    await rig.until(lambda: len(rig.exchange.open_orders()) == 2)
    canceled = await rig.patiently(rig.driver.cancel_all())
    assert {update.client_id for update in canceled} == {kept, spot}
    await rig.until(lambda: rig.exchange.open_orders() == [])


async def test_orders_of_one_moment_have_ids_of_their_own(rig: Rig):
    replies: dict[str, OrderUpdate | CtosError] = {}
    for number in range(8):
        request = OrderRequest(
            rig.new_id(), "c", rig.perp, BUY, OrderType.LIMIT, Decimal("0.01"), Decimal(59_000 + number)
        )
        rig.driver.gateway.place(request, lambda reply, i=request.client_id: replies.setdefault(i, reply))
    await rig.until(lambda: len(replies) == 8)
    updates = [reply for reply in replies.values() if isinstance(reply, OrderUpdate)]
    assert len({update.venue_order_id for update in updates}) == 8
    assert len(rig.orders()) == 8
    listed = await rig.patiently(rig.driver.get_open_orders(rig.perp))
    assert {order.client_id: order.venue_order_id for order in listed} == {
        update.client_id: update.venue_order_id for update in updates
    }


async def test_an_order_without_a_client_id_gets_one(rig: Rig):
    placed = await rig.patiently(
        rig.driver.place_order(rig.perp, BUY, OrderType.LIMIT, Decimal("0.02"), Decimal(59000), post_only=True)
    )
    assert placed.client_id and (placed.state, placed.type) == (OrderState.OPEN, OrderType.POST_ONLY)
    canceled = await rig.patiently(rig.driver.revoke_order(placed.venue_order_id, rig.perp))
    assert canceled.state in (OrderState.SENT, OrderState.CANCELED)
    with pytest.raises(InvalidOrder, match="contradict"):
        await rig.driver.place_order(
            rig.perp, BUY, OrderType.MARKET, Decimal("0.02"), post_only=True, time_in_force="ioc"
        )
    with pytest.raises(UnknownSymbol):
        await rig.patiently(rig.driver.revoke_order(placed.venue_order_id, "NOSUCH-USDT-PERP"))

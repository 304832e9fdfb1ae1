"""Orders over the venue's trading socket: the same answers, the same doubts, REST where the socket is down."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from engine.kernel.errors import InvalidOrder, OrderNotFound, UnknownOutcome
from engine.kernel.orders import OrderState, OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
async def fast(unstarted: Rig) -> AsyncIterator[Rig]:
    """Gives a rig whose driver trades over the socket."""
    if "ws_trade_url" not in unstarted.driver.setup.hosts:  # type: ignore[attr-defined]
        pytest.skip("the venue has no trading socket")
    unstarted.driver = unstarted.new_driver(trade_over_ws=True)
    await unstarted.start_driver()
    await unstarted.until(unstarted.is_live)
    yield unstarted


def over(rig: Rig) -> list[str]:
    """Return the operations that came over a socket."""
    assert rig.emulator is not None
    return [seen.path for seen in rig.emulator.requests if seen.method == "WS"]


def posted(rig: Rig) -> int:
    """Return how many requests that change orders came over REST."""
    assert rig.emulator is not None
    return sum(seen.method != "GET" and "order" in seen.path and seen.method != "WS" for seen in rig.emulator.requests)


async def test_an_orders_life_over_the_socket(fast: Rig):
    already = len(over(fast))
    client_id = await fast.placed(BUY, "0.02", "59000")
    assert len(over(fast)) > already and posted(fast) == 0
    await fast.until(lambda: fast.told(client_id))
    if fast.driver.features.amends:
        reply = await fast.ask(
            lambda answer: fast.driver.gateway.amend(client_id, fast.perp, Decimal(59100), Decimal("0.03"), answer)
        )
        assert isinstance(reply, OrderUpdate), repr(reply)
        assert (fast.orders()[-1].price, fast.orders()[-1].quantity) == (Decimal(59100), Decimal("0.03"))
    assert isinstance(await fast.cancel(client_id), OrderUpdate)
    await fast.until(lambda: fast.told(client_id)[-1].state is OrderState.CANCELED)
    assert posted(fast) == 0
    assert isinstance(await fast.cancel(client_id), OrderNotFound)
    _, reply = await fast.place(BUY, "0.02", "59000.05")
    assert isinstance(reply, InvalidOrder), repr(reply)
    tiny = await fast.placed(BUY, "30000000", "0.000009998", symbol=fast.tiny)
    assert fast.orders()[-1].quantity == 30_000_000
    assert isinstance(await fast.cancel(tiny, fast.tiny), OrderUpdate)


@pytest.mark.parametrize("lost", ["lose_response", "lose_request"])
async def test_n01_n02_an_operation_whose_answer_does_not_come_is_unknown(fast: Rig, lost: str):
    assert fast.emulator is not None
    getattr(fast.emulator.faults, lost)(lambda method, path, body: method == "WS" and b"59000" in body)
    client_id, reply = await fast.place(BUY, "0.02", "59000")
    assert isinstance(reply, UnknownOutcome), repr(reply)
    await fast.until(fast.is_live, within_s=60, alive=True)
    found = await fast.query(client_id)
    if lost == "lose_response":
        assert isinstance(found, OrderUpdate) and found.state is OrderState.OPEN
    else:
        assert isinstance(found, OrderNotFound)
    assert len(fast.orders()) == (lost == "lose_response")


async def test_rest_takes_over_while_the_socket_is_down(fast: Rig):
    assert fast.emulator is not None
    faults = fast.emulator.faults
    opening = faults.answer(lambda method, path, body: "ws" in path, 503, "", times=None)
    faults.cut_sockets("*")
    await fast.until(lambda: not fast.emulator.sockets)  # type: ignore[union-attr]
    client_id = await fast.placed(BUY, "0.02", "59000")
    assert posted(fast) >= 1
    assert isinstance(await fast.cancel(client_id), OrderUpdate)
    opening.stop()
    await fast.until(fast.is_live, within_s=120, alive=True)
    before = posted(fast)
    await fast.placed(BUY, "0.02", None, OrderType.MARKET)
    assert posted(fast) == before

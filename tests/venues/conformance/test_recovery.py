"""Long trouble: maintenance, a revoked key, a day of age, a host that slept. No hammering, and back by itself."""

from __future__ import annotations

import sys
from decimal import Decimal

import pytest

from engine.kernel.account import AccountStream
from engine.kernel.errors import AuthError, CtosError
from engine.kernel.market import BookInvalid
from engine.kernel.orders import OrderType, OrderUpdate, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL


def follow(rig: Rig) -> list[object]:
    """Follow the books of two instruments; returns the list that their events go to."""
    heard: list[object] = []
    for symbol in (rig.perp, rig.other):
        rig.driver.subscribe_orderbook(symbol, heard.append)
    return heard


def is_well(rig: Rig) -> bool:
    """Return whether everything is live and both books are valid."""
    return rig.is_live() and all(rig.driver.book(symbol).valid for symbol in (rig.perp, rig.other))


async def works(rig: Rig) -> None:
    """Place an order, hear of it, cancel it."""
    client_id = await rig.placed(BUY, "0.02", "58000")
    await rig.until(lambda: rig.told(client_id))
    assert isinstance(await rig.cancel(client_id), OrderUpdate)


async def test_half_an_hour_of_maintenance_is_borne(wired: Rig):
    assert wired.emulator is not None
    follow(wired)
    await wired.until(lambda: is_well(wired))
    down = wired.emulator.faults.answer(lambda method, path, body: True, 503, "", times=None)
    wired.emulator.faults.cut_sockets("*", 1001)
    for _ in range(180):
        await wired.clock.wind(10.0, 1.0)
    assert not wired.is_live()
    assert down.seen < 1_800, "less than one attempt a second over all connections"
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, CtosError)
    down.stop()
    await wired.until(lambda: is_well(wired), within_s=120, alive=True)
    await works(wired)
    assert [e.live for e in wired.events if isinstance(e, AccountStream)][-1] is True


async def test_a_revoked_key_is_said_and_not_tried_without_end(wired: Rig):
    assert wired.emulator is not None
    follow(wired)
    await wired.until(lambda: is_well(wired))
    kept, wired.emulator.key = wired.emulator.key, "f" * 64
    wired.emulator.faults.cut_sockets("*")
    _, reply = await wired.place(BUY, "0.02", "59000")
    assert isinstance(reply, AuthError), repr(reply)
    asked = len(wired.emulator.requests)
    await wired.wind(120.0)
    assert len(wired.emulator.requests) - asked < 120
    assert all(wired.driver.book(symbol).valid for symbol in (wired.perp, wired.other)), "public data goes on"
    wired.emulator.key = kept
    await wired.until(lambda: is_well(wired), within_s=120, alive=True)
    await works(wired)


async def test_sockets_are_replaced_before_the_venue_ends_them(unstarted: Rig, monkeypatch: pytest.MonkeyPatch):
    limited = [
        module
        for name, module in sys.modules.items()
        if name.startswith(f"drivers.{unstarted.venue}.") and hasattr(module, "MAX_AGE_S")
    ]
    if not limited:
        pytest.skip("the venue sets no end to a socket's age")
    for module in limited:
        assert module.MAX_AGE_S < 24 * 3_600
        monkeypatch.setattr(module, "MAX_AGE_S", 600.0)
    assert unstarted.emulator is not None
    unstarted.driver = unstarted.new_driver()
    await unstarted.start_driver()
    heard = follow(unstarted)
    await unstarted.until(lambda: is_well(unstarted))
    news = [e for e in unstarted.events if isinstance(e, AccountStream)]
    opened = list(unstarted.emulator.sockets)
    await unstarted.wind(560.0)
    for _ in range(1_600):
        unstarted.beat()
        await unstarted.clock.wind(0.05, 0.05)
    assert not set(map(id, opened)) & set(map(id, unstarted.emulator.sockets))
    assert len(unstarted.emulator.sockets) == len(opened)
    assert [e for e in unstarted.events if isinstance(e, AccountStream)] == news
    assert not [event for event in heard if isinstance(event, BookInvalid)]
    await unstarted.until(lambda: is_well(unstarted))
    await works(unstarted)


async def test_a_host_that_slept_comes_back_to_the_truth(wired: Rig):
    follow(wired)
    await wired.until(lambda: is_well(wired))
    client_id = await wired.placed(BUY, "0.02", "60005")
    await wired.until(lambda: wired.told(client_id))
    await wired.sleep(7_200.0)
    wired.stage.print(wired.perp, 60_004.0, 1.0)
    await wired.until(lambda: is_well(wired), within_s=180, alive=True)
    found = await wired.query(client_id)
    assert isinstance(found, OrderUpdate) and found.filled == Decimal("0.02")
    [position] = await wired.patiently(wired.driver.get_position())
    assert position.quantity == Decimal("0.02")
    await wired.placed(SELL, "0.02", None, OrderType.MARKET, reduce_only=True)
    await wired.until(lambda: wired.exchange.positions() == [])

"""Connections: silence, cuts and age are noticed, told and healed; what was missed is found by asking."""

from __future__ import annotations

import asyncio
from collections import Counter

from engine.kernel.account import AccountStream
from engine.kernel.links import LinkState
from engine.kernel.market import Quote
from engine.kernel.orders import OrderType, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL


def named_tasks() -> Counter[str]:
    """Return the tasks that somebody of ours named, by name; the server's own have numbers."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return Counter(name for name in names if not name.startswith("Task-"))


def stream_news(rig: Rig) -> list[bool]:
    """Return what was told about the private stream: False for broken, True for back."""
    return [event.live for event in rig.events if isinstance(event, AccountStream)]


async def test_n10_a_cut_private_stream_is_told_and_what_was_missed_is_found(wired: Rig):
    assert wired.emulator is not None and wired.wire is not None
    client_id = await wired.placed(BUY, "0.02", "60005")
    await wired.until(lambda: wired.told(client_id))
    news = stream_news(wired)
    assert False not in news
    assert wired.emulator.faults.cut_sockets(wired.wire.account)
    await wired.until(lambda: stream_news(wired) == [*news, False])
    assert any(link.state is not LinkState.LIVE for link in wired.driver.links())
    wired.stage.print(wired.perp, 60000.0, 5.0)
    assert not wired.exchange.open_orders()
    await wired.until(lambda: stream_news(wired) == [*news, False, True], within_s=60, alive=True)
    broken = next(event for event in wired.events if isinstance(event, AccountStream) and not event.live)
    assert broken.reason
    fills = await wired.patiently(wired.driver.get_fills(None, wired.clock.now_ms() - 600_000))
    assert [fill.client_id for fill in fills] == [client_id]
    assert await wired.patiently(wired.driver.get_open_orders()) == []
    await wired.until(wired.is_live, within_s=60, alive=True)
    told = len(wired.events)
    following = await wired.placed(BUY, "0.02", "59000")
    await wired.until(lambda: wired.told(following))
    assert len(wired.events) > told, "the stream that is back tells again"


async def test_n08_a_stream_that_answers_pings_but_says_nothing_is_replaced(wired: Rig):
    assert wired.emulator is not None and wired.wire is not None
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    wired.driver.subscribe_ticks(wired.perp, lambda event: None)
    book = wired.driver.book(wired.perp)
    await wired.until(lambda: book.valid)
    opened = {id(socket) for socket in wired.emulator.sockets}
    wired.emulator.faults.mute("*")
    await wired.until(lambda: not book.valid, within_s=90, alive=True)
    wired.emulator.faults.unmute("*")
    wired.stage.book(wired.perp, [(60_001.0, 3.0)], [], snapshot=False)
    await wired.until(lambda: book.valid and book.best_bid == 60_001.0, within_s=90, alive=True)
    await wired.until(wired.is_live, within_s=90, alive=True)
    assert {id(socket) for socket in wired.emulator.sockets} - opened, "there is a new connection"


async def test_n07_a_connection_without_answers_is_replaced(wired: Rig):
    assert wired.emulator is not None
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    book = wired.driver.book(wired.perp)
    await wired.until(lambda: book.valid)
    wired.emulator.faults.black_hole("*")
    await wired.until(lambda: not book.valid, within_s=60, alive=True)
    await wired.until(lambda: False in stream_news(wired), within_s=60, alive=True)
    wired.emulator.faults.clear()
    await wired.until(lambda: book.valid and wired.is_live(), within_s=120, alive=True)
    assert stream_news(wired)[-1] is True


async def test_n11_flapping_sockets_leave_nothing_behind(wired: Rig):
    assert wired.emulator is not None
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    await wired.until(wired.is_live)
    tasks, sockets = named_tasks(), len(wired.emulator.sockets)
    for _ in range(12):
        wired.emulator.faults.cut_sockets("*")
        await wired.wind(2.0)
    await wired.until(lambda: wired.is_live() and wired.driver.book(wired.perp).valid, within_s=120, alive=True)
    await wired.wind(5.0)
    assert len(wired.emulator.sockets) == sockets
    await wired.until(lambda: not named_tasks() - tasks, within_s=60, alive=True)


async def test_seventy_quiet_minutes_break_nothing(wired: Rig):
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    book = wired.driver.book(wired.perp)
    await wired.until(lambda: book.valid)
    news, before = stream_news(wired), len(wired.exchange.instruments)
    for _ in range(420):
        wired.beat()
        await wired.clock.wind(10.0, 2.5)
    assert stream_news(wired) == news and len(wired.exchange.instruments) == before
    await wired.until(lambda: book.valid and wired.is_live())
    client_id = await wired.placed(BUY, "0.02", "59000")
    await wired.until(lambda: wired.told(client_id))


async def test_a_stopped_driver_leaves_no_task_and_starts_no_other(wired: Rig):
    assert wired.emulator is not None
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    await wired.until(lambda: wired.driver.book(wired.perp).valid)
    await wired.driver.stop()
    await wired.until(lambda: not wired.emulator.sockets)  # type: ignore[union-attr]
    ours = [task.get_name() for task in asyncio.all_tasks() if wired.venue in task.get_name()]
    assert [name for name in ours if "emulator" not in name and "test" not in name] == []
    asked = len(wired.emulator.requests)
    await wired.wind(120.0)
    assert len(wired.emulator.requests) == asked and not wired.emulator.sockets


async def test_another_driver_of_the_account_finds_the_same_orders(wired: Rig):
    resting = await wired.placed(BUY, "0.02", "59000")
    taken = await wired.placed(BUY, "0.03", None, OrderType.MARKET)
    await wired.until(wired.fills)
    await wired.restart()
    listed = await wired.patiently(wired.driver.get_open_orders())
    assert [order.client_id for order in listed] == [resting], "client ids outlive the driver"
    fills = await wired.patiently(wired.driver.get_fills(None, wired.clock.now_ms() - 600_000))
    assert [fill.client_id for fill in fills] == [taken]
    for client_id in (resting, taken):
        found = await wired.query(client_id)
        assert getattr(found, "client_id", None) == client_id, repr(found)
    assert not isinstance(await wired.cancel(resting), Exception)


STRANGE = (
    "not json",
    "[]",
    "null",
    "7",
    "{}",
    '{"surprise":{"of":["a","kind"]}}',
    '{"stream":"nothing.known","data":{"e":"neverSeen","s":"NOSUCH_USDC_PERP","E":1}}',
    '{"stream":"nosuchusdt@neverSeen","data":{"e":"neverSeen","s":"NOSUCHUSDT","E":1}}',
    '{"e":"neverSeen","E":1}',
    '{"event":"neverSeen","code":"0"}',
    '{"arg":{"channel":"never-seen","instId":"NOSUCH-USDT-SWAP"},"data":[{"ts":"1"}]}',
    '{"id":null,"error":{"code":4999,"message":"never seen"}}',
    "x" * 100_000,
)
"""Messages that no venue is known to send."""


async def test_e21_messages_of_an_unknown_kind_are_borne(wired: Rig):
    assert wired.emulator is not None
    wired.driver.subscribe_orderbook(wired.perp, lambda event: None)
    wired.driver.subscribe_ticks(wired.perp, lambda event: None)
    await wired.until(lambda: wired.is_live() and wired.driver.book(wired.perp).valid)
    sockets = len(wired.emulator.sockets)
    for text in STRANGE:
        for socket in list(wired.emulator.sockets):
            socket.send(text)
        await wired.wind(0.2)
    await wired.until(lambda: wired.is_live() and wired.driver.book(wired.perp).valid, within_s=60, alive=True)
    assert stream_news(wired)[-1:] in ([], [True]), "who may have missed something asks, and then it is live again"
    assert len(wired.emulator.sockets) == sockets
    client_id = await wired.placed(BUY, "0.02", "59000")
    await wired.until(lambda: wired.told(client_id))


async def test_a_subscription_that_the_venue_never_heard_is_made_again(wired: Rig) -> None:
    faults, got = wired.emulator.faults, []
    faults.black_hole("*")
    wired.driver.subscribe_ticks(wired.other, got.append)
    await wired.wind(3.0)
    faults.black_holes.clear()
    await wired.until(lambda: any(isinstance(event, Quote) for event in got), 60.0, alive=True)

"""A message about the account that cannot be read may have told of a fill: what it said is asked for at once."""

from __future__ import annotations

import pytest

from engine.kernel.account import AccountStream
from tests.venues.conformance.rig import Rig
from tests.venues.emulators.wire import Socket

MESSAGES = {
    "okx": '{"arg":{"channel":"orders","instType":"SWAP"},"data":[{"instId":"BTC-USDT-SWAP","side":"sideways"}]}',
    "binance": '{"e":"ORDER_TRADE_UPDATE","E":"now","o":{"s":7}}',
    "backpack": '{"stream":"account.orderUpdate","data":{"e":"orderFill","i":"x"}}',
}


def is_private(socket: Socket) -> bool:
    """Return whether the account's messages come over a socket; one venue serves all of its streams on one address."""
    return socket.is_of("private") or any(topic.startswith("account.") for topic in socket.topics)


@pytest.mark.parametrize("text", ["as the venue's own, broken", "no JSON at all"])
async def test_e21_an_unreadable_account_message_is_told_and_the_stream_stays_up(wired: Rig, text: str):
    assert wired.emulator is not None
    message = MESSAGES[wired.venue] if text.startswith("as") else '{"e":"executionReport","'
    sockets = [socket for socket in wired.emulator.sockets if is_private(socket)]
    assert sockets, [socket.kind for socket in wired.emulator.sockets]
    wired.events.clear()
    for socket in sockets:
        socket.send(message)
    await wired.until(lambda: [event for event in wired.events if isinstance(event, AccountStream)])
    told = [event for event in wired.events if isinstance(event, AccountStream)]
    assert all(event.live and event.missed and "could not be read" in event.reason for event in told)
    assert wired.is_live()

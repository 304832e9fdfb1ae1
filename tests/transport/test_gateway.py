"""Every request gets one reply, whatever becomes of its task."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from drivers.transport.gateway import TaskGateway, is_venue_id
from engine.kernel.errors import CtosError, InsufficientFunds, UnknownOutcome
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate, Side
from engine.kernel.syscalls import OrderGateway
from tests.transport.servers import until

BTC = "BTC-USDT"
REQUEST = OrderRequest("abcd12345678901234", "i", BTC, Side.BUY, OrderType.LIMIT, Decimal(1), Decimal(100))


class Calls:
    """Answers every call with what the test put here."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.outcome: Exception | None = None
        self.wait: asyncio.Event | None = None

    async def _answer(self, *call: object) -> OrderUpdate:
        self.calls.append(call)
        if self.wait is not None:
            await self.wait.wait()
        if self.outcome is not None:
            raise self.outcome
        return OrderUpdate("a", "1", BTC, Side.BUY, OrderType.LIMIT, OrderState.SENT, Decimal(1), None, Decimal(0), 1)

    async def submit(self, request):
        return await self._answer("submit", request)

    async def change(self, order_id, symbol, price, quantity):
        return await self._answer("change", order_id, symbol, price, quantity)

    async def withdraw(self, order_id, symbol):
        return await self._answer("withdraw", order_id, symbol)

    async def look_up(self, order_id, symbol):
        return await self._answer("look_up", order_id, symbol)


@pytest.fixture
def calls():
    return Calls()


async def test_each_request_is_carried_out_and_answered_later_once(calls):
    gateway: OrderGateway = TaskGateway(calls)
    replies: list[OrderUpdate | CtosError] = []
    gateway.place(REQUEST, replies.append)
    gateway.amend("a", BTC, Decimal(1), None, replies.append)
    gateway.cancel("a", BTC, replies.append)
    gateway.query("a", BTC, replies.append)
    assert replies == [] and calls.calls == []
    await until(lambda: len(replies) == 4)
    assert [call[0] for call in calls.calls] == ["submit", "change", "withdraw", "look_up"]
    assert calls.calls[1] == ("change", "a", BTC, Decimal(1), None)
    assert all(isinstance(reply, OrderUpdate) for reply in replies)
    calls.outcome = InsufficientFunds("no money")
    gateway.place(REQUEST, replies.append)
    await until(lambda: len(replies) == 5)
    assert replies[4] is calls.outcome


async def test_a_bug_in_the_driver_is_reported_and_leaves_the_outcome_open(calls):
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    gateway = TaskGateway(calls)
    replies: list[OrderUpdate | CtosError] = []
    calls.outcome = KeyError("clOrdId")
    gateway.place(REQUEST, replies.append)
    await until(lambda: len(replies) == 1)
    assert isinstance(replies[0], UnknownOutcome) and "KeyError" in str(replies[0])
    assert reported == [calls.outcome]


async def test_given_up_requests_are_of_unknown_outcome_even_before_they_began(calls):
    gateway = TaskGateway(calls)
    replies: list[OrderUpdate | CtosError] = []
    calls.wait = asyncio.Event()
    gateway.place(REQUEST, replies.append)
    await until(lambda: len(calls.calls) == 1)
    gateway.cancel("a", BTC, replies.append)
    await gateway.stop()
    await until(lambda: len(replies) == 2)
    assert [type(reply) for reply in replies] == [UnknownOutcome, UnknownOutcome]
    assert len(calls.calls) == 1
    gateway.place(REQUEST, replies.append)
    await gateway.stop()
    assert (len(calls.calls), len(replies)) == (1, 2), "what is asked of a stopped gateway goes nowhere"


def test_venue_ids_are_numbers():
    assert is_venue_id("680800019749904384")
    assert not is_venue_id("a80800019749904384") and not is_venue_id("") and not is_venue_id("١٢")

"""Requests over Binance's request sockets (`/ws-fapi/v1`, `/ws-api/v3`): each has an id, and its answer carries it.

Facts: EXCHANGES 2.2, 3.2: parameters are signed sorted by name, key included; an HMAC key signs every request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from drivers.binance.errors import banned_until_ms, refusal
from drivers.binance.rest import Rest
from drivers.binance.signer import Params, signed_params
from drivers.binance.wire import Refusal
from drivers.transport.http import ORDER_START_S
from drivers.transport.rate_limits import Urgency
from drivers.transport.websocket import Send
from engine.kernel.clock import NS_PER_S, Clock
from engine.kernel.errors import ClockSkew, UnknownOutcome, VenueError, VenueUnavailable
from engine.kernel.permit import ask_permit

T = TypeVar("T")
ANSWER_S = 10.0


class Budget(msgspec.Struct):
    """How much of a budget is used, as an answer tells it."""

    rateLimitType: str
    interval: str
    intervalNum: int
    count: int = 0


class Answer(msgspec.Struct):
    """The answer to a request."""

    id: str | int | None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: Refusal | None = None
    rateLimits: list[Budget] = []


_answer = msgspec.json.Decoder(Answer).decode
_ORDERS = {("SECOND", 10): "orders_10s", ("MINUTE", 1): "orders_1m", ("DAY", 1): "orders_1d"}


class SocketCalls:
    """Pairs requests with their answers over one socket.

    Args:
        rest: The interface's keys, time and budgets.
        clock: Time and timers.
    """

    def __init__(self, rest: Rest, clock: Clock) -> None:
        self._rest = rest
        self._clock = clock
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._count = 0

    async def call(
        self,
        send: Send,
        method: str,
        params: Params,
        type: type[T],
        *,
        weight: int,
        urgency: Urgency,
        counts_as_order: bool = False,
    ) -> T:
        """Send a signed request and return its result.

        A refused time stamp is a certain refusal: the time is measured anew and the request signed once more.

        Raises:
            UnknownOutcome: An order may have been carried out.
            VenueError: It was certainly not.
        """
        try:
            return await self._once(send, method, params, type, weight, urgency, counts_as_order)
        except ClockSkew:
            await self._rest.time.sync()
            return await self._once(send, method, params, type, weight, urgency, counts_as_order)

    async def _once(
        self, send: Send, method: str, params: Params, type: type[T], weight: int, urgency: Urgency, is_counted: bool
    ) -> T:
        cost = self._rest.cost(weight, is_counted)
        if not self._rest.limiter.try_acquire(cost, urgency):
            wait_s = ORDER_START_S if urgency is Urgency.ORDER else ANSWER_S
            await self._rest.limiter.acquire(cost, urgency, self._clock.now_ns() + int(wait_s * NS_PER_S))
        what, is_order = method, urgency is Urgency.ORDER
        if is_order:
            ask_permit()
        self._count += 1
        name = f"r{self._count}"
        keys = self._rest.credentials
        signed = signed_params(params, keys.key, keys.secret, self._rest.time.now_ms())
        text = msgspec.json.encode({"id": name, "method": method, "params": signed}).decode()
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        late = self._clock.call_later(ANSWER_S, self._fail, answer, f"no answer within {ANSWER_S:.0f} s")
        try:
            await send(text)
            told = await answer
        except (_Lost, VenueUnavailable) as lost:
            raise _doubt(f"binance {self._rest.product.name}: {what}: {lost}", is_order) from lost
        finally:
            late.cancel()
            del self._waiting[name]
        return self._result(told, type, what, is_order)

    def on_answer(self, payload: bytes) -> bool:
        """Take a message if it answers one of our requests; return whether it does."""
        try:
            answer = _answer(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        waiting = self._waiting.get(str(answer.id))
        if waiting is None:
            return False
        used = {}
        for budget in answer.rateLimits:
            window = (budget.interval, budget.intervalNum)
            name = "weight" if budget.rateLimitType == "REQUEST_WEIGHT" else _ORDERS.get(window, "")
            used[name] = budget.count
        self._rest.learn(used)
        if not waiting.done():
            waiting.set_result(answer)
        return True

    def lose(self, reason: str) -> None:
        """Tell all who wait that the socket broke."""
        for answer in self._waiting.values():
            self._fail(answer, reason)

    def _fail(self, answer: asyncio.Future[Answer], reason: str) -> None:
        if not answer.done():
            answer.set_exception(_Lost(reason))

    def _result(self, told: Answer, type: type[T], what: str, is_order: bool) -> T:
        kind = self._rest.product.kind
        if told.error is not None:
            if told.status == 418 or banned_until_ms(told.error.msg) is not None:
                self._rest.banned(told.error.msg, None)
            elif told.status == 429:
                self._rest.limiter.slow_down(None)
            raise refusal(kind, told.status, told.error.code, told.error.msg, what, is_order)
        try:
            return msgspec.json.decode(told.result, type=type)
        except msgspec.DecodeError as error:
            text = f"binance {kind.value}: {what}: an answer that cannot be read: {error}"
            raise _doubt(text, is_order) from error


class _Lost(Exception):
    """No answer will come."""


def _doubt(text: str, is_order: bool) -> VenueError:
    if is_order:
        return UnknownOutcome(f"{text}; whether it was carried out is not known")
    return VenueUnavailable(text)


class TradeSocket:
    """The socket over which orders go, as the handler of its `WsClient`.

    Args:
        calls: Pairs requests with answers.
        log: Takes (level, line) for the operator.
    """

    def __init__(self, calls: SocketCalls, log: Callable[[str, str], None]) -> None:
        self.calls = calls
        self._log = log

    async def on_open(self, send: Send) -> None:
        """Do nothing: every request is signed by itself."""

    def on_message(self, payload: bytes) -> None:
        """Take an answer."""
        if not self.calls.on_answer(payload):
            self._log("debug", f"binance: a message on the order socket answers nothing: {payload[:120]!r}")

    def on_lost(self, reason: str) -> None:
        """Tell all who wait."""
        self.calls.lose(reason)

"""OKX's REST interface: signing, envelopes, errors. What is asked and why is up to the callers.

Most refusals arrive with HTTP 200 and a code; those of orders have it in each item (`sCode`).
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from drivers.okx.errors import error_from, order_error_from
from drivers.okx.signer import rest_headers
from drivers.okx.wire import Ack, Reply, TimeRow
from drivers.transport.http import ORDER_START_S, HttpClient, HttpReply, WireRequest, retry_after_s
from drivers.transport.line_decoder import understanding
from drivers.transport.rate_limits import Cost, RateLimiter, Urgency
from drivers.transport.server_clock import ServerClock
from drivers.transport.setup import VenueSetup
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import AuthError, ClockSkew, RateLimited, UnknownOutcome, VenueError, VenueUnavailable

API = "/api/v5"
CANCEL_WAIT_S = 5.0
"""How long a cancel may wait for the request budget; an order only `ORDER_START_S`."""
ORDER_LIFE_MS = 5_000
"""The venue drops an order or amendment that arrives later than this after it was signed."""
BLOCKED_MS = 30_000
"""How long nothing is sent after HTTP 403 without the venue's own words and without a time."""
_BLOCKED = 403
_DEMO_HEADER = {"x-simulated-trading": "1"}

T = TypeVar("T")


_envelope: Any = Reply
_Row = Any  # a row type, as a key of the cache


@cache
def _decoder(row: _Row) -> msgspec.json.Decoder[Reply[Any]]:
    return msgspec.json.Decoder(_envelope[row], strict=False)


class OkxRest:
    """Sends requests and returns the rows of their answers.

    Args:
        setup: Host, keys, environment, clock.
        limiter: Request budgets.

    Attributes:
        http: The connection.
        time: The venue's time, by which requests are signed.
    """

    def __init__(self, setup: VenueSetup, limiter: RateLimiter) -> None:
        self._setup = setup
        self._clock = setup.clock
        self._limiter = limiter
        self._demo = _DEMO_HEADER if setup.environment == "demo" else {}
        self.http = HttpClient("okx", setup.hosts["rest_url"], setup.clock, limiter, ssl=setup.ssl)
        self.time = ServerClock(setup.clock, self.server_time, setup.log)

    async def server_time(self) -> int:
        """Return the venue's time in ms."""
        rows = await self.get("/public/time", TimeRow, "time")
        with understanding("okx: time"):
            return int(rows[0].ts)

    async def get(
        self,
        path: str,
        row: type[T],
        bucket: str,
        *,
        private: bool = False,
        urgency: Urgency = Urgency.QUERY,
        **params: str | int | None,
    ) -> list[T]:
        """Return the rows of a query.

        Args:
            path: Below `/api/v5`.
            row: What a row is.
            bucket: The request budget it counts against.
            private: Whether it is signed.
            urgency: What it is for.
            params: Parameters; those that are None are left out.

        Raises:
            CtosError: It was refused, or no whole answer came.
        """
        raw = await self.get_raw(path, bucket, private=private, urgency=urgency, **params)
        return self.rows(raw, row, path)

    async def get_raw(
        self,
        path: str,
        bucket: str,
        *,
        private: bool = False,
        urgency: Urgency = Urgency.QUERY,
        **params: str | int | None,
    ) -> HttpReply:
        """Return the whole answer of a query.

        It is asked once more after a refused time stamp, which is put right first, and after too many requests, which
        the limiter holds back for as long as the venue wants: another program may share the account's budget.
        """
        query = urlencode({name: value for name, value in params.items() if value is not None}, safe=",")
        whole = f"{API}{path}?{query}" if query else f"{API}{path}"
        cost: Cost = ((bucket, 1),)
        for last in (False, True):
            reply = await self._send("GET", whole, b"", private, urgency, cost)
            error = self._refusal(reply, path)
            if error is None:
                return reply
            if last or not isinstance(error, ClockSkew | RateLimited):
                raise error
            if isinstance(error, ClockSkew):
                await self.resync()
        raise AssertionError("the second try returns or raises")

    def rows(self, reply: HttpReply, row: type[T], what: str) -> list[T]:
        """Return the rows of an answer that is no refusal.

        Raises:
            VenueUnavailable: It cannot be understood.
        """
        try:
            decoder = _decoder(cast(_Row, row))
            rows = decoder.decode(reply.body).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise VenueUnavailable(f"okx: {what}: {_undecodable(reply, error)}") from error
        if rows is None:
            raise VenueUnavailable(f"okx: {what}: an answer without data")
        return rows

    async def post(self, path: str, body: dict[str, Any], row: type[T], bucket: str, urgency: Urgency) -> list[T]:
        """Return the rows of a request that changes a setting; it may be repeated without harm."""
        encoded = msgspec.json.encode(body)
        for last in (False, True):
            reply = await self._send("POST", API + path, encoded, True, urgency, ((bucket, 1),))
            error = self._refusal(reply, path)
            if error is None:
                return self.rows(reply, row, path)
            if last or not isinstance(error, ClockSkew):
                raise error
            await self.resync()
        raise AssertionError("the second try returns or raises")

    async def admit(self, cost: Cost, urgency: Urgency) -> None:
        """Wait until the budget lets an order, amendment or cancel pass, over whichever connection.

        Raises:
            RateLimited: It would be too late by then; nothing was sent.
        """
        if not self._limiter.try_acquire(cost, urgency):
            wait_s = ORDER_START_S if urgency is Urgency.ORDER else CANCEL_WAIT_S
            await self._limiter.acquire(cost, urgency, self._clock.now_ns() + int(wait_s * NS_PER_S))

    async def order_request(self, path: str, body: dict[str, Any], request: str) -> Ack:
        """Send a new order or an amendment that was admitted once, and return its acknowledgement.

        A refused time stamp is the one case in which it is sent again, with the same client id: the venue did not
        look at it.

        Raises:
            UnknownOutcome: It is not proven that the venue did not take it.
            CtosError: It was certainly not taken.
        """
        encoded = msgspec.json.encode(body)
        try:
            return await self._order_once(path, encoded, request)
        except ClockSkew:
            await self.resync()
            return await self._order_once(path, encoded, request)

    async def cancel_requests(self, path: str, body: Any) -> list[Ack]:
        """Send a cancellation that was admitted, or a batch of them, and return the acknowledgement of each.

        Raises:
            CtosError: The request as a whole failed; it may be repeated.
        """
        encoded = msgspec.json.encode(body)
        for last in (False, True):
            reply = await self._send("POST", API + path, encoded, True, Urgency.CANCEL, ())
            answer = self._answer(reply, Ack)
            if answer is not None and answer.data and answer.data[0].sCode:
                return answer.data
            error = self._refusal(reply, path) or VenueUnavailable(f"okx: {path}: an answer without any result")
            if last or not isinstance(error, ClockSkew):
                raise error
            await self.resync()
        raise AssertionError("the second try returns or raises")

    async def _order_once(self, path: str, encoded: bytes, request: str) -> Ack:
        reply = await self._send("POST", API + path, encoded, True, Urgency.ORDER, (), expires=True)
        answer = self._answer(reply, Ack)
        if answer is None and reply.status == _BLOCKED:
            raise self._blocked(reply, request)
        if answer is None:
            text = f"okx: {request}: {_undecodable(reply, None)}"
            certain = 400 <= reply.status < 500 and reply.status != 408
            raise VenueUnavailable(text) if certain else UnknownOutcome(f"{text}; its outcome is not known")
        ack = answer.data[0] if answer.data else None
        code, said = (ack.sCode, ack.sMsg) if ack is not None and ack.sCode not in ("", "0") else ("", "")
        if not code and answer.code != "0":
            code, said = answer.code, answer.msg
        if code:
            raise self.learned(order_error_from(code, said or answer.msg, request, reply.status))
        if ack is None or reply.status >= 400:
            raise UnknownOutcome(f"okx: {request}: HTTP {reply.status} without a result; its outcome is not known")
        return ack

    def learned(self, error: VenueError) -> VenueError:
        """Slow down after an error that says so; return the error."""
        if isinstance(error, RateLimited):
            self._limiter.slow_down(None)
        return error

    def _refusal(self, reply: HttpReply, what: str) -> VenueError | None:
        """Return the error that an answer tells, None for a good one."""
        answer = self._answer(reply, msgspec.Raw)
        if answer is None and reply.status == _BLOCKED:
            return self._blocked(reply, what)
        if answer is None:
            return VenueUnavailable(f"okx: {what}: {_undecodable(reply, None)}")
        if answer.code == "0":
            return None
        acks = self._answer(reply, Ack)
        ack = acks.data[0] if acks is not None and acks.data else Ack()
        told = ack.sCode not in ("", "0")
        return self.learned(error_from(ack.sCode if told else answer.code, ack.sMsg if told else answer.msg, what))

    def _blocked(self, reply: HttpReply, what: str) -> RateLimited:
        """The gate before the venue refuses this address: stay away for a while, or it lasts longer."""
        reason = "HTTP 403: this address is blocked, for too many requests or because its region is not served"
        named_s = retry_after_s(reply)
        wait_ms = BLOCKED_MS if named_s is None else round(named_s * 1000)
        self._limiter.ban_until(self._clock.now_ms() + wait_ms, reason)
        return RateLimited(f"okx: {what}: {reason}", request=what)

    def _answer(self, reply: HttpReply, row: _Row) -> Reply[Any] | None:
        try:
            return _decoder(row).decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def _send(
        self,
        method: str,
        path: str,
        body: bytes,
        private: bool,
        urgency: Urgency,
        cost: Cost,
        expires: bool = False,
    ) -> HttpReply:
        keys = self._setup.credentials
        if private and keys is None:
            raise AuthError("okx: no keys: name an account with keys in accounts.yaml to use it")

        def build() -> WireRequest:
            headers = dict(self._demo)
            if private and keys is not None:
                now_ms = self.time.now_ms()
                phrase = keys.passphrase.reveal() if keys.passphrase is not None else ""
                text = body.decode()
                headers |= rest_headers(keys.key.reveal(), keys.secret.reveal(), phrase, now_ms, method, path, text)
                if expires:
                    headers["expTime"] = str(now_ms + ORDER_LIFE_MS)
            if body:
                headers["Content-Type"] = "application/json"
            return WireRequest(method, path, headers, body)

        return await self.http.send(build, urgency, cost)

    async def resync(self) -> None:
        """Ask for the venue's time at once and wait for it."""
        self.time.suspect()
        await self.time.settled()


def _undecodable(reply: HttpReply, error: Exception | None) -> str:
    shown = reply.body[:80].decode("utf-8", "replace")
    why = f" ({error})" if error is not None else ""
    return f"HTTP {reply.status} with an answer that cannot be understood{why}: it begins {shown!r}"

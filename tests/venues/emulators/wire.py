"""What comes over the wire: requests as they were seen, and sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from tests.venues.emulators.faults import Answer, Faults, matches_channel

_CLOSE_TIMEOUT_S = 2.0


def json_answer(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, msgspec.json.encode(data), {"Content-Type": "application/json", **(headers or {})})


@dataclass(slots=True)
class Seen:
    """A request as it arrived.

    Attributes:
        method: HTTP method, `WS` for an operation over a trading socket.
        path: Path without the query, or the operation.
        query: Query as sent, without the question mark.
        time_ms: Venue time of its arrival.
        account: Key under which it was authorised, empty for none.
    """

    method: str
    path: str
    query: str
    body: bytes
    headers: Mapping[str, str]
    time_ms: int
    account: str = ""
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Decode the query; a form body is the venue's business."""
        self.params = dict(parse_qsl(self.query, keep_blank_values=True))

    @property
    def target(self) -> str:
        """Return path and query exactly as sent."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Socket:
    """One WebSocket connection of a client.

    Attributes:
        kind: Which of the venue's sockets it is (`public`, `private`, ...).
        path: Path with which it was opened.
        query: Query with which it was opened.
        account: Key that is logged in, empty for none.
        topics: What it has subscribed to; the value is the venue's own.
        traffic: How many messages went either way, control frames aside.
    """

    def __init__(self, kind: str, request: web.Request, faults: Faults) -> None:
        path, _, self.query = request.raw_path.partition("?")
        self.kind = kind
        self.path = path
        self.headers = request.headers
        self.account = ""
        self.topics: dict[str, Any] = {}
        self.last_pong_ns = 0
        self.traffic = 0
        self._request = request
        self._faults = faults
        self._queue: asyncio.Queue[str | bytes | int] = asyncio.Queue()
        self.response = web.WebSocketResponse(autoping=False, autoclose=True, timeout=_CLOSE_TIMEOUT_S)

    @property
    def is_deaf(self) -> bool:
        """Return whether it is a black hole."""
        return any(self.is_of(which) for which in self._faults.black_holes)

    def send(self, text: str) -> None:
        """Send a message that belongs to no channel (answers, acknowledgements)."""
        self.traffic += 1
        self._queue.put_nowait(text)

    def send_on(self, channel: str, text: str) -> None:
        """Send a message of a channel, subject to the faults of streams."""
        for each in self._faults.stream(channel, text):
            self.send(each)

    def send_json(self, data: object) -> None:
        """Send JSON that belongs to no channel."""
        self.send(msgspec.json.encode(data).decode())

    def ping(self, payload: bytes = b"") -> None:
        """Send a ping frame."""
        self._queue.put_nowait(payload)

    def close(self, code: int = 1000) -> None:
        """Close in order, after what was sent before."""
        self._queue.put_nowait(code)

    def cut(self) -> None:
        """Cut the connection without a word."""
        if self._request.transport is not None:
            self._request.transport.abort()

    def is_of(self, which: str) -> bool:
        """Return whether a kind means this socket."""
        return matches_channel(which, self.kind)

    async def write(self) -> None:
        """Write what was sent, in order, until the connection ends."""
        while True:
            item = await self._queue.get()
            if self.is_deaf:
                continue
            try:
                if isinstance(item, str):
                    await self.response.send_str(item)
                elif isinstance(item, bytes):
                    await self.response.ping(item)
                else:
                    await self.response.close(code=item)
                    return
            except ConnectionError:
                return

"""A TCP proxy between a driver and its venue that breaks what passes through it.

It works on any event loop, real sockets or simulated ones. Connections are told apart by their first bytes: `rest`, or
`ws` for one that asks to become a WebSocket. Faults act on the present connections, on requests that are yet to come,
or on all traffic, as their docstrings say.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Trap:
    """What happens to the answer of the next request whose bytes contain `match`."""

    match: bytes
    after: int
    end: str


@dataclass(slots=True, eq=False)
class Flow:
    """One connection through the proxy.

    Attributes:
        kind: `rest` or `ws`; empty before the client's first bytes.
        dead: Whether the next bytes of the client find the connection reset; nothing of them is passed on.
        deaf: Whether bytes are swallowed both ways while the connection stays open.
    """

    client: Any
    server: Any = None
    kind: str = ""
    early: list[bytes] = field(default_factory=list)
    dead: bool = False
    deaf: bool = False
    trap: _Trap | None = None
    trapped: int = 0
    due: dict[int, float] = field(default_factory=dict)


class ChaosProxy:
    """Passes connections on to one port of the loopback.

    Args:
        upstream: The venue's port.

    Attributes:
        port: Where clients connect.
        flows: The open connections, oldest first.
        accepted: When each connection came, in loop time.
        delay_s: Called for each piece; how long it is held back. Pieces keep their order.
        slice_bytes: Pass everything on in pieces of so many bytes; None for as it comes.
        rewrite: Changes what goes to clients; told the connection's kind.
        on_sent: Hears what clients send, in the moment in which it arrives here.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._listener: Any = None
        self._traps: list[_Trap] = []
        self._deaf_kinds: set[str] = set()
        self.port = 0
        self.flows: list[Flow] = []
        self.accepted: list[float] = []
        self.delay_s: Callable[[], float] | None = None
        self.slice_bytes: int | None = None
        self.rewrite: Callable[[str, bytes], bytes] | None = None
        self.on_sent: Callable[[bytes], object] | None = None

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _ClientEnd(self), "127.0.0.1", 0)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End every connection and listen no more."""
        self._listener.close()
        for flow in list(self.flows):
            self.reset(flow)
        await self._listener.wait_closed()

    def of(self, kind: str) -> list[Flow]:
        """Return the open connections of a kind."""
        return [flow for flow in self.flows if flow.kind == kind]

    def reset_answer(self, match: bytes, after: int) -> None:
        """Reset the connection of the next request that contains `match` once `after` bytes of its answer passed."""
        self._traps.append(_Trap(match, after, "reset"))

    def half_close_answer(self, match: bytes, after: int) -> None:
        """End the stream to the client in order, `after` bytes into the answer of the next request with `match`."""
        self._traps.append(_Trap(match, after, "eof"))

    def black_hole(self, kind: str) -> None:
        """Swallow everything of a kind both ways, on present and new connections, without closing one."""
        self._deaf_kinds.add(kind)

    def clear(self) -> None:
        """Break nothing more; connections that swallowed something stay deaf, as their streams have holes."""
        for flow in self.flows:
            flow.deaf = flow.deaf or flow.kind in self._deaf_kinds
        self._deaf_kinds.clear()
        self._traps.clear()
        self.delay_s = self.slice_bytes = self.rewrite = None

    def kill_idle(self) -> None:
        """Let every present REST connection be dead without a word: its next request finds it reset."""
        for flow in self.of("rest"):
            flow.dead = True

    def inject(self, data: bytes) -> None:
        """Send raw bytes to the client of every present WebSocket."""
        for flow in self.of("ws"):
            flow.client.write(data)

    def reset(self, flow: Flow) -> None:
        """Cut a connection at both ends with a reset."""
        if flow in self.flows:
            self.flows.remove(flow)
        for transport in (flow.client, flow.server):
            if transport is None:
                continue
            raw = transport.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            transport.abort()

    # What the ends report.

    def from_client(self, flow: Flow, data: bytes) -> None:
        """Pass a client's bytes on."""
        if self.on_sent is not None:
            self.on_sent(data)
        if not flow.kind:
            flow.kind = "ws" if b"upgrade: websocket" in data.lower() else "rest"
        if flow.dead:
            self.reset(flow)
            return
        if flow.deaf or flow.kind in self._deaf_kinds:
            return
        for trap in [trap for trap in self._traps if trap.match in data]:
            self._traps.remove(trap)
            flow.trap, flow.trapped = trap, 0
        if flow.server is None:
            flow.early.append(data)
        else:
            self._pass(flow, flow.server, data)

    def from_server(self, flow: Flow, data: bytes) -> None:
        """Pass the venue's bytes on."""
        if flow.deaf or flow.kind in self._deaf_kinds:
            return
        data = data if self.rewrite is None else self.rewrite(flow.kind, data)
        trap = flow.trap
        if trap is None or flow.trapped + len(data) <= trap.after:
            flow.trapped += len(data)
            self._pass(flow, flow.client, data)
            return
        flow.client.write(data[: trap.after - flow.trapped])
        flow.trap = None
        if trap.end == "eof":
            flow.client.close()
        else:
            asyncio.get_running_loop().call_later(0.001, self.reset, flow)

    def _pass(self, flow: Flow, end: Any, data: bytes) -> None:
        size = self.slice_bytes or len(data)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        if self.delay_s is None and len(pieces) == 1:
            end.write(data)
            return
        loop = asyncio.get_running_loop()
        for piece in pieces:
            wait_s = self.delay_s() if self.delay_s is not None else 0.0001
            at = max(loop.time() + wait_s, flow.due.get(id(end), 0.0) + 1e-6)
            flow.due[id(end)] = at
            loop.call_at(at, end.write, piece)

    def close_after_the_rest(self, flow: Flow, end: Any) -> None:
        """Close one end once everything that is still on its way to it has arrived, as TCP does."""
        asyncio.get_running_loop().call_at(flow.due.get(id(end), 0.0) + 1e-6, end.close)

    async def connect(self, flow: Flow) -> None:
        """Open the venue's side of a connection."""
        loop = asyncio.get_running_loop()
        try:
            flow.server, _ = await loop.create_connection(lambda: _ServerEnd(self, flow), "127.0.0.1", self._upstream)
        except OSError:
            self.reset(flow)
            return
        for data in flow.early:
            self._pass(flow, flow.server, data)
        flow.early.clear()


class _ClientEnd(asyncio.Protocol):
    def __init__(self, proxy: ChaosProxy) -> None:
        self._proxy = proxy

    def connection_made(self, transport: Any) -> None:
        proxy, loop = self._proxy, asyncio.get_running_loop()
        self._flow = Flow(transport)
        proxy.flows.append(self._flow)
        proxy.accepted.append(loop.time())
        self._opening = loop.create_task(proxy.connect(self._flow), name="chaos proxy")

    def data_received(self, data: bytes) -> None:
        self._proxy.from_client(self._flow, data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._flow in self._proxy.flows:
            self._proxy.flows.remove(self._flow)
        if self._flow.server is not None and not self._flow.deaf:
            self._proxy.close_after_the_rest(self._flow, self._flow.server)


class _ServerEnd(asyncio.Protocol):
    def __init__(self, proxy: ChaosProxy, flow: Flow) -> None:
        self._proxy = proxy
        self._flow = flow

    def data_received(self, data: bytes) -> None:
        self._proxy.from_server(self._flow, data)

    def connection_lost(self, error: Exception | None) -> None:
        flow, proxy = self._flow, self._proxy
        if not flow.deaf and flow.kind not in proxy._deaf_kinds:
            flow.client.close()

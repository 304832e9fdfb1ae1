"""Connections in memory, with seeded latency, and what breaks them."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.loop import SimLoop

_FIRST_PORT = 40_000
_SPACING_S = 1e-7
"""Between two pieces of one connection: they arrive in order, as TCP delivers them."""


class _Address:
    """Stands for a listening socket."""

    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", self._port)


class Listener(asyncio.AbstractServer):
    """A server's end of the network; what it serves runs in the context in which it was opened."""

    def __init__(self, network: Network, factory: Callable[[], Any], port: int) -> None:
        self._network = network
        self.factory = factory
        self.port = port
        self.context = contextvars.copy_context()
        self.sockets = (_Address(port),)

    def close(self) -> None:
        """Accept nothing more."""
        self._network.listeners.pop(self.port, None)

    async def wait_closed(self) -> None:
        """Wait for nothing."""

    def is_serving(self) -> bool:
        """Return whether connections are accepted."""
        return self.port in self._network.listeners

    async def start_serving(self) -> None:
        """Be serving already."""

    def get_loop(self) -> Any:
        """Return its loop."""
        return self._network.loop


class Network:
    """All listeners and connections.

    Args:
        loop: Whose time it is.
        seed: Of the latencies; each connection has its own numbers, whatever the others do.

    Attributes:
        latency_s: Smallest and largest time that a piece of data takes.
        refusing: Whether connections are refused.
        listeners: By port.
    """

    def __init__(self, loop: SimLoop, seed: int | str) -> None:
        self.loop = loop
        self.latency_s = (0.002, 0.03)
        self.refusing = False
        self.listeners: dict[int, Listener] = {}
        self._seed = seed
        self._count = 0
        self._ports = _FIRST_PORT
        self._open: dict[Pipe, None] = {}

    def listen(self, factory: Callable[[], Any], port: int) -> Listener:
        """Return a server on a port; 0 takes a free one."""
        if not port:
            self._ports += 1
            port = self._ports
        self.listeners[port] = Listener(self, factory, port)
        return self.listeners[port]

    async def connect(self, factory: Callable[[], Any], host: str, port: int, owner: object) -> tuple[Pipe, Any]:
        """Return (transport, protocol) of a new connection.

        Raises:
            ConnectionRefusedError: Nobody listens, or connections are refused now.
        """
        self._count += 1
        rng = Random(f"{self._seed} {self._count}")
        await asyncio.sleep(rng.uniform(*self.latency_s) * 2)
        listener = self.listeners.get(port)
        if listener is None or self.refusing:
            raise ConnectionRefusedError(f"{host}:{port} refuses connections")
        here = ("10.0.0.2", _FIRST_PORT + self._count)
        client = Pipe(self, factory(), rng, (host, port), here, contextvars.copy_context(), owner)
        server_rng = Random(f"{self._seed} {self._count} back")
        served = listener.context.run(listener.factory)
        server = Pipe(self, served, server_rng, here, (host, port), listener.context, None)
        client.peer, server.peer = server, client
        self._open[client] = self._open[server] = None
        listener.context.run(server.protocol.connection_made, server)
        client.protocol.connection_made(client)
        return client, client.protocol

    def forget(self, pipe: Pipe) -> None:
        """Drop a connection that ended."""
        self._open.pop(pipe, None)

    def of(self, owner: object) -> list[Pipe]:
        """Return the open connections that an owner made, oldest first."""
        return [pipe for pipe in self._open if pipe.owner is owner]


class Pipe(asyncio.Transport):
    """One end of a connection."""

    def __init__(
        self,
        network: Network,
        protocol: Any,
        rng: Random,
        peername: tuple[str, int],
        sockname: tuple[str, int],
        context: contextvars.Context,
        owner: object,
    ) -> None:
        super().__init__({"peername": peername, "sockname": sockname, "socket": None})
        self.protocol = protocol
        self.owner = owner
        self.peer: Pipe
        self.black_hole = False
        self._network = network
        self._loop = network.loop
        self._rng = rng
        self._context = context
        self._closing = self._lost = self._paused = False
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._last_arrival = 0.0

    def __hash__(self) -> int:
        """Return the same number in every run, whatever the address in memory."""
        return hash(self.get_extra_info("sockname")[1])

    def __eq__(self, other: object) -> bool:
        """Be equal to itself only."""
        return self is other

    def get_protocol(self) -> Any:
        """Return who hears."""
        return self.protocol

    def set_protocol(self, protocol: Any) -> None:
        """Change who hears, as an upgraded connection does."""
        self.protocol = protocol

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._closing

    def is_reading(self) -> bool:
        """Return whether data is delivered."""
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        """Keep what arrives."""
        self._paused = True

    def resume_reading(self) -> None:
        """Deliver what was kept."""
        self._paused = False
        while self._waiting and not self._paused and not self._lost:
            self._deliver(*self._waiting.popleft())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Buffer nothing."""

    def get_write_buffer_size(self) -> int:
        """Return 0: everything is on its way at once."""
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return no limits."""
        return (0, 0)

    def can_write_eof(self) -> bool:
        """Return that half-closing is possible."""
        return True

    def write_eof(self) -> None:
        """Send nothing more."""
        self._send("eof", b"")

    def write(self, data: Any) -> None:
        """Send bytes."""
        if data and not self._closing:
            self._send("data", bytes(data))

    def writelines(self, pieces: Any) -> None:
        """Send bytes in one piece."""
        self.write(b"".join(pieces))

    def close(self) -> None:
        """Close it in order, after what was written."""
        if not self._closing:
            self._closing = True
            self._send("fin", b"")
            self._loop.call_soon(self._lose, None, context=self._context)

    def abort(self) -> None:
        """Cut it: the other end finds it reset."""
        if not self._lost:
            if not self._closing:
                self._send("rst", b"")
            self._closing = True
            self._loop.call_soon(self._lose, None, context=self._context)

    def kill(self) -> None:
        """End it as the death of its process does: nobody here hears of it, the other end finds it reset."""
        if not self._lost:
            if not self._closing:
                self._send("rst", b"")
            self._closing = self._lost = True
            self._network.forget(self)

    def _send(self, kind: str, data: bytes) -> None:
        peer = self.peer
        if self.black_hole or peer.black_hole:
            return
        at = max(self._loop.time() + self._rng.uniform(*self._network.latency_s), self._last_arrival + _SPACING_S)
        self._last_arrival = at
        self._loop.call_at(at, peer._arrive, kind, data, context=peer._context)

    def _arrive(self, kind: str, data: bytes) -> None:
        if self._lost or self.black_hole:
            return
        if self._paused:
            self._waiting.append((kind, data))
        else:
            self._deliver(kind, data)

    def _deliver(self, kind: str, data: bytes) -> None:
        if kind == "data":
            self.protocol.data_received(data)
        elif kind == "eof":
            if not self.protocol.eof_received():
                self.close()
        else:
            self._lose(ConnectionResetError("reset by peer") if kind == "rst" else None)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._network.forget(self)
            self.protocol.connection_lost(error)

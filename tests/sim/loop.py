"""An event loop whose time is virtual and whose sockets are in memory; the same seed gives the same run.

Time moves only when nothing is runnable. aiohttp and websockets run on it unmodified. Threads and files of the
operating system do not exist here: an executor runs its work at once. aiohttp's client connects a socket by itself and
looks at the system's clock for idle connections: `run` puts the loop in the place of both.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Callable, Coroutine
from heapq import heappop, heappush
from typing import Any, TypeVar
from unittest.mock import patch
from weakref import WeakKeyDictionary

from aiohttp import connector

from engine.kernel.clock import NS_PER_S
from tests.sim.network import Listener, Network

T = TypeVar("T")

CALM_DISK_S = (0.001, 0.015)
OWNER: contextvars.ContextVar[object | None] = contextvars.ContextVar("owner", default=None)
"""Whose tasks and connections are made in this context: what dies together in a crash."""


class NeverWakesError(RuntimeError):
    """Nothing is scheduled: the program would sleep for ever."""


class _NoSelector:
    """Knows no file descriptors."""

    def register(self, *args: Any) -> None:
        raise RuntimeError("real file descriptors are not allowed in the simulation")

    modify = register

    def unregister(self, *args: Any) -> None:
        """Forget nothing."""

    def get_map(self) -> dict[Any, Any]:
        return {}

    def get_key(self, descriptor: object) -> None:
        raise KeyError(descriptor)

    def close(self) -> None:
        """Hold nothing."""


class SimLoop(BaseSelectorEventLoop):
    """The loop of one simulation.

    Args:
        seed: Of the network's latencies.

    Attributes:
        now_ns: The virtual time in nanoseconds from the beginning.
        network: Who listens, and all connections.
        disk_s: Smallest and largest time that the disk takes for what is written at once.
    """

    def __init__(self, seed: int | str = 0) -> None:
        super().__init__(_NoSelector())
        self._now_s = 0.0
        self.now_ns = 0
        self._due: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._scheduled_count = 0
        self.network = Network(self, seed)
        self.disk_s = CALM_DISK_S
        self._tasks: WeakKeyDictionary[asyncio.Task[Any], tuple[int, object | None]] = WeakKeyDictionary()
        self._made = 0
        self.set_task_factory(self._new_task)

    def time(self) -> float:
        """Return the virtual time in seconds from the beginning."""
        return self._now_s

    def stand_still(self, seconds: float) -> None:
        """Let time pass in which nothing runs, as in a process that is stopped; what came due is late afterwards."""
        self._move_to(self._now_s + seconds)

    def _move_to(self, when_s: float) -> None:
        self._now_s = when_s
        self.now_ns = round(when_s * NS_PER_S)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a call after some time."""
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """Schedule a call after what is ready now."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a call; what is due at the same moment comes in the order in which it was scheduled."""
        self._scheduled_count += 1
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heappush(self._due, (when, self._scheduled_count, timer))
        return timer

    def _run_once(self) -> None:
        """Run what is ready; when nothing is, move the time to what is due next."""
        ready, due = self._ready, self._due
        if not ready:
            while due and due[0][2].cancelled():
                heappop(due)
            if not due and not self._stopping:
                raise NeverWakesError("nothing is scheduled")
            if due and due[0][0] > self._now_s:
                self._move_to(due[0][0])
        while due and due[0][0] <= self._now_s:
            timer = heappop(due)[2]
            if not timer.cancelled():
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def tasks_of(self, owner: object) -> list[asyncio.Task[Any]]:
        """Return the unfinished tasks that were made in the context of an owner, oldest first."""
        found = [(made[0], task) for task, made in self._tasks.items() if made[1] is owner and not task.done()]
        return [task for _, task in sorted(found, key=lambda pair: pair[0])]

    def _new_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        context = options.get("context")
        owner = OWNER.get() if context is None else context.get(OWNER)
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        self._made += 1
        self._tasks[task] = (self._made, owner)
        return task

    # What a loop does with the operating system.

    def _make_self_pipe(self) -> None:
        self._ssock = self._csock = None  # type: ignore[assignment]

    def _close_self_pipe(self) -> None:
        """Have no pipe."""

    def _write_to_self(self) -> None:
        """Need no waking: there is one thread."""

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        """Run at once."""
        done = self.create_future()
        try:
            done.set_result(function(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Return one address for every name."""
        return [(2, 1, 6, "", ("127.0.0.1", int(port or 0)))]

    async def create_server(self, factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Listen in memory; port 0 takes a free one."""
        return self.network.listen(factory, int(port or 0))

    async def create_connection(
        self, factory: Any, host: Any = None, port: Any = None, sock: Any = None, **options: Any
    ) -> Any:
        """Connect to a listener in memory; aiohttp's `sock` is the address that it would have connected."""
        host, port = (host, port) if sock is None else sock
        return await self.network.connect(factory, str(host), int(port), OWNER.get())


def run(main: Callable[[SimLoop], Coroutine[Any, Any, T]], seed: int | str = 0) -> T:
    """Carry a simulation out and return its result; whatever is left over is cancelled."""
    loop = SimLoop(seed)
    asyncio.set_event_loop(loop)
    with (
        patch.object(connector.aiohappyeyeballs, "start_connection", _address),
        patch.object(connector, "monotonic", loop.time),
    ):
        try:
            return loop.run_until_complete(main(loop))
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=10.0))
            asyncio.set_event_loop(None)
            loop.close()


async def _address(addr_infos: Any, **options: Any) -> tuple[str, int]:
    """Return where aiohttp wants to connect, in place of a socket."""
    host, port = addr_infos[0][4][:2]
    return host, port


__all__ = ["OWNER", "Listener", "NeverWakesError", "SimLoop", "run"]

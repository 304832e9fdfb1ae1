"""What another shell may ask of a running system through its control socket: status, panic, a syscall."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.boot.panicking import PanicFollower, PanicNews, PanicOrder
from engine.boot.syscall_arguments import convert
from engine.io.control_socket import Asked, ControlServer
from engine.io.control_wire import Hello
from engine.io.logs import iso_time
from engine.io.plain_json import to_json
from engine.kernel.clock import wall_time_ns
from engine.kernel.errors import CtosError, VenueUnavailable
from engine.runtime.halt_mark import leave_mark, mark_path

if TYPE_CHECKING:
    from engine.boot.system import System


class Nothing(msgspec.Struct, frozen=True):
    """A request that says no more than its kind."""


class Status(msgspec.Struct, frozen=True):
    """How a running system is.

    Attributes:
        trading: The state of the gate, who set it and why.
        ready: Whether it has started.
        orders: How many of our orders work.
        positions: How many symbols are held.
        largest_gap_ms: The longest that the event loop was held since the start.
    """

    pid: int
    account: str
    mode: str
    market: str
    program: str
    since: str
    ready: bool
    trading: str
    orders: int
    positions: int
    largest_gap_ms: float


class SyscallOrder(msgspec.Struct, frozen=True):
    """A syscall and its arguments as they were typed."""

    syscall: str
    arguments: dict[str, str]


class SyscallResult(msgspec.Struct, frozen=True):
    """The result as the line of JSON that `call` prints."""

    line: str


class Control:
    """Serves the control socket of a system.

    Args:
        system: What is controlled.
        program: `console`, `run` or another command that keeps the system running.

    Attributes:
        server: Takes further kinds of requests, such as the console's `attach`.
    """

    def __init__(self, system: System, program: str) -> None:
        self._system = system
        self._tasks: set[asyncio.Task[None]] = set()
        self._panics: list[tuple[str, Asked[PanicOrder]]] = []
        since = iso_time(wall_time_ns())
        account = system.account
        hello = Hello(pid=os.getpid(), account=account.key, mode=account.mode.value, program=program, since=since)
        self.server = ControlServer(system.paths.state, hello, self._on_refused)
        self.server.handle("status", Nothing, self._on_status)
        self.server.handle("panic", PanicOrder, self._on_panic)
        self.server.handle("call", SyscallOrder, self._on_call)

    def begin(self) -> None:
        """The system has started: do what was asked for meanwhile."""
        waiting, self._panics = self._panics, []
        for who, asked in waiting:
            self._panic(who, asked)

    def close(self) -> None:
        """Serve no more."""
        for task in self._tasks:
            task.cancel()
        self.server.close()

    def _on_refused(self, who: str, why: str) -> None:
        self._system.engine.say(f"a control request of {who} was refused: {why}", "warn")
        self._system.engine.oplog("ControlRefused", who=who, det=why)

    def _on_status(self, asked: Asked[Nothing]) -> None:
        system, hello = self._system, self.server.hello
        asked.finish(
            Status(
                pid=hello.pid,
                account=hello.account,
                mode=system.account.mode.value,
                market=system.market_label,
                program=hello.program,
                since=hello.since,
                ready=system.ready,
                trading=system.engine.trading.describe(),
                orders=sum(not order.external for order in system.engine.tracker.working()),
                positions=len(system.engine.portfolio.positions()),
                largest_gap_ms=round(system.vitals.watch.largest_s * 1000, 1),
            )
        )

    def _on_panic(self, asked: Asked[PanicOrder]) -> None:
        who = f"{asked.peer.who} by ctos-tui panic"
        if self._system.ready:
            self._panic(who, asked)
            return
        # The engine starts only when it agrees with the venue: until then nothing is sent. The file halts it then.
        folder, account = self._system.paths.state, self._system.account.key
        self._system.writer.submit(partial(_leave_mark, folder, who, asked.body.reason or "panic", account))
        path = mark_path(folder, account)
        text = f"the engine is still starting and sends nothing; {path} halts it as soon as it has"
        asked.push(PanicNews(text, "warn"))
        self._panics.append((who, asked))

    def _panic(self, who: str, asked: Asked[PanicOrder]) -> None:
        follower = PanicFollower(self._system, asked.push, asked.finish)
        asked.peer.on_end.append(follower.stop)
        try:
            follower.begin(who, asked.body)
        except CtosError as error:
            follower.stop()
            asked.fail(error)

    def _on_call(self, asked: Asked[SyscallOrder]) -> None:
        if not self._system.ready:
            raise VenueUnavailable("the engine is still starting; try again in a moment")
        values = convert(asked.body.syscall, asked.body.arguments, self._system.instruments, self._system.account)
        task = asyncio.get_running_loop().create_task(self._call(asked, asked.body.syscall, values))
        self._tasks.add(task)
        task.add_done_callback(self._called)

    async def _call(self, asked: Asked[SyscallOrder], syscall: str, values: dict[str, object]) -> None:
        from engine.boot.calling import CallDesk  # it is built on the system, as this is

        desk = CallDesk(self._system)
        try:
            asked.finish(SyscallResult(to_json(await desk.call(syscall, values))))
        except CtosError as error:
            asked.fail(error)
        except BaseException:
            asked.peer.close()
            raise
        finally:
            desk.close()

    def _called(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "a call from another shell failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)


def _leave_mark(folder: Path, who: str, reason: str, account: str) -> None:
    leave_mark(folder, who, reason, account)

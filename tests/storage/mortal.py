"""A program that dies at a chosen moment: `python -m tests.storage.mortal HOME VENUE`, then a line `K SIDE` for a life.

Each life is a process of its own that trades on a venue's emulator and kills itself at the K-th boundary of the way of
an order: before and after a record is given to the journal, before and after a commit, before a request leaves, after
its answer, before and after a fill is booked. K = 0 lives to the end. After each life a line says how it ended.

Beside the state, `durable` lists the numbers of the records that were reported to be on the disk, and `passed` the
boundaries of the last life.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import engine.io.journal as journal_module
from drivers.transport.gateway import TaskGateway
from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.io.journal import Journal
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.booking import Booking
from tests.engine.floor import d


class Failpoints:
    """Counts boundaries and ends the process at one of them, as a power switch would."""

    def __init__(self, kill_at: int, home: Path) -> None:
        self.armed = False
        self._kill_at = kill_at
        self._count = 0
        self._lock = Lock()
        self._passed = os.open(home / "passed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._durable = os.open(home / "durable", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._patch()

    def pass_by(self, name: str) -> None:
        if not self.armed:
            return
        with self._lock:  # the writer thread comes by, too
            self._count += 1
            os.write(self._passed, f"{name}\n".encode())
            if self._count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _patch(self) -> None:
        append, write_batch, place, on_fill = (
            Journal.append,
            journal_module.write_batch,
            TaskGateway.place,
            Booking.on_fill,
        )

        def watched_append(
            journal: Journal, kind: str, account: str, ts_ns: int, body: Any, on_durable: Any = None
        ) -> int:
            self.pass_by(f"before {kind}")
            seq = 0

            def durable() -> None:
                os.write(self._durable, f"{seq}\n".encode())
                self.pass_by(f"durable {kind}")
                if on_durable is not None:
                    on_durable()

            seq = append(journal, kind, account, ts_ns, body, durable)
            self.pass_by(f"after {kind}")
            return seq

        def watched_batch(*args: Any) -> Any:
            self.pass_by("before commit")
            conflicts = write_batch(*args)
            self.pass_by("after commit")
            return conflicts

        def watched_place(gateway: TaskGateway, request: Any, reply: Callable[[Any], None]) -> None:
            self.pass_by("before request")

            def answered(outcome: Any) -> None:
                self.pass_by("answered")
                reply(outcome)

            place(gateway, request, answered)
            self.pass_by("request under way")

        def watched_fill(booking: Booking, fill: Any) -> bool:
            self.pass_by("before fill")
            settled = on_fill(booking, fill)
            self.pass_by("after fill")
            return settled

        Journal.append = watched_append  # type: ignore[method-assign]
        journal_module.write_batch = watched_batch
        TaskGateway.place = watched_place  # type: ignore[method-assign]
        Booking.on_fill = watched_fill  # type: ignore[method-assign]


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < end, "it did not come"
        await asyncio.sleep(0.005)


async def quoted(system: System) -> str:
    """Return the perpetual that is traded, once it has a quote."""
    symbol = f"BTC-{system.account.default_quote}-PERP"
    system.engine.market.watch(symbol)
    await until(lambda: system.engine.market.quote(symbol) and system.engine.market.book(symbol).valid)
    return symbol


async def live(home: Path, venue: str, kill_at: int, side: Side) -> None:
    """Trade: a market order, a resting order, its cancellation."""
    points = Failpoints(kill_at, home)
    async with running(SystemOptions(config=str(home), exchange=venue)) as system:
        engine, symbol = system.engine, await quoted(system)
        engine.arm("operator", 60.0)
        points.armed = True
        taken = engine.submit(MANUAL, symbol, side, OrderType.MARKET, d("0.01"))
        state = engine.tracker.get
        await until(lambda: state(taken).filled == d("0.01"))  # type: ignore[union-attr]
        quote = engine.market.quote(symbol)
        assert quote is not None
        price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
        resting = engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
        await until(lambda: state(resting).state is OrderState.OPEN)  # type: ignore[union-attr]
        engine.cancel(resting)
        await until(lambda: state(resting).state is OrderState.CANCELED)  # type: ignore[union-attr]
        points.armed = False


def main(home: Path, venue: str) -> None:
    """Lead lives as told, each in a fork: what was imported is not imported again."""
    for line in sys.stdin:
        kill_at, side = line.split()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                asyncio.run(live(home, venue, int(kill_at), Side(side)))
                code = 0
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""Processes that simulate one seed after the other; what becomes of a seed is told even when its process dies."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
from collections.abc import Callable, Iterable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

from engine.kernel.clock import NS_PER_S, monotonic_ns
from tests.sim.report import Report

Seed = tuple[str, int, float]
"""Venue, seed, simulated hours."""
Run = Callable[[str, int, float], Report]

_CONTEXT = get_context("spawn")
_GRACE_S = 15.0
"""A process that has passed its limit ends itself and shows where it was; after so long it is ended."""


class Worker:
    """One process.

    Args:
        run: Simulates a seed; found by its name in the process.
        limit_s: Real seconds that a seed may take.

    Attributes:
        seed: What it simulates now, None while it waits.
        gone: Whether it has ended and takes no more seeds.
    """

    def __init__(self, run: Run, limit_s: float) -> None:
        self._limit_s = limit_s
        self.connection, far = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(far, run, limit_s), daemon=True)
        self._process.start()
        far.close()
        self._began_ns = 0
        self.seed: Seed | None = None
        self.gone = False

    @property
    def left_s(self) -> float:
        """Return how long its seed may still take, in real seconds."""
        return self._limit_s + _GRACE_S - self._took_s

    @property
    def _took_s(self) -> float:
        return (monotonic_ns() - self._began_ns) / NS_PER_S

    def begin(self, seed: Seed) -> None:
        """Simulate a seed."""
        self.seed, self._began_ns = seed, monotonic_ns()
        with contextlib.suppress(BrokenPipeError):  # it died while it waited: `report` tells
            self.connection.send(seed)

    def report(self) -> Report:
        """Return what came of its seed; a process that died or hangs is a violation of its own."""
        assert self.seed is not None
        (venue, number, hours), self.seed = self.seed, None
        try:
            if self.connection.poll():
                report: Report = self.connection.recv()
                return report
            why = f"the process hangs: no end after {self._took_s:.0f} s"
        except (EOFError, ConnectionResetError):
            took_s = self._took_s
            self._process.join(_GRACE_S)
            hung = f"the seed hangs: no end after {took_s:.0f} s, where it was is on the standard error"
            why = hung if took_s >= self._limit_s else f"the process died after {took_s:.0f} s, {self._last_word()}"
        self.close()
        return Report(venue, number, hours, violations=[why])

    def close(self) -> None:
        """End it at once."""
        self.gone = True
        self._process.kill()
        self._process.join()
        self.connection.close()

    def _last_word(self) -> str:
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"with exit code {code}: the reason is on the standard error"


def ready(workers: Iterable[Worker]) -> list[Worker]:
    """Wait until seeds have come to an end, well or not, and return the processes that simulated them."""
    busy = [worker for worker in workers if worker.seed is not None]
    heard = wait([worker.connection for worker in busy], max(0.0, min(worker.left_s for worker in busy)))
    return [worker for worker in busy if worker.connection in heard or worker.left_s <= 0]


def _serve(connection: Connection, run: Run, limit_s: float) -> None:
    """Simulate what is asked for; runs in the process, which ends itself when a seed takes too long."""
    while True:
        try:
            seed = connection.recv()
        except EOFError:
            return  # the soak is over
        faulthandler.dump_traceback_later(limit_s, exit=True)
        report = run(*seed)
        faulthandler.cancel_dump_traceback_later()
        connection.send(report)

"""How a command without a screen waits for its end: a signal, or the time it was given."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from types import FrameType

from engine.kernel.clock import Clock, sleep

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def watch_signals() -> Callable[[], bool]:
    """Return what tells whether a signal asked this process to end; a second signal ends it at once."""
    told: list[int] = []

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)
        for other in _SIGNALS:
            signal.signal(other, signal.SIG_DFL)

    for number in _SIGNALS:
        signal.signal(number, tell)
    return lambda: bool(told)


class Ending:
    """Becomes due by SIGINT, SIGTERM or SIGHUP, after a time, or when somebody says so.

    Args:
        loop: The loop that takes the signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._told = asyncio.Event()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._told.set)

    def tell(self) -> None:
        """End the waiting now."""
        self._told.set()

    async def wait(self, clock: Clock, duration_s: float | None) -> None:
        """Wait for the end, at most for `duration_s` of the clock's time."""
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._told.wait())]
        if duration_s is not None:
            waits.append(asyncio.create_task(sleep(clock, duration_s)))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

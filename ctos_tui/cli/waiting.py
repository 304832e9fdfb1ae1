"""How a command without a screen waits for its end: a signal, or the time it was given."""

from __future__ import annotations

import asyncio
import signal

from engine.kernel.clock import Clock, sleep


class Ending:
    """Becomes due by SIGINT, SIGTERM or SIGHUP, after a time, or when somebody says so.

    Args:
        loop: The loop that takes the signals.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._told = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
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

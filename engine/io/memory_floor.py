"""Memory that is left on the machine: an early word before the system ends a program for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.io.writer import WriterThread
from engine.kernel.clock import Clock, TimerHandle

LOW_BYTES = 100 << 20
CHECK_EVERY_S = 10.0
MEMINFO = Path("/proc/meminfo")


def available_bytes(text: str) -> int | None:
    """Return what `/proc/meminfo` says can still be had; None when it does not say."""
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) << 10
    return None


class MemoryFloor:
    """Looks at the memory that is left every 10 s, in the writer thread.

    Args:
        clock: Whose timers are used.
        writer: Does the looking.
        on_low: Called with what is wrong, in words, when too little is left, and with nothing when it is enough again.
        path: Where the system tells it; a system that does not is not watched.
    """

    def __init__(
        self, clock: Clock, writer: WriterThread, on_low: Callable[[str], object], path: Path = MEMINFO
    ) -> None:
        self._clock = clock
        self._writer = writer
        self._on_low = on_low
        self._path = path
        self._timer: TimerHandle | None = None
        self._is_low = False

    def start(self) -> None:
        """Begin looking, at once and then regularly."""
        if not self._path.exists():
            return
        left: int | None = None

        def look() -> None:
            nonlocal left
            left = available_bytes(self._path.read_text())

        self._timer = self._clock.call_later(CHECK_EVERY_S, self.start)
        self._writer.submit(look, lambda: self._judge(left))

    def stop(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _judge(self, left: int | None) -> None:
        if self._timer is None or left is None:
            return
        was_low, self._is_low = self._is_low, left < LOW_BYTES
        if self._is_low and not was_low:
            self._on_low(f"only {left >> 20} MB of memory are left on this machine; end other programs")
        elif was_low and not self._is_low:
            self._on_low("")

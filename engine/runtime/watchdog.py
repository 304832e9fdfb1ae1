"""Watches how long a strategy's handler holds the loop, and breaks an endless one off.

Every handler runs on the loop's thread. A small thread looks every quarter second; when a handler is over its time it
sends a signal to the main thread, whose signal handler raises `HandlerTimeout` inside the strategy's code. The main
thread itself checks that the handler is still running, so that nothing else can be interrupted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from engine.kernel.clock import monotonic_ns

SLOW_NS = 50_000_000
LIMIT_NS = 1_000_000_000
_LOOK_EVERY_S = 0.25


class HandlerTimeout(BaseException):
    """A handler held the loop for longer than it may; no `except Exception` in a strategy's loop can swallow it."""


class HandlerWatch:
    """Times handlers. `start` arms the interruption; without it handlers are timed only.

    Args:
        now_ns: The time that handlers take; the machine's, but where work takes none.

    Attributes:
        last_ns: How long the last handler took.
    """

    def __init__(self, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._now_ns = now_ns
        self.last_ns = 0
        self._began_ns = 0
        self._entered_ns = 0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to interrupt endless handlers; only the main thread can be interrupted."""
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGALRM, self._interrupt)
        self._thread = threading.Thread(target=self._look, name="ctos-handler-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watching thread."""
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._thread = None
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one that comes later must not end the process

    def begin(self) -> None:
        """Begin to time a handler; while the watch is started it is interrupted after one second."""
        self._entered_ns = self._began_ns = self._now_ns()

    def end(self) -> None:
        """The handler has returned or raised."""
        self._began_ns = 0
        self.last_ns = self._now_ns() - self._entered_ns

    def _look(self) -> None:
        main = threading.main_thread().ident
        while not self._done.wait(_LOOK_EVERY_S):
            began = self._began_ns
            if began and self._now_ns() - began > LIMIT_NS and main is not None:
                signal.pthread_kill(main, signal.SIGALRM)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        began = self._began_ns
        if began and self._now_ns() - began > LIMIT_NS:
            self._began_ns = 0
            raise HandlerTimeout("the handler ran for more than 1 s and was interrupted: it must not loop or block")

"""The one thread that writes to the disk.

Work is done in the order in which it was submitted. What must happen afterwards is called on the event loop, so the
rest of the system never meets another thread. Without a loop the work is done at once, on the caller's stack.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from threading import Event, Thread

from engine.kernel.errors import CtosError, StorageError

Call = Callable[[], object]
Work = Callable[[], Iterable[Call] | None]
"""Runs in the writer thread; may return calls to be made afterwards on the loop, in order."""

OnError = Callable[[CtosError], object]

GATHER_S = 0.002
"""Rest after each round of work, so that what arrives meanwhile shares one flush to the disk."""


CLOSING_ROUNDS = 20
"""How often an outcome may ask for more work while the writer closes."""


class WriterThread:
    """Does disk work in order and reports back on the event loop.

    Args:
        loop: Where outcomes are called; None does all work synchronously, inside `submit`.
        on_error: Called with the typed error of any work that failed and has no error handler of its own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None, on_error: OnError) -> None:
        self._loop = loop
        self._on_error = on_error
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._outcomes: deque[Call] = deque()
        self._closing = Event()
        self._closed = False
        self._thread: Thread | None = None
        if loop is not None:
            self._thread = Thread(target=self._run, name="ctos-writer", daemon=True)
            self._thread.start()

    @property
    def is_synchronous(self) -> bool:
        """Return whether work is done inside `submit`."""
        return self._thread is None

    def submit(self, work: Work, on_done: Call | None = None, on_error: OnError | None = None) -> None:
        """Queue `work`; then call what it returned and `on_done`, or `on_error` when it failed.

        Raises:
            StorageError: The writer is closed.
        """
        if self._closed:
            raise StorageError("the writer is closed; nothing more can be written")
        if self._thread is None:
            self._do(work, on_done, on_error)
            self._deliver()
        else:
            self._work.put(lambda: self._do(work, on_done, on_error))

    def wait(self) -> None:
        """Block until everything submitted so far has been done; for start, shutdown and tests."""
        if self._thread is None or not self._thread.is_alive():
            return
        done = Event()
        self._work.put(done.set)
        done.wait()

    def close(self) -> None:
        """Finish all queued work, deliver its outcomes, finish what they ask for in turn, and end the thread."""
        if self._closed:
            return
        self._closing.set()
        for _ in range(CLOSING_ROUNDS):
            self.wait()
            if not self._outcomes:
                break
            self._deliver()
        self._closed = True
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
        self._deliver()

    def _run(self) -> None:
        last = False
        while not last:
            jobs = [self._work.get()]
            jobs += [self._work.get_nowait() for _ in range(self._work.qsize())]
            last = jobs[-1] is None
            for job in jobs:
                if job is not None:
                    job()
            if self._outcomes and self._loop is not None and not self._closing.is_set():
                self._loop.call_soon_threadsafe(self._deliver)
            self._closing.wait(GATHER_S)

    def _do(self, work: Work, on_done: Call | None, on_error: OnError | None) -> None:
        try:
            calls = work()
        except Exception as error:
            typed = error if isinstance(error, CtosError) else _typed(error)
            handler = on_error or self._on_error
            self._outcomes.append(lambda: handler(typed))
            return
        if calls is not None:
            self._outcomes.extend(calls)
        if on_done is not None:
            self._outcomes.append(on_done)

    def _deliver(self) -> None:
        outcomes = self._outcomes
        while outcomes:
            outcome = outcomes.popleft()
            try:
                outcome()
            except BaseException:
                if outcomes and self._loop is not None and not self._loop.is_closed():
                    self._loop.call_soon(self._deliver)
                raise


def _typed(error: Exception) -> StorageError:
    """Return a failure of the disk, or of the work itself, as a typed error that keeps its cause."""
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        typed = StorageError(f"cannot write{where}: {error.strerror or error}; free space or mend the permissions")
    else:
        typed = StorageError(f"writing failed: {type(error).__name__}: {error}")
    typed.__cause__ = error
    return typed

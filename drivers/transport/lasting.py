"""A task that must not end: when it does all the same, that is reported at once and it begins anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from engine.kernel.clock import NS_PER_S, Clock, TimerHandle

WAITS_S = (0.25, 0.5, 1.0, 2.0, 5.0)
STABLE_NS = 60 * NS_PER_S


class TaskEnded(Exception):
    """A task that has no end was cancelled by somebody, or returned."""


class LastingTask:
    """Runs a coroutine until `stop`. Its errors go to the loop's exception handler, as does its end without one.

    Args:
        name: Of the task.
        make: Makes the coroutine, each time anew.
        clock: Times the pauses before it begins anew.
        on_end: Called when it ended without `stop`, before the pause.
        may_return: Whether returning is a proper end.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Coroutine[Any, Any, None]],
        clock: Clock,
        on_end: Callable[[], None] = lambda: None,
        may_return: bool = False,
    ) -> None:
        self._name = name
        self._make = make
        self._clock = clock
        self._on_end = on_end
        self._may_return = may_return
        self._task: asyncio.Task[None] | None = None
        self._again: TimerHandle | None = None
        self._began_ns = 0
        self._ends = 0

    @property
    def is_wanted(self) -> bool:
        """Return whether it was started and not stopped."""
        return self._task is not None or self._again is not None

    def start(self) -> None:
        """Begin; does nothing when that was done."""
        if not self.is_wanted:
            self._begin()

    async def stop(self) -> None:
        """End it, and wait for that."""
        task, self._task = self._task, None
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _begin(self) -> None:
        self._again = None
        self._began_ns = self._clock.now_ns()
        self._task = asyncio.get_running_loop().create_task(self._make(), name=self._name)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if task is not self._task:
            if error is not None:
                self._report(task, error)
            return
        self._task = None
        if error is None and not task.cancelled() and self._may_return:
            return
        if self._clock.now_ns() - self._began_ns >= STABLE_NS:
            self._ends = 0
        wait_s = WAITS_S[min(self._ends, len(WAITS_S) - 1)]
        self._ends += 1
        self._again = self._clock.call_later(wait_s, self._begin)
        self._report(task, error or TaskEnded("it was cancelled" if task.cancelled() else "it came to an end"))
        self._on_end()

    def _report(self, task: asyncio.Task[None], error: BaseException) -> None:
        task.get_loop().call_exception_handler({"message": f"{self._name} stopped", "exception": error, "task": task})

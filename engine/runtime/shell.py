"""Runs a driver's queries for the synchronous core: as tasks on a loop, or at once where there is no loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from engine.kernel.errors import CtosError

T = TypeVar("T")
OnError = Callable[[CtosError], None]


class Shell(Protocol):
    """Carries out a coroutine and hands its result, or its typed error, to a plain function."""

    def run(self, work: Coroutine[Any, Any, T], on_result: Callable[[T], None], on_error: OnError) -> None:
        """Start `work`; exactly one of the two functions is called unless the shell is closed first."""

    def close(self) -> None:
        """Give up everything that has not finished."""


class LoopShell:
    """Runs each coroutine as a task of the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._tasks: dict[asyncio.Task[None], None] = {}  # in the order in which they began
        self._closed = False

    def run(self, work: Coroutine[Any, Any, T], on_result: Callable[[T], None], on_error: OnError) -> None:
        """Start `work` as a task; errors that are no `CtosError` also go to the loop's exception handler.

        Whoever asked hears of every end, so that no question stays open for ever.
        """

        async def carry_out() -> None:
            try:
                result = await work
            except CtosError as error:
                on_error(error)
            except asyncio.CancelledError:
                if not self._closed:
                    on_error(CtosError("the query was cancelled before it was answered"))
                raise
            except Exception as error:
                on_error(CtosError(f"the query failed: {type(error).__name__}: {error}"))
                raise
            else:
                on_result(result)

        task = self._loop.create_task(carry_out())
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        task.add_done_callback(lambda _: work.close())  # a task cancelled before its first step never awaits it

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "engine query failed", "exception": error, "task": task})

    def close(self) -> None:
        """Cancel the tasks that are still running."""
        self._closed = True
        for task in self._tasks:
            task.cancel()


class ImmediateShell:
    """Runs each coroutine to its end on the spot: for drivers whose calls never wait, such as the paper venue."""

    def run(self, work: Coroutine[Any, Any, T], on_result: Callable[[T], None], on_error: OnError) -> None:
        """Carry `work` out before returning.

        Raises:
            RuntimeError: The coroutine wants to wait, which needs a loop.
        """
        try:
            result = run_to_end(work)
        except CtosError as error:
            on_error(error)
        else:
            on_result(result)

    def close(self) -> None:
        """Nothing is ever left over."""


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Carry out a coroutine that never has to wait and return its result; its errors pass through.

    Raises:
        RuntimeError: The coroutine wants to wait, which needs a loop.
    """
    try:
        work.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    work.close()
    raise RuntimeError("work that waits needs an event loop")

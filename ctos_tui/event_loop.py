"""Runs a program on an event loop of its own, and ends though somebody's task does not."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_S = 2.0
"""So long tasks that are left over have to end; a strategy's may swallow its cancellation for ever."""


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as `asyncio.run` does, but leave tasks behind that refuse to end, and name them on stderr."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    ended, left = loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE_S))
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            loop.call_exception_handler({"message": "a task failed at the end", "exception": error, "task": task})
    for task in left:
        coroutine = task.get_coro()
        code = getattr(coroutine, "cr_code", None)
        place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
        name = getattr(coroutine, "__qualname__", task.get_name())
        print(f"{name}{place} does not end when it is cancelled, and is left behind", file=sys.stderr)
    if left:
        # Taking a coroutine apart runs its code once more, which may loop for ever: it must outlive the interpreter.
        threading.Thread(target=_hold, args=(left,), name="ctos-left-behind", daemon=True).start()


def _hold(left: set[asyncio.Task[Any]]) -> None:
    """Keep tasks alive for as long as there is a process; the thread ends with it."""
    threading.Event().wait()

"""Notices at once when a part of the engine fails where nobody caught it: tasks, timers, subscribers of the bus.

One fault blocks new entries until a person has seen it; the third within a minute halts the account, as does the
first for want of memory: nobody knows what was left half done. Faults of the console are told and change nothing
else: a screen that breaks must not stop the engine.
"""

from __future__ import annotations

import asyncio
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any

from engine.io.secrets import process_redactor
from engine.kernel.clock import NS_PER_S
from engine.runtime.events import LogLine

if TYPE_CHECKING:
    from engine.boot.system import System

KIND = "engine_fault"
WITHIN_NS = 60 * NS_PER_S
MOST = 3
_CONSOLE = ("ctos_tui", "textual")


class Supervision:
    """Takes every failure that reaches the event loop; on virtual time there is none, they go to the caller.

    Args:
        system: Whose parts may fail.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._loop = system.loop
        self._times_ns: deque[int] = deque(maxlen=MOST)
        self._before: Any = None

    def start(self) -> None:
        """Take what the loop reports from now on."""
        if self._loop is not None:
            self._before = self._loop.get_exception_handler()
            self._loop.set_exception_handler(self._on_report)

    def stop(self) -> None:
        """Give the loop its former handler back."""
        if self._loop is not None and self._loop.get_exception_handler() == self._on_report:
            self._loop.set_exception_handler(self._before)

    def note(self, what: str, error: BaseException | None, is_console: bool = False) -> None:
        """Take in that a part of the program failed."""
        is_console = is_console or (error is not None and _entered_by_console(error))
        text = what if error is None else f"{what}: {type(error).__name__}: {error}"
        if isinstance(error, MemoryError) and not is_console:
            self._halt(f"out of memory: {what}")  # before anything that needs some
        if error is not None:
            lines = traceback.format_exception(type(error), error, error.__traceback__)
            self._tell("error", " | ".join(line.strip().replace("\n", " ") for line in lines))
        if is_console:
            self._tell("error", f"the console: {text}")
            return
        self._on_fault(text)
        now_ns = self._system.clock.now_ns()
        self._times_ns.append(now_ns)
        if len(self._times_ns) == MOST and now_ns - self._times_ns[0] < WITHIN_NS:
            self._times_ns.clear()
            self._halt(f"{MOST} faults of the engine in a minute, the last: {text}")

    def _on_fault(self, text: str) -> None:
        """Block new entries until a person has seen it."""
        system, words = self._system, process_redactor.clean(text)
        if system.ready:
            system.monitor.raise_anomaly(KIND, "", "", "", "", f"{words}; acknowledge it to trade on", "CRIT")
        else:
            self._tell("error", words)

    def _halt(self, reason: str) -> None:
        engine = self._system.engine
        if self._system.ready and not engine.risk.is_halted:
            engine.panic_switch.halt("supervisor", process_redactor.clean(reason))

    def _tell(self, level: str, text: str) -> None:
        now_ns = self._system.clock.now_ns()
        self._system.bus.publish(LogLine(now_ns, level, "engine", process_redactor.clean(text)))

    def _on_report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        part = context.get("task") or context.get("future") or context.get("handle")
        name = part.get_name() if isinstance(part, asyncio.Task) else _callback_name(part)
        what = f"{name}: {context['message']}" if name else str(context["message"])
        if error is None:
            self._tell("warn", what)  # asyncio's remarks about things that were left open: nothing has failed
        else:
            self.note(what, error)


def is_console_part(module: str | None) -> bool:
    """Return whether a module belongs to the console."""
    return (module or "").partition(".")[0] in _CONSOLE


def _entered_by_console(error: BaseException) -> bool:
    """Return whether the loop had called the console when an error was raised: its outermost frame that is ours."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = (frame.f_globals.get("__name__", "") for frame, _ in frames)
    first = next((module for module in modules if not module.startswith("asyncio")), "")
    return is_console_part(first)


def _callback_name(handle: object) -> str:
    callback = getattr(handle, "_callback", None)
    name: str = getattr(callback, "__qualname__", "")
    return name

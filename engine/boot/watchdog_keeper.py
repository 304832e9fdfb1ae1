"""Keeps the watchdog process: starts it, tells it which orders work and that we live, notices when it is gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engine.boot.watchdog import ACTED, BEAT, CHARGE, END, GONE, LEFT, ORDER
from engine.boot.watchdog_process import put_on_duty, start_watchdog
from engine.kernel.clock import NS_PER_S, TimerHandle, sleep
from engine.kernel.orders import Order
from engine.runtime.events import OrderChanged
from engine.runtime.execution import ExecutionEngine

BEAT_S = 1.0
UNANSWERED = 15
"""So many beats in a row without an answer, and the watchdog counts as gone."""
STARTS, WITHIN_NS = 4, 3600 * NS_PER_S
"""It is started so often within an hour, then not before the hour is over."""
END_S = 2.0
"""So long its end is waited for; it is killed then, for it must not act after a clean end."""


class WatchdogKeeper:
    """The watchdog of one account, while the engine runs.

    Args:
        engine: The account's engine, started.
        charge: Makes what the process needs to reach the venue, keys among it: they pass through the pipe only.
        covers: Whether an order is the watchdog's to cancel.
        pid_file: Names the process on duty.
        on_trouble: Called with why there is no watchdog, and with nothing once there is again.
        on_acted: Called when it has acted while this program stood still.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        charge: Callable[[], Mapping[str, Any]],
        covers: Callable[[Order], bool],
        pid_file: Path,
        on_trouble: Callable[[str], object],
        on_acted: Callable[[], object],
    ) -> None:
        self._engine = engine
        self._charge = charge
        self._covers = covers
        self._pid_file = pid_file
        self._on_trouble = on_trouble
        self._on_acted = on_acted
        self._process: subprocess.Popen[bytes] | None = None
        self._dying: list[subprocess.Popen[bytes]] = []
        self._starts: deque[int] = deque(maxlen=STARTS)
        self._told: dict[str, str] = {}
        self._unanswered = 0
        self._was_heard = self._in_trouble = self._hands_over = False
        self._timer: TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Return whether there is a watchdog that has answered."""
        return self._process is not None and self._was_heard

    @property
    def pid(self) -> int | None:
        """Return its process, None without one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process; the orders that work already are its affair at once."""
        self._unsubscribe = self._engine.bus.subscribe(OrderChanged, self._on_order)
        self._timer = self._engine.clock.call_later(BEAT_S, self._beat)
        self._spawn()

    def hand_over(self) -> None:
        """Let the last word be that the orders which still work are the process's to cancel, at once."""
        self._hands_over = True

    async def stop(self) -> None:
        """Let it end without doing anything, and wait for that, unless it takes over."""
        process = self._process
        self.close()
        if process is None or self._hands_over:
            return
        for _ in range(int(END_S / 0.02)):
            if process.poll() is not None:
                return
            await sleep(self._engine.clock, 0.02)
        process.kill()
        self._engine.say("the watchdog process did not end by itself and was killed", "warn")

    def close(self) -> None:
        """Say the last word; harmless when it was said."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        self._unsubscribe()
        if self._process is not None:
            self._write(LEFT if self._hands_over else END)
            self._dying.append(self._process)
            self._let_go()

    def _spawn(self) -> None:
        now_ns = self._engine.clock.now_ns()
        if len(self._starts) == STARTS and now_ns - self._starts[0] < WITHIN_NS:
            return
        self._starts.append(now_ns)
        self._unanswered = 0
        self._was_heard = False
        try:
            self._process = start_watchdog()
        except OSError as error:
            self._trouble(f"cannot be started: {error.strerror}")
            return
        assert self._process.stdout is not None
        asyncio.get_running_loop().add_reader(self._process.stdout.fileno(), self._on_answer)
        self._told.clear()
        self._tell(f"{CHARGE} {json.dumps(dict(self._charge()))}")
        for order in self._engine.tracker.working():
            self._tell_of(order)
        self._tell(BEAT)
        self._put_on_duty()

    def _put_on_duty(self) -> None:
        if self._process is None:
            return
        try:
            put_on_duty(self._pid_file, self._process.pid)
        except OSError as error:
            text = f"cannot write {self._pid_file} ({error.strerror}): the watchdog of an earlier start may still act"
            self._engine.say(text, "warn")

    def _on_order(self, event: OrderChanged) -> None:
        if self._process is not None:
            self._tell_of(event.order)

    def _tell_of(self, order: Order) -> None:
        """Tell what changed for the watchdog: most changes of an order do not."""
        line = ""
        if order.is_open and self._covers(order):
            line = f"{ORDER} {order.client_id} {order.symbol} {order.venue_order_id}"
        if self._told.get(order.client_id, "") == line:
            return
        if line:
            self._told[order.client_id] = line
        else:
            del self._told[order.client_id]
        self._tell(line or f"{GONE} {order.client_id}")

    def _beat(self) -> None:
        self._timer = self._engine.clock.call_later(BEAT_S, self._beat)
        self._dying = [each for each in self._dying if each.poll() is None]
        if self._process is None:
            self._spawn()
        elif (code := self._process.poll()) is not None:
            by = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            self._lose(f"has ended {by}")
        elif self._unanswered >= UNANSWERED:
            self._lose("has not answered")
        else:
            self._unanswered += 1
            self._tell(BEAT)

    def _on_answer(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        try:
            words = os.read(descriptor, 4096).decode().split()
        except BlockingIOError:
            return
        if not words:  # it has ended, which the next beat will tell
            asyncio.get_running_loop().remove_reader(descriptor)
            return
        self._unanswered = 0
        self._was_heard = True
        if self._in_trouble:
            self._in_trouble = False
            self._on_trouble("")
        if ACTED in words:
            self._on_acted()

    def _tell(self, line: str) -> None:
        why = self._write(line)
        if why:
            self._lose(why)

    def _write(self, line: str) -> str:
        """Write a line at once or not at all; return why it could not be written."""
        if self._process is None:
            return ""
        assert self._process.stdin is not None
        content = f"{line}\n".encode()
        try:
            written = os.write(self._process.stdin.fileno(), content)
        except BlockingIOError:
            return "does not read what it is told"
        except BrokenPipeError:
            return "has ended"
        return "" if written == len(content) else "does not read what it is told"

    def _lose(self, why: str) -> None:
        """Give the process up, and start another unless that was done too often."""
        assert self._process is not None
        self._process.kill()
        self._dying.append(self._process)
        self._let_go()
        self._trouble(why)
        self._spawn()

    def _let_go(self) -> None:
        process, self._process = self._process, None
        assert process is not None and process.stdin is not None and process.stdout is not None
        asyncio.get_running_loop().remove_reader(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()

    def _trouble(self, why: str) -> None:
        self._in_trouble = True
        self._on_trouble(f"the watchdog process {why}: our orders outlive a crash until it runs again")

"""Whether the engine keeps within what the venue serves (I14): no refusal for too many requests, silence in a ban."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.kernel.clock import NS_PER_S, Clock
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import Seen

_HEARD_S = 10.0
"""After so long the venue's word has reached the engine and its disk, and what was on its way has arrived."""
_TOO_MANY = (429, 418)


class Budget:
    """Counts what the venue refuses, and what it is asked while it serves nothing.

    Args:
        emulator: The venue; its own refusals are looked at, those of the faults are not.
        clock: Time.
        on_violation: Called with the text of a violation.
    """

    def __init__(self, emulator: Emulator, clock: Clock, on_violation: Callable[[str], None]) -> None:
        self._emulator = emulator
        self._clock = clock
        self._violated = on_violation
        self._told_ns: dict[str, int] = {}
        self._ended_ns = 0
        answer = emulator.answer

        async def watched(seen: Seen) -> Answer:
            given = await answer(seen)
            if given.status in _TOO_MANY:
                on_violation(f"I14: {seen.method} {seen.path} passes a limit of the venue: {given.body[:120]!r}")
            return given

        emulator_as_any: Any = emulator
        emulator_as_any.answer = watched

    def on_request(self, seen: Seen) -> None:
        """Take a request down as it arrives."""
        if not self._emulator.faults.banned_s:
            self._told_ns.clear()
        elif seen.method != "WS":
            now_ns = self._clock.now_ns()
            until_s = round(now_ns / NS_PER_S + self._emulator.faults.banned_s)
            first = seen.path.split("/")[1]
            interface = f"{first.removeprefix('ws-')} until {until_s}"
            if seen.method == "OPEN":
                if not first.startswith("ws-"):
                    return  # market data comes from other machines than those that ban
                told_ns = self._told_ns.get(interface, now_ns)
            else:
                told_ns = self._told_ns.setdefault(interface, now_ns)
            if now_ns - told_ns > _HEARD_S * NS_PER_S:
                after_s = (now_ns - told_ns) / NS_PER_S
                self._violated(
                    f"I14: {seen.method} {seen.path} is sent {after_s:.1f} s after the venue told of its ban"
                )

    def life_ended(self) -> None:
        """Note the end of an engine."""
        self._ended_ns = self._clock.now_ns()

    def life_begins(self) -> None:
        """Forget what the last engine heard too short a time before its end to have kept it, and what came later."""
        kept_ns = self._ended_ns - _HEARD_S * NS_PER_S
        self._told_ns = {interface: told_ns for interface, told_ns in self._told_ns.items() if told_ns < kept_ns}

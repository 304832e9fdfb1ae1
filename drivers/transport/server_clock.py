"""The venue's time: the offset from our clock, measured where the round trip was shortest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from drivers.transport.setup import Log
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock, TimerHandle, sleep
from engine.kernel.errors import CtosError

REFRESH_S = 300.0
RETRY_S = 30.0
PATIENCE_S = 2.0
STEP_MS = 500
"""A wall clock that moved by more than this against ours: the host slept, or somebody set the time."""
UNSURE_MS = 250.0


class ServerClock:
    """Tells the venue's time.

    Args:
        clock: Our time.
        ask: Asks the venue for its time in ms.
        log: Takes lines for the operator.

    Attributes:
        offset_ms: The venue's time less ours.
        uncertainty_ms: Largest possible error of the offset: half the round trip; infinite before the first answer.
    """

    def __init__(self, clock: Clock, ask: Callable[[], Awaitable[int]], log: Log) -> None:
        self._clock = clock
        self._ask = ask
        self._log = log
        self._wall_lead_ns = clock.wall_ns() - clock.now_ns()
        self._timer: TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._started = False
        self._doubted = False  # the time in use may be wrong
        self.offset_ms = 0.0
        self.uncertainty_ms = float("inf")

    def now_ms(self) -> int:
        """Return the venue's time, as far as it is known now (see `settled`)."""
        now_ns = self._notice_step()
        return int(now_ns / NS_PER_MS + self.offset_ms)

    @property
    def known_offset_ms(self) -> float | None:
        """Return the venue's time less ours; None before the first answer."""
        return None if self.uncertainty_ms == float("inf") else self.offset_ms

    async def sync(self, samples: int = 8) -> None:
        """Ask the venue `samples` times and keep the answer of the shortest round trip.

        Raises:
            CtosError: No answer came at all.
        """
        best: tuple[int, float] | None = None
        failure: CtosError | None = None
        for _ in range(samples):
            sent_ns = self._clock.now_ns()
            try:
                venue_ms = await self._ask()
            except CtosError as error:
                if failure is not None:
                    break
                failure = error
                continue
            took_ns = self._clock.now_ns() - sent_ns
            if best is None or took_ns < best[0]:
                best = took_ns, venue_ms - (sent_ns + took_ns / 2) / NS_PER_MS
        if best is None:
            assert failure is not None
            raise failure
        self.uncertainty_ms, self.offset_ms = best[0] / 2 / NS_PER_MS, best[1]
        if self.uncertainty_ms > UNSURE_MS:
            text = f"the venue's time is known to {self.uncertainty_ms:.0f} ms only: the connection is slow"
            self._log("warning", text)

    def start(self) -> None:
        """Ask again every five minutes, and whenever the time is suspect."""
        self._started = True
        self._plan(REFRESH_S)

    def stop(self) -> None:
        """Ask no more."""
        self._started = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is not None:
            self._running.cancel()

    def suspect(self) -> None:
        """Ask at once: the venue refused a time stamp, or the host slept."""
        self._doubted = True
        self._ask_anew()

    def _ask_anew(self) -> None:
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._resample(), name="venue time")

    async def settled(self) -> None:
        """Return when the time can be relied on; to be awaited before a request is signed.

        It lets the venue be asked first when the wall clock stepped, and waits for the answer while the time is
        suspect, but not for long: a request with a wrong time is refused, one that is held back does nothing.
        """
        self._notice_step()
        if self._running is None or not self._doubted:
            return
        patience = asyncio.ensure_future(sleep(self._clock, PATIENCE_S))
        try:
            await asyncio.wait((self._running, patience), return_when=asyncio.FIRST_COMPLETED)
        finally:
            patience.cancel()

    def _notice_step(self) -> int:
        now_ns = self._clock.now_ns()
        lead_ns = self._clock.wall_ns() - now_ns
        step_ns = lead_ns - self._wall_lead_ns
        if abs(step_ns) > STEP_MS * NS_PER_MS:
            self._wall_lead_ns = lead_ns
            text = f"the system's time stepped by {step_ns / NS_PER_S:+.1f} s; asking the venue for its time"
            self._log("warning", text)
            self.suspect()
        return now_ns

    async def _resample(self) -> None:
        again_s = REFRESH_S
        try:
            await self.sync()
        except CtosError as error:
            again_s = RETRY_S
            self._log("warning", f"the venue's time could not be asked: {error}")
        finally:
            self._running = None
            self._doubted = False
            if self._started:
                self._plan(again_s)

    def _plan(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(seconds, self._ask_anew)

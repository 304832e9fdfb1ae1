"""A whole simulated world: rounds of faults and crashes, each ended by a quiet phase in which everything must agree."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import patch

from drivers.paper import driver as paper_driver
from drivers.paper.config import PaperConfig
from drivers.transport.spare_files import SpareFiles
from engine.kernel.clock import NS_PER_S, Rng, sleep
from engine.kernel.errors import CtosError
from tests.sim.budget import Budget
from tests.sim.chaos import SLOWEST_DISK_S, Chaos
from tests.sim.life import Beside, Life, Place
from tests.sim.loop import OWNER, SimLoop, run
from tests.sim.market import BASE_PRICES, SimMarket
from tests.sim.mortal import SimClock
from tests.sim.quiet import Quiet
from tests.sim.report import Report
from tests.sim.server import LeanServer
from tests.sim.stranger import Stranger
from tests.sim.trace import Trace
from tests.sim.truth import Truth
from tests.venues.conformance.wire import WIRES
from tests.venues.emulators import core
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.wire import Seen

START_NS = 1_789_999_200 * NS_PER_S
FAULTS_S = 240.0
_DOWN_S = (2.5, 20.0)
"""How long the program is down: it takes about two seconds to begin."""
_PUMP_S = 2.0
"""How often an emulator looks at its market by itself; requests and prices are carried out at once."""
_DURABLE_NS = 50_000_000
"""A halt that is younger when the power fails may not have reached the disk, longer when that is slow."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    Attributes:
        hours: How long.
        pace_s: Mean time between two commands of the bot.
        fault_s: Mean time between two faults.
        crash_s: Mean time between two crashes.
        stranger_s: Mean time between two acts of somebody else on the account.
        halt: Chance of a halt in a round.
        limit_usd: The account's limit of worst-case exposure.
        only: Names of the faults that happen; all when empty.
        beside: What runs beside the bot; drawn by the seed when None.
    """

    seed: int = 1
    hours: float = 1.0
    venue: str = "okx"
    pace_s: float = 1.5
    fault_s: float = 6.0
    crash_s: float = 150.0
    stranger_s: float = 40.0
    halt: float = 0.3
    limit_usd: Decimal = Decimal(13_000)
    only: tuple[str, ...] = ()
    beside: Beside | None = None


class _Requests(list[Seen]):
    """Hands requests on instead of keeping them."""

    def __init__(self, take: Callable[[Seen], None]) -> None:
        super().__init__()
        self._take = take

    def append(self, seen: Seen) -> None:
        """Hand a request on."""
        self._take(seen)


class World:
    """One simulation.

    Args:
        loop: Its loop.
        plan: What is simulated.
        directory: Where the journal is.
        progress: Called with a line after each round.
    """

    def __init__(self, loop: SimLoop, plan: Plan, directory: Path, progress: Callable[[str], None]) -> None:
        self._loop = loop
        self._plan = plan
        self._progress = progress
        self._rng = Rng(f"simulation {plan.seed} {plan.venue}")
        self._clock = SimClock(loop, START_NS)
        self.result = Report(plan.venue, plan.seed, plan.hours)
        self._trace = Trace(loop.time)
        self._stopped: asyncio.Future[None] = loop.create_future()
        loop.set_exception_handler(self._on_loop_error)
        quote = "USDC" if plan.venue == "backpack" else "USDT"
        config = PaperConfig(balances={quote: Decimal(200_000)}, latency_ms=1.0)
        self.emulator: Emulator = emulator_class(plan.venue)(clock=self._clock, config=config)
        listed = [i for i in self.emulator.instruments.values() if i.quote == quote]
        self._beside = plan.beside or Beside.draw(self._rng.fork("beside"))
        self._traded = [i for i in listed if i.is_perp and i.base in BASE_PRICES]
        if self._beside.spot:
            self._traded.append(next(i for i in listed if not i.is_perp and i.base in BASE_PRICES))
        self._truth = Truth(self.emulator, self._trace, plan.limit_usd, self._violated)
        self._budget = Budget(self.emulator, self._clock, self._violated)
        self.emulator.requests = _Requests(self._on_request)
        chaos_rng = self._rng.fork("chaos")
        self._chaos = Chaos(
            self.emulator,
            WIRES[plan.venue],
            loop.network,
            self._clock,
            chaos_rng,
            plan.fault_s,
            self.result.faults,
            self._trace.note,
            plan.only,
        )
        self._place = Place(
            loop,
            self.emulator,
            self._truth,
            self._trace,
            directory / "ctos.db",
            START_NS,
            plan.venue,
            quote,
            [instrument.symbol for instrument in self._traded],
            [instrument.symbol for instrument in self._traded if instrument.is_perp],
            plan.pace_s,
            plan.limit_usd,
            self._beside,
            self.result.counts,
            self._violated,
        )
        self._judge = Quiet(self._place, self._clock, self.result)
        self._life: Life | None = None
        self._halted_ns: int | None = None

    async def play(self) -> Report:
        """Carry the plan out, to its end or to the first violation."""
        await self.emulator.start()
        self._stranger = Stranger(
            self.emulator,
            self._truth,
            [instrument for instrument in self._traded if instrument.is_perp],
            self._clock,
            self._rng.fork("stranger"),
            self._plan.stranger_s,
            self.result.counts,
            self._trace.note,
        )
        beside = self._loop.create_task(self._stranger.play())
        market = SimMarket(self.emulator, self._clock, self._rng.fork("market"), self._traded)
        playing = self._loop.create_task(market.play())
        work = self._loop.create_task(self._rounds())
        await asyncio.wait([playing, work, beside, self._stopped], return_when=asyncio.FIRST_COMPLETED)
        failed = next((task for task in (playing, work, beside) if task.done() and task.exception() is not None), None)
        for task in (playing, work, beside):
            task.cancel()
        if not self._stopped.done():
            self._stopped.set_result(None)
        if failed is not None:
            self._note_violation(f"the simulation failed: {failed.exception()!r}")
            for line in traceback.format_exception(failed.exception()):
                self._trace.note(line.rstrip())
        if self.emulator.bugs:
            self._note_violation(f"the emulator failed: {self.emulator.bugs[0]!r}")
        result = self.result
        result.digest, result.events, result.simulated_s = self._trace.digest, self._trace.count, self._loop.time()
        result.orders, result.fills = len(self._truth.accepted), self._truth.fills
        result.lines = list(self._trace.lines)
        return result

    # Rounds.

    async def _rounds(self) -> None:
        end_s = self._plan.hours * 3600
        rng = self._rng.fork("rounds")
        await sleep(self._clock, 3.0)
        while self._loop.time() < end_s:
            await self._round(rng)
            self.result.rounds += 1
            self._progress(
                f"{self._loop.time() / 3600:.2f} h: {len(self._truth.accepted)} orders, "
                f"{self._truth.fills} fills, {self.result.lives} lives, {self.result.halts} halts"
            )

    async def _round(self, rng: Rng) -> None:
        """Trade among faults for a while, then compare everything in quiet."""
        until_ns = self._clock.now_ns() + int(FAULTS_S * NS_PER_S)
        # What he does before the engine has seen the account once is taken over as a whole, not booked by executions.
        self._stranger.idle = not self._beside.stranger or not self.result.rounds
        chaos = self._loop.create_task(self._chaos.play(until_ns))
        halt_ns = (
            self._clock.now_ns() + int(rng.uniform(0, FAULTS_S) * NS_PER_S) if rng.random() < self._plan.halt else 0
        )
        try:
            while self._clock.now_ns() < until_ns:
                life = await self._living(rng)
                crash_ns = self._clock.now_ns() + int(rng.expovariate(1 / self._plan.crash_s) * NS_PER_S)
                end_ns = min(crash_ns, until_ns)
                if self._clock.now_ns() < halt_ns < end_ns:
                    await self._sleep_to(halt_ns)
                    self._halt(life)
                await self._sleep_to(end_ns)
                if end_ns == crash_ns:
                    if rng.random() < 0.6:
                        await self._next_order(rng)
                    await self._end_life(orderly=rng.random() < 0.25)
        finally:
            chaos.cancel()
            await asyncio.wait([chaos])
            self._chaos.end()
            self._stranger.idle = True
        await self._quiet(rng)

    async def _next_order(self, rng: Rng) -> None:
        """Wait for the moments at which a crash hurts most: an order and its record are both on their way."""
        only_stops, timeout_s = (True, 45.0) if rng.random() < 0.3 else (False, 10.0)
        sent: asyncio.Future[None] = self._loop.create_future()

        def on_sent(is_stop: bool) -> None:
            if not sent.done() and (is_stop or not only_stops):
                sent.set_result(None)

        self._truth.on_sent = on_sent
        await asyncio.wait([sent], timeout=timeout_s)
        self._truth.on_sent = lambda is_stop: None
        await sleep(self._clock, rng.uniform(0.0, 0.03))

    async def _sleep_to(self, when_ns: int) -> None:
        await sleep(self._clock, max(0.0, (when_ns - self._clock.now_ns()) / NS_PER_S))

    async def _living(self, rng: Rng) -> Life:
        """Return the present life, or begin one; a start that fails is tried again."""
        while self._life is None:
            self.result.lives += 1
            self._trace.note(f"life {self.result.lives}")
            life = await self._own(lambda: self._begin(rng.fork(f"life {self.result.lives}")))
            if life is not None:
                self._life = life
                assert life.bot is not None
                if self._halted_ns is not None and not life.engine.risk.is_halted:
                    self._violated("I7: the account was halted, and is not after a restart")
                life.call(life.bot.start)
        return self._life

    async def _begin(self, rng: Rng) -> Life | None:
        self._budget.life_begins()
        life = Life(self._place, rng)
        OWNER.set(life)
        starting = self._loop.create_task(life.start())
        die_early_s = rng.expovariate(1 / self._plan.crash_s)
        await asyncio.wait([starting], timeout=min(120.0, die_early_s))
        OWNER.set(None)
        if starting.done() and not starting.cancelled() and starting.exception() is None:
            return life
        if starting.done() and not isinstance(starting.exception(), CtosError):
            self._violated(f"the engine cannot start: {starting.exception()!r}")
        reason = repr(starting.exception()) if starting.done() else "it died while it started"
        self._trace.note(f"no start: {reason}")
        self.result.counts["failed starts"] += 1
        life.die()
        self._budget.life_ended()
        await life.bury()
        await sleep(self._clock, rng.uniform(*_DOWN_S))
        return None

    async def _own(self, make: Callable[[], Awaitable[Life | None]]) -> Life | None:
        """Run a coroutine in a context of its own, so that what it makes belongs to its life."""
        context = contextvars.copy_context()
        return await self._loop.create_task(_awaited(make), context=context)

    async def _end_life(self, orderly: bool) -> None:
        life, self._life = self._life, None
        assert life is not None
        self._trace.note("stop" if orderly else "crash")
        durable_ns = int(SLOWEST_DISK_S * NS_PER_S) if self.result.faults["slow_disk"] else _DURABLE_NS
        if self._halted_ns is not None and self._clock.now_ns() - self._halted_ns < durable_ns and not orderly:
            self._halted_ns = None
        self.result.counts["stops" if orderly else "crashes"] += 1
        if orderly:
            assert life.bot is not None
            life.bot.stop()
            await life.end()
        life.die()
        self._budget.life_ended()
        await life.bury()
        await sleep(self._clock, self._rng.uniform(*_DOWN_S))

    def _halt(self, life: Life) -> None:
        self.result.halts += 1
        self._trace.note("halt")
        self._halted_ns = self._clock.now_ns()
        life.call(life.engine.panic, "simulation")
        if self._rng.random() < 0.4:
            life.clock.call_later(self._rng.uniform(0.1, 20.0), life.call, life.flatten)
        if self._rng.random() < 0.6:
            life.clock.call_later(self._rng.uniform(0.2, 8.0), self._rearm_early, life)

    def _rearm_early(self, life: Life) -> None:
        """Release a halt as an impatient operator does: mostly it is refused, and tried again."""
        if life.bot is None or life.bot.idle or not life.engine.risk.is_halted:
            return
        halted_ns = life.engine.trading.status.since_ns
        try:
            life.call(life.engine.rearm, "simulation", "in a hurry")
        except CtosError as error:
            self._trace.note(f"not rearmed: {error}")
            self.result.counts["rearm refused"] += 1
            life.clock.call_later(self._rng.uniform(0.5, 8.0), self._rearm_early, life)
            return
        self._halted_ns = None
        self.result.counts["rearmed early"] += 1
        life.claims.check_rearm(halted_ns)

    async def _quiet(self, rng: Rng) -> None:
        began_ns = self._clock.now_ns()
        life = await self._living(Rng(f"{rng.seed} quiet {self.result.rounds}"))
        halted = life.engine.risk.is_halted
        await self._judge.judge(life, began_ns)
        if halted:
            self._halted_ns = None

    def _on_request(self, seen: Seen) -> None:
        self._truth.on_request(seen)
        self._budget.on_request(seen)

    # Violations.

    def _note_violation(self, text: str) -> None:
        self.result.violations.append(text)
        self._trace.note(f"VIOLATION {text}")

    def _violated(self, text: str) -> None:
        """Note the first violation, which ends the run; what comes after the end is nobody's fault."""
        if not self._stopped.done():
            self._note_violation(text)
            self._stopped.set_result(None)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        owner = OWNER.get()
        if "connector" in context or (isinstance(owner, Life) and owner.clock.dead):
            return  # a dead program closes nothing and says nothing; the collector finds what it left some time later
        if self._life is not None or "exception" in context:
            self._violated(f"{context.get('message')}: {context.get('exception')!r}")


async def _awaited(make: Callable[[], Awaitable[Life | None]]) -> Life | None:
    return await make()


def simulate(plan: Plan, progress: Callable[[str], None] = lambda line: None) -> Report:
    """Return what happens in a plan; the same plan gives the same digest every time."""
    importlib.import_module(f"drivers.{plan.venue}")
    root = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with (
        tempfile.TemporaryDirectory(prefix="ctos-sim-", dir=root) as directory,
        patch.object(core, "_PUMP_S", _PUMP_S),
        patch.object(core, "Server", LeanServer),
        patch.object(paper_driver, "encode", lambda state: b""),  # the venue never restarts
        patch.object(SpareFiles, "hold", lambda self: True),  # a life that dies would never give them back
    ):
        return run(lambda loop: World(loop, plan, Path(directory), progress).play(), plan.seed)

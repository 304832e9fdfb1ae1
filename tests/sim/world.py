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
from engine.kernel.clock import NS_PER_S, Rng, sleep
from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.state_digest import replay, state_digest
from engine.runtime.trading_state import TradingMode
from tests.sim.bot import NAME
from tests.sim.budget import Budget
from tests.sim.chaos import Chaos
from tests.sim.life import LIMITS, Beside, Life, Place
from tests.sim.loop import OWNER, SimLoop, run
from tests.sim.market import BASE_PRICES, SimMarket
from tests.sim.mortal import SimClock
from tests.sim.report import Report
from tests.sim.server import LeanServer
from tests.sim.stranger import Stranger
from tests.sim.trace import Trace
from tests.sim.truth import Truth, differences, settled, terms_of
from tests.venues.conformance.wire import WIRES
from tests.venues.emulators import core
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.wire import Seen

START_NS = 1_789_999_200 * NS_PER_S
FAULTS_S = 240.0
SETTLE_S = 90.0
"""How long after the last fault everything must agree, the waits of the resolver included."""
_DOWN_S = (2.5, 20.0)
"""How long the program is down: it takes about two seconds to begin."""
_PUMP_S = 2.0
"""How often an emulator looks at its market by itself; requests and prices are carried out at once."""
_REPLAY_EVERY = 4
"""A replay of the whole journal after every so many rounds."""
_DURABLE_NS = 50_000_000
"""A halt that is younger when the power fails may not have reached the disk."""


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
    """

    seed: int = 1
    hours: float = 1.0
    venue: str = "okx"
    pace_s: float = 1.5
    fault_s: float = 6.0
    crash_s: float = 150.0
    stranger_s: float = 40.0
    halt: float = 0.3


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
        self._beside = Beside.draw(self._rng.fork("beside"))
        self._traded = [i for i in listed if i.is_perp and i.base in BASE_PRICES]
        if self._beside.spot:
            self._traded.append(next(i for i in listed if not i.is_perp and i.base in BASE_PRICES))
        limit = LIMITS.max_notional_usd
        assert limit is not None
        self._truth = Truth(self.emulator, self._trace, limit, self._violated)
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
            self._beside,
            self.result.counts,
            self._violated,
        )
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
        self._stranger.idle = not self._beside.stranger
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
                    await self._end_life(orderly=rng.random() < 0.25)
        finally:
            chaos.cancel()
            await asyncio.wait([chaos])
            self._chaos.end()
            self._stranger.idle = True
        await self._quiet(rng)

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
                contextvars_of(life).run(life.bot.start)
        return self._life

    async def _begin(self, rng: Rng) -> Life | None:
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
        if self._halted_ns is not None and self._clock.now_ns() - self._halted_ns < _DURABLE_NS and not orderly:
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
        contextvars_of(life).run(life.engine.panic, "simulation")

    # Quiet.

    async def _quiet(self, rng: Rng) -> None:
        """Stop the bot, wait until everything is known, and compare."""
        quiet_ns = self._clock.now_ns()
        life = await self._living(Rng(f"{rng.seed} quiet {self.result.rounds}"))
        contextvars_of(life).run(life.rest)
        engine = life.engine
        trouble = ["not looked yet"]
        while trouble:
            await sleep(self._clock, 1.0)
            waited_s = (self._clock.now_ns() - quiet_ns) / NS_PER_S
            open_work = [item.handle for item in engine.active_work()]
            waiting = (
                settled(engine, self._place.symbols)
                or (f"work {open_work[0]} goes on" if open_work else "")
                or self._blocked(life)
            )
            trouble = [f"I15: {waiting}"] if waiting else differences(engine, self._truth, self.emulator)
            if trouble and waited_s > SETTLE_S:
                self._violated(f"{waited_s:.0f} s after the faults ended: {'; '.join(trouble)}")
        if self.result.rounds % _REPLAY_EVERY == 0:
            self._check_replay(life)
        self._trace.note(f"agreed after {(self._clock.now_ns() - quiet_ns) / NS_PER_S:.0f} s")
        if engine.risk.is_halted:
            self._check_halt(life)
        elif engine.trading.mode is not TradingMode.ARMED:
            self.result.counts[f"found {engine.trading.mode.value}"] += 1
            self._rearm(life)
        if blocked := life.monitor.entry_block(NAME, self._place.symbols[0]):
            self.result.counts["blocked by the monitor"] += 1
            self._trace.note(f"no order can be given: {blocked}")
        else:
            contextvars_of(life).run(life.release)
            await self._check_liveness(life)
        contextvars_of(life).run(life.go_on)

    def _blocked(self, life: Life) -> str:
        """Return why the monitor lets no order pass; where it may trade itself, that is a person's to decide."""
        return life.monitor.entry_block(NAME, self._place.symbols[0]) if self._beside.correction == "off" else ""

    def _check_replay(self, life: Life) -> None:
        """The journal alone must lead to the state that the engine has."""
        core = life.engine.core
        live = state_digest(core.state)
        replayed = replay(life.journal, life.engine.account.key, life.clock)
        if replayed.digest != live:
            self._violated(
                f"I16: {replayed.records} records lead to {replayed.digest[:12]}, the engine has {live[:12]}"
            )

    def _check_halt(self, life: Life) -> None:
        """Nothing of ours but stops and later reductions by hand may rest; then the operator releases the halt."""
        since_ns = life.engine.trading.status.since_ns
        by_hand = life.engine.tracker.working(instance=MANUAL)
        reductions = [terms_of(order) for order in by_hand if order.created_ns >= since_ns]
        resting = [
            order
            for order in self.emulator.exchange.registry.open.values()
            if order.type is not OrderType.STOP
            and order.id not in self._truth.foreign_ids
            and terms_of(order) not in reductions
        ]
        if resting:
            self._violated(f"I7: halted, but {resting[0].client_id} still rests")
        self._halted_ns = None
        self._rearm(life)

    def _rearm(self, life: Life) -> None:
        """Release a halt or a restriction, as the operator does who finds everything in order."""
        try:
            contextvars_of(life).run(life.engine.rearm, "simulation", "looked at it")
            contextvars_of(life).run(life.engine.arm, "simulation")
        except CtosError as error:
            self._violated(f"I15: it cannot be armed again: {error}")

    async def _check_liveness(self, life: Life) -> None:
        """An order, far from the touch, must reach the venue and go again."""
        engine = life.engine
        held = {symbol: abs(engine.portfolio.ledger(NAME, symbol).cost) for symbol in self._place.perps}
        symbol = max(self._place.perps, key=lambda name: held[name])  # what is full there can still be reduced
        instrument, quote = engine.instrument(symbol), engine.market.quote(symbol)
        if quote is None:
            self._violated(f"I15: {symbol} has no quote in quiet")
            return
        side = Side.SELL if engine.portfolio.ledger(NAME, symbol).quantity > 0 else Side.BUY
        price = instrument.price_from_float(quote.bid * 0.99 if side is Side.BUY else quote.ask * 1.01)
        lots = int(Decimal(100) / price / instrument.lot_size) + 1
        quantity = max(lots * instrument.lot_size, instrument.min_quantity)

        def place() -> str:
            engine.cancel_all(instance=NAME)
            return engine.submit(NAME, symbol, side, OrderType.LIMIT, quantity, price)

        context = contextvars_of(life)
        try:
            client_id = context.run(place)
        except CtosError as error:
            self._violated(f"I15: no order can be given in quiet: {error}")
            return
        await self._expect(life, client_id, OrderState.OPEN)
        context.run(engine.cancel, client_id)
        await self._expect(life, client_id, OrderState.CANCELED)

    async def _expect(self, life: Life, client_id: str, state: OrderState) -> None:
        for _ in range(100):
            order = life.engine.tracker.get(client_id)
            if order is not None and order.state is state:
                return
            await sleep(self._clock, 0.1)
        self._violated(f"I15: {client_id} is {order.state.value if order else 'gone'}, not {state.value}, after 10 s")

    def _on_request(self, seen: Seen) -> None:
        self._truth.on_request(seen)
        self._budget.on_request(seen)

    # Violations.

    def _note_violation(self, text: str) -> None:
        self.result.violations.append(text)
        self._trace.note(f"VIOLATION {text}")

    def _violated(self, text: str) -> None:
        self._note_violation(text)
        if not self._stopped.done():
            self._stopped.set_result(None)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "connector" in context:
            return  # a dead program closes nothing; the collector finds what it left whenever it likes
        if self._life is not None or "exception" in context:
            self._violated(f"{context.get('message')}: {context.get('exception')!r}")


def contextvars_of(life: Life) -> contextvars.Context:
    """Return a context in which what is made belongs to a life."""
    context = contextvars.copy_context()
    context.run(OWNER.set, life)
    return context


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
    ):
        return run(lambda loop: World(loop, plan, Path(directory), progress).play(), plan.seed)

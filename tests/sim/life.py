"""One life of the program: journal, driver, engine and bot, from start to crash or orderly end."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from drivers.transport.setup import Credentials, VenueSetup, choose_hosts
from engine.boot.venues import JournalVenueStore
from engine.io.journal import Journal
from engine.io.settings import MonitorConfig
from engine.io.writer import WriterThread
from engine.kernel.clock import Rng
from engine.kernel.errors import CtosError
from engine.kernel.event_bus import EventBus
from engine.kernel.orders import OrderState
from engine.kernel.scheduler import InstanceState
from engine.kernel.secret import Secret
from engine.kernel.syscalls import Driver
from engine.runtime.accounts import Account, AccountLimits
from engine.runtime.data import BarFeed
from engine.runtime.events import EngineAlarm, OrderChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.monitor import SystemMonitor
from engine.runtime.records import Intent, Sent
from engine.runtime.shell import LoopShell
from engine.runtime.strategies import StrategyManager
from engine.runtime.trading_state import TradingMode
from engine.runtime.watchdog import HandlerWatch
from strategies.dyn_grid import DynGrid
from tests.sim.bot import NAME, Bot
from tests.sim.claims import Claims
from tests.sim.loop import OWNER, SimLoop
from tests.sim.mortal import SimClock, SlowDisk
from tests.sim.trace import Trace
from tests.sim.truth import Truth, Watch
from tests.venues.emulators.core import Emulator

T = TypeVar("T")

GRID = "grid"
GRID_PARAMS = {
    "base_amount": "200",
    "max_inventory": "2000",
    "buy_grid_step": "0.998",
    "sell_grid_step": "1.002",
    "buy_move_step": "0.999",
    "sell_move_step": "1.001",
    "capital_usd": "5000",
}
MAX_ORDER_USD = Decimal(5_000)


@dataclass(frozen=True, slots=True)
class Beside:
    """What runs beside the bot: not the same in every seed, because what is always there hides what it prevents.

    Attributes:
        strategy: A grid.
        monitor: The system monitor.
        correction: Whether the monitor takes back what is held and not wanted.
        spot: The bot trades a spot market, too.
        stranger: Somebody else trades on the account.
    """

    strategy: bool
    monitor: bool
    correction: Literal["off", "on"]
    spot: bool
    stranger: bool

    @staticmethod
    def draw(rng: Rng) -> Beside:
        """Return what a seed has."""
        chances = [rng.random() for _ in range(5)]
        return Beside(
            chances[0] < 0.5, chances[1] < 0.5, "on" if chances[2] < 0.5 else "off", chances[3] < 0.4, chances[4] < 0.5
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where and on what lives are led.

    Attributes:
        symbols: What the bot trades.
        perps: The perpetuals among them.
        limit_usd: What worst-case exposure must never pass.
        beside: What runs beside the bot.
        on_violation: Called with the text of a violation.
    """

    loop: SimLoop
    emulator: Emulator
    truth: Truth
    trace: Trace
    journal: Path
    start_ns: int
    venue: str
    quote: str
    symbols: list[str]
    perps: list[str]
    pace_s: float
    limit_usd: Decimal
    beside: Beside
    counts: Counter[str]
    on_violation: Callable[[str], None]


class WatchedJournal(Journal):
    """Remembers what it said to be on the disk, and proves at the next start that it is (I12)."""

    def __init__(self, place: Place, writer: WriterThread, on_error: Callable[[CtosError], None]) -> None:
        super().__init__(place.journal, writer, on_error=on_error, ballast_bytes=0)
        self._truth = place.truth
        count = self._connection.execute(
            "SELECT count(*) FROM journal WHERE seq <= ?", (self._truth.durable_seq,)
        ).fetchone()[0]
        if count != self._truth.durable_seq:
            place.on_violation(f"I12: {self._truth.durable_seq} records were said to be on the disk, {count} are there")

    def append(
        self, kind: str, account: str, ts_ns: int, body: object, on_durable: Callable[[], object] | None = None
    ) -> int:
        """Add a record."""

        seq = self.last_seq + 1
        if isinstance(body, Intent | Sent):
            self._truth.recorded[kind, body.client_id] = seq

        def durable() -> None:
            self._truth.durable_seq = max(self._truth.durable_seq, seq)
            if on_durable is not None:
                on_durable()

        return super().append(kind, account, ts_ns, body, durable)


class Life:
    """One run of the program; everything is made within the context that owns it, so that it can die at once.

    Args:
        place: Where.
        rng: Its randomness.
    """

    def __init__(self, place: Place, rng: Rng) -> None:
        self._place = place
        self._rng = rng
        self.clock = SimClock(place.loop, place.start_ns)
        self.disk = SlowDisk(self.clock, rng.fork("disk"), self._fail)
        self.writer = cast(WriterThread, self.disk)
        self.journal = WatchedJournal(place, self.writer, self._fail)
        self.bus = EventBus(self._on_handler_error)
        limits = AccountLimits(
            max_notional_usd=place.limit_usd,
            max_order_usd=min(MAX_ORDER_USD, place.limit_usd),
            max_leverage=Decimal(20),
            daily_loss_pct=Decimal(1),
        )
        account = Account(0, "sim", place.venue, default_quote=place.quote, limits=limits)
        self.driver = self._driver(account)
        self.shell = LoopShell(place.loop)
        self.engine = ExecutionEngine(
            account, self.driver, self.clock, rng.fork("engine"), self.bus, self.journal, self.shell
        )
        self.monitor = SystemMonitor(
            self.engine, MonitorConfig(correction=place.beside.correction), self.writer, place.journal.parent / "logs"
        )
        self.engine.risk.check_entry = self._check_entry
        self.bars = BarFeed(self.driver, self.clock, self.shell, self._on_query_error)
        self.manager = StrategyManager(
            self.engine,
            self.bars,
            {DynGrid.name: DynGrid},
            rng.fork("strategies"),
            place.symbols[:1],
            self.monitor.raise_anomaly,
            HandlerWatch(self.clock.now_ns),
        )
        self.watch = Watch(self.engine, place.truth, place.trace, self._violated)
        self.claims = Claims(self.engine, place.truth, place.emulator, self._violated)
        self.bus.subscribe(EngineAlarm, self._on_alarm)
        self.bus.subscribe(OrderChanged, self._on_order)
        self.bot: Bot | None = None

    def _driver(self, account: Account) -> Driver:
        place, emulator = self._place, self._place.emulator
        package = importlib.import_module(f"drivers.{place.venue}")
        phrase = Secret(emulator.passphrase) if emulator.passphrase else None
        setup = VenueSetup(
            clock=self.clock,
            rng=self._rng.fork("venue"),
            store=JournalVenueStore(self.journal, account.key),
            hosts=choose_hosts(package.arch(), "live", emulator.overrides),
            credentials=Credentials(Secret(emulator.key), Secret(emulator.secret), phrase),
            log=lambda level, text: place.trace.note(f"driver {level}: {text}"),
            trade_over_ws=self._rng.random() < 0.5,
        )
        driver: Driver = package.make_driver(setup)
        return driver

    async def start(self) -> None:
        """Connect, agree with the venue, and open for orders unless the account is halted.

        Raises:
            CtosError: The venue does not answer.
        """
        place = self._place
        await self.driver.start()
        self.manager.restore()
        await self.engine.start()
        self.claims.started()
        self.manager.start_restored()
        if place.beside.monitor:
            self.monitor.start_position_monitoring()
        for symbol in place.symbols:
            self.engine.market.watch(symbol)
        self.bot = Bot(
            self.engine, self.clock, self._rng.fork("bot"), place.symbols, place.pace_s, place.counts, place.limit_usd
        )
        if self.engine.trading.mode not in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
            self.engine.arm("simulation")
        if place.beside.strategy and GRID not in self.manager.instances:
            self.manager.launch(DynGrid.name, GRID_PARAMS, place.perps[1], GRID)

    def _check_entry(self, instance: str, symbol: str) -> None:
        self.monitor.check_entry(instance, symbol)
        self.engine.stream.check()

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a context in which what it makes belongs to this life."""
        context = contextvars.copy_context()
        context.run(OWNER.set, self)
        return context.run(function, *args)

    def rest(self) -> None:
        """Give no more commands, by bot or strategy; what works goes on."""
        assert self.bot is not None
        self.bot.stop()
        for name, instance in self.manager.instances.items():
            if instance.life.state is InstanceState.RUNNING:
                self.manager.pause(name, keep_orders=True)

    def release(self) -> None:
        """Let the bot trade again that a limit of its own has halted."""
        if self.engine.risk.losses.halted(NAME):
            self._place.counts["bot halted"] += 1
            self.engine.risk.release_instance(NAME)

    def flatten(self) -> None:
        """Close everything by hand, as the operator does after a halt."""
        if self.bot is None or (self.bot.idle and not self.engine.risk.is_halted):
            return  # the quiet phase has released the halt and looks at an order that this would take away
        self._place.counts["flattened"] += 1
        self._place.trace.note("flatten all")
        try:
            self.engine.flatten_all("simulation")
        except CtosError as error:
            self._place.trace.note(f"not flattened: {error}")
        else:
            self.claims.check_flattened()

    def go_on(self) -> None:
        """Trade again."""
        assert self.bot is not None
        self.bot.start()
        for name, instance in self.manager.instances.items():
            state = instance.life.state
            self._place.counts[f"{name} {state.value}"] += 1
            if state not in (InstanceState.RUNNING, InstanceState.WARMUP):
                self.manager.resume(name)

    async def end(self) -> None:
        """Stop in order, as `System.stop` does."""
        if self.bot is not None:
            self.bot.stop()
        await self.driver.stop()
        self.manager.save_all()
        self.monitor.stop_position_monitoring()
        self.shell.close()
        self.bars.close()
        self.engine.stop()
        self.journal.close()

    def die(self) -> None:
        """Stop at once: timers, connections, tasks, and all that the disk has not got."""
        self.clock.dead = True
        self.writer_gone()
        for pipe in self._place.loop.network.of(self):
            pipe.kill()
        for task in self._place.loop.tasks_of(self):
            task.cancel()

    def writer_gone(self) -> None:
        """Lose what was not written."""
        self.journal._pending.clear()

    async def bury(self) -> None:
        """Let what is left of a dead life unwind; none of it reaches the disk or the venue."""
        for _ in range(30):
            for task in self._place.loop.tasks_of(self):
                task.cancel()
            await asyncio.sleep(0)
        self.writer_gone()
        self.journal._connection.close()

    def _violated(self, text: str) -> None:
        """Report a violation; what a dead life says while it unwinds reaches nobody."""
        if not self.clock.dead:
            self._place.on_violation(text)

    def _on_alarm(self, alarm: EngineAlarm) -> None:
        self._place.trace.note(f"alarm {alarm.kind} {alarm.text}")
        self._place.counts[f"alarm {alarm.kind}"] += 1
        if alarm.kind in ("overfill", "fill_conflict", "journal", "late_order"):
            self._violated(f"alarm {alarm.kind}: {alarm.text}")

    def _on_order(self, event: OrderChanged) -> None:
        if event.order.state is OrderState.NEVER_SENT and "the journal took longer" in event.order.reason:
            self._place.counts["late for the disk"] += 1

    def _on_query_error(self, what: str, error: CtosError) -> None:
        self._place.trace.note(f"{what}: {error}")

    def _on_handler_error(self, handler: Any, event: object, error: Exception) -> None:
        self._violated(f"{handler!r} failed on {type(event).__name__}: {error!r}")

    def _fail(self, error: CtosError) -> None:
        self._violated(f"the disk failed: {error}")

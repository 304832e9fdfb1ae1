"""A whole running system of one account: venue, engine, strategies, monitor, files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from drivers.paper.driver import PaperDriver
from engine.boot.auditing import Auditor
from engine.boot.choosing import choose
from engine.boot.config_watch import ConfigWatch
from engine.boot.control import Control
from engine.boot.crash_cover import CrashCover
from engine.boot.fitness import AccountFitness
from engine.boot.markets import money_accounts
from engine.boot.notifying import Notifier, configured_targets
from engine.boot.options import SystemOptions
from engine.boot.strategies import StrategyCatalogue, load_strategies
from engine.boot.supervision import Supervision, is_console_part
from engine.boot.trading import Choice, make_trading_driver
from engine.boot.vitals import Vitals
from engine.io.file_floor import FileFloor
from engine.io.files import make_private_dir
from engine.io.journal import Journal
from engine.io.lock import StateLock
from engine.io.logs import AccountLogs
from engine.io.memory_floor import MemoryFloor
from engine.io.private import check_state_folder, forbid_dumps
from engine.io.secrets import process_redactor
from engine.io.space import LOW_BYTES, Space, SpaceGuard
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock, Rng, VirtualClock
from engine.kernel.ending import end_all, finish_all
from engine.kernel.errors import ConfigError, CtosError, UnknownSymbol, VenueUnavailable
from engine.kernel.event_bus import EventBus, Handler
from engine.kernel.instruments import Instrument, resolve_symbol
from engine.kernel.scheduler import InstanceState
from engine.runtime.data import BarFeed
from engine.runtime.events import LogLine
from engine.runtime.execution import ExecutionEngine
from engine.runtime.halt_mark import HaltMark
from engine.runtime.monitor import SystemMonitor
from engine.runtime.shell import ImmediateShell, LoopShell
from engine.runtime.strategies import StrategyManager
from engine.runtime.watchdog import HandlerWatch

NEVER_ARMED = "only a person arms a live account, in the console, by typing its name; reductions and cancels pass"

VENUE_STOP_S = 3.0
"""So long each of the venue's last answers is waited for: the whole stop has 20 s."""
CHECK_LIMIT_S = 20.0
"""So long a start waits for the verdict on a large journal."""

_DISK = "disk_space"
_KEY_RIGHTS = "key_rights"
_MAJORS = ("BTC", "ETH", "SOL")
_LOG_LEVELS = {"warning": "warn", "critical": "error"}


class System:
    """Everything of one running account.

    Attributes:
        account: Who trades, with which limits.
        accounts: Names of all configured accounts.
        config: Settings of `ctos.yaml`.
        paths: Where files are.
        source: The paper venue's market.
        catalogue: Strategies that can be launched; empty until the system has started.
        manager: Strategy instances.
        notifier: Tells the configured targets outside the console what happens.
        ready: Whether orders can be given.
        loop: The event loop it runs on; None on virtual time.
        audit: What persons did, and the engine in their place.
        cover: What becomes of resting orders when this program is gone.
        vitals: The pulse of its loop.
        control: What other shells may ask of it; serves in real time only.
    """

    def __init__(
        self, choice: Choice, lock: StateLock, loop: asyncio.AbstractEventLoop | None, program: str = "engine"
    ) -> None:
        account, config, paths, options = choice.account, choice.config, choice.paths, choice.options
        self.choice = choice
        self.account = account
        self.accounts = choice.accounts
        self.config = config
        self.paths = paths
        self.source = source = choice.source
        self.options = options
        self.loop = loop
        self.ready = False
        self.catalogue = StrategyCatalogue()
        self._lock = lock
        self._exposed = forbid_dumps() if choice.is_live else ""
        targets = configured_targets(choice) if loop is not None else []
        self._rng = Rng(options.seed) if options.seed is not None else Rng.from_system()
        self.clock: VirtualClock | LoopClock
        if loop is None:
            self.clock = VirtualClock(source.start_ns or 0)
            self.shell: ImmediateShell | LoopShell = ImmediateShell()
        else:
            self.clock = LoopClock(loop, source.start_ns, options.speed_factor)
            self.shell = LoopShell(loop)
        self.bus = EventBus(self._on_handler_error)
        self.supervision = Supervision(self)
        self.writer = WriterThread(loop, self._on_storage_error)
        self.journal = Journal(paths.database, self.writer, on_error=self._on_journal_error)
        self.logs = AccountLogs(
            paths.logs,
            account.venue,
            account.index,
            self.clock,
            self.writer,
            process_redactor,
            config.log_level,
            self._on_storage_error,
        )
        self.bus.subscribe(LogLine, lambda line: self.logs.line(line.level, line.source, line.text))
        self.audit = Auditor(self)
        self.driver = make_trading_driver(choice, self.clock, self._rng.fork("venue"), self.journal, self._log)
        self.engine = ExecutionEngine(
            account,
            self.driver,
            self.clock,
            self._rng.fork("engine"),
            self.bus,
            self.journal,
            self.shell,
            self.audit.operation,
        )
        self.bars = BarFeed(self.driver, self.clock, self.shell, self._on_query_error)
        self.watch = HandlerWatch()
        self.halt_mark = HaltMark(self.engine, self.writer, paths.state, partial(money_accounts, paths.database))
        self.control = Control(self, program)
        self.vitals = Vitals(self, program)
        self.monitor = SystemMonitor(self.engine, choice.entry.monitor or config.monitor, self.writer, paths.logs)
        self.monitor.watch_bars(self.bars)
        self.notifier = Notifier(self.engine, self.monitor, targets, loop, options.tells_life)
        self.engine.risk.check_entry = self._check_entry
        self.cover = CrashCover(self)
        self.fitness: AccountFitness | None = None
        if choice.is_live:
            self.fitness = AccountFitness(self.driver, choice.entry, self.clock, self._traded_perpetuals)
            self.engine.core.check_account = self.fitness.obstacles
        self._account_fit = self.engine.core.check_account
        self.engine.core.check_account = self._obstacles
        self.space = SpaceGuard(paths.state, self.clock, self.writer, self._on_space)
        self.memory = MemoryFloor(self.clock, self.writer, partial(self.engine.conditions.report, "memory"))
        self.config_watch = ConfigWatch(choice, self.clock, self.writer, self.engine.say)
        self.files = FileFloor(self.clock, self.writer, partial(self.engine.conditions.report, "files"))
        self.manager = StrategyManager(
            self.engine,
            self.bars,
            {},
            self._rng.fork("strategies"),
            self._focus(source.model.instruments()) if source.model is not None else (),
            self.monitor.raise_anomaly,
            self.watch,
        )
        self.monitor.corrector.owner_state = self._state_of

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Return every instrument of the venue; empty until the system has started."""
        return self.engine.instruments

    @property
    def market_label(self) -> str:
        """Return where prices come from, for people: the paper venue's market, or the real venue's environment."""
        if self.choice.is_live:
            return self.account.environment
        kind, colon, detail = self.source.label.partition(":")
        return f"{kind} data{colon}{detail}" if self.source.venue else self.source.label

    @property
    def paper(self) -> PaperDriver | None:
        """Return the paper venue; None when the account trades on the real one."""
        return self.driver if isinstance(self.driver, PaperDriver) and not self.choice.is_live else None

    @property
    def may_arm_itself(self) -> bool:
        """Return whether a command without a screen may arm the account: on paper, never with real orders."""
        return not self.choice.is_live

    def resolve(self, typed: str) -> Instrument:
        """Return the instrument a person means; raises `UnknownSymbol`."""
        return resolve_symbol(typed, self.instruments, self.account.default_quote, self.account.default_kind)

    async def begin(self) -> None:
        """Load strategies, rebuild the account's state, agree with the venue, and let saved strategies go on."""
        await self._check_journal()
        folder = self.paths.strategies(self.config.strategies.folder)
        self.catalogue = load_strategies(folder=folder)
        self.manager.classes.update(self.catalogue.classes)
        self.manager.restore()
        self.notifier.start()
        await self.engine.start()
        self.halt_mark.restore()
        if self.source.model is None:
            self.manager.focus = self._focus(list(self.instruments.values()))
        exposed = (self._exposed,) if self._exposed else ()
        for warning in (*exposed, *self.source.warnings, *self.engine.core.obstacles):
            self.engine.say(warning, "warn")
        for path, failure in self.catalogue.failures.items():
            self.engine.say(f"strategy file {path} does not load: {failure}", "error")
        if self.options.guards:
            self.manager.start_restored()
        self.monitor.start_position_monitoring()
        self.space.start()
        self.memory.start()
        self.files.start()
        if self.fitness is not None and self.fitness.banner:
            self.monitor.raise_anomaly(_KEY_RIGHTS, "", "", "", "", self.fitness.banner)
        elif self.fitness is not None:
            self.monitor.resolve(_KEY_RIGHTS)
        self.cover.start()
        self.notifier.started()
        self.ready = True
        if self.loop is not None:
            self.audit.started()
            self.config_watch.start()
        self.control.begin()

    async def start(self) -> None:
        """Begin in real time: connect to the venue, or play the market on the loop.

        Raises:
            CtosError: The venue cannot be reached or refuses the key, or a file is wrong.
        """
        assert self.loop is not None
        self.watch.start()
        self.supervision.start()
        self.audit.begin()
        self.control.server.start(self.loop)
        self.halt_mark.watch()
        if self.source.model is None:
            await self._connect()
            await self.begin()
        else:
            assert self.paper is not None
            self.paper.pump_until(self.clock.now_ns())
            await self.begin()
            await self.driver.start()
        self.vitals.start()

    async def _connect(self) -> None:
        try:
            await self.driver.start()
        except VenueUnavailable as error:
            hint = f"find out why with: ctos-tui probe {self.source.venue}"
            raise VenueUnavailable(
                f"{error.message}; {hint}", code=error.code, venue_text=error.venue_text, request=error.request
            ) from error

    async def stop(self) -> None:
        """Disconnect, then store everything; resting orders, positions and strategies wait for the next start."""
        self.vitals.stopping()
        timer, lines = "its cancel timer is still on and may cancel what rests", "its connections were not closed"
        try:
            await finish_all(
                partial(self._within, self.cover.stop_timer, timer),
                partial(self._within, self.driver.stop, f"{lines} in good order"),
                self.cover.stop_watchdog,
                self.notifier.finish,
            )
        finally:
            self.close()

    async def _within(self, step: Callable[[], Coroutine[Any, Any, None]], otherwise: str) -> None:
        """Do one step of the end; a venue that does not answer must not keep it from ending."""
        try:
            async with asyncio.timeout(VENUE_STOP_S):
                await step()
        except TimeoutError:
            venue = self.account.venue
            self.engine.say(f"{venue} has not answered within {VENUE_STOP_S:g} s of the stop: {otherwise}", "error")

    def name_front(self, front: int | None) -> None:
        """Let the lock file name the process in front of this one's terminal, too."""
        self._lock.name_front(front)

    def close(self) -> None:
        """Store everything and release the state directory; a step that fails keeps no other from being done."""
        self.ready = False
        end_all(
            self.watch.stop,
            self.supervision.stop,
            self.vitals.stop,
            self.control.close,
            self.notifier.close,
            self.cover.close,
            self.manager.sleep_all,
            self.space.stop,
            self.memory.stop,
            self.files.stop,
            self.config_watch.stop,
            self.monitor.stop_position_monitoring,
            self.shell.close,
            self.bars.close,
            self.engine.stop,
            self.logs.close,
            self.audit.close,
            self.journal.close,
            self.writer.close,
            self.halt_mark.close,
            self._lock.release,
        )

    def _focus(self, instruments: Sequence[Instrument]) -> tuple[str, ...]:
        """Return the symbols meant by `symbols=focus`: the watch list, else the largest of the market.

        One watch list serves every venue: on a real one, what it does not list is left out with a warning.
        """
        account, listed = self.account, {instrument.symbol: instrument for instrument in instruments}
        majors = [f"{coin}-{account.default_quote}-PERP" for coin in _MAJORS]
        usual = [symbol for symbol in majors if symbol in listed] or list(listed)[:1]
        found = []
        for text in self.config.console.watchlist:
            try:
                found.append(resolve_symbol(text, listed, account.default_quote, account.default_kind).symbol)
            except UnknownSymbol as error:
                if self.source.model is not None:
                    raise ConfigError(f"{self.paths.config_file}: console.watchlist: {error}") from error
                self.engine.say(f"console.watchlist: {account.venue} does not list {text}", "warn")
        return tuple(found or usual)

    def _traded_perpetuals(self) -> list[str]:
        """Return the perpetuals of the watch list, and those that are held or worked."""
        engine = self.engine
        symbols = set(self._focus(list(self.instruments.values())) if self.instruments else ())
        symbols.update(symbol for _, symbol, _ in engine.core.ledgers())
        symbols.update(order.symbol for order in engine.tracker.working())
        listed = [name for name in symbols if engine.market.is_listed(name)]
        return sorted(name for name in listed if self.instruments[name].is_perp)

    def _check_entry(self, instance: str, symbol: str) -> None:
        """Refuse an increase while a critical anomaly covers it, or while the account's stream is not to be trusted."""
        self.monitor.check_entry(instance, symbol)
        self.engine.stream.check()

    async def _obstacles(self) -> list[str]:
        """Return what forbids to arm: of the journal's file, and of the account."""
        found = await self._account_fit()
        if self.journal.damage is not None:
            found.append(str(self.journal.damage))
        elif self.journal.is_being_checked:
            found.append(f"{self.paths.database} is still being checked; arming opens when it is found whole")
        return found

    async def _check_journal(self) -> None:
        """Wait for the look at the pages of a large journal; what takes longer goes on, and arming waits for it.

        Raises:
            JournalError: The file is damaged.
        """
        if self.loop is None or not self.journal.is_being_checked:
            return
        size = self.paths.database.stat().st_size >> 20
        self._report(f"looking at all pages of {self.paths.database} ({size} MB)", "info")
        await asyncio.to_thread(self.journal.wait_checked, CHECK_LIMIT_S)

    def _state_of(self, instance: str) -> InstanceState | None:
        """Return the state of a strategy instance, None when there is none of that name."""
        found = self.manager.instances.get(instance)
        return None if found is None else found.life.state

    def _log(self, level: str, text: str) -> None:
        """Take a line of the venue's driver."""
        line = LogLine(
            self.clock.now_ns(), _LOG_LEVELS.get(level, level), self.account.venue, process_redactor.clean(text)
        )
        self.bus.publish(line)

    def _on_handler_error(self, handler: Handler, event: object, error: Exception) -> None:
        name = getattr(handler, "__qualname__", repr(handler))
        is_console = is_console_part(getattr(handler, "__module__", ""))
        self.supervision.note(f"{name} failed on {type(event).__name__}", error, is_console)

    def _on_query_error(self, what: str, error: CtosError) -> None:
        self._report(f"{what}: {error}")

    def _on_storage_error(self, error: CtosError) -> None:
        if self.ready:
            self.monitor.note_unwritten(error)
        else:
            self._report(f"a file cannot be written: {error}")

    def _on_journal_error(self, error: CtosError) -> None:
        self.engine.on_journal_error(error)

    def _on_space(self, state: Space, free: int) -> None:
        """Block new entries while the disk is nearly full, and halt before the journal fails."""
        if state is Space.ENOUGH:
            self.monitor.resolve(_DISK)
            return
        text = f"only {free >> 20} MB are free for {self.paths.state}; free some space"
        self.monitor.raise_anomaly(_DISK, "", "", f"{free >> 20} MB", f"{LOW_BYTES >> 20} MB", text, "CRIT")
        if state is Space.CRITICAL and not self.engine.risk.is_halted:
            self.engine.panic_switch.halt("disk", text)

    def _report(self, text: str, level: str = "error") -> None:
        self.bus.publish(LogLine(self.clock.now_ns(), level, "engine", text))


def build_system(options: SystemOptions, loop: asyncio.AbstractEventLoop | None, program: str = "engine") -> System:
    """Return the system that options and files describe, not yet started.

    Args:
        options: Choices of the command line.
        loop: The running event loop; None for a run at full speed on virtual time.
        program: What runs it, as other shells are told: `console`, `run`.

    Raises:
        CtosError: A file, flag or account is wrong, or another process holds the state.
    """
    choice = choose(options)
    make_private_dir(choice.paths.state)
    check_state_folder(choice.paths.state)
    lock = StateLock(choice.paths.state, choice.account.key if options.guards else "")
    try:
        return System(choice, lock, loop, program)
    except BaseException:
        lock.release()
        raise


@asynccontextmanager
async def running(options: SystemOptions) -> AsyncIterator[System]:
    """Run a system for the time of a `with` block."""
    system = build_system(options, asyncio.get_running_loop())
    try:
        await system.start()
        yield system
    finally:
        await system.stop()

"""A whole running system of one account: venue, engine, strategies, monitor, files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from drivers.paper.config import PaperConfig, QueueModel
from drivers.paper.driver import PaperDriver
from engine.boot.markets import MarketSource, market_label, open_market
from engine.boot.options import SystemOptions
from engine.boot.strategies import StrategyCatalogue, load_strategies
from engine.io.config import AccountEntry, Config, Paths, find_account, find_paths, load_accounts, load_config
from engine.io.files import make_private_dir
from engine.io.journal import Journal
from engine.io.lock import StateLock
from engine.io.logs import AccountLogs
from engine.io.secrets import Redactor
from engine.io.space import LOW_BYTES, Space, SpaceGuard
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock, Rng, VirtualClock
from engine.kernel.errors import ConfigError, CtosError, UnknownSymbol, UnknownVenue
from engine.kernel.event_bus import EventBus, Handler
from engine.kernel.instruments import Instrument, resolve_symbol
from engine.runtime.accounts import Account, Mode, account_of
from engine.runtime.data import BarFeed
from engine.runtime.events import LogLine
from engine.runtime.execution import ExecutionEngine
from engine.runtime.monitor import SystemMonitor
from engine.runtime.shell import ImmediateShell, LoopShell
from engine.runtime.strategies import StrategyManager
from engine.runtime.watchdog import HandlerWatch

PAPER = "paper"
_PAPER_TABLE = "paper_state"
_DISK = "disk_space"
_FOCUS = ("BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP")


class JournalPaperStore:
    """Keeps the paper venue's state beside the journal, in order with it."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal = journal
        self._key = key

    def load(self) -> bytes | None:
        """Return what was saved last, None when nothing was."""
        return self._journal.get(_PAPER_TABLE, self._key)

    def save(self, state: bytes) -> None:
        """Keep the state with the next commit."""
        self._journal.put(_PAPER_TABLE, self._key, state)


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
        ready: Whether orders can be given.
        loop: The event loop it runs on; None on virtual time.
    """

    def __init__(
        self,
        account: Account,
        accounts: tuple[str, ...],
        config: Config,
        paths: Paths,
        source: MarketSource,
        lock: StateLock,
        options: SystemOptions,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.account = account
        self.accounts = accounts
        self.config = config
        self.paths = paths
        self.source = source
        self.options = options
        self.loop = loop
        self.ready = False
        self.catalogue = StrategyCatalogue()
        self._lock = lock
        self._rng = Rng(options.seed) if options.seed is not None else Rng.from_system()
        self.clock: VirtualClock | LoopClock
        if loop is None:
            self.clock = VirtualClock(source.start_ns or 0)
            self.shell: ImmediateShell | LoopShell = ImmediateShell()
        else:
            self.clock = LoopClock(loop, source.start_ns, options.speed_factor)
            self.shell = LoopShell(loop)
        self.bus = EventBus(self._on_handler_error)
        self.writer = WriterThread(loop, self._on_storage_error)
        self.journal = Journal(paths.database, self.writer, on_error=self._on_journal_error)
        self.logs = AccountLogs(
            paths.logs,
            account.venue,
            account.index,
            self.clock,
            self.writer,
            Redactor(),
            config.log_level,
            self._on_storage_error,
        )
        self.bus.subscribe(LogLine, lambda line: self.logs.line(line.level, line.source, line.text))
        self.driver = PaperDriver(
            source.model,
            self.clock,
            self._rng.fork("venue"),
            paper_config(config, options),
            JournalPaperStore(self.journal, account.key),
        )
        self.engine = ExecutionEngine(
            account,
            self.driver,
            self.clock,
            self._rng.fork("engine"),
            self.bus,
            self.journal,
            self.shell,
            self.logs.operation,
        )
        self.bars = BarFeed(self.driver, self.clock, self.shell, self._on_query_error)
        self.watch = HandlerWatch()
        self.monitor = SystemMonitor(self.engine, config.monitor, self.writer, paths.logs)
        self.engine.risk.check_entry = self.monitor.check_entry
        self.space = SpaceGuard(paths.state, self.clock, self.writer, self._on_space)
        self.manager = StrategyManager(
            self.engine,
            self.bars,
            {},
            self._rng.fork("strategies"),
            self._focus(),
            self.monitor.raise_anomaly,
            self.watch,
        )

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Return every instrument of the venue; empty until the system has started."""
        return self.engine.instruments

    @property
    def market_label(self) -> str:
        """Return the name of the market the paper venue plays."""
        return self.source.label

    def resolve(self, typed: str) -> Instrument:
        """Return the instrument a person means; raises `UnknownSymbol`."""
        return resolve_symbol(typed, self.instruments, self.account.default_quote, self.account.default_kind)

    async def begin(self) -> None:
        """Load strategies, rebuild the account's state, agree with the venue, and let saved strategies go on."""
        folder = self.paths.strategies(self.config.strategies.folder)
        self.catalogue = load_strategies(folder=folder)
        self.manager.classes.update(self.catalogue.classes)
        self.manager.restore()
        await self.engine.start()
        for warning in self.source.warnings:
            self.engine.say(warning, "warn")
        for path, failure in self.catalogue.failures.items():
            self.engine.say(f"strategy file {path} does not load: {failure}", "error")
        self.manager.start_restored()
        self.monitor.start_position_monitoring()
        self.space.start()
        self.ready = True

    async def start(self) -> None:
        """Begin in real time: the market plays on the loop."""
        self.watch.start()
        self.driver.pump_until(self.clock.now_ns())
        await self.begin()
        await self.driver.start()

    async def stop(self) -> None:
        """Stop the market, then store everything; resting orders, positions and strategies wait for the next start."""
        await self.driver.stop()
        self.close()

    def close(self) -> None:
        """Store everything and release the state directory."""
        self.ready = False
        self.watch.stop()
        try:
            self.manager.save_all()
            self.space.stop()
            self.monitor.stop_position_monitoring()
            self.shell.close()
            self.bars.close()
            self.engine.stop()
            self.logs.close()
            self.journal.close()
            self.writer.close()
        finally:
            self._lock.release()

    def _focus(self) -> tuple[str, ...]:
        """Return the symbols meant by `symbols=focus`: the watch list, else the largest of the market."""
        listed = {instrument.symbol: instrument for instrument in self.source.model.instruments()}
        wanted = self.config.console.watchlist or [symbol for symbol in _FOCUS if symbol in listed] or list(listed)[:1]
        account = self.account
        try:
            return tuple(
                resolve_symbol(text, listed, account.default_quote, account.default_kind).symbol for text in wanted
            )
        except UnknownSymbol as error:
            raise ConfigError(f"{self.paths.config_file}: console.watchlist: {error}") from error

    def _on_handler_error(self, handler: Handler, event: object, error: Exception) -> None:
        name = getattr(handler, "__qualname__", repr(handler))
        self._report(f"{name} failed on {type(event).__name__}: {type(error).__name__}: {error}")

    def _on_query_error(self, what: str, error: CtosError) -> None:
        self._report(f"{what}: {error}")

    def _on_storage_error(self, error: CtosError) -> None:
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

    def _report(self, text: str) -> None:
        self.bus.publish(LogLine(self.clock.now_ns(), "error", "engine", text))


def build_system(options: SystemOptions, loop: asyncio.AbstractEventLoop | None) -> System:
    """Return the system that options and files describe, not yet started.

    Args:
        options: Choices of the command line.
        loop: The running event loop; None for a run at full speed on virtual time.

    Raises:
        CtosError: A file, flag or account is wrong, or another process holds the state.
    """
    paths, config, entries, entry = _choose(options)
    source = open_market(options.market or config.market, options)
    make_private_dir(paths.state)
    lock = StateLock(paths.state)
    try:
        account = replace(account_of(entry), mode=Mode.PAPER, market=source.label)
        names = tuple(other.name for other in entries if other.venue == entry.venue)
        return System(account, names, config, paths, source, lock, options, loop)
    except BaseException:
        lock.release()
        raise


def _choose(options: SystemOptions) -> tuple[Paths, Config, list[AccountEntry], AccountEntry]:
    """Return folders, settings, all accounts, and the one that is meant."""
    paths = find_paths(options.config, os.environ)
    config = load_config(paths)
    entries = load_accounts(paths, config)
    entry = find_account(entries, options.account, options.exchange or config.exchange)
    if entry.venue != PAPER:
        raise UnknownVenue(f"venue {entry.venue!r} has no trading driver here; accounts of {PAPER!r} can trade")
    if options.mode == Mode.LIVE and entry.mode != Mode.LIVE:
        raise ConfigError(f"--mode live: account {entry.name!r} is on paper; --mode can only lower live to paper")
    return paths, config, entries, entry


def paper_config(config: Config, options: SystemOptions) -> PaperConfig:
    """Return the paper venue's settings."""
    paper = config.paper
    return PaperConfig(
        balances=paper.balances,
        latency_ms=paper.latency_ms,
        jitter_ms=paper.jitter_ms,
        queue=QueueModel(paper.queue),
        leverage=paper.leverage,
        speed=options.speed_factor,
        perp_maker=paper.fees.perp_maker,
        perp_taker=paper.fees.perp_taker,
        spot_maker=paper.fees.spot_maker,
        spot_taker=paper.fees.spot_taker,
    )


@asynccontextmanager
async def running(options: SystemOptions) -> AsyncIterator[System]:
    """Run a system for the time of a `with` block."""
    system = build_system(options, asyncio.get_running_loop())
    try:
        await system.start()
        yield system
    finally:
        await system.stop()


def reset_account(options: SystemOptions) -> Account:
    """Make a paper account on one market begin anew and return it; works on a saved account that is damaged, too.

    Raises:
        CtosError: A file, flag or account is wrong, or another process holds the state.
    """
    paths, config, _, entry = _choose(options)
    account = replace(account_of(entry), mode=Mode.PAPER, market=market_label(options.market or config.market))
    make_private_dir(paths.state)
    with StateLock(paths.state):
        writer = WriterThread(None, _raise)
        journal = Journal(paths.database, writer, on_error=_raise)
        journal.forget(account.key)
        journal.close()
        writer.close()
    return account


def _raise(error: CtosError) -> None:
    raise error

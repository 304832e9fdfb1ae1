"""`ctos-tui record`: the market to files that `--market replay:` plays again.

Either what the bus carries, as Parquet, or the venue's own messages as they arrive.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ctos_tui.cli.options import Duration, system_options
from ctos_tui.cli.waiting import Ending, watch_signals
from engine.boot.full_speed import run_at_full_speed
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.io.instruments_file import FILE_NAME, add_recording
from engine.io.market_files import MarketRecorder, RecordProgress
from engine.io.raw_recorder import RawRecorder
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument


@click.command("record", help="Record the market to a new FOLDER, or raw to a FILE, until Ctrl-C or for a time.")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@system_options
@click.option("--raw", type=click.Path(path_type=Path), metavar="FILE", help="Record the venue's messages (.gz too).")
@click.option("--symbols", help="Instruments joined by +, or all; by default the watch list on real venues, else all.")
@click.option("--for", "duration", type=Duration(), metavar="T", help="Stop after this much market time, e.g. 10m.")
def command(folder: Path | None, raw: Path | None, symbols: str | None, duration: float | None, **options: Any) -> None:
    """Record and show progress on stderr."""
    if (folder is None) == (raw is None):
        raise click.UsageError("name either a FOLDER or --raw FILE to record to")
    chosen = SystemOptions(**options, tells_life=False)
    session = _ParquetSession(folder, symbols) if folder is not None else _RawSession(raw or Path(), symbols)
    if chosen.is_full_speed:
        system = build_system(chosen, None)
        try:
            session.prepare(system)
            run_at_full_speed(system, lambda: session.begin(system), duration, watch_signals())
        finally:
            session.end()
            system.close()
    else:
        asyncio.run(_record(chosen, session, duration))
    session.report()


async def _record(options: SystemOptions, session: _Session, duration: float | None) -> None:
    loop = asyncio.get_running_loop()
    system = build_system(options, loop)
    ending = Ending(loop)
    session.on_failure = ending.tell
    try:
        session.prepare(system)
        await system.start()
        session.begin(system)
        await ending.wait(system.clock, duration)
    finally:
        session.end()
        await system.stop()


class _Session:
    """One recording and its progress line."""

    def __init__(self, target: Path, symbols: str | None) -> None:
        self.target = target
        self._symbols = symbols
        self.recorder: MarketRecorder | RawRecorder | None = None
        self._writer: WriterThread | None = None
        self._last: RecordProgress | None = None
        self._failure: CtosError | None = None
        self._shows_progress = sys.stderr.isatty()
        self.on_failure: Callable[[], object] = lambda: None

    def prepare(self, system: System) -> None:
        """Begin what must be there before the market."""
        self._writer = WriterThread(system.loop, self.failed)

    def begin(self, system: System) -> None:
        """Begin to record."""

    def end(self) -> None:
        """Write what is left."""
        if self.recorder is not None:
            self.recorder.close()
        if self._writer is not None:
            self._writer.close()

    @property
    def writer(self) -> WriterThread:
        """Return what writes the files."""
        assert self._writer is not None
        return self._writer

    def watch(self, system: System) -> list[Instrument]:
        """Stream the chosen instruments and return them."""
        if self._symbols is None:
            names = system.manager.focus if system.source.venue else tuple(system.instruments)
        else:
            names = tuple(system.instruments) if self._symbols == "all" else tuple(self._symbols.split("+"))
        instruments = [system.resolve(name) for name in names]
        for instrument in instruments:
            system.engine.market.watch(instrument.symbol)
        return instruments

    def report(self) -> None:
        """Say what was recorded.

        Raises:
            CtosError: The recording ended because the disk refused.
        """
        if self._failure is not None:
            raise self._failure
        if self._last is not None:
            click.echo(f"{self._line(self._last)}; play it with --market replay:{self.target}", err=True)

    def progress(self, progress: RecordProgress) -> None:
        self._last = progress
        if self._shows_progress:
            click.echo(f"\r{self._line(progress)}", err=True, nl=False)

    def failed(self, error: CtosError) -> None:
        self._failure = error
        self.on_failure()

    def _line(self, progress: RecordProgress) -> str:
        return f"{progress.events:,} events, {progress.elapsed_ns / NS_PER_S:,.0f} s, {progress.size / 1e6:,.1f} MB"


class _ParquetSession(_Session):
    """Records what the bus carries."""

    def begin(self, system: System) -> None:
        instruments = self.watch(system)
        self.recorder = MarketRecorder(
            self.target,
            system.bus,
            system.clock,
            self.writer,
            instruments,
            system.engine.market.book,
            self.progress,
            self.failed,
        )


class _RawSession(_Session):
    """Records the venue's messages, the first book snapshots among them."""

    def prepare(self, system: System) -> None:
        super().prepare(system)
        system.driver.subscribe_raw(lambda payload: recorder.take(payload))
        recorder = self.recorder = RawRecorder(self.target, system.clock, self.writer, self.progress, self.failed)

    def begin(self, system: System) -> None:
        listing, instruments = self.target.with_name(FILE_NAME), self.watch(system)
        self.writer.submit(lambda: add_recording(listing, self.target.name, instruments), on_error=self.failed)

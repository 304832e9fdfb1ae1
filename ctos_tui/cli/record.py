"""`ctos-tui record`: what the bus carries, to Parquet files that `--market replay:` plays again."""

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
from engine.io.market_files import MarketRecorder, RecordProgress
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError


@click.command("record", help="Record the market to a new FOLDER, until Ctrl-C or for a time.")
@click.argument("folder", type=click.Path(path_type=Path))
@system_options
@click.option("--symbols", default="all", show_default=True, help="Instruments joined by +, or all.")
@click.option("--for", "duration", type=Duration(), metavar="T", help="Stop after this much market time, e.g. 10m.")
def command(folder: Path, symbols: str, duration: float | None, **options: Any) -> None:
    """Record and show progress on stderr."""
    chosen = SystemOptions(**options)
    session = _Session(folder, symbols)
    if chosen.is_full_speed:
        system = build_system(chosen, None)
        try:
            run_at_full_speed(system, lambda: session.begin(system), duration, watch_signals())
            session.end()
        finally:
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
        await system.start()
        session.begin(system)
        await ending.wait(system.clock, duration)
        session.end()
    finally:
        await system.stop()


class _Session:
    """One recording and its progress line."""

    def __init__(self, folder: Path, symbols: str) -> None:
        self._folder = folder
        self._symbols = symbols
        self._recorder: MarketRecorder | None = None
        self._writer: WriterThread | None = None
        self._last: RecordProgress | None = None
        self._failure: CtosError | None = None
        self._shows_progress = sys.stderr.isatty()
        self.on_failure: Callable[[], object] = lambda: None

    def begin(self, system: System) -> None:
        names = list(system.instruments) if self._symbols == "all" else self._symbols.split("+")
        instruments = [system.resolve(name) for name in names]
        for instrument in instruments:
            system.engine.market.watch(instrument.symbol)
        self._writer = WriterThread(system.loop, self._failed)
        self._recorder = MarketRecorder(
            self._folder,
            system.bus,
            system.clock,
            self._writer,
            instruments,
            system.engine.market.book,
            self._progress,
            self._failed,
        )

    def end(self) -> None:
        if self._recorder is not None and self._writer is not None:
            self._recorder.close()
            self._writer.close()

    def report(self) -> None:
        """Say what was recorded.

        Raises:
            CtosError: The recording ended because the disk refused.
        """
        if self._failure is not None:
            raise self._failure
        if self._last is not None:
            click.echo(f"{self._line(self._last)}; play it with --market replay:{self._folder}", err=True)

    def _progress(self, progress: RecordProgress) -> None:
        self._last = progress
        if self._shows_progress:
            click.echo(f"\r{self._line(progress)}", err=True, nl=False)

    def _failed(self, error: CtosError) -> None:
        self._failure = error
        self.on_failure()

    def _line(self, progress: RecordProgress) -> str:
        return f"{progress.events:,} events, {progress.elapsed_ns / NS_PER_S:,.0f} s, {progress.size / 1e6:,.1f} MB"

"""The real system under a market made beforehand, with or without the console; run by bench_console.py.

Arguments: `console` or `engine`, the events' file, the report's file, the folder of the configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import engine.boot.choosing as choosing
from ctos_tui import console
from ctos_tui.front import Link, stand_in_front
from ctos_tui.key_presses import KeyPresses
from drivers.paper.markets.replay import Batch, ReplayMarket
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot.markets import MarketSource
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.kernel.market import Bar

SEED = 1
START_S = 1_767_225_600
START_NS = START_S * 1_000_000_000
WARM_S, WINDOW_S = 4.0, 10.0
BOOKS = 20
TICK_S = 0.005


class Premade(ReplayMarket):
    """Events made beforehand, with the synthetic market's history.

    Attributes:
        played: How many events have been taken.
    """

    def __init__(self, path: Path) -> None:
        self.played = 0
        self._origin = SyntheticMarket(SEED, START_NS)
        self._made: list[Batch] = pickle.loads(path.read_bytes())
        super().__init__(self._origin.instruments(), self._play)

    def _play(self) -> Iterator[Batch]:
        for batch in self._made:
            self.played += len(batch[1])
            yield batch

    def klines(self, symbol: str, timeframe: str, limit: int, start: int | None, end: int | None) -> list[Bar]:
        """Return candles from before the start."""
        return self._origin.klines(symbol, timeframe, limit, start, end)


class Probe:
    """Measures the loop, the process and the keys over one window, then has the program end."""

    def __init__(self, market: Premade, report: Path) -> None:
        self.market = market
        self.report = report
        self.system: System | None = None
        self.keys: list[float] = []
        self._lags: list[float] = []
        self._due = 0.0
        self._on = False

    async def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the system trades, measure, report."""
        while self.system is None or not self.system.ready:  # noqa: ASYNC110 - nothing is added to what is measured
            await asyncio.sleep(0.05)
        for symbol in list(self.system.engine.instruments)[:BOOKS]:
            self.system.engine.market.watch(symbol)
        await asyncio.sleep(WARM_S)
        self.keys.clear()
        self._on = True
        self._next(loop)
        cpu, began, played = time.process_time(), time.monotonic(), self.market.played
        self.report.with_suffix(".began").touch()
        await asyncio.sleep(WINDOW_S)
        self._on = False
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        result: dict[str, Any] = {"cpu": share, "lags": self._lags, "keys": self.keys}
        result["played"] = self.market.played - played
        self.report.write_text(json.dumps(result))
        os.kill(os.getpid(), signal.SIGTERM)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + TICK_S
        loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lags.append(loop.time() - self._due)
        if self._on:
            self._next(loop)


async def run_engine(options: SystemOptions, probe: Probe) -> None:
    """Run the same system with no screen."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    system = probe.system = build_system(options, loop)
    await system.start()
    await stop.wait()
    await system.stop()


async def run(kind: str, events: Path, report: Path, config: str, link: Link | None) -> None:
    """Put the pieces together as the program does, with the market and the probes in their places."""
    market = Premade(events)
    source = MarketSource(market, "premade", START_NS)
    choosing.open_market = lambda *_: source
    options, probe = SystemOptions(config=config), Probe(market, report)
    measuring = asyncio.create_task(probe.run(asyncio.get_running_loop()))
    if kind == "engine":
        await run_engine(options, probe)
    else:

        def build(options: SystemOptions, loop: asyncio.AbstractEventLoop, program: str) -> System:
            probe.system = build_system(options, loop, program)
            return probe.system

        take_key = KeyPresses.take_key

        def timed(keys: KeyPresses, key: str, character: str | None, read_at: float) -> None:
            probe.keys.append(time.monotonic())
            take_key(keys, key, character, read_at)

        console.build_system = build  # type: ignore[assignment]
        KeyPresses.take_key = timed  # type: ignore[method-assign]
        assert link is not None
        await console._run(link, None, options)
    await measuring


def undisturbed() -> None:
    """Have this process go before others, where that is allowed: what else the machine does is not measured."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


if __name__ == "__main__":
    undisturbed()
    front = Link(stand_in_front()) if sys.argv[1] == "console" else None
    asyncio.run(run(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], front))

"""`ctos-tui run`: the engine with no screen, for servers and scripts."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from typing import Any

import click

from ctos_tui.cli.options import Duration, system_options
from ctos_tui.cli.report import EventWriter
from ctos_tui.cli.waiting import watch_signals
from ctos_tui.ending import Ending
from ctos_tui.event_loop import run_to_end
from ctos_tui.showing import Showing
from engine.boot.full_speed import run_at_full_speed
from engine.boot.options import SystemOptions
from engine.boot.summary import Tally, summary
from engine.boot.system import NEVER_ARMED, System, build_system
from engine.boot.winding_down import loss_policy
from engine.kernel.clock import sleep
from engine.kernel.errors import ConfigError
from engine.runtime.trading_state import TradingMode


@click.command("run", help="Run the engine and strategies with no screen; events and a summary as JSON lines.")
@system_options
@click.option("--strategy", "strategies", multiple=True, metavar="NAME:SYMBOL[:k=v,...]", help="May be given often.")
@click.option("--for", "duration", type=Duration(), metavar="T", help="Stop after this much market time, e.g. 300s.")
def command(strategies: tuple[str, ...], duration: float | None, **options: Any) -> None:
    """Run until the time is over, the recording ends or a signal arrives."""
    wanted = [parse_strategy(text) for text in strategies]
    system_options_ = SystemOptions(**options)
    if system_options_.is_full_speed:
        system = build_system(system_options_, None)
        writer = EventWriter(system)
        tally = Tally(system.bus)
        is_told = watch_signals()
        try:
            run_at_full_speed(
                system, lambda: _launch(system, wanted), duration, lambda: is_told() or writer.failure is not None
            )
            writer.close(summary(system, tally))
        finally:
            system.close()
    else:
        run_to_end(_run(system_options_, wanted, duration))


async def _run(options: SystemOptions, wanted: list[tuple[str, str, dict[str, str]]], duration: float | None) -> None:
    loop = asyncio.get_running_loop()
    system = build_system(options, loop, "run")
    ending = Ending(system)
    ending.follow(loop, signal.SIGTERM, signal.SIGINT)
    showing = Showing(system, ending)
    writer = EventWriter(system)
    writer.is_held = lambda: showing.is_on(sys.__stdout__)
    is_lost = False

    def lost(reason: str) -> None:
        nonlocal is_lost
        is_lost = loss_policy(system) == "detach"
        if not is_lost:
            ending.tell(reason)

    loop.add_signal_handler(signal.SIGHUP, lost, "SIGHUP")
    on_terminal = sys.__stdout__ is not None and sys.__stdout__.isatty()
    writer.on_failure = lambda: (lost if on_terminal else ending.tell)("stdout takes no more")
    tally = Tally(system.bus)
    closing: dict[str, Any] = {}
    try:
        await system.start()
        gc.collect()
        gc.freeze()  # what exists now stays: later collections leave it out, and are short
        if system.engine.trading.mode is TradingMode.HALTED:
            system.engine.say(f"{system.engine.trading.describe()}; it runs halted until a person rearms it", "error")
        elif system.may_arm_itself:
            system.engine.arm("run")
        else:
            system.engine.say(f"{system.account.name} is live and not armed: {NEVER_ARMED}", "warn")
        _launch(system, wanted)
        await _wait(ending, system, duration)
    finally:
        ending.tell("it is over")
        try:
            report = await showing.conclude()
            if report.is_needed:
                writer.stopped(report)
                closing = summary(system, tally)
        finally:
            await system.stop()
    if not is_lost:
        writer.close(closing)


async def _wait(ending: Ending, system: System, duration: float | None) -> None:
    """Wait for the end, at most for `duration` seconds of market time."""
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(ending.due.wait())]
    if duration is not None:
        waits.append(asyncio.ensure_future(sleep(system.clock, duration)))
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def _launch(system: System, wanted: list[tuple[str, str, dict[str, str]]]) -> None:
    for name, symbol, params in wanted:
        running = [i for i in system.manager.instances.values() if i.strategy_class.name == name]
        if not any(system.resolve(symbol).symbol in instance.symbols for instance in running):
            system.manager.launch(name, params, symbols=symbol)


def parse_strategy(text: str) -> tuple[str, str, dict[str, str]]:
    """Return (name, symbols, parameters) of `NAME:SYMBOL[:key=value,...]`.

    Raises:
        ConfigError: The text has another form.
    """
    name, _, rest = text.partition(":")
    symbol, _, tail = rest.partition(":")
    if not name or not symbol:
        raise ConfigError(f"--strategy {text!r} is not of the form NAME:SYMBOL[:key=value,...]")
    params: dict[str, str] = {}
    for part in filter(None, tail.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise ConfigError(f"--strategy {text!r}: {part!r} is not of the form key=value")
        params[key.strip()] = value.strip()
    return name, symbol, params

"""Runs a system on virtual time, as fast as the machine goes, the same every time."""

from __future__ import annotations

from collections.abc import Callable

from engine.boot.system import System
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import ConfigError
from engine.runtime.shell import run_to_end


def run_at_full_speed(system: System, launch: Callable[[], object], duration_s: float | None) -> None:
    """Play the market until `duration_s` of its time has passed or it ends.

    Args:
        system: Built without a loop.
        launch: Starts strategies when the account is armed.
        duration_s: Market time; needed where the market never ends.

    Raises:
        ConfigError: The market never ends and no duration is given.
    """
    clock = system.clock
    assert isinstance(clock, VirtualClock)
    if duration_s is None and system.source.label.startswith("synthetic"):
        raise ConfigError("--speed max on a synthetic market never ends: say how long with --for, such as --for 1h")
    until_ns = None if duration_s is None else clock.now_ns() + round(duration_s * NS_PER_S)
    run_to_end(system.begin())
    system.engine.arm("run")
    launch()
    driver = system.driver
    if until_ns is not None:
        driver.run_virtual(clock, until_ns)
    else:
        while (due := driver.next_event_ns()) is not None:
            driver.run_virtual(clock, due + NS_PER_S)

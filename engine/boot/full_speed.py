"""Runs a system on virtual time, as fast as the machine goes, the same every time."""

from __future__ import annotations

from collections.abc import Callable

from engine.boot.system import System
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import ConfigError
from engine.runtime.shell import run_to_end

_LOOK_NS = 10 * NS_PER_S
"""Market time between two looks at whether the run was told to end."""


def run_at_full_speed(
    system: System,
    launch: Callable[[], object],
    duration_s: float | None,
    is_ended: Callable[[], bool] = lambda: False,
) -> None:
    """Play the market until `duration_s` of its time has passed, it ends, or the run is told to end.

    Args:
        system: Built without a loop.
        launch: Starts strategies when the account is armed.
        duration_s: Market time; needed where the market never ends.
        is_ended: Whether the run was told to end.

    Raises:
        ConfigError: The market never ends and no duration is given.
    """
    clock, driver = system.clock, system.paper
    assert isinstance(clock, VirtualClock) and driver is not None
    if duration_s is None and system.source.label.startswith("synthetic"):
        raise ConfigError("--speed max on a synthetic market never ends: say how long with --for, such as --for 1h")
    until_ns = None if duration_s is None else clock.now_ns() + round(duration_s * NS_PER_S)
    run_to_end(system.begin())
    system.engine.arm("run")
    launch()
    while not is_ended() and (due := driver.next_event_ns()) is not None:
        look_ns = due + (NS_PER_S if until_ns is None else _LOOK_NS)
        if until_ns is not None and look_ns >= until_ns:
            break
        driver.run_virtual(clock, look_ns)
    if until_ns is not None and not is_ended():
        driver.run_virtual(clock, until_ns)

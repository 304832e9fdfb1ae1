"""Stands for a simulation that does not always come to its end."""

from __future__ import annotations

import os
import signal

from tests.sim.report import Report

KILLED, FAILS, HANGS = ("okx", 2), ("binance", 2), ("okx", 3)


def shaky(venue: str, seed: int, hours: float) -> Report:
    """Return a report, unless it is a seed that is killed, raises or never ends."""
    if (venue, seed) == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if (venue, seed) == FAILS:
        raise ZeroDivisionError("the simulation itself fails")
    if (venue, seed) == HANGS:
        signal.pause()
    return Report(venue, seed, hours, simulated_s=hours * 3600)

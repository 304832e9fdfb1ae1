"""Emulated venues and a folder to configure them in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import LoopClock
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator


@pytest.fixture
async def emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    """Gives a running emulator of the venue that the test names."""
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class(request.param)(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as running_one:
        yield running_one


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Gives an empty configuration folder of the operator alone."""
    tmp_path.chmod(0o700)
    return tmp_path

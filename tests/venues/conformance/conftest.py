"""Rigs for the conformance tests: each test runs once for every venue that has a driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest

from tests.venues.conformance.rig import Rig

REAL = ("okx", "binance", "backpack")
VENUES = ("paper", *REAL)


def _exists(venue: str) -> None:
    for module in (f"drivers.{venue}.driver", f"tests.venues.emulators.{venue}"):
        if venue != "paper" and find_spec(module) is None:
            pytest.skip(f"{module} is not there")


@pytest.fixture(params=VENUES)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Gives a started rig of each venue, paper among them."""
    _exists(request.param)
    opened = await Rig.open(request.param)
    yield opened
    await opened.close()


@pytest.fixture(params=REAL)
async def wired(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Gives a started rig of each venue with a wire."""
    _exists(request.param)
    opened = await Rig.open(request.param)
    yield opened
    await opened.close()


@pytest.fixture(params=REAL)
async def unstarted(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Gives a rig of each venue with a wire whose driver is not started yet."""
    _exists(request.param)
    prepared = await Rig.prepare(request.param)
    yield prepared
    await prepared.close()

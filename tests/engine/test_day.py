"""The day begins once, at 00:00 UTC, whatever the calendar, the zone and the clock do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from engine.kernel.clock import NS_PER_S
from engine.runtime.records import DayAnchor
from tests.engine.floor import ROOMY, Floor, d

DAY_NS = 86_400 * NS_PER_S


@pytest.fixture(autouse=True)
def far_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Live where the clock is changed in the nights below."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def midnight(text: str) -> int:
    """Return the moment at which a UTC day ends."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_S + DAY_NS


def anchors(floor: Floor) -> list[DayAnchor]:
    return [record for _, record in floor.engine.core.state.since(0) if isinstance(record, DayAnchor)]


@pytest.mark.parametrize("day", ["2026-05-13", "2026-03-07", "2026-03-08", "2026-10-31", "2026-12-31", "2016-12-31"])
def test_c04_the_days_loss_begins_anew_exactly_once_at_midnight_utc(tmp_path: Path, day: str) -> None:
    """Nights of an ordinary day, of both changes of the clock, of a leap second, of a year's end."""
    end_ns = midnight(day)
    floor = Floor(tmp_path, start_ns=end_ns - 120 * NS_PER_S, limits=ROOMY)
    floor.admit("g1")
    floor.hold(10, 100.0, "g1")
    floor.print(99.0)
    floor.run_to(end_ns - NS_PER_S // 2)
    engine, watch = floor.engine, floor.engine.risk.losses._watches["g1"]
    assert engine.portfolio.day_profit() == -10 and len(anchors(floor)) == 1
    begun = watch.day_profit
    floor.run_to(end_ns + NS_PER_S)
    assert engine.portfolio.day_profit() == 0 and watch.day_profit == begun - 10
    floor.print(98.5)
    hours = 6 if day == "2026-03-07" else 0.1
    floor.run_to(end_ns + round(hours * 3600) * NS_PER_S)
    assert engine.portfolio.day_profit() == -5 and watch.day_profit == begun - 10, "a zone began a day of its own"
    assert [anchor.day - end_ns // DAY_NS for anchor in anchors(floor)] == [-1, 0]


@pytest.mark.parametrize("seconds", [-30, 0, 30])
def test_c04_a_restart_around_midnight_begins_no_day_twice(tmp_path: Path, seconds: int) -> None:
    end_ns = midnight("2026-12-31")
    floor = Floor(tmp_path, start_ns=end_ns - 60 * NS_PER_S, limits=ROOMY)
    floor.admit("g1")
    floor.hold(10, 100.0, "g1")
    floor.run_to(end_ns + 5 * NS_PER_S)
    floor.print(99.0)
    floor.run(2.0)
    assert floor.engine.portfolio.day_profit() == -10
    floor = floor.restart(tmp_path, start_ns=end_ns + (10 + seconds) * NS_PER_S)  # -30: the clock was set back
    floor.admit("g1")
    floor.print(99.0)
    floor.run(60.0)
    losses = floor.engine.risk.losses
    assert floor.engine.portfolio.day_profit() == -10, "the loss of the day is not forgotten"
    assert losses._watches["g1"].day_profit - losses._watches["g1"].base_profit == 0
    assert len(anchors(floor)) == 2


def test_c04_a_day_that_cannot_be_valued_begins_when_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end_ns = midnight("2026-05-13")
    floor = Floor(tmp_path, start_ns=end_ns - 60 * NS_PER_S, limits=ROOMY)
    floor.hold(10, 100.0)
    real, failing = floor.engine.portfolio.profit, [True]

    def profit() -> Decimal | None:
        if failing:
            failing.pop()
            raise RuntimeError("broken on purpose")
        return real()

    monkeypatch.setattr(floor.engine.portfolio, "profit", profit)
    with pytest.raises(RuntimeError):
        floor.run_to(end_ns + NS_PER_S // 2)
    floor.run_to(end_ns + 5 * NS_PER_S)
    assert [anchor.day for anchor in anchors(floor)][-1] == end_ns // DAY_NS
    assert floor.engine.portfolio.day_profit() == d(0)

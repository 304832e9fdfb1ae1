"""A slice of `make chaos`: each kind of end once or twice, on one engine."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from tests.chaos.course import Course
from tests.chaos.kills import run_kills
from tests.chaos.panics import run_panics
from tests.chaos.report import DeskReport, KindReport, violations_of
from tests.chaos.terminals import lose_terminals
from tests.chaos.venue import VenueProcess

pytestmark = pytest.mark.pty


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A run with nobody listening to its progress."""
    return Course(tmp_path, 1, lambda text: None)


def test_p02_killed_at_random_moments_nothing_is_lost_or_doubled(course: Course) -> None:
    report = run_kills("okx", 5, course)
    assert not report.violation, report.violation
    assert report.kills == 5 and report.orders and report.records


def test_a_venue_that_knows_more_than_the_engine_is_a_violation(
    course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.kills.SETTLE_S", 1.0)
    truth = VenueProcess.truth

    def with_a_fill_more(venue: VenueProcess) -> object:
        found = truth(venue)
        found.fills.append(("BTC-USDT-PERP", "buy", Decimal(1), Decimal(60_000)))
        return found

    monkeypatch.setattr(VenueProcess, "truth", with_a_fill_more)
    report = run_kills("okx", 1, course)
    assert "I2: fills" in report.violation
    assert violations_of([report])


def test_p05_p06_p09_lost_terminals_never_reach_the_engine(course: Course) -> None:
    kinds = ["drop", "nohup-drop", "freeze", "double-term", "client-kill"]
    reports = lose_terminals(kinds, 1, course)
    assert not violations_of(reports)
    assert [report.rounds for report in reports if isinstance(report, KindReport)] == [1] * len(kinds)
    assert [report for report in reports if isinstance(report, DeskReport)]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_p07_tmux_comes_and_goes(course: Course) -> None:
    assert not violations_of(lose_terminals(["tmux-detach", "tmux-kill"], 1, course))


def test_o01_o02_halted_while_answers_are_lost_and_killed_in_the_middle(course: Course) -> None:
    report = run_panics("okx", 1, course, killed=True)
    assert not report.violation, report.violation

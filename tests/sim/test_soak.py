"""A soak tells of every seed, of those as well whose process dies, fails or hangs."""

from __future__ import annotations

from tests.sim.shaky import FAILS, HANGS, KILLED, shaky
from tests.sim.soak import replay_command, soak


def test_a_seed_that_dies_fails_or_hangs_is_a_failure_with_its_seed_and_the_others_go_on() -> None:
    lines: list[str] = []
    reports = soak(("okx", "binance"), 1, 8.0, 1.0, 2, True, lines.append, limit_s=3.0, run=shaky)
    assert sorted((report.venue, report.seed) for report in reports) == [
        (venue, seed) for venue in ("binance", "okx") for seed in (1, 2, 3, 4)
    ]
    failed = {(report.venue, report.seed): report for report in reports if report.violations}
    assert failed.keys() == {KILLED, FAILS, HANGS}
    assert "died" in failed[KILLED].violations[0] and "SIGKILL" in failed[KILLED].violations[0]
    assert "died" in failed[FAILS].violations[0] and "exit code 1" in failed[FAILS].violations[0]
    assert "hangs" in failed[HANGS].violations[0]
    assert len(lines) == 8 and sum("VIOLATION" in line for line in lines) == 3
    assert replay_command(failed[FAILS]).endswith("--venue binance --seed 2 --hours 1")


def test_a_soak_ends_at_the_first_seed_that_dies() -> None:
    reports = soak(("okx",), 1, 50.0, 1.0, 1, False, lambda line: None, run=shaky)
    assert [report.seed for report in reports] == [1, 2] and reports[-1].violations

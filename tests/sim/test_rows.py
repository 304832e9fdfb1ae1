"""Rows of the fault matrix, each with its own fault and all that goes on beside it: nothing lost, nothing sent twice.

Every run ends in comparisons with the venue's truth; the invariants that hold at every moment are checked meanwhile.
"""

from __future__ import annotations

import pytest

from tests.sim.life import Beside
from tests.sim.report import Report
from tests.sim.world import Plan, simulate

ALONE = Beside(strategy=False, monitor=False, correction="off", spot=False, stranger=False)
HOURS = 0.2
NEVER_S = 1e9


def run(venue: str, *faults: str, least: int = 40, **changes: object) -> Report:
    plan: dict[str, object] = {"fault_s": 5.0, "crash_s": NEVER_S, "halt": 0.0, "pace_s": 1.0, "beside": ALONE}
    report = simulate(Plan(seed=11, hours=HOURS, venue=venue, only=faults, **(plan | changes)))  # type: ignore[arg-type]
    assert not report.violations, "\n".join([*report.violations, *report.lines])
    assert report.rounds >= 3 and report.orders >= 30 and report.fills >= 15
    assert sum(report.faults.values()) >= least, report.faults
    assert set(report.faults) <= set(faults)
    return report


def test_n01_orders_lost_before_the_venue_are_settled_and_trading_goes_on():
    run("okx", "lose_request")


def test_n02_n03_orders_whose_answer_is_lost_are_found_and_not_sent_again():
    run("binance", "lose_response")


def test_n07_n10_n17_a_stream_that_is_deaf_or_black_loses_no_fill():
    run("backpack", "deaf", "black_hole", "cut")


def test_n06_n10_n12_a_venue_that_refuses_connections_for_a_while_is_caught_up_with():
    run("okx", "outage", fault_s=30.0, least=12)


def test_n13_a_slow_network_sends_nothing_late_and_nothing_twice():
    run("binance", "slow_network", fault_s=12.0, least=25)


def test_n14_answers_after_the_time_out_still_count():
    run("okx", "slow_answer")


def test_e01_e02_an_unknown_outcome_is_neither_failed_nor_sent_again():
    run("backpack", "unknown")


def test_e03_a_busy_venue_gets_no_more_than_it_serves():
    run("binance", "busy")


def test_e04_nothing_is_sent_during_a_ban_restarts_included():
    report = run("binance", "ban", "cut", fault_s=12.0, crash_s=60.0, least=25)
    assert report.faults["ban"] >= 5
    assert report.counts["crashes"] + report.counts["stops"] > 4


def test_e05_e06_e07_events_twice_late_or_never_leave_the_books_right():
    run("okx", "twice", "out_of_order", "drop")


def test_e11_orders_that_queries_do_not_show_yet_are_not_given_up():
    run("binance", "lag", "lost_and_hidden")


def test_e16_orders_and_cancels_by_somebody_else_are_shown_and_left_alone():
    report = run("backpack", "twice", stranger_s=6.0, beside=Beside(False, False, "off", False, True))
    assert report.counts["stranger place"] > 12 and report.counts["stranger cancel_ours"] > 8


def test_p02_crashes_at_any_moment_lose_nothing_that_was_on_the_disk():
    report = run("okx", "lose_response", "unknown", crash_s=20.0)
    assert report.counts["crashes"] > 8


@pytest.mark.parametrize("venue", ["okx", "binance"])
def test_d05_a_disk_that_takes_seconds_lets_no_order_out_late_or_twice_and_loses_none(venue: str):
    report = run(venue, "slow_disk", fault_s=12.0, crash_s=60.0, least=25)
    assert report.counts["late for the disk"] >= 20
    assert report.counts["crashes"] >= 3


@pytest.mark.parametrize("venue", ["okx", "backpack"])
def test_o01_o02_a_halt_among_faults_and_crashes_cancels_all_and_outlives_them(venue: str):
    report = run(venue, "lose_response", "slow_network", "cut", "unknown", "busy", halt=1.0, crash_s=60.0)
    assert report.halts >= 2 and report.counts["refused TradingHalted"] > 5

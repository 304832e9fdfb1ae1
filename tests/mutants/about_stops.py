"""Bugs in stops that the engine holds, and in orders that are made smaller or taken back to be placed anew."""

from __future__ import annotations

from tests.mutants.mutant import bug

_RUN = "engine/runtime"
_HELD = "tests/engine/test_held_stops.py"

STOPS = (
    bug(
        "a-held-stop-cannot-grow",
        "a position that is larger than its stop",
        f"{_RUN}/tracker.py",
        ("and order.reduce_only and not order.held:", "and order.reduce_only:"),
        tests=(f"{_HELD}::test_a_held_stop_is_made_larger_and_smaller_and_fires_its_new_size",),
    ),
    bug(
        "a-stop-that-was-not-taken-is-forgotten",
        "a position without its stop",
        f"{_RUN}/fired_stops.py",
        ("            self._hold_again(order, tries + 1)\n", "            return\n"),
        tests=(f"{_HELD}::test_a_stop_that_the_venue_did_not_take_is_sent_anew_until_it_does",),
    ),
    bug(
        "a-stop-on-its-way-is-forgotten-at-a-restart",
        "a position without its stop",
        f"{_RUN}/execution.py",
        ("        self.commands.fired.resume()\n", ""),
        tests=(f"{_HELD}::test_a_stop_that_was_not_taken_outlives_a_crash",),
    ),
    bug(
        "a-stop-that-was-taken-back-is-sent-anew",
        "a position that is closed although its owner wanted to keep it",
        f"{_RUN}/fired_stops.py",
        (" or order.asked_by)", ")"),
        tests=(f"{_HELD}::test_a_stop_that_is_taken_back_on_its_way_is_not_sent_anew",),
    ),
    bug(
        "a-crash-leaves-nothing-in-the-place-of-a-lost-stop",
        "a position without its stop",
        f"{_RUN}/execution.py",
        ("        self.commands.fired.hold_lost()\n", ""),
        tests=(f"{_HELD}::test_a_crash_before_a_lost_stop_has_its_successor_leaves_one_stop",),
    ),
    bug(
        "a-lost-stop-comes-back-at-every-start",
        "a position that is closed by a stop that was taken back",
        f"{_RUN}/fired_stops.py",
        (" and _is_the_last_news(order, orders)]", "]"),
        tests=(f"{_HELD}::test_a_lost_stop_is_not_held_anew_at_a_start_long_after",),
    ),
    bug(
        "a-stop-is-sent-anew-beside-a-close",
        "a position that is turned round by its own stop",
        f"{_RUN}/fired_stops.py",
        (" and self._is_being_reduced(order):", " and not order.is_open:"),
        tests=(f"{_HELD}::test_a_stop_is_not_sent_anew_beside_a_close_nor_when_nothing_is_left",),
    ),
    bug(
        "a-refused-stop-is-not-told",
        "a position without its stop, and nobody knows",
        f"{_RUN}/fired_stops.py",
        ("            self._core.on_ended_outside(order, order.reason)\n", "            return\n"),
        tests=(f"{_HELD}::test_a_stop_that_is_refused_for_good_leaves_an_alarm",),
    ),
    bug(
        "a-cancel-hides-an-amendment",
        "a limit that is passed by an amendment",
        f"{_RUN}/risk/worst_case.py",
        ("if order.pending is Pending.NONE:", "if order.pending is not Pending.AMEND:"),
        tests=(
            "tests/engine/test_execution_gate.py"
            "::test_an_amendment_that_is_followed_by_a_cancel_counts_until_the_order_is_gone",
        ),
    ),
    bug(
        "a-crash-ends-a-repeg",
        "a position that nobody closes any more",
        f"{_RUN}/work/soft.py",
        (" or self._is_repegged(order):", ":"),
        tests=(
            "tests/engine/test_targets_on_paper.py::test_a_crash_in_the_middle_of_a_repeg_does_not_abandon_a_close",
        ),
    ),
    bug(
        "a-reduction-that-could-not-shrink-stays",
        "a position that is turned round by its own take-profit",
        f"{_RUN}/amendments.py",
        ("        if order.asked_by != LESS_HELD:\n", "        if order.asked_by:\n"),
        tests=("tests/engine/test_execution_gate.py::test_a_reduction_that_could_not_be_made_smaller_is_tried_again",),
    ),
)

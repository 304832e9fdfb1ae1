"""Bugs in how the account is halted, restricted and let go again."""

from __future__ import annotations

from tests.mutants.mutant import bug

_RUN = "engine/runtime"

HALTS = (
    bug(
        "halt-forgotten-at-a-restart",
        "a halted account that trades again by itself",
        f"{_RUN}/trading_state.py",
        (
            "if mode is TradingMode.HALTED or (mode is TradingMode.REDUCE_ONLY and not lifts):",
            "if not lifts and mode is TradingMode.REDUCE_ONLY:",
        ),
    ),
    bug(
        "halt-is-not-kept",
        "a halted account that trades again by itself",
        f"{_RUN}/core.py",
        ("        self.save_trading()\n        level =", "        level ="),
    ),
    bug(
        "halt-gives-way-to-a-restriction",
        "a halted account that trades again by itself",
        f"{_RUN}/trading_state.py",
        (
            "if self.mode is TradingMode.ARMED or (self.mode is TradingMode.REDUCE_ONLY and self.status.lifts):",
            "if self.mode is not TradingMode.DISARMED:",
        ),
    ),
    bug(
        "queued-orders-pass-the-gate",
        "orders that are sent after the halt",
        f"{_RUN}/risk/watcher.py",
        (
            "if self.state.mode is not TradingMode.ARMED or self.losses.halted(order.instance):",
            "if self.losses.halted(order.instance):",
        ),
    ),
    bug(
        "halt-misses-what-arrives-late",
        "an order that rests after the halt",
        f"{_RUN}/panic.py",
        ("            elif order.label < report.next_label:", "            elif order.venue_order_id:"),
        (
            "return order.label < report.next_label and not (order.external or is_protective(order))",
            "return order.label in report.asked",
        ),
        tests=("tests/engine/test_panic.py::test_orders_that_turn_up_late_are_cancelled_too",),
    ),
    bug(
        "halt-never-looks",
        "a halt that cannot say whether anything rests",
        f"{_RUN}/panic.py",
        (
            "        core.clock.call_later(LOOK_S, self._look, report)\n        core.clock.call_later(IN_FLIGHT_S",
            "        core.clock.call_later(IN_FLIGHT_S",
        ),
    ),
    bug(
        "halt-believes-a-failed-look",
        "an order that rests although none does by the report",
        f"{_RUN}/panic.py",
        (
            "            report.error = str(error)\n            report.clear_looks = 0\n"
            "            self._failures += 1\n            self._next_look(report)",
            "            found([])",
        ),
        tests=("tests/engine/test_panic.py::test_a_silent_venue_is_unknown_not_none",),
    ),
    bug(
        "halt-is-content-with-one-look",
        "an order that the venue's list showed a moment later",
        f"{_RUN}/panic.py",
        ("CLEAR_LOOKS = 2", "CLEAR_LOOKS = 1"),
        tests=("tests/engine/test_halting.py::test_one_list_without_an_order_does_not_confirm_a_halt",),
    ),
    bug(
        "halt-cancels-other-peoples-orders",
        "the orders of somebody else on the account",
        f"{_RUN}/panic.py",
        (
            "            if order.external:\n                _note(report.external, order)\n            elif",
            "            if",
        ),
    ),
    bug(
        "cancel-all-takes-other-peoples-orders",
        "the orders of somebody else on the account",
        f"{_RUN}/execution.py",
        ("            and (include_external or not order.external)\n", ""),
    ),
    bug(
        "rearmed-with-unknown-orders",
        "a halt that is released while orders may still arrive",
        f"{_RUN}/rearming.py",
        (
            'found.append(f"{labels} has no known outcome yet; it is being looked for")',
            'engine.say(f"{labels} has no known outcome yet; it is being looked for")',
        ),
    ),
    bug(
        "rearmed-with-orders-that-rest",
        "a halt that is released while orders rest",
        f"{_RUN}/rearming.py",
        ("for label, text in report.details.items() if label not in sought]", "for label, text in ()]"),
        tests=(
            "tests/engine/test_halting.py::test_o04_rearming_is_refused_while_an_order_may_rest_that_should_be_gone",
        ),
    ),
    bug(
        "halt-file-does-not-halt",
        "a halt that could be kept in no other way",
        f"{_RUN}/halt_mark.py",
        (
            "            if engine.trading.mode is not TradingMode.HALTED:\n                engine.panic_switch",
            "            if engine.trading.mode is TradingMode.HALTED:\n                engine.panic_switch",
        ),
        tests=("tests/engine/test_halt_mark.py::test_a_full_disk_leaves_the_file_and_the_next_start_is_halted",),
    ),
    bug(
        "restriction-forgotten-at-a-restart",
        "an account that may only reduce and, after a restart, may be armed",
        f"{_RUN}/trading_state.py",
        (
            "if mode is TradingMode.HALTED or (mode is TradingMode.REDUCE_ONLY and not lifts):",
            "if mode is TradingMode.HALTED:",
        ),
        tests=("tests/engine/test_risk_losses.py::TestTradingState::test_after_a_restart_only_restrictions_are_left",),
    ),
    bug(
        "dead-man-for-orders-of-others",
        "orders that somebody else left working, when this program is gone",
        f"{_RUN}/dead_man.py",
        ("not (order.held or order.external)", "not order.held"),
        tests=("tests/boot/test_real_venues.py::TestLive::test_the_timer_is_not_kept_for_orders_of_others",),
    ),
    bug(
        "dead-man-is-left-running",
        "a stop that the venue cancels, because an earlier timer still runs",
        f"{_RUN}/dead_man.py",
        ("        if wanted or self._may_be_set:\n", "        if wanted:\n"),
        tests=("tests/boot/test_real_venues.py::TestLive::test_the_venues_cancel_timer_runs_and_ends_with_us",),
    ),
)
"""Halts that do not hold."""

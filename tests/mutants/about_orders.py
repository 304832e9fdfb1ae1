"""Bugs in how orders are sent, followed and cancelled."""

from __future__ import annotations

from tests.mutants.mutant import Seed, bug

_RUN = "engine/runtime"

ORDERS = (
    bug(
        "retry-with-a-new-id",
        "the order twice: the first one had arrived",
        f"{_RUN}/commands.py",
        (
            "                self.resolver.watch(order)\n        elif outcome.unsent",
            '                again = f"{client_id[:10]}{core.clock.now_ns() % 10**8:08}"\n'
            "                request = replace(request_of(order), client_id=again)\n"
            "                placed = partial(self._placed, client_id)\n"
            "                core.clock.call_later(0.5, core.gateway.place, request, placed)\n"
            "        elif outcome.unsent",
        ),
    ),
    bug(
        "timeout-is-failure",
        "an order that works at the venue and counts nowhere",
        f"{_RUN}/commands.py",
        ("Outcome(client_id, OrderState.UNKNOWN, str(outcome)", "Outcome(client_id, OrderState.REJECTED, str(outcome)"),
    ),
    bug(
        "lost-answer-is-a-refusal",
        "an order that works at the venue and counts nowhere",
        "drivers/transport/http.py",
        (
            'return UnknownOutcome(f"{self._venue}: {text}; whether',
            'return VenueUnavailable(f"{self._venue}: {text}; whether',
        ),
    ),
    bug(
        "a-late-answer-is-the-next-ones",
        "an order that takes the answer of another for its own",
        "drivers/transport/http.py",
        (
            "    except BaseException:\n        connection.close()\n",
            "    except BaseException:\n        connection.release()\n",
        ),
        seeds=(Seed("backpack", 2, 0.25, ("slow_answer",)),),
    ),
    bug(
        "given-up-at-the-end-is-unsent",
        "an order that was on its way at a stop, and counts nowhere after it",
        "drivers/transport/gateway.py",
        (
            'return UnknownOutcome(f"{what}: given up before its answer came")',
            'return CtosError(f"{what}: given up before its answer came", unsent=True)',
        ),
    ),
    bug(
        "sent-before-recorded",
        "an order that a crash forgets",
        f"{_RUN}/commands.py",
        ("order = core.write(intent, durable).order\n", "order = core.write(intent).order\n        durable()\n"),
    ),
    bug(
        "stop-sent-before-recorded",
        "a stop that fires again after a crash",
        f"{_RUN}/commands.py",
        ("core.write(Sent(order.client_id), place)", "core.write(Sent(order.client_id))\n            place()"),
        seeds=(Seed("okx", 7), Seed("binance", 4)),
    ),
    bug(
        "in-flight-at-a-crash-is-unsent",
        "an order that had arrived before the crash",
        f"{_RUN}/reconcile.py",
        (
            'OrderState.UNKNOWN, "the program ended while it was sent"',
            'OrderState.NEVER_SENT, "the program ended while it was sent"',
        ),
    ),
    bug(
        "not-found-is-believed-at-once",
        "an order that the venue's lists show a moment later",
        f"{_RUN}/resolver.py",
        ("return doubt.looks >= LOOKS and now_ns - doubt.since_ns >= SETTLED_AFTER_NS", "return True"),
    ),
    bug(
        "a-held-stop-is-looked-for-since-it-was-made",
        "a stop that trades after it was given up, beside the one that took its place",
        f"{_RUN}/resolver.py",
        ("order.sent_ns or order.created_ns", "order.created_ns"),
        tests=("tests/engine/test_execution.py::test_n01_a_stop_that_waited_here_is_as_old_as_the_moment_it_left",),
    ),
    bug(
        "a-reduction-does-not-shrink-while-disarmed",
        "a position that is turned round by its own take-profit",
        f"{_RUN}/amendments.py",
        (
            "            if adds:\n                core.risk.check_gate(order)",
            "            core.risk.check_gate(order)",
        ),
        tests=(
            "tests/engine/test_execution.py::test_a_reduction_shrinks_with_what_is_held_though_the_account_is_disarmed",
        ),
    ),
    bug(
        "a-failed-look-is-not-found",
        "an order that works while the venue does not answer",
        f"{_RUN}/resolver.py",
        ("if isinstance(outcome, OrderNotFound) and self._is_absent", "if self._is_absent"),
        seeds=(Seed("okx", 10, 0.2, ("outage", "lose_response")), Seed("okx", 4, 1.1, ("outage", "lose_response"))),
    ),
    bug(
        "last-writer-wins",
        "a finished order that comes back",
        "engine/kernel/orders.py",
        ("return not current.is_final and _RANK[state] >= _RANK[current]", "return True"),
    ),
    bug(
        "reported-fill-falls",
        "exposure that an old message takes back",
        f"{_RUN}/tracker.py",
        (
            "order.reported_filled = max(order.reported_filled, update.filled)",
            "order.reported_filled = update.filled",
        ),
    ),
    bug(
        "old-terms-overwrite-new",
        "an order whose price and size are not what is shown",
        f"{_RUN}/tracker.py",
        ("newest = update.ts >= order.venue_ts and ", "newest = "),
        tests=("tests/engine/test_tracker.py::test_terms_of_an_older_message_do_not_undo_an_amendment",),
    ),
    bug(
        "counter-restarts",
        "orders refused, or mixed up with those of before the crash",
        f"{_RUN}/client_ids.py",
        ("first = int(reserved) if reserved is not None else 1", "first = 1"),
        seeds=(Seed("okx", 11, 1.0),),
    ),
    bug(
        "counter-goes-on-after-damage",
        "orders mixed up with those that only the damaged file knew",
        "engine/io/recovery.py",
        ("kept = _leap(value) if key.startswith(_SEQUENCE) else value", "kept = value"),
        tests=("tests/io/test_recovery.py::test_no_client_id_of_the_damaged_file_is_given_out_again",),
    ),
    bug(
        "not-found-is-cancelled",
        "an order that was filled, or works on",
        f"{_RUN}/cancels.py",
        (
            "from engine.runtime.records import Declined\n",
            "from engine.kernel.orders import OrderState\nfrom engine.runtime.records import Declined, Outcome\n",
        ),
        (
            "        elif isinstance(outcome, OrderNotFound):\n            self._resolver.watch(order, 0.0)\n",
            "        elif isinstance(outcome, OrderNotFound):\n"
            "            core.change(Outcome(client_id, OrderState.CANCELED, str(outcome)))\n",
        ),
        seeds=(Seed("backpack", 4, 1.0, ("late_request",)),),
    ),
    bug(
        "cancel-is-not-tried-again",
        "an order that rests although it was cancelled",
        f"{_RUN}/cancels.py",
        ("        elif isinstance(outcome, _TRY_AGAIN):", "        elif isinstance(outcome, RateLimited):"),
    ),
    bug(
        "cancel-forgotten-in-doubt",
        "an order that rests although it was cancelled",
        f"{_RUN}/commands.py",
        (
            "if order.is_open and order.pending is Pending.CANCEL:\n            self.cancels.send_again",
            "if order.pending is Pending.AMEND:\n            self.cancels.send_again",
        ),
        seeds=(Seed("backpack", 4, 1.0, ("late_request", "lost_and_hidden")),),
    ),
    bug(
        "lost-amendment-is-declined",
        "an order that is larger than it is counted",
        f"{_RUN}/amendments.py",
        ("elif isinstance(outcome, OrderNotFound | UnknownOutcome):", "elif isinstance(outcome, OrderNotFound):"),
        seeds=(Seed("okx", 1, 1.0, ("lose_response",)),),
    ),
    bug(
        "order-leaves-late",
        "an order at a price of half a minute ago",
        "drivers/transport/http.py",
        (
            "start_s = min(seconds, ORDER_START_S) if urgency is Urgency.ORDER else seconds",
            "start_s = 30.0 if urgency is Urgency.ORDER else seconds",
        ),
        tests=(
            "tests/transport/test_http.py::test_n13_an_order_that_cannot_leave_soon_is_not_sent_but_has_time_for_its_answer",
        ),
    ),
    bug(
        "stop-fires-twice",
        "a position that is turned round by its own stop",
        f"{_RUN}/stops.py",
        ("if order is None or order.state is not OrderState.INTENT:", "if order is None or order.state.is_final:"),
        (
            "                self.forget(order)\n                self._fire(order)",
            "                self._fire(order)",
        ),
        seeds=(Seed("okx", 7), Seed("binance", 4)),
    ),
    bug(
        "reduction-is-not-capped",
        "a reduction that turns the position round",
        f"{_RUN}/commands.py",
        (
            "quantity = self.reductions.cap(instance, symbol, side, type is OrderType.STOP, quantity, replacing)",
            "quantity = quantity + 0",
        ),
    ),
    bug(
        "reductions-are-not-refitted",
        "a stop that is larger than what is left",
        f"{_RUN}/reductions.py",
        ("if not any(order.reduce_only for order in self._core.working(symbol)):", "if symbol:"),
    ),
    bug(
        "work-ends-and-leaves-its-order",
        "an order that nobody minds",
        f"{_RUN}/work/soft.py",
        (
            "        if self._working:\n            self._desk.cancel(self._working, self.handle)\n        else:\n"
            "            self._finish(end_status(self._tally.quantity, False), reason)",
            "        self._finish(end_status(self._tally.quantity, False), reason)",
        ),
        tests=("tests/engine/test_soft.py::test_ending_it_cancels_and_reports",),
    ),
    bug(
        "soft-order-begins-anew",
        "more bought than was asked for",
        f"{_RUN}/work/soft.py",
        ("rest = self._ticket.quantity - self._tally.quantity\n", "rest = self._ticket.quantity\n"),
        tests=("tests/engine/test_soft.py::test_deadline_cross_waits_for_the_final_fills_and_takes_the_rest",),
    ),
    bug(
        "replacement-forgets-fills",
        "more bought than was asked for",
        f"{_RUN}/work/replace.py",
        ("rest = instrument.floor_quantity(self._quantity - old.filled)", "rest = self._quantity"),
        tests=("tests/engine/test_targets_replace.py::test_a_fill_during_the_cancellation_counts",),
    ),
    bug(
        "work-forgotten-at-a-stop",
        "orders of a target that nobody follows after a restart",
        f"{_RUN}/state.py",
        ("        self.works = saved.works\n", "        self.works = {}\n"),
        tests=(
            "tests/engine/test_state_digest.py::test_a_replay_gives_the_state_bit_for_bit_whenever_the_program_ends",
        ),
    ),
    bug(
        "an-answer-ends-a-newer-cancel",
        "an order that rests although it was cancelled",
        f"{_RUN}/tracker.py",
        (
            "and order.pending is record.answers:\n        order.pending = Pending.NONE",
            "and order.is_open:\n        order.pending = Pending.NONE",
        ),
        tests=(
            "tests/engine/test_execution_gate.py"
            "::test_the_answer_to_an_amendment_does_not_end_the_cancel_that_came_after_it",
        ),
    ),
    bug(
        "amended-while-it-is-cancelled",
        "an order that rests although it was cancelled",
        f"{_RUN}/amendments.py",
        ("    if order.pending is Pending.CANCEL:\n", "    if order.pending is Pending.CANCEL and order.held:\n"),
        tests=("tests/engine/test_execution_gate.py::test_an_order_that_is_being_cancelled_cannot_be_amended",),
    ),
    bug(
        "stops-go-deaf-when-another-fired",
        "a stop that never fires",
        f"{_RUN}/stops.py",
        ("        if not self._by_symbol:\n            for unsub", "        if not kept:\n            for unsub"),
        tests=("tests/engine/test_execution.py::test_a_held_stop_fires_after_the_last_stop_of_another_symbol_fired",),
    ),
    bug(
        "a-held-stop-is-lost-at-a-restart",
        "a position without its stop",
        f"{_RUN}/reconcile.py",
        (
            "if order.state in (OrderState.INTENT, OrderState.SENT) and not order.held:",
            "if order.state in (OrderState.INTENT, OrderState.SENT):",
        ),
        tests=("tests/engine/test_restart.py::test_a_held_stop_is_held_again",),
    ),
    bug(
        "an-amended-reduction-forgets-its-fills",
        "a reduction that turns the position round",
        f"{_RUN}/amendments.py",
        ("is_stop, quantity - done, order.client_id)", "is_stop, quantity, order.client_id)"),
        tests=("tests/engine/test_execution.py::test_an_amended_reduction_counts_what_it_has_filled",),
    ),
    bug(
        "a-reported-fill-reduces-nothing",
        "a position that is turned round by being closed twice",
        f"{_RUN}/core.py",
        (
            "most = max(Decimal(0), min(-held * side.sign, -(held + coming) * side.sign))",
            "most = max(Decimal(0), -held * side.sign + 0 * coming)",
        ),
        tests=("tests/engine/test_execution.py::test_what_is_reported_filled_is_not_reduced_a_second_time",),
    ),
    bug(
        "in-flight-is-doubted-late",
        "an order that had left before the crash",
        f"{_RUN}/execution.py",
        ("        self.reconciler.doubt_in_flight()\n", ""),
        tests=(
            "tests/engine/test_restart.py"
            "::test_p02_a_reduction_that_had_left_is_not_given_up_while_missed_fills_are_booked",
        ),
    ),
    bug(
        "a-late-reduction-is-not-refitted",
        "a position that is turned round by its own take-profit",
        f"{_RUN}/booking.py",
        ("if order.reduce_only:\n", "if order.reduce_only and order.state.is_final:\n"),
        tests=("tests/engine/test_execution.py::test_a_reduction_that_turns_up_late_is_fitted_to_what_is_left",),
    ),
    bug(
        "replacement-belongs-to-nobody",
        "a second order beside the one that took the place of the first",
        f"{_RUN}/work/replace.py",
        ("parent=old.parent", "parent=self.handle"),
        tests=(
            "tests/strategies/test_dyn_grid.py"
            "::test_where_the_venue_cannot_amend_the_replaced_order_goes_on_as_the_new_one",
        ),
    ),
    bug(
        "a-cancelled-order-is-replaced-all-the-same",
        "an order after everything was taken back",
        f"{_RUN}/execution.py",
        ("        self.works.end_replacement(client_id, by)\n", ""),
        tests=(
            "tests/strategies/test_dyn_grid.py::test_an_order_that_is_being_replaced_and_is_cancelled_has_no_successor",
        ),
    ),
    bug(
        "a-shrinking-reduction-waits-for-what-is-being-cancelled",
        "a position that is turned round by its own take-profit",
        f"{_RUN}/reductions.py",
        ("        if shrinks:\n", "        if shrinks and not working:\n"),
        tests=("tests/engine/test_execution.py::test_a_reduction_shrinks_while_a_newer_one_is_still_being_cancelled",),
    ),
    bug(
        "replacement-sent-twice-after-a-crash",
        "more bought than was asked for",
        f"{_RUN}/work/replace.py",
        ("        if placed is not None:\n", "        if placed is not None and placed.is_open:\n"),
        tests=(
            "tests/engine/test_targets_replace.py"
            "::test_a_replacement_that_was_filled_before_the_crash_is_not_sent_again",
        ),
    ),
    bug(
        "target-forgets-its-goal",
        "a basket that closes what it had bought before the restart",
        f"{_RUN}/work/targets.py",
        ('        target._goal = Decimal(body["goal"])\n', ""),
        tests=("tests/engine/test_targets.py::test_a_basket_goes_on_after_a_restart",),
    ),
    bug(
        "own-orders-meet-at-one-price",
        "fees for a trade with oneself, or an order that the venue refuses",
        f"{_RUN}/risk/checks.py",
        (
            "(request.price - resting.price) * request.side.sign >= 0",
            "(request.price - resting.price) * request.side.sign > 0",
        ),
        tests=("tests/engine/test_risk.py::test_an_order_that_would_meet_an_own_one",),
    ),
)
"""Orders that are lost, doubled, left behind or mistaken."""

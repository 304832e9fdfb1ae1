"""Bugs in what is booked, counted, limited and kept."""

from __future__ import annotations

from tests.mutants.mutant import Seed, bug

_RUN = "engine/runtime"
_TIGHT = (
    Seed("backpack", 5, 0.25, limit_usd=4000),
    Seed("binance", 4, 0.25, limit_usd=4000),
    Seed("backpack", 4, 0.25, limit_usd=4000),
    Seed("okx", 4, 0.25, limit_usd=4000),
    Seed("backpack", 3, 0.25, limit_usd=4000),
    Seed("okx", 2, 0.05, limit_usd=4000),
    Seed("okx", 5, 0.25, limit_usd=4000),
    Seed("binance", 1, 0.25, limit_usd=4000),
    Seed("binance", 3, 0.25, limit_usd=4000),
    Seed("backpack", 2, 0.25, limit_usd=4000),
    Seed("backpack", 1, 0.5, limit_usd=4000),
)
"""A limit that the traders reach all the time."""

BOOKS = (
    bug(
        "fills-from-the-stream-only",
        "every fill that the stream loses",
        f"{_RUN}/reconcile.py",
        ("return all([self._booking.on_fill(fill) for fill in fills])", "return True"),
    ),
    bug(
        "fills-booked-twice",
        "a position twice as large as it is",
        f"{_RUN}/booking.py",
        ("        if self._is_booked(fill):\n            return True\n", ""),
    ),
    bug(
        "fill-after-cancel-is-dropped",
        "a fill that crossed with the cancel",
        f"{_RUN}/booking.py",
        (
            "        before = order.state if order is not None else None\n        instance = ",
            "        if order is not None and order.state is OrderState.CANCELED:\n            return True\n"
            "        before = order.state if order is not None else None\n        instance = ",
        ),
        tests=(
            "tests/engine/test_reconcile.py::test_a_fill_that_crossed_with_the_cancel_is_booked_when_it_is_told_later",
        ),
    ),
    bug(
        "late-fill-goes-to-the-operator",
        "a strategy that does not know what it holds",
        f"{_RUN}/booking.py",
        (
            "instance = order.instance if order is not None else MANUAL\n        effect",
            "instance = order.instance if order is not None and order.is_open else MANUAL\n        effect",
        ),
    ),
    bug(
        "early-fill-is-the-operators",
        "a strategy that does not know what it holds",
        f"{_RUN}/booking.py",
        ("        if order is None and self._may_be_ours(fill):\n            return False\n", ""),
        seeds=(Seed("backpack", 8), Seed("backpack", 4)),
    ),
    bug(
        "fee-with-the-wrong-sign",
        "a profit that is not there",
        f"{_RUN}/ledgers.py",
        (
            "self.fees[fill.fee_currency] = self.fees.get(fill.fee_currency, ZERO) + fill.fee",
            "self.fees[fill.fee_currency] = self.fees.get(fill.fee_currency, ZERO) - fill.fee",
        ),
    ),
    bug(
        "fee-is-not-in-the-ledger",
        "a profit that is not there",
        f"{_RUN}/ledgers.py",
        (
            "realised = own.apply_fill(in_quote, fee_coins)",
            "realised = own.apply_fill(replace(fill, fee=ZERO), fee_coins)",
        ),
    ),
    bug(
        "crossing-zero-keeps-the-cost",
        "profit and entry price of a position that was turned round",
        "engine/kernel/account.py",
        ("opening = signed + closing if signed < 0 else signed - closing", "opening = signed - closing"),
    ),
    bug(
        "cursor-passes-waiting-fills",
        "a fill that the venue lists late",
        f"{_RUN}/reconcile.py",
        (
            "return None if until is None else self._fills_from(until)",
            "return None if until is None else self._core.clock.now_ms() - 1000",
        ),
        tests=("tests/engine/test_reconcile.py::test_e07_fills_that_the_stream_lost_are_found_within_ten_seconds",),
    ),
    bug(
        "fills-are-asked-for-by-our-clock",
        "every execution that the stream lost while our clock is ahead of the venue's",
        f"{_RUN}/reconcile.py",
        ("+ min(0, round(offset_ms)) - OVERLAP_MS", "- OVERLAP_MS"),
        tests=(
            "tests/venues/conformance/test_engine_truth.py"
            "::test_an_execution_that_the_stream_lost_is_found_though_our_clock_is_wrong",
        ),
    ),
    bug(
        "never-looks-again",
        "every message that the stream loses, until the next start",
        f"{_RUN}/reconcile.py",
        ('        self._every("orders", ORDERS_EVERY_S, self.look_at_orders)\n', ""),
    ),
    bug(
        "strangers-fills-twice",
        "somebody else's order shown wrongly",
        f"{_RUN}/tracker.py",
        ("missing = sum((fill.quantity for fill in fills), ZERO) - order.filled", "missing = ZERO"),
        tests=("tests/engine/test_execution.py::test_e06_e16_fills_of_others_before_their_order_count_as_its_fills",),
    ),
    bug(
        "replay-drops-a-kind",
        "what was asked of orders before a restart",
        "engine/io/journal.py",
        (
            "\"AND (kind != 'FILL' OR seq IN (SELECT seq FROM fills)) ORDER BY seq\"",
            "\"AND kind != 'ASKED' AND (kind != 'FILL' OR seq IN (SELECT seq FROM fills)) ORDER BY seq\"",
        ),
    ),
    bug(
        "told-durable-too-early",
        "an order that a power cut forgets",
        "engine/io/journal.py",
        (
            "        if self._writer.is_synchronous:\n            if change.on_durable is not None:\n"
            "                change.on_durable()\n            if len",
            "        if change.on_durable is not None:\n            change.on_durable()\n"
            "        if self._writer.is_synchronous:\n            if len",
        ),
        (
            "[] if self._writer.is_synchronous else [change.on_durable for change in batch if change.on_durable]",
            "list[Call]()",
        ),
    ),
    bug(
        "closing-drops-outcomes",
        "what waits for the last write at a stop",
        "engine/io/writer.py",
        ("            if not self._outcomes:\n                break\n            self._deliver()", "            break"),
        tests=("tests/io/test_writer.py::test_what_an_outcome_asks_for_is_written_before_the_writer_closes",),
    ),
    bug(
        "funding-is-paid-twice",
        "money that was never paid",
        f"{_RUN}/booking.py",
        ("        if books.funding_known(payment):\n            return\n", ""),
        tests=("tests/engine/test_portfolio.py::test_a_funding_payment_that_is_told_again_is_booked_once",),
    ),
    bug(
        "funding-is-not-in-the-account",
        "an account that is not the sum of its ledgers",
        f"{_RUN}/ledgers.py",
        ("        self._total(payment.symbol).funding += payment.amount\n", ""),
        tests=("tests/engine/test_portfolio.py::test_funding_is_split_by_signed_quantity_and_booked_once",),
    ),
    bug(
        "a-checkpoint-forgets-what-it-leaves-out",
        "a position twice as large as it is",
        f"{_RUN}/fills.py",
        ("max([self.horizon_ts, *(booked.fill.ts for booked in left_out)])", "self.horizon_ts + 0 * len(left_out)"),
        tests=(
            "tests/engine/test_reconcile.py"
            "::test_e05_a_crash_in_a_storm_of_fills_books_none_of_those_twice_that_the_checkpoint_leaves_out",
        ),
    ),
    bug(
        "a-forgotten-fill-is-booked-again",
        "a position twice as large as it is",
        f"{_RUN}/fills.py",
        ("return fill.ts <= self.horizon_ts + SLACK_MS", "return fill.ts < self.horizon_ts - SLACK_MS"),
        tests=(
            "tests/engine/test_reconcile.py"
            "::test_e05_e13_a_fill_that_memory_has_forgotten_is_not_booked_again_under_another_time",
        ),
    ),
    bug(
        "flattening-takes-over-one-ledger-only",
        "a strategy that acts on what was closed by hand",
        f"{_RUN}/transfers.py",
        (
            "self._move(instance, symbol, quantity, price, reason)\n\n    def take_liq",
            "self._move(instance, symbol, quantity, price, reason)\n                return\n\n    def take_liq",
        ),
        tests=("tests/engine/test_panic.py::test_flattening_takes_over_the_ledger_of_every_strategy",),
    ),
    bug(
        "a-list-counts-as-of-its-arrival",
        "trading that is restricted for a difference that is not there",
        f"{_RUN}/reconcile.py",
        (
            "core.portfolio.set_venue_positions(positions, asked_ns)",
            "core.portfolio.set_venue_positions(positions, core.clock.now_ns())",
        ),
        tests=(
            "tests/engine/test_conditions.py"
            "::test_positions_listed_before_a_fill_are_no_mismatch_when_the_list_arrives_after_it",
        ),
    ),
    bug(
        "a-failed-write-is-tried-again-backwards",
        "the newest state of an order, after a full disk",
        "engine/io/journal.py",
        ("pending.extendleft(reversed(batch))", "pending.extendleft(batch)"),
        tests=("tests/io/test_journal.py::test_d01_a_full_disk_is_reported_once_and_heals",),
    ),
)
"""Fills, fees and records that are lost, doubled or mistaken."""

LIMITS = (
    bug(
        "status-before-fill",
        "a limit that is passed while fills are on their way",
        "engine/kernel/orders.py",
        ("return self.working_quantity + self.reported_filled - self.filled", "return self.working_quantity"),
        seeds=_TIGHT,
    ),
    bug(
        "final-orders-are-not-exposure",
        "a limit that is passed while fills are on their way",
        f"{_RUN}/tracker.py",
        (
            "return [order for order in self._owing.values() if order.state.is_final and not order.external]",
            "return []",
        ),
        seeds=_TIGHT,
    ),
    bug(
        "unknown-is-not-exposure",
        "a limit that is passed while the venue does not answer",
        f"{_RUN}/risk/worst_case.py",
        (
            "orders = chain(orders, self._view.unbooked())",
            'orders = chain((o for o in orders if o.state != "unknown"), self._view.unbooked())',
        ),
        seeds=(
            Seed("binance", 2, 0.25, ("outage", "lose_response", "lost_and_hidden"), 4000),
            Seed("binance", 14, 0.25, ("outage", "lose_response", "lost_and_hidden"), 4000),
        ),
    ),
    bug(
        "sells-are-not-exposure",
        "a limit that is passed short",
        f"{_RUN}/risk/exposure.py",
        ("return max(self.longest(), self.shortest())", "return self.longest()"),
        seeds=_TIGHT,
    ),
    bug(
        "strategies-are-netted",
        "an account limit that is passed when one of two strategies closes",
        f"{_RUN}/risk/exposure.py",
        ("        sum((e.worst() for e in strategies), ZERO),\n", ""),
        tests=(
            "tests/engine/test_risk.py"
            "::test_strategies_against_each_other_are_not_netted_by_what_a_person_holds_beside_them",
        ),
    ),
    bug(
        "covered-plain-orders-have-no-limit",
        "an account limit that is passed when what covers them is sold by another order",
        f"{_RUN}/risk/watcher.py",
        (" and not self._worst_case.is_raised_by(request, replacing)", ""),
        seeds=(Seed("backpack", 5, 0.25, ("outage", "lose_response"), 4000),),
    ),
    bug(
        "account-limit-is-not-checked",
        "an account limit that several strategies pass together",
        f"{_RUN}/risk/watcher.py",
        ("        check_notional(change, None, account.max_notional_usd)\n", ""),
        seeds=_TIGHT,
    ),
    bug(
        "amendment-in-flight-is-not-counted",
        "a limit that is passed by an amendment",
        f"{_RUN}/risk/worst_case.py",
        ("quantity = max(quantity, amended[0])", "quantity = min(quantity, amended[0])"),
        tests=("tests/engine/test_risk.py::test_an_amendment_in_flight_counts_at_its_larger",),
    ),
    bug(
        "many-unknown-orders-are-no-matter",
        "trading that goes on blind",
        f"{_RUN}/tripwires.py",
        ("if count > MAX_UNKNOWN:", "if count > 100 * MAX_UNKNOWN:"),
        tests=("tests/engine/test_tripwires.py::test_many_unknown_orders_halt_the_account_at_once",),
    ),
    bug(
        "ban-forgotten-at-a-restart",
        "a ban that grows with each start",
        "drivers/transport/rate_limits.py",
        ("msgspec.json.decode(saved, type=_Ban) if saved else None", "None"),
        seeds=(Seed("binance", 1, 0.25, ("ban",)),),
    ),
    bug(
        "no-reserve-for-cancels",
        "orders that cannot be cancelled because others were sent",
        "drivers/transport/rate_limits.py",
        ("return limit if urgency.may_use_reserve else max(1, int(limit * (1 - RESERVED)))", "return limit"),
        tests=("tests/transport/test_rate_limits.py::test_a_fifth_is_kept_for_cancels_and_reconciliation",),
    ),
    bug(
        "drawdown-begins-anew-at-a-restart",
        "a limit of loss that each restart moves",
        f"{_RUN}/risk/losses.py",
        ('            peak=Decimal(body["peak"]),\n', '            peak=Decimal(body["capital"]),\n'),
        tests=("tests/engine/test_risk_losses.py::test_a_drawdown_goes_on_over_a_restart",),
    ),
)
"""Limits that are passed."""

"""Bugs in what values the account, and in what its limits and the monitor do of themselves."""

from __future__ import annotations

from tests.mutants.mutant import bug

_RUN = "engine/runtime"
_QUOTES = "tests/engine/test_quote_currencies.py"
_WAITING = "tests/engine/test_strategy_waiting.py"

WORTH = (
    bug(
        "a-currency-that-nothing-prices-blinds",
        "an account that one trade of a person stops for good",
        f"{_RUN}/portfolio.py",
        ("return None if ledger.quantity or self._rates.market(quote) is not None else ZERO", "return None"),
        tests=(f"{_QUOTES}::test_a_trade_in_a_currency_that_nothing_prices_disables_nothing",),
    ),
    bug(
        "the-dollars-market-upside-down",
        "profit that is counted with the rate the wrong way round",
        f"{_RUN}/dollar_rates.py",
        ("return price if self._market.instruments[symbol].base == currency else ONE / price", "return price"),
        tests=(f"{_QUOTES}::test_the_dollars_own_market_prices_a_currency_and_is_watched_without_being_asked_for",),
    ),
    bug(
        "blind-halt-released-blind",
        "a release that lasts a second",
        f"{_RUN}/risk/losses.py",
        ("        if self._is_blind_too_long():\n            return [", "        if False:\n            return ["),
        tests=(f"{_QUOTES}::test_what_is_held_in_a_currency_that_nothing_prices_halts_in_time_and_raises_nothing",),
    ),
    bug(
        "a-dead-mark-prices-on",
        "a loss that nobody sees while bid and ask fall",
        f"{_RUN}/market.py",
        (
            "if view.mark is not None and not (self._are_prints_lost(view) and self._is_touch_fresh(view)):",
            "if view.mark is not None:",
        ),
        tests=(
            "tests/faults/test_marks.py::test_bid_and_ask_value_what_is_held_while_the_connection_for_marks_is_dead",
        ),
    ),
    bug(
        "auto-reduce-by-memory",
        "a position that is sold off a quarter a minute though it is safe",
        f"{_RUN}/auto_reduce.py",
        ("if anomaly.key in critical:", "if anomaly.severity is Severity.CRIT and anomaly.kind in CAUSES:"),
        tests=(
            "tests/engine/test_auto_reduce.py"
            "::test_what_is_critical_no_more_reduces_no_more_though_its_anomaly_is_not_clear",
        ),
    ),
    bug(
        "rearm-out-of-habit",
        "a drawdown that is forgotten because somebody typed a word",
        f"{_RUN}/execution.py",
        (
            "        self.trading.rearm(who, reason)\n        self.risk.losses.release_account()\n",
            "        self.risk.losses.release_account()\n        self.trading.rearm(who, reason)\n",
        ),
        tests=("tests/engine/test_halting.py::test_rearming_what_is_not_halted_changes_nothing",),
    ),
    bug(
        "limit-broken-in-a-halt-is-lost",
        "a stop loss that never closes",
        f"{_RUN}/strategies.py",
        ("        if flatten:\n            self._stopping.flatten(instance)", "        return"),
        tests=(
            "tests/engine/test_strategy_manager.py"
            "::test_a_loss_limit_that_breaks_while_the_account_is_halted_is_told_and_flattens_after_it",
        ),
    ),
    bug(
        "what-was-stopped-is-forgotten-by-a-restart",
        "a loss beyond the limit of a strategy that somebody stopped yesterday",
        f"{_RUN}/strategies.py",
        ("        self._stopped.admit_all(self.strategy_class)\n", ""),
        tests=(f"{_WAITING}::test_a_loss_limit_of_a_stopped_instance_holds_over_a_restart",),
    ),
    bug(
        "handed-over-before-the-last-fill",
        "a ledger that nobody runs and that does not end",
        f"{_RUN}/handover.py",
        ("if name not in self._given or self._has_orders(name):", "if name not in self._given:"),
        tests=(f"{_WAITING}::test_fills_of_an_order_that_is_taken_back_are_handed_over_too",),
    ),
)
"""What is not worth what it seems."""

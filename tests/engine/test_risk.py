from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kernel.errors import (
    RiskConfigConflict,
    RiskReject,
    TooManyCommands,
    TradingHalted,
    UnknownSymbol,
)
from engine.kernel.orders import OrderState, OrderType, Pending, Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.commands import request_of
from engine.runtime.risk.limits import number, usd
from tests.engine.risk_view import BTC, ETH, Gate, d

BUY, SELL = Side.BUY, Side.SELL


def refused(gate: Gate, rule: str, **order: Any) -> RiskReject:
    with pytest.raises(RiskReject) as caught:
        gate.send(**order)
    assert caught.value.rule == rule
    return caught.value


def test_figures_read_like_figures() -> None:
    texts = [usd(d(value)) for value in ("5000", "6420.5", "0.129", "1E+3")]
    assert texts == ["5,000 USD", "6,420.5 USD", "0.13 USD", "1,000 USD"]
    assert number(d("64239.50")) == "64,239.5"


def test_order_size() -> None:
    gate = Gate(AccountLimits(max_order_usd=d(5_000), max_notional_usd=d(20_000)))
    error = refused(gate, "max_order_usd", quantity="64.2", instance=MANUAL)
    assert str(error) == "max_order_usd: 6,420 USD exceeds the limit 5,000 USD; the largest that would pass is 50 BTC"
    gate.send(quantity=50, instance=MANUAL)


def test_an_instances_order_size_is_its_notional_unless_given() -> None:
    error = refused(Gate(), "max_order_usd", quantity="10.001")
    assert (error.limit, error.largest) == ("1,000 USD", "10 BTC")
    error = refused(Gate(max_order_usd=50), "max_order_usd", quantity="0.6")
    assert (error.limit, error.value, error.largest) == ("50 USD", "60 USD", "0.5 BTC")


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.PARTIAL])
def test_notional_counts_what_is_reported_filled_and_not_booked_yet(state: OrderState) -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(1_000)))
    order = gate.send(quantity=8)
    order.reported_filled = d(8) if state is OrderState.FILLED else d(7)
    order.advance(state, gate.clock.now_ns())
    assert refused(gate, "max_notional_usd", quantity=3).value == "1,100 USD"


def test_notional_counts_ledger_and_working_increases() -> None:
    gate = Gate(max_order_usd=500)
    gate.view.held["grid", BTC] = d(4)
    gate.send(quantity=4)
    error = refused(gate, "max_notional_usd", quantity="2.5")
    assert str(error) == (
        "max_notional_usd: 1,050 USD exceeds the limit 1,000 USD; the largest that would pass is 2 BTC"
    )
    gate.send(quantity=2)
    gate.send(SELL, 4)


def test_an_unknown_order_counts_and_holds_up_its_side() -> None:
    gate = Gate(max_order_usd=900)
    order = gate.send(quantity=8)
    order.state = OrderState.UNKNOWN
    assert "#1 (buy) is not known yet" in str(refused(gate, "unknown_order", quantity=1))
    assert refused(gate, "max_notional_usd", quantity=30, symbol=ETH, price=10).value == "1,100 USD"
    gate.send(SELL, 5, price="100.1")


def test_both_sides_of_a_book_count_by_the_larger() -> None:
    gate = Gate()
    gate.send(BUY, 10, "99")
    gate.send(SELL, "9.9", "101")
    refused(gate, "max_notional_usd", side=SELL, quantity=1, price="101")


def test_the_accounts_notional_does_not_net_instances() -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(1_500)))
    gate.watcher.admit("trend", RiskParams(), d(1000))
    gate.view.held["trend", BTC] = d(-8)
    gate.send(quantity=5)
    error = refused(gate, "max_notional_usd", quantity=3)
    assert (error.limit, error.value, error.largest) == ("1,500 USD", "1,600 USD", "2 BTC")


def test_what_a_person_holds_against_strategies_counts_by_the_larger() -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(1_000)))
    gate.view.held["grid", BTC] = d(8)
    gate.send(SELL, 5, instance=MANUAL)
    gate.view.orders.clear()
    gate.view.held[MANUAL, BTC] = d(-5)
    assert gate.watcher.usage()[0].used == 800, "either may be reduced alone"
    error = refused(gate, "max_notional_usd", quantity=8, instance=MANUAL)
    assert (error.value, error.largest) == ("1,600 USD", "2 BTC"), "its hedge may be gone when it fills"
    gate.send(BUY, 2, instance=MANUAL)
    refused(gate, "max_notional_usd", side=SELL, quantity=5, price="101", instance=MANUAL)
    gate.send(SELL, "4.9", "101", instance=MANUAL)


def test_strategies_against_each_other_are_not_netted_by_what_a_person_holds_beside_them() -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(1_500)))
    gate.view.held["grid", BTC] = d(7)
    gate.view.held["trend", BTC] = d(-7)
    gate.view.held[MANUAL, BTC] = d(1)
    assert gate.watcher.usage()[0].used == 1_400
    assert refused(gate, "max_notional_usd", quantity=2).value == "1,600 USD"


def test_a_plain_order_is_not_offset_by_what_may_be_reduced_away_before_it_fills() -> None:
    gate = Gate(max_notional_usd=1_000)
    gate.view.held["grid", BTC] = d(6)
    gate.send(SELL, 3)
    error = refused(gate, "max_notional_usd", side=SELL, quantity=8)
    assert (error.value, error.largest) == ("1,100 USD", "7 BTC")
    gate.send(SELL, 7)
    gate.send(SELL, 6, "101", reduce_only=True)
    use = next(use for use in gate.watcher.usage() if (use.scope, use.rule) == ("grid", "max_notional_usd"))
    assert d(1_000) <= use.used <= d(1_010), "a reduction does not raise it"


def test_leverage() -> None:
    gate = Gate()
    gate.view.equity_usd = d("200.004")
    error = refused(gate, "max_leverage", quantity=7)
    assert (error.limit, error.value, error.largest) == ("3x of 200 USD equity", "700 USD", "6 BTC")
    gate.view.equity_usd = None
    assert "the account's equity is not known" in str(refused(gate, "max_leverage", quantity=1))
    gate.view.equity_usd = d(-5)
    refused(gate, "max_leverage", quantity=1)


def test_the_band_beyond_the_touch_holds_on_the_side_that_takes() -> None:
    gate = Gate()
    error = refused(gate, "price_band_bp", price="102.1")
    assert str(error) == (
        "price_band_bp: 210 bp beyond the ask 100 exceeds the limit 200 bp (a buy up to 102 would pass)"
    )
    error = refused(gate, "price_band_bp", side=SELL, price="97.9")
    assert "a sell down to 98 would pass" in str(error)
    gate.send(price="70")
    gate.send(SELL, price="130")
    gate.send(price="102", symbol=BTC)


def test_the_band_against_the_mark_price_is_named() -> None:
    gate = Gate()
    gate.view.marks[BTC] = 97.0
    error = refused(gate, "mark_band_bp", price="100")
    assert "309.3 bp beyond the mark price 97 exceeds the limit 200 bp" in str(error)


def test_an_instance_may_have_a_narrower_band() -> None:
    assert refused(Gate(price_band_bp=20), "price_band_bp", price="100.3").limit == "20 bp"


def test_no_data_and_old_data() -> None:
    gate = Gate()
    gate.view.ages[BTC] = 10_001
    assert str(refused(gate, "stale_data")) == f"stale_data: 10.0 s without data of {BTC} exceeds the limit 10 s"
    gate.view.ages[BTC] = 10_000
    gate.send()
    gate.view.broken.add(BTC)
    assert "waits for a new snapshot" in str(refused(gate, "stale_data", quantity=2))
    gate.view.broken.clear()
    del gate.view.quotes[BTC]
    assert f"no bid and ask of {BTC} yet" in str(refused(gate, "market_data", quantity=2))
    with pytest.raises(UnknownSymbol):
        gate.send(symbol="XYZ-USDT-PERP")


def test_a_holding_without_a_price_holds_up_every_increase() -> None:
    gate = Gate()
    gate.view.held["trend", ETH] = d(1)
    del gate.view.quotes[ETH], gate.view.marks[ETH]
    assert f"no price of {ETH}" in str(refused(gate, "market_data"))


def test_a_suspended_instrument() -> None:
    gate = Gate()
    gate.view.suspend(BTC)
    assert f"{BTC} is suspended" in str(refused(gate, "instrument_status"))


def test_open_orders() -> None:
    gate = Gate(max_open_orders=2)
    gate.send(price=98)
    gate.send(price=99)
    error = refused(gate, "max_open_orders", price="97")
    assert (error.limit, error.value) == ("2 orders", "3 orders")
    gate.send(price=100, type=OrderType.IOC)
    gate = Gate(AccountLimits(max_open_orders=1))
    gate.send(instance=MANUAL)
    refused(gate, "max_open_orders", price="97")


def test_commands_of_an_instance_in_a_sliding_minute() -> None:
    gate = Gate(max_cmds_per_min=3)
    order = gate.send(quantity="0.1")
    gate.watcher.check_amend(order, d(99), None)
    gate.watcher.count_cancel("grid")
    with pytest.raises(TooManyCommands) as caught:
        gate.send(quantity="0.2")
    assert caught.value.retry_in_s == pytest.approx(58.9)
    assert str(caught.value) == "max_cmds_per_min: command 4 in 60 s exceeds the limit 3 in 60 s (next in 58.9 s)"
    gate.clock.advance(58.9)
    gate.send(quantity="0.2")


def test_orders_of_the_account_in_a_sliding_minute() -> None:
    gate = Gate(AccountLimits(max_orders_per_min=2))
    gate.send(quantity="0.1", instance=MANUAL)
    gate.send(quantity="0.2")
    refused(gate, "max_orders_per_min", quantity="0.3")
    gate.watcher.count_cancel("grid")


def test_the_same_order_twice_within_a_second() -> None:
    gate = Gate()
    gate.watcher.check(request_of(gate.send()))
    gate.clock.advance(0.4)
    error = refused(gate, "duplicate_order")
    assert str(error).startswith("duplicate_order: the second equal order in 0.4 s exceeds the limit 1 in 1 s")
    gate.clock.advance(0.6)
    gate.send()


def test_a_repetition_of_what_came_to_nothing_or_of_one_piece_of_work_passes() -> None:
    gate = Gate(max_order_usd=100)
    first = gate.send(quantity="0.1")
    gate.watcher.check(request_of(first))
    first.advance(OrderState.REJECTED, gate.clock.now_ns())
    gate.send(quantity="0.1")
    gate.watcher.check(request_of(first), parent="w1")
    gate.watcher.check(request_of(first), parent="w1")


def test_an_order_that_would_meet_an_own_one() -> None:
    gate = Gate()
    gate.send(SELL, 1, "100.5", instance=MANUAL)
    error = refused(gate, "self_cross", price="100.5")
    assert str(error) == "self_cross: it would trade with the own sell #1 at 100.5"
    gate.send(price="100.4")
    gate.send(price="100.5", type=OrderType.POST_ONLY)


def test_what_was_not_admitted_is_refused() -> None:
    gate = Gate()
    assert "ghost has no limits in force" in str(refused(gate, "instance", instance="ghost"))
    gate.watcher.dismiss("grid")
    refused(gate, "instance")


def test_an_amendment_in_flight_counts_at_its_larger() -> None:
    gate = Gate(max_order_usd=900)
    order = gate.send(quantity=4)
    gate.watcher.check_amend(order, None, d(8))
    order.pending = Pending.AMEND
    refused(gate, "max_notional_usd", quantity=3)
    order.pending = Pending.NONE
    gate.send(quantity=3)


def test_an_amendment_is_measured_without_the_order_it_changes() -> None:
    gate = Gate()
    order = gate.send(quantity=9)
    gate.watcher.check_amend(order, None, d(10))
    with pytest.raises(RiskReject, match="the largest that would pass is 10 BTC"):
        gate.watcher.check_amend(order, None, d("10.001"))
    with pytest.raises(RiskReject, match="price_band_bp"):
        gate.watcher.check_amend(order, d(105), None)


def test_an_amendment_that_makes_it_smaller_passes_above_the_limit() -> None:
    gate = Gate()
    order = gate.send(quantity=10)
    gate.view.price(BTC, 100.0)
    gate.view.held["grid", BTC] = d(5)
    gate.watcher.check_amend(order, None, d(8))
    with pytest.raises(RiskReject):
        gate.watcher.check_amend(order, None, d("10.5"))


@pytest.mark.parametrize(
    "put, word, by_hand_reduces, reduces",
    [
        (lambda state: state.disarm("ann"), "disarmed by ann; only reductions by hand pass; arm", True, False),
        (lambda state: state.restrict("risk", "no data"), "reduce-only by risk: no data; only reduc", True, True),
        (lambda state: state.halt("ann", "panic"), "halted by ann: panic; only reductions by hand", True, False),
    ],
)
def test_the_trading_state_is_obeyed(put: Any, word: str, by_hand_reduces: bool, reduces: bool) -> None:
    gate = Gate()
    gate.view.held["grid", BTC] = d(2)
    put(gate.state)
    with pytest.raises(TradingHalted, match=word):
        gate.send()
    with pytest.raises(TradingHalted):
        gate.send(instance=MANUAL)
    for instance, passes in ((MANUAL, by_hand_reduces), ("grid", reduces)):
        if passes:
            gate.send(SELL, 1, instance=instance, reduce_only=True)
        else:
            with pytest.raises(TradingHalted):
                gate.send(SELL, 1, instance=instance, reduce_only=True)


def test_what_counts_as_a_reduction() -> None:
    gate = Gate()
    gate.view.held["grid", BTC] = d(3)
    gate.view.ages[BTC] = 60_000
    gate.send(SELL, 2)
    gate.send(SELL, 1, "101")
    assert refused(gate, "stale_data", side=SELL, quantity="0.001", price="102"), "all of it is being sold already"
    gate.send(SELL, 3, "102", reduce_only=True)
    gate.send(SELL, 9, None, OrderType.STOP, trigger=90, reduce_only=True)
    refused(gate, "stale_data", side=BUY)
    gate.view.held["trend", BTC] = d(-3)
    refused(gate, "stale_data", side=SELL, quantity=3, instance=MANUAL)
    gate.view.held["trend", BTC] = d(1)
    gate.send(SELL, 4, instance=MANUAL, reduce_only=True)


def test_a_plain_order_that_its_ledger_covers_may_still_add_to_what_a_person_holds_against_it() -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(1_000)))
    gate.view.held["grid", BTC] = d(9)
    gate.view.held[MANUAL, BTC] = d(-9)
    assert refused(gate, "max_notional_usd", side=SELL, quantity=9, price=100), "a stop sells the 9 as well"
    gate.send(SELL, 1, 100)
    gate.send(SELL, 9, 100, reduce_only=True)


@pytest.mark.parametrize(
    "rule", ["max_notional_usd", "max_order_usd", "max_open_orders", "max_cmds_per_min", "price_band_bp"]
)
def test_a_strategy_that_needs_more_than_the_account_allows_does_not_start(rule: str) -> None:
    account = AccountLimits(
        max_notional_usd=d(500), max_order_usd=d(100), max_open_orders=5, max_orders_per_min=10, price_band_bp=d(50)
    )
    gate = Gate(account)
    needed = {"max_notional_usd": 600, "max_order_usd": 200, "max_open_orders": 6, "max_cmds_per_min": 11}
    with pytest.raises(RiskConfigConflict, match=f"pairs {rule}: the strategy needs") as caught:
        gate.watcher.admit("pairs", RiskParams(**{rule: needed.get(rule, 60)}), d(1000))
    assert caught.value.limit
    limits = gate.watcher.admit("pairs", RiskParams(), d(1000))
    assert (limits.max_notional_usd, limits.max_order_usd, limits.max_open_orders) == (d(500), d(100), 5)
    assert (limits.max_cmds_per_min, limits.price_band_bp) == (10, d(50))


def test_usage_shows_every_limit_with_its_share() -> None:
    gate = Gate(max_order_usd=500)
    gate.view.held["grid", BTC] = d(1)
    gate.send(quantity=4)
    gate.view.day_usd, gate.view.profits["grid"] = d(-30), d(-10)
    uses = {(use.scope, use.rule): use for use in gate.watcher.usage()}
    assert {key: (use.used, use.limit, use.unit) for key, use in uses.items()} == {
        ("account", "max_notional_usd"): (d(500), d(10_000), "USD"),
        ("account", "max_leverage"): (d("0.05"), d(3), "x"),
        ("account", "max_open_orders"): (d(1), d(200), "orders"),
        ("account", "max_orders_per_min"): (d(1), d(600), "1/min"),
        ("account", "daily_loss_pct"): (d(30), d("300.9"), "USD"),
        ("grid", "max_notional_usd"): (d(500), d(1000), "USD"),
        ("grid", "max_open_orders"): (d(1), d(20), "orders"),
        ("grid", "max_cmds_per_min"): (d(1), d(60), "1/min"),
        ("grid", "stop_loss_pct"): (d(10), d(50), "USD"),
        ("grid", "daily_loss_pct"): (d(10), d(30), "USD"),
        ("grid", "max_drawdown_pct"): (d(10), d(250), "USD"),
    }
    assert uses["grid", "max_notional_usd"].share == 0.5
    del gate.view.quotes[BTC], gate.view.marks[BTC]
    assert ("account", "max_notional_usd") not in {(use.scope, use.rule) for use in gate.watcher.usage()}


LIMITS = AccountLimits(
    max_notional_usd=d(3_000),
    max_order_usd=d(700),
    max_leverage=d("0.25"),
    max_open_orders=500,
    max_orders_per_min=9_999,
)
ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["grid", "trend", "pairs"]),
        st.sampled_from([BTC, ETH]),
        st.sampled_from([BUY, SELL]),
        st.integers(1, 1000),
        st.integers(-150, 150),
        st.sampled_from(["rest", "fill", "part", "cancel"]),
    ),
    min_size=1,
    max_size=40,
)


def worst_cost(gate: Gate, instance: str, symbol: str, side: Side) -> Decimal:
    """What is held plus every working order of a side, at its own price: the cost when all of them fill."""
    held = gate.view.ledger_quantity(instance, symbol) * side.sign
    orders = [o for o in gate.view.working(symbol, instance) if o.side is side]
    price = d(gate.view.marks[symbol])
    if held < 0:
        quantity = sum((o.remaining for o in orders), held)
        return max(d(0), quantity) * min([o.price or price for o in orders], default=price)
    return held * price + sum((o.remaining * (o.price or price) for o in orders), d(0))


@given(ORDERS)
def test_no_accepted_sequence_exceeds_a_limit_whichever_orders_fill(orders: list[Any]) -> None:
    counts = {"max_open_orders": 500, "max_cmds_per_min": 6_000}
    gate = Gate(LIMITS, max_notional_usd=1_000, **counts)
    gate.watcher.admit("trend", RiskParams(max_notional_usd=d(1_500), **counts), d(1000))
    gate.watcher.admit("pairs", RiskParams(max_notional_usd=d(3_000), **counts), d(1000))
    caps = {"grid": d(1_000), "trend": d(1_500), "pairs": d(3_000)}
    for instance, symbol, side, lots, away, then in orders:
        price = (d(gate.view.marks[symbol]) * (10_000 + away) / 10_000).quantize(d("0.1"))
        quantity = d(lots) / (100 if symbol == BTC else 10)
        try:
            order = gate.send(side, quantity, price, OrderType.POST_ONLY, symbol, instance)
        except RiskReject:
            continue
        filled = quantity if then == "fill" else (quantity / 2 if then == "part" else d(0))
        if filled:
            order.filled += filled
            order.advance(OrderState.FILLED if then == "fill" else OrderState.PARTIAL, 0)
            held = gate.view.ledger_quantity(instance, symbol)
            gate.view.held[instance, symbol] = held + filled * side.sign
        if then == "cancel":
            order.advance(OrderState.CANCELED, 0)
        total = d(0)
        for owner, cap in caps.items():
            used = sum((max(worst_cost(gate, owner, s, side) for side in Side) for s in (BTC, ETH)), d(0))
            # What is held is worth its present price, an order its own: filling may move the sum by the difference.
            assert used <= cap * d("1.015")
            total += used
        assert total <= min(LIMITS.max_notional_usd, LIMITS.max_leverage * 10_000) * d("1.015")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["plain", "plain", "reduce", "fill", "cancel"]),
        st.sampled_from([BUY, SELL]),
        st.integers(1, 10),
        st.integers(0, 3),
    ),
    max_size=30,
)


@given(st.integers(-10, 10), STEPS, st.sampled_from([BUY, SELL]))
def test_nothing_held_exceeds_a_limit_in_whatever_order_plain_orders_and_reductions_fill(
    start: int, steps: list[Any], last: Side
) -> None:
    gate = Gate(max_notional_usd=1_000, max_open_orders=200, max_cmds_per_min=600)
    view, key = gate.view, ("grid", BTC)
    view.held[key] = d(start)

    def reduce(side: Side, quantity: Decimal) -> None:
        working = [order for order in view.working(BTC, "grid") if order.side is side and order.reduce_only]
        left = -view.ledger_quantity(*key) * side.sign - sum((order.remaining for order in working), d(0))
        if left > 0:
            gate.send(side, min(quantity, left), 100, OrderType.POST_ONLY, reduce_only=True)

    def fill(order: Any, quantity: Decimal) -> None:
        held, sign = view.ledger_quantity(*key), order.side.sign
        filled = min(quantity, order.remaining, -held * sign) if order.reduce_only else min(quantity, order.remaining)
        if filled > 0:
            order.filled += filled
            order.advance(OrderState.PARTIAL if order.remaining else OrderState.FILLED, 0)
            view.held[key] = held + filled * sign
            assert abs(view.held[key]) * 100 <= 1_000

    for act, side, lots, which in steps:
        working = view.working(BTC, "grid")
        if act == "plain":
            with suppress(RiskReject):
                gate.send(side, lots, 100, OrderType.POST_ONLY)
        elif act == "reduce":
            reduce(side, d(lots))
        elif working and act == "cancel":
            working[which % len(working)].advance(OrderState.CANCELED, 0)
        elif working:
            fill(working[which % len(working)], d(lots))
    reduce(last, d(1_000))
    for order in sorted(view.working(BTC, "grid"), key=lambda order: not order.reduce_only):
        if order.side is last:
            fill(order, order.remaining)


@given(
    held=st.integers(-500, 500).filter(bool),
    share=st.floats(0.01, 1),
    price=st.sampled_from([1, 50, 100, 1000]),
    flagged=st.booleans(),
    by_hand=st.booleans(),
    trouble=st.sampled_from(["", "stale", "no quote", "no price", "suspended", "no equity", "crash", "reduce-only"]),
)
def test_reductions_always_pass(
    held: int, share: float, price: int, flagged: bool, by_hand: bool, trouble: str
) -> None:
    gate = Gate(AccountLimits(max_notional_usd=d(10), max_order_usd=d(1), max_leverage=d("0.001")), max_order_usd=1)
    view, instance = gate.view, MANUAL if by_hand else "grid"
    view.held[instance, BTC] = d(held)
    view.held["trend", ETH] = d(10_000)
    if trouble == "stale":
        view.ages[BTC] = 10**9
    elif trouble == "no quote":
        view.quotes.clear()
    elif trouble == "no price":
        view.quotes.clear(), view.marks.clear(), view.ages.clear()
    elif trouble == "suspended":
        view.suspend(BTC)
    elif trouble == "no equity":
        view.equity_usd = None
    elif trouble == "crash":
        view.price(BTC, 10_000.0)
    elif trouble == "reduce-only":
        gate.state.restrict("risk", "trouble")
    side = SELL if held > 0 else BUY
    quantity = max(d("0.001"), (abs(d(held)) * d(round(share, 3))).quantize(d("0.001")))
    gate.send(side, quantity, price, instance=instance, reduce_only=flagged)

"""The grid on the real paper venue: test lines of its specification, prices as prints that touch everything."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.paper.config import QueueModel
from engine.kernel.errors import ConfigError, CtosError, InsufficientFunds, VenueUnavailable
from engine.kernel.market import FundingRate, Trade
from engine.kernel.orders import Fill, OrderState, OrderType, Pending, Side
from engine.kernel.strategy import PauseMode, StopPolicy
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.accounts import MANUAL
from tests.engine.faults import FaultyDriver
from tests.engine.floor import d
from tests.paper.venue import OTHER, PERP
from tests.rig import Rig


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def grid_of(rig: Rig, name: str = "dg1", symbol: str = PERP):
    return rig.manager.get(name).strategy._grids[symbol]


def start(rig: Rig, **params):
    return rig.launch("dyn_grid", **{"preset": "388_long", **params})


def test_starts_with_both_orders_and_follows_each_fill(rig):
    start(rig)
    assert rig.resting("dg1") == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}
    rig.path(96.12)
    assert grid_of(rig).baseline == 99
    assert rig.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    assert rig.order_of(Side.SELL).reduce_only
    rig.path(100.87)
    ledger = rig.ledger_of("dg1")
    assert (ledger.realised, ledger.quantity) == (d("0.418"), d("0.004"))
    assert grid_of(rig).baseline == d("99.99")
    assert rig.resting("dg1") == {"buy": ("0.092", "96.11"), "sell": ("0.087", "101.87")}
    rig.check_books()


def test_a_gap_moves_the_baseline_until_the_buy_is_passive(rig):
    start(rig)
    rig.path(90)
    assert [(f.fill.quantity, f.fill.price) for f in rig.fills()] == [(d("0.092"), d("96.12"))]
    assert round(grid_of(rig).baseline, 4) == d("93.2065")
    assert rig.resting("dg1") == {"buy": ("0.099", "89.59"), "sell": ("0.092", "96.12")}


def test_a_reduction_that_the_venue_makes_smaller_is_not_amended_without_end(rig):
    start(rig)
    rig.path(96.12)
    exit = rig.order_of(Side.SELL)
    assert exit.reduce_only and exit.quantity == d("0.088")
    rig.engine.submit(MANUAL, PERP, Side.SELL, OrderType.MARKET, d("0.06"))
    rig.run(1)
    rig.manager.amend("dg1", {"preset": "none", "sell_grid_step": d("1.03")})
    rig.path(*[96.2, 96.3] * 15)
    amended = [fields for op, fields in rig.operations if op == "OrderAmended" and fields["cid"] == exit.client_id]
    assert 2 <= len(amended) <= 8 and exit.quantity == d("0.032"), "the account holds no more"
    rig.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.06"))
    rig.path(*[96.2, 96.3] * 5)
    assert exit.is_open and exit.quantity == d("0.087")
    rig.check_books()


def test_a_part_fill_stays_until_the_other_side_is_final(tmp_path):
    rig = Rig(tmp_path, queue=QueueModel.FIFO, first_price=None)
    rig.book(100)
    start(rig)
    rig.trade(96.12, 0.05)
    assert rig.resting("dg1") == {"buy": ("0.042", "96.12"), "sell": ("0.087", "101.88")}
    assert grid_of(rig).baseline == 100
    rig.trade(101.88, 10, Side.BUY)
    assert grid_of(rig).baseline == 101
    assert rig.resting("dg1")["buy"] == ("0.091", "97.08")
    assert rig.ledger_of("dg1").quantity == d("-0.037")
    rig.trade(97.08, 10)
    assert grid_of(rig).baseline == d("99.99")
    rig.check_books()


def test_a_fill_while_down_moves_the_baseline_once(rig):
    start(rig)
    second = rig.restart(prices=[96.12])
    assert grid_of(second).baseline == 99
    assert second.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    third = second.restart()
    assert grid_of(third).baseline == 99
    assert third.resting("dg1") == {"buy": ("0.093", "95.15"), "sell": ("0.088", "100.87")}
    third.check_books()


def without_amend(tmp_path, **options) -> Rig:
    return Rig(tmp_path, features=VenueFeatures(amends=False), driver_of=FaultyDriver, **options)


def assert_quoted(rig: Rig, resting: dict[str, tuple[str, str]]) -> None:
    assert rig.resting("dg1") == resting and not rig.manager.get("dg1").why
    grid = grid_of(rig)
    assert [grid.buy.client_id, grid.sell.client_id] == [rig.order_of(side).client_id for side in (Side.BUY, Side.SELL)]
    assert not grid.buy.replaced_ms and not grid.sell.replaced_ms, "nothing counts as cancelled from outside"
    rig.check_books()


LOWER = {"buy": ("0.094", "94.20"), "sell": ("0.088", "99.86")}
"""What rests after two buys; the sell of the first has become that of the second."""


def test_where_the_venue_cannot_amend_the_replaced_order_goes_on_as_the_new_one(tmp_path):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    old = rig.order_of(Side.SELL)
    rig.path(95.15, seconds=40)
    assert_quoted(rig, LOWER)
    new = rig.order_of(Side.SELL)
    assert old.replaced_by == new.client_id and new.replaces == old.client_id and not new.parent
    rig.path(94.20, 98.86, 94.18, 93.24, 97.87, 96.88, seconds=7)
    assert_quoted(rig, rig.resting("dg1"))
    assert len(rig.fills()) > 6 and sum(1 for order in rig.engine.tracker.recent() if order.replaces) > 5


def test_where_the_venue_cannot_amend_a_pause_and_a_stop_leave_nothing_behind(tmp_path):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12, 95.15, 99.86)
    buy = rig.order_of(Side.BUY)
    assert buy.replaces and not buy.reduce_only
    rig.manager.pause("dg1", PauseMode.FREEZE)
    rig.run(1)
    assert not buy.is_open and all(order.reduce_only for order in rig.working())
    rig.manager.resume("dg1")
    rig.path(99.86, 99.86)
    assert_quoted(rig, rig.resting("dg1"))
    rig.driver.gateway.refuse_cancels = [VenueUnavailable("busy")]
    rig.print(float(rig.resting("dg1")["buy"][1]))
    rig.manager.stop("dg1", StopPolicy.CANCEL)
    rig.run(2)
    assert not rig.working() and not rig.venue_orders()


def test_where_the_venue_cannot_amend_a_slow_cancellation_is_waited_for(tmp_path):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    rig.driver.gateway.refuse_cancels = [VenueUnavailable("busy")] * 4
    rig.path(95.15, 95.20, 95.20)
    assert len(rig.working("dg1")) == 2 and rig.order_of(Side.SELL).pending is Pending.CANCEL
    rig.path(95.2, seconds=8)
    assert_quoted(rig, LOWER)


@pytest.mark.parametrize("at", ["venue", "engine"])
def test_where_the_venue_cannot_amend_a_refused_replacement_is_no_cancellation_from_outside(tmp_path, at):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    if at == "venue":
        rig.driver.gateway.refuse_places = [InsufficientFunds("no margin")] * 2
        rig.path(95.15)
        assert rig.manager.get("dg1").why.count("refused, again in 5 s") == 2
        rig.path(95.2, seconds=6)
    else:
        rig.driver.gateway.refuse_cancels = [VenueUnavailable("busy")]
        rig.print(95.15)
        rig.engine.disarm("ann", "lunch")
        rig.run(3)
        assert all(order.side is Side.BUY for order in rig.working())
        rig.engine.arm("ann")
    rig.path(95.2, 95.2)
    assert_quoted(rig, LOWER)


@pytest.mark.parametrize("after_s", [0.0, 0.004, 0.006, 0.012])
def test_where_the_venue_cannot_amend_a_crash_in_between_leaves_one_order_a_side(tmp_path, after_s):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    rig.play(Trade(PERP, rig.clock.now_ms(), 95.15, 1.0, Side.SELL, "1"))
    rig.run(after_s)
    again = rig.restart()
    again.path(95.2, seconds=40)
    again.path(95.2, 95.2)
    assert again.resting("dg1") == LOWER and not again.manager.get("dg1").why
    again.check_books()


def test_where_the_venue_cannot_amend_a_replacement_that_its_memory_does_not_know_is_followed(tmp_path):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    instance = rig.manager.get("dg1")
    memory, event_seq = instance.memory, instance.event_seq
    rig.path(95.15)
    instance.memory, instance.event_seq = memory, event_seq
    rig.manager.save_all()
    again = rig.restart(prices=[99.9, 98.9])
    assert again.ledger_of("dg1").quantity == d("0.185") - d("0.088") and not again.manager.get("dg1").why
    assert grid_of(again).baseline == 100 * d("0.99") * d("0.99") * d("1.01"), "the sell that took its place was filled"


def test_where_the_venue_cannot_amend_no_second_order_is_placed_before_the_final_fills(tmp_path):
    rig = without_amend(tmp_path, queue=QueueModel.FIFO, first_price=None)
    rig.book(100)
    start(rig)
    rig.trade(96.12, 10)
    rig.book(97)
    sell = rig.order_of(Side.SELL)
    rig.driver.scramble = lambda event: () if isinstance(event, Fill) and event.side is Side.SELL else (event,)
    rig.driver.broken["get_fills"] = VenueUnavailable("busy")
    rig.trade(float(sell.price), 0.01, Side.BUY)
    rig.trade(95.15, 10)
    for _ in range(5):
        rig.book(96)
        rig.run(1)
        assert sell.state is OrderState.CANCELED and sell.filled < sell.reported_filled == d("0.01")
        assert [order.side for order in rig.working("dg1")] == [Side.BUY], "what was filled is not known yet"
    rig.driver.broken.clear()
    for _ in range(10):
        rig.book(96)
        rig.run(1)
    assert_quoted(rig, rig.resting("dg1"))
    assert sell.replaced_by and sell.filled == d("0.01")


def test_where_the_venue_cannot_amend_a_freeze_leaves_no_entry_that_takes_the_place_of_another_later(tmp_path):
    rig = without_amend(tmp_path, queue=QueueModel.FIFO, first_price=None)
    rig.book(100)
    start(rig, guard_high=1.2)
    rig.trade(96.12, 10)
    rig.book(97)
    buy = rig.order_of(Side.BUY)
    rig.driver.scramble = lambda event: () if isinstance(event, Fill) and event.side is Side.BUY else (event,)
    rig.driver.broken["get_fills"] = VenueUnavailable("busy")
    rig.trade(float(buy.price), 0.01)
    rig.trade(float(rig.order_of(Side.SELL).price), 10, Side.BUY)
    rig.run(1)
    assert buy.state is OrderState.CANCELED and buy.filled < buy.reported_filled, "its successor is to come"
    rig.book(150)
    rig.run(1)
    assert grid_of(rig).phase == "FROZEN"
    rig.driver.broken.clear()
    for _ in range(10):
        rig.book(150)
        rig.run(1)
    assert buy.filled == d("0.01") and not buy.replaced_by and not rig.working("dg1")


def test_where_the_venue_cannot_amend_a_pause_leaves_an_exit_that_is_being_replaced(tmp_path):
    rig = without_amend(tmp_path)
    start(rig)
    rig.path(96.12)
    old = rig.order_of(Side.SELL)
    rig.driver.gateway.refuse_cancels = [VenueUnavailable("busy")]
    rig.print(95.15)
    rig.manager.pause("dg1", PauseMode.FREEZE)
    rig.run(1)
    (exit,) = rig.working("dg1")
    assert exit.reduce_only and exit.replaces == old.client_id and not old.is_open


def test_an_order_that_is_being_replaced_and_is_cancelled_has_no_successor(tmp_path):
    rig = without_amend(tmp_path)
    order = rig.order(Side.BUY, 1, 90)
    rig.engine.amend(order.client_id, d(91))
    with pytest.raises(CtosError, match="being"):
        rig.engine.amend(order.client_id, d(92))
    rig.engine.cancel(order.client_id)
    rig.run(1)
    assert not rig.working() and not order.is_open and not order.replaced_by


def test_an_order_cancelled_outside_comes_back_after_30_s(rig):
    start(rig)
    rig.cancel_outside(rig.order_of(Side.BUY))
    rig.run(28)
    assert "buy" not in rig.resting("dg1") and grid_of(rig).baseline == 100
    rig.path(100, seconds=4)
    assert rig.resting("dg1") == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}


def test_never_fights_a_person(rig):
    start(rig)
    for _ in range(3):
        rig.cancel_outside(rig.order_of(Side.BUY))
        rig.run(25)
        rig.path(100, seconds=10)
    rig.cancel_outside(rig.order_of(Side.BUY))
    rig.path(100, seconds=100)
    assert list(rig.resting("dg1")) == ["sell"]
    assert [kind for kind, *_ in rig.anomalies] == ["external_cancel"]
    assert "PAUSED" in rig.manager.get("dg1").why
    rig.path(100, seconds=1)
    rig.manager.act("dg1", "rebase", {"symbol": "tst"})
    rig.run()
    assert set(rig.resting("dg1")) == {"buy", "sell"}


def test_freezes_outside_the_guard_until_rebased(rig):
    start(rig)
    rig.path(79.9, seconds=5)
    assert rig.working("dg1") == []
    assert [(kind, symbol) for kind, symbol, *_ in rig.anomalies] == [("grid_guard", PERP)]
    assert grid_of(rig).phase == "FROZEN" and "rebase" in rig.manager.get("dg1").why
    rig.path(100, seconds=5)
    assert rig.working("dg1") == [] and len(rig.anomalies) == 1
    rig.manager.act("dg1", "rebase", {})
    rig.run()
    assert grid_of(rig).init == 100 and rig.resting("dg1")["buy"] == ("0.092", "96.12")


def test_flattens_at_the_guard_when_told(rig):
    start(rig, guard_action="flatten")
    rig.path(96.12)
    assert rig.ledger_of("dg1").quantity
    rig.path(79.9, seconds=10)
    assert rig.ledger_of("dg1").quantity == 0 and rig.working("dg1") == []
    assert Decimal(grid_of(rig).init) == 100


def quotes(rig: Rig) -> dict:
    return rig.resting("dg1")


def test_a_post_only_refusal_moves_the_baseline_past_the_market(rig):
    """The order is decided at 100 and arrives when the market stands at 95: it comes again behind it."""
    rig.manager.launch("dyn_grid", {"preset": "388_long"}, PERP)
    rig.play(Trade(PERP, rig.clock.now_ms(), 95.0, 1.0, Side.SELL, "1"))
    rig.run(0.5)
    baseline = grid_of(rig).baseline
    assert baseline == d("100") * d("0.99") ** 2
    assert quotes(rig)["buy"] == ("0.094", f"{(baseline * d('0.9612')).quantize(d('0.01'), 'ROUND_FLOOR'):f}")
    assert rig.fills() == []


def test_refusals_back_off_longer_each_time_and_the_other_side_stays(tmp_path):
    rig = Rig(tmp_path)
    venue = rig.venue.exchange
    real = venue.place
    asked: list[float] = []

    def refuse_buys(request):
        if request.side is Side.BUY:
            asked.append(rig.clock.now_ns() / 1e9)
            raise InsufficientFunds("not enough margin")
        return real(request)

    venue.place = refuse_buys
    start(rig)
    for _ in range(200):
        rig.path(100, seconds=4)
    waits = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert waits == pytest.approx([5, 30, 120, 600], abs=2)
    assert list(quotes(rig)) == ["sell"] and grid_of(rig).phase == "BACKOFF"
    assert "not enough margin" in rig.manager.get("dg1").why
    venue.place = real
    for _ in range(150):
        rig.path(100, seconds=4)
    assert set(quotes(rig)) == {"buy", "sell"} and grid_of(rig).phase == "ACTIVE" and rig.manager.get("dg1").why == ""


def test_too_small_orders_drop_the_symbol_with_the_minimum_shown(rig):
    start(rig, base_amount=4)
    assert rig.working() == []
    assert "amount 4 USD is below the minimum" in rig.manager.get("dg1").why
    rig.manager.amend("dg1", {"base_amount": 10})
    rig.run()
    assert set(quotes(rig)) == {"buy", "sell"}


def test_no_more_than_max_inventory_is_bought(rig):
    start(rig, max_inventory=20)
    rig.path(96, 92, 88, 86)
    held = rig.ledger_of("dg1").quantity
    assert 0 < held * 86 <= 20 and "max_inventory 20" in rig.manager.get("dg1").why
    assert list(quotes(rig)) == ["sell"] and rig.order_of(Side.SELL).reduce_only


def test_does_not_sell_short_when_told_so(rig):
    start(rig, allow_short=False)
    assert list(quotes(rig)) == ["buy"]
    rig.path(96.12)
    assert quotes(rig)["sell"] == ("0.088", "100.87")
    rig.path(110)
    assert rig.ledger_of("dg1").quantity >= 0


def test_chases_one_order_per_skipped_step_at_the_touch(rig):
    start(rig, catch_up="chase")
    rig.path(90, seconds=0.5)
    for _ in range(14):
        rig.path(90)
    fills = [(f"{f.fill.price:f}", f"{f.fill.quantity:f}") for f in rig.fills()]
    assert fills == [("96.12", "0.092"), *[("90", "0.098")] * 6]
    assert round(grid_of(rig).baseline, 4) == d("93.2065") and quotes(rig)["buy"] == ("0.099", "89.59")


def test_a_reducing_sell_never_loses_to_the_last_entry_and_its_fees(tmp_path):
    rig = Rig(tmp_path, perp_maker=d("0.0002"))
    start(rig)
    rig.path(90)
    assert quotes(rig)["sell"] == ("0.092", "96.16")
    rig.path(96.16)
    ledger = rig.ledger_of("dg1")
    assert ledger.quantity == 0 and ledger.realised >= ledger.fees


def test_both_sides_filled_at_once_move_the_baseline_twice_and_quote_once(rig):
    start(rig)
    buy, sell = rig.order_of(Side.BUY), rig.order_of(Side.SELL)
    market = rig.venue.exchange.market(PERP)
    for order in (buy, sell):
        resting = rig.venue.exchange.registry.find(order.client_id, PERP)
        rig.venue.exchange.clearing.fill(resting, resting.price, resting.remaining, maker=True)
    placed = len(rig.engine.tracker.recent())
    rig.venue._commit()
    rig.run()
    assert market.last == 100 and grid_of(rig).baseline == d("99.99")
    assert len(rig.engine.tracker.recent()) == placed + 2 and set(quotes(rig)) == {"buy", "sell"}


def test_symbols_are_independent(rig):
    rig.print(50, symbol=OTHER)
    rig.launch("dyn_grid", symbols=f"{PERP}+{OTHER}", preset="388_long")
    rig.print(30, symbol=OTHER)
    rig.run(3)
    assert grid_of(rig, symbol=OTHER).phase == "FROZEN" and grid_of(rig, symbol=PERP).phase == "ACTIVE"
    assert rig.resting("dg1", PERP) == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}
    rig.manager.act("dg1", "rebase", {"symbol": OTHER.lower()})
    rig.run()
    assert set(rig.resting("dg1", OTHER)) == {"buy", "sell"}
    with pytest.raises(CtosError, match="does not trade btc"):
        rig.manager.act("dg1", "rebase", {"symbol": "btc"})
    with pytest.raises(CtosError, match="it has rebase"):
        rig.manager.act("dg1", "dance", {})


def test_pause_takes_entries_back_and_resume_quotes_from_state(rig):
    start(rig)
    rig.path(96.12)
    rig.manager.pause("dg1")
    rig.run()
    assert list(quotes(rig)) == ["sell"]
    rig.path(100.87, 100, 99)
    assert rig.working() == [] and grid_of(rig).baseline == d("99.99")
    rig.manager.resume("dg1")
    rig.run()
    assert quotes(rig) == {"buy": ("0.092", "96.11"), "sell": ("0.087", "101.87")}


def test_waits_for_trading_to_open(tmp_path):
    rig = Rig(tmp_path, armed=False)
    start(rig)
    assert rig.working() == [] and "disarmed" in rig.manager.get("dg1").why
    rig.path(100, seconds=5)
    rig.engine.arm("test")
    rig.run()
    assert set(quotes(rig)) == {"buy", "sell"} and rig.manager.get("dg1").why == ""


def test_stale_data_waits_and_goes_on(rig):
    start(rig)
    rig.path(96.12, seconds=0.1)
    rig.cancel_outside(rig.order_of(Side.BUY))
    rig.run(60)
    assert list(quotes(rig)) == ["sell"]
    rig.path(96.5, seconds=3)
    assert set(quotes(rig)) == {"buy", "sell"}


def test_the_paying_side_is_taken_back_before_funding(rig):
    start(rig, funding_guard=True)
    due = rig.clock.now_ms() + 90_000
    rig.play(FundingRate(PERP, rig.clock.now_ms(), 0.001, 8, due))
    rig.path(100, seconds=9)
    assert set(quotes(rig)) == {"buy", "sell"}
    for _ in range(5):
        rig.path(100, seconds=7)
    assert list(quotes(rig)) == ["sell"] and "funding" in rig.manager.get("dg1").why
    rig.play(FundingRate(PERP, rig.clock.now_ms(), 0.001, 8, due + 28_800_000))
    rig.path(100, seconds=3)
    assert set(quotes(rig)) == {"buy", "sell"}


def test_an_amendment_moves_the_orders(rig):
    start(rig)
    rig.manager.amend("dg1", {"base_amount": 20, "preset": "wide"})
    rig.run(0.1)
    assert quotes(rig) == {"buy": ("0.202", "98.80"), "sell": ("0.192", "103.80")}


def test_orders_of_a_lost_memory_are_adopted_and_doubles_taken_back(rig):
    start(rig)
    rig.engine.submit("dg1", PERP, Side.BUY, OrderType.POST_ONLY, d("0.1"), d("95"))
    rig.run()
    second = rig.restart()
    assert quotes(second) == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}
    second.manager.get("dg1").context.state.clear()
    second.manager.get("dg1").memory = b"{}"
    second.manager.save_all()
    third = second.restart()
    assert quotes(third) == {"buy": ("0.092", "96.12"), "sell": ("0.087", "101.88")}


def test_a_symbol_taken_out_loses_its_orders_and_keeps_its_position(rig):
    rig.print(50, symbol=OTHER)
    rig.launch("dyn_grid", symbols=f"{PERP}+{OTHER}", preset="388_long")
    rig.path(48, symbol=OTHER)
    held = rig.ledger_of("dg1", OTHER).quantity
    rig.manager.stop("dg1", StopPolicy.KEEP)
    rig.launch("dyn_grid", name="dg1", preset="388_long")
    assert held and rig.ledger_of("dg1", OTHER).quantity == held
    assert rig.resting("dg1", OTHER) == {} and set(rig.resting("dg1", PERP)) == {"buy", "sell"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"buy_grid_step": "0.4"}, "buy_grid_step: .*0.5"),
        ({"buy_move_step": "0.9"}, "must lie between buy_grid_step 0.966 and 1"),
        ({"sell_move_step": "1.5"}, "must lie between 1 and sell_grid_step 1.018"),
        ({"max_inventory": 5}, "max_inventory 5 must be at least base_amount 8.88"),
        ({"preset": "388"}, "preset: .*got '388'"),
        ({"preset": "wide", "buy_grid_step": "0.9"}, "preset wide sets buy_grid_step to 0.988"),
        ({"guard_action": "panic"}, "guard_action"),
    ],
)
def test_bad_parameters_are_named(rig, params, words):
    with pytest.raises(ConfigError, match=words):
        rig.launch("dyn_grid", **params)


def test_a_round_trip_must_earn_its_fees(tmp_path):
    rig = Rig(tmp_path, perp_maker=d("0.0005"))
    with pytest.raises(ConfigError, match=r"round trip earns x1\.0008.*more than x1\.001"):
        steps = {"buy_grid_step": "0.9996", "sell_grid_step": "1.0004", "buy_move_step": 1, "sell_move_step": 1}
        rig.launch("dyn_grid", **steps)


@settings(max_examples=25)
@given(st.lists(st.floats(-0.06, 0.06), min_size=5, max_size=60), st.booleans(), st.integers(0, 59))
def test_on_any_path_sides_have_one_order_and_the_books_agree(tmp_path_factory, moves, chases, restart_at):
    rig = Rig(tmp_path_factory.mktemp("walk"), perp_maker=d("0.0002"))
    start(rig, guard_low=0, guard_high=100, max_inventory=50, catch_up="chase" if chases else "skip")
    price, held = 100.0, d(0)
    for step, move in enumerate(moves):
        price = min(1000.0, max(10.0, round(price * (1 + move), 2)))
        rig.path(price, seconds=1.5)
        if step == restart_at:
            rig = rig.restart(prices=[price])
            rig.run(1.5)
        if not chases:
            rig.resting("dg1")
        fills, now_held = rig.fills(), abs(rig.ledger_of("dg1").quantity)
        if now_held > held and fills:
            assert now_held * fills[-1].fill.price <= d(50) * d("1.1")
        held = now_held
        assert rig.manager.get("dg1").life.state.value == "running", rig.lines
        rig.check_books()

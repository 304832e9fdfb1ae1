"""Strategies that do what none should: storms, nonsense, the same again and again, orders against each other."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.kernel.errors import CtosError, RiskReject, TradingHalted
from engine.kernel.market import Quote
from engine.kernel.orders import OrderRequest, OrderState, OrderType
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Params, Strategy
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d
from tests.rig import Rig

LIMIT, MARKET = OrderType.LIMIT, OrderType.MARKET


class Puppet(Strategy[Params]):
    """Does with each timer and quote what a test tells it to."""

    name = "puppet"
    params_model = Params

    def __init__(self, ctx, params):
        super().__init__(ctx, params)
        self.on_time = lambda ctx: None
        self.on_price = lambda ctx: None
        self.rejected: list[str] = []

    def on_timer(self, name, payload) -> None:
        self.on_time(self.ctx)

    def on_quote(self, quote: Quote) -> None:
        self.on_price(self.ctx)

    def on_order(self, order) -> None:
        if order.state is OrderState.REJECTED:
            self.rejected.append(order.reason)


class Untaught(Puppet):
    """Needs candles of four hours that nobody has."""

    name = "untaught"

    @classmethod
    def timeframes(cls, params: Params) -> tuple[str, ...]:
        return ("4h",)

    @classmethod
    def warmup_bars(cls, params: Params) -> int:
        return 500


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path, classes=(Puppet,), driver_of=FaultyDriver)


def act(rig: Rig, instance: Any, what) -> None:
    """Let a strategy do something in a handler."""
    instance.strategy.on_time = what
    instance.context.timer.after("now", 0.01)
    rig.run(0.05)


def sent(rig: Floor) -> list[OrderRequest]:
    return rig.driver.gateway.placed


def test_s03_a_storm_of_ten_thousand_orders_a_second_is_cut_to_the_budget_and_the_strategy_halted(rig: Rig):
    limits = {"risk__max_notional_usd": d(5000), "risk__max_order_usd": d(10), "risk__max_open_orders": 20}
    puppet = rig.launch("puppet", **limits)

    def storm(ctx) -> None:
        for number in range(1000):
            ctx.buy(PERP, quantity=d("0.09"), price=d(99) - d(number) / 100, type=LIMIT)

    for _ in range(10):
        act(rig, puppet, storm)
    assert puppet.life.state is InstanceState.HALTED and "order storm" in puppet.life.reason
    assert len(sent(rig)) <= 20 and "max_open_orders" in puppet.strategy.rejected[0]
    rig.run(5)
    assert rig.working(puppet.name) == [] and len(rig.driver.gateway.cancels) <= 20
    with pytest.raises(TradingHalted, match="order storm"):
        rig.submit(BUY, "0.09", 99, instance=puppet.name)


def test_s03_orders_that_are_cancelled_and_sent_again_stay_within_the_budget(rig: Rig):
    puppet = rig.launch("puppet", risk__max_notional_usd=d(5000))

    def storm(ctx) -> None:
        for order in ctx.orders():
            ctx.cancel(order.client_id)
            ctx.cancel(order.client_id)
        for number in range(10):
            ctx.buy(PERP, quantity=d("0.09"), price=d(99) - d(number) / 100, type=LIMIT)

    for _ in range(500):
        act(rig, puppet, storm)
    assert 0 < len(sent(rig)) <= 60 and len(rig.driver.gateway.cancels) <= len(sent(rig))
    assert "max_cmds_per_min" in puppet.strategy.rejected[-1] or puppet.life.state is InstanceState.HALTED


def test_s03_amending_back_and_forth_stays_within_the_budget(rig: Rig):
    puppet = rig.launch("puppet")
    act(rig, puppet, lambda ctx: ctx.buy(PERP, quantity=d("0.1"), price=d(99), type=LIMIT))
    amended: list[object] = []
    amend = rig.driver.gateway.amend
    rig.driver.gateway.amend = lambda *args: (amended.append(args[2]), amend(*args))

    def ping_pong(ctx) -> None:
        for order in ctx.orders():
            for number in range(100):
                ctx.amend(order.client_id, price=d(99) - d(number % 2 + 1) / 10)

    for _ in range(300):
        act(rig, puppet, ping_pong)
    assert 0 < len(amended) <= 60


def test_s05_a_signal_that_repeats_every_tick_enters_once(rig: Rig):
    puppet = rig.launch("puppet", risk__max_notional_usd=d(5000))
    puppet.strategy.on_price = lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(99), type=LIMIT)
    for _ in range(9):
        rig.print(100.0)
    assert len(sent(rig)) == 1
    assert all("duplicate_order" in reason for reason in puppet.strategy.rejected) and puppet.strategy.rejected


def test_s05_nobody_enters_again_while_the_first_entry_has_no_known_outcome(rig: Rig):
    puppet = rig.launch("puppet", risk__max_notional_usd=d(5000))
    rig.driver.gateway.lose_answers = 1
    rig.driver.deaf = True
    rig.driver.gateway.hide = 99
    act(rig, puppet, lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(99), type=LIMIT))
    for _ in range(8):
        rig.run(1)
        rig.print(100.0)
        act(rig, puppet, lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(99), type=LIMIT))
    assert len(sent(rig)) == 1 and "has no known outcome" in puppet.strategy.rejected[-1]


def test_s06_code_that_outlives_its_strategy_holds_a_dead_handle(rig: Rig):
    puppet = rig.launch("puppet")
    ctx = puppet.context
    rig.manager.stop(puppet.name, None)
    rig.run(1)
    assert puppet.life.state is InstanceState.STOPPED
    rig.hold(1)
    before = len(sent(rig))
    for command in (
        lambda: ctx.sell(PERP, quantity=d(1), reduce_only=True),
        lambda: ctx.cancel("x"),
        lambda: ctx.close(PERP),
    ):
        with pytest.raises(TradingHalted, match="has stopped"):
            command()
    with pytest.raises(CtosError):
        ctx.buy(PERP, quantity=d(1), price=d(99))
    with pytest.raises(RiskReject, match="no limits in force"):
        ctx._engine.submit(puppet.name, PERP, BUY, LIMIT, d(1), d(99))
    rig.run(5)
    assert len(sent(rig)) == before


def test_s06_a_strategy_that_goes_on_after_the_kill_switch_sends_nothing(rig: Rig):
    puppet = rig.launch("puppet", risk__max_notional_usd=d(5000))
    rig.engine.panic("operator")
    before = len(sent(rig))
    for command in (
        lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(99), type=LIMIT),
        lambda ctx: ctx.soft(PERP, BUY, d(1)),
        lambda ctx: ctx.set_position(PERP, d(100)),
    ):
        puppet.context.timer.after("now", 0.01)
        puppet.strategy.on_time = command
        rig.run(1)
        with pytest.raises(CtosError):
            command(puppet.context)
    assert len(sent(rig)) == before and rig.engine.trading.mode is TradingMode.HALTED


def test_s08_stale_data_a_broken_book_and_no_data_at_all_refuse_entries(rig: Rig):
    puppet = rig.launch("puppet")

    def enter() -> str:
        act(rig, puppet, lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(99), type=LIMIT))
        return puppet.strategy.rejected[-1]

    rig.run(11)
    assert "stale_data" in enter()
    rig.print(100.0)
    rig.engine.market._views[PERP].book_broken = True
    assert "has a gap" in enter()
    rig.engine.market._views[PERP].book_broken = False
    rig.engine.market._views[PERP].quote = None
    assert "no bid and ask" in enter()
    assert sent(rig) == []


def test_s08_before_its_warm_up_a_strategy_is_not_called_and_what_it_sends_all_the_same_is_refused(tmp_path: Path):
    rig = Rig(tmp_path, classes=(Untaught,), driver_of=FaultyDriver)
    untaught = rig.launch("untaught", risk__max_notional_usd=d(5000))
    called: list[object] = []
    untaught.strategy.on_price = called.append
    rig.print(100.0)
    rig.run(5)
    rig.print(100.1)
    assert untaught.life.state is InstanceState.WARMUP and called == []
    with pytest.raises(CtosError):
        untaught.context.buy(PERP, quantity=d(1), price=d(99), type=LIMIT)
    rig.run(5)
    assert sent(rig) == []


def test_s09_two_strategies_against_each_other_never_trade_with_one_another(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("bull", "bear")
    floor.order(BUY, 3, type=MARKET, instance="bull")
    floor.order(SELL, 2, type=MARKET, instance="bear")
    assert (floor.ledger("bull"), floor.ledger("bear"), floor.venue_quantity()) == (3, -2, 1)
    resting = floor.order(BUY, 1, 99, instance="bull")
    for price, kind in ((d(99), LIMIT), (d(98), OrderType.IOC)):
        with pytest.raises(RiskReject, match=f"self_cross.*#{resting.label}"):
            floor.submit(SELL, 1, price, kind, instance="bear")
    assert floor.order(SELL, 1, 101, instance="bear").state is OrderState.OPEN
    with pytest.raises(RiskReject, match="self_cross"):
        floor.engine.amend(resting.client_id, price=d(101))
    floor.order(SELL, 3, None, MARKET, "bull", reduce_only=True)
    assert (floor.ledger("bull"), floor.ledger("bear"), floor.venue_quantity()) == (0, -2, -2)
    floor.check_books()


NONSENSE = st.one_of(
    st.decimals(allow_nan=True, allow_infinity=True),
    st.sampled_from([Decimal("1e-18"), Decimal("-1"), Decimal(0), Decimal("1e30"), Decimal("sNaN"), Decimal("99.999")]),
    st.floats(),
    st.integers(),
    st.text(max_size=5),
    st.none(),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
)
SYMBOLS = st.one_of(st.just(PERP), st.text(max_size=12), st.none(), st.integers(), st.lists(st.text(), max_size=1))
SIDES = st.one_of(st.sampled_from([BUY, SELL, "buy", "up", None, 1]))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["buy", "sell", "soft", "incremental", "target", "targets", "close", "amend"]),
    SYMBOLS,
    SIDES,
    NONSENSE,
    NONSENSE,
    NONSENSE,
)
def test_s04_nonsense_is_denied_with_a_reason_and_never_reaches_the_wire(
    nonsense_rig: Rig, call: str, symbol: Any, side: Any, one: Any, two: Any, three: Any
) -> None:
    rig = nonsense_rig
    puppet = rig.manager.get("puppet1")
    ctx, before = puppet.context, len(sent(rig))
    resting = rig.resting_order
    calls = {
        "buy": lambda: ctx.buy(symbol, quantity=one, price=two, trigger_price=three, type=LIMIT),
        "sell": lambda: ctx.sell(symbol, amount=one, price=two, type=LIMIT),
        "soft": lambda: ctx.soft(symbol, side, one, deadline_s=two),
        "incremental": lambda: ctx.place_incremental_orders(one, symbol, side, n_children=two, max_child=three),
        "target": lambda: ctx.set_position(symbol, one, deadline_s=two),
        "targets": lambda: ctx.set_positions({PERP: one}, deadline_s=two),
        "close": lambda: ctx.close(symbol, one),
        "amend": lambda: ctx.amend(resting.client_id, price=one, quantity=two),
    }
    try:
        calls[call]()
    except CtosError as error:
        assert str(error)
    except TypeError:
        assert not isinstance(symbol, str | None | int), "only what is no name at all"
    puppet._carry_out_commands()
    rig.run(0.05)
    for request in sent(rig)[before:]:
        instrument = rig.engine.instrument(request.symbol)
        assert request.quantity.is_finite() and request.quantity > 0 and not request.quantity % instrument.lot_size
        assert request.price is not None and request.price > 0 and not request.price % instrument.tick_size
        assert request.quantity * request.price <= 5000
    assert puppet.life.state is InstanceState.RUNNING, "what is refused harms nobody"
    for handle in rig.engine.work_of(puppet.name):
        rig.engine.end(handle)
    for order in rig.working(puppet.name):
        if order is not resting:
            rig.engine.cancel(order.client_id)
    rig.print(100.0)
    rig.run(1.1)


@pytest.fixture
def nonsense_rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path, classes=(Puppet,), driver_of=FaultyDriver)
    puppet = rig.launch("puppet", name="puppet1", risk__max_notional_usd=d(5000), risk__max_order_usd=d(5000))
    act(rig, puppet, lambda ctx: ctx.buy(PERP, quantity=d(1), price=d(90), type=LIMIT))
    (rig.resting_order,) = rig.working("puppet1")
    return rig

"""What restricts an account by itself, what halts it, and what ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.clock import NS_PER_MS, NS_PER_S, VirtualClock
from engine.kernel.errors import AuthError, CtosError, TradingHalted, VenueUnavailable
from engine.kernel.links import LinkState, LinkStatus, VenueHealth
from engine.kernel.orders import OrderState, OrderType
from engine.runtime.accounts import AccountLimits, Mode
from engine.runtime.position_gap import PositionGap
from engine.runtime.shell import ImmediateShell
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

MARKET = OrderType.MARKET


class TroubledDriver(FaultyDriver):
    """A venue whose connections, time and bans a test sets."""

    state = VenueHealth()
    connections: list[LinkStatus]

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self.connections = []

    def health(self) -> VenueHealth:
        return self.state

    def links(self) -> list[LinkStatus]:
        return self.connections


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=TroubledDriver)
    floor.print(100.0)
    floor.admit("grid")
    return floor


def mode(floor: Floor) -> TradingMode:
    return floor.engine.trading.mode


def quote_for(floor: Floor, seconds: int, then: Callable[[], object] = lambda: None) -> None:
    """Let time pass with a print each second."""
    for _ in range(seconds):
        floor.print(100.0)
        floor.run(0.98)
        then()


def test_c03_a_time_known_too_badly_restricts_until_it_is_known_again(floor: Floor):
    floor.hold(1)
    floor.driver.state = VenueHealth(None, 2400.0, 2500.0)
    quote_for(floor, 3)
    assert mode(floor) is TradingMode.ARMED
    floor.driver.state = VenueHealth(None, 2600.0, 2500.0)
    quote_for(floor, 2)
    assert mode(floor) is TradingMode.REDUCE_ONLY
    with pytest.raises(
        TradingHalted, match="the venue's time is known to 2600 ms only, orders need 2500 ms; it ends by"
    ):
        floor.submit(BUY, 1, 99)
    floor.order(SELL, "0.5", type=MARKET)
    assert floor.ledger() == d("0.5")
    floor.driver.state = VenueHealth(None, 100.0, 2500.0)
    quote_for(floor, 8)
    assert mode(floor) is TradingMode.REDUCE_ONLY, "not at the first good sign"
    quote_for(floor, 5)
    assert mode(floor) is TradingMode.ARMED
    assert floor.order(BUY, 1, 99).state is OrderState.OPEN


def test_a_ban_restricts_and_halts_while_orders_are_at_the_venue(floor: Floor):
    until = floor.clock.now_ns() // NS_PER_MS + 60_000
    floor.driver.state = VenueHealth(until)
    floor.run(2)
    assert mode(floor) is TradingMode.REDUCE_ONLY
    assert "nothing until 22:14:20 UTC: too many requests" in floor.engine.trading.describe()
    floor.driver.state = VenueHealth()
    quote_for(floor, 15)
    assert floor.order(BUY, 1, 99).state is OrderState.OPEN
    floor.driver.state = VenueHealth(until + 60_000)
    floor.run(2)
    assert floor.engine.risk.is_halted and "1 orders are at the venue" in floor.engine.trading.describe()


@pytest.mark.parametrize("exposed", [False, True])
def test_e23_a_venue_that_answers_nothing_restricts_and_with_exposure_halts(floor: Floor, exposed: bool):
    if exposed:
        floor.hold(1)
    for name in ("get_open_orders", "get_fills", "get_position", "fetch_balance"):
        floor.driver.broken[name] = VenueUnavailable("maintenance")
    seen = []
    quote_for(floor, 140, lambda: seen.append(mode(floor)))
    assert seen.index(TradingMode.REDUCE_ONLY) in range(25, 40)
    assert "the venue does not answer" in floor.engine.trading.describe()
    if not exposed:
        assert TradingMode.HALTED not in seen
        floor.driver.broken.clear()
        quote_for(floor, 25)
        assert mode(floor) is TradingMode.ARMED, "nothing was at stake: it goes on by itself"
        return
    assert seen.index(TradingMode.HALTED) in range(115, 135)
    quote_for(floor, 30 * 60 - 140)
    assert mode(floor) is TradingMode.HALTED
    with pytest.raises(CtosError, match="the venue does not answer"):
        floor.engine.rearm("ann", "checked")
    floor.driver.broken.clear()
    quote_for(floor, 12)
    floor.engine.rearm("ann", "checked")


def test_e23_what_rests_of_a_disarmed_account_is_cancelled_when_the_venue_is_back(floor: Floor):
    floor.hold(1)
    order = floor.order(BUY, 1, 50)
    floor.engine.disarm("ann")
    for name in ("get_open_orders", "get_fills", "get_position", "fetch_balance"):
        floor.driver.broken[name] = VenueUnavailable("maintenance")
    refusals = floor.driver.gateway.refuse_cancels
    refusals += [VenueUnavailable("maintenance") for _ in range(1000)]
    quote_for(floor, 100)
    assert mode(floor) is TradingMode.DISARMED
    quote_for(floor, 40)
    assert mode(floor) is TradingMode.HALTED
    shown = floor.engine.trading.describe()
    assert "the venue does not answer: maintenance" in shown
    assert "orders being cancelled until the venue confirms it: 1" in shown
    report = floor.engine.panic_switch.report
    for _ in range(10):
        left = len(refusals)
        quote_for(floor, 60)
        assert left - len(refusals) >= 5, "it is tried again for as long as it takes"
        assert report.unconfirmed == [order.label] and f"#{order.label} not confirmed" in report.text
    refusals.clear()
    floor.driver.broken.clear()
    quote_for(floor, 20)
    assert order.state is OrderState.CANCELED and floor.venue_orders() == [] and report.confirmed
    assert floor.venue_quantity() == 1, "a halt closes nothing"


def test_a_disarmed_account_on_a_market_that_has_ended_is_left_alone(floor: Floor):
    floor.hold(1)
    order = floor.order(BUY, 1, 50)
    floor.engine.disarm("ann")
    floor.run(3600)
    assert mode(floor) is TradingMode.DISARMED and order.state is OrderState.OPEN


def test_e22_a_key_that_is_refused_halts_tries_to_cancel_and_asks_seldom(floor: Floor):
    order = floor.order(BUY, 1, 99)
    asked: list[int] = []
    cancel = floor.driver.gateway.cancel

    def refuse(client_id, symbol, reply):
        asked.append(floor.clock.now_ns())
        floor.clock.call_later(0.005, reply, AuthError("invalid api key"))

    floor.driver.gateway.cancel = refuse
    for name in ("get_open_orders", "get_fills", "get_position", "fetch_balance"):
        floor.driver.broken[name] = AuthError("invalid api key")
    quote_for(floor, 15)
    assert (
        floor.engine.risk.is_halted and "the venue refuses the key: invalid api key" in floor.engine.trading.describe()
    )
    assert asked, "cancels are tried"
    quote_for(floor, 120)
    assert len(asked) < 10, "and not in a storm"
    assert floor.engine.panic_switch.report.unconfirmed == [order.label]
    floor.driver.gateway.cancel = cancel
    floor.driver.broken.clear()
    quote_for(floor, 20)
    assert not order.is_open and floor.venue_orders() == []
    floor.engine.rearm("ann", "a new key")


def test_e22_an_order_refused_for_its_key_halts_at_once(floor: Floor):
    floor.driver.gateway.place = lambda request, reply: floor.clock.call_later(0.005, reply, AuthError("key expired"))
    assert floor.order(BUY, 1, 99).state is OrderState.REJECTED
    assert floor.engine.risk.is_halted and "key expired" in floor.engine.trading.describe()


def test_a_position_that_is_not_ours_for_a_minute_halts(floor: Floor):
    floor.hold(1)
    there = floor.venue.get_position

    async def lie(symbol=None):
        return [replace(position, quantity=position.quantity + 1) for position in await there(symbol)]

    floor.driver.get_position = lie
    seen = []
    quote_for(floor, 100, lambda: seen.append(mode(floor)))
    assert TradingMode.REDUCE_ONLY in seen and mode(floor) is TradingMode.HALTED
    assert f"the venue's position is not ours: {PERP}" in floor.engine.trading.describe()
    with pytest.raises(CtosError, match="is not ours"):
        floor.engine.rearm("ann", "so what")


def test_positions_that_the_stream_does_not_bring_are_no_mismatch_while_trades_go_on(floor: Floor):
    floor.engine.portfolio.set_venue_position = lambda position, as_of_ns: None
    floor.hold(1)
    for _ in range(100):
        quote_for(floor, 2)
        floor.order(BUY, 1, type=MARKET)
        assert mode(floor) is TradingMode.ARMED
    assert floor.engine.portfolio.position(PERP).venue_quantity != floor.engine.portfolio.quantity(PERP)


class SlowShell:
    """Asks at once, and gets each answer two seconds later."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def run(self, work: Any, on_result: Callable[[Any], object], on_error: Any) -> None:
        ImmediateShell().run(work, partial(self._clock.call_later, 2.0, on_result), on_error)


def test_positions_listed_before_a_fill_are_no_mismatch_when_the_list_arrives_after_it(floor: Floor):
    floor.engine.portfolio.set_venue_position = lambda position, as_of_ns: None
    floor.engine.reconciler._shell = SlowShell(floor.clock)
    floor.hold(1)
    for _ in range(100):
        quote_for(floor, 1)
        floor.order(BUY, 1, type=MARKET)
        assert mode(floor) is TradingMode.ARMED
    assert floor.engine.portfolio.position(PERP).venue_quantity != floor.engine.portfolio.quantity(PERP)


def test_a_mismatch_ends_when_the_fill_that_made_the_account_flat_is_booked_late(floor: Floor):
    floor.hold(1)
    floor.engine.portfolio.set_venue_positions([], floor.clock.now_ns())
    floor.engine.portfolio._venue_positions.clear()
    gap = PositionGap(floor.engine.core)
    assert gap.symbols() == [PERP]
    floor.order(SELL, 1, type=MARKET, reduce_only=True)
    floor.engine.portfolio._venue_positions.clear()
    assert gap.symbols() == []


def test_prices_that_stop_on_a_broken_line_restrict_and_halt_but_a_quiet_market_does_not(floor: Floor):
    floor.hold(1)
    floor.run(200)
    assert mode(floor) is TradingMode.ARMED, "nothing says that the line is broken"
    floor.driver.connections = [LinkStatus("public", LinkState.STALE, 0, detail="no message for 10 s")]
    floor.run(19)
    assert mode(floor) is TradingMode.ARMED
    floor.run(5)
    assert mode(floor) is TradingMode.REDUCE_ONLY and f"no prices of {PERP}" in floor.engine.trading.describe()
    floor.run(100)
    assert floor.engine.risk.is_halted


def test_a_loop_that_stood_still_restricts_for_a_while_and_asks_the_venue(floor: Floor):
    asked = floor.engine.reconciler.last_agreed_ns
    real = [0]
    floor.clock.stopwatch_ns = lambda: real[0]
    floor.engine.conditions.start()
    floor.clock._now_ns += 3_000_000_000
    real[0] += 4_000_000_000
    floor.run(1)
    assert "loop_lag" in floor.alarms() and mode(floor) is TradingMode.REDUCE_ONLY
    assert floor.engine.reconciler.last_agreed_ns > asked
    floor.run(60)
    assert mode(floor) is TradingMode.ARMED


def test_what_others_watch_can_restrict_too(floor: Floor):
    floor.engine.conditions.report("memory", "only 60 MB of memory are free")
    floor.run(2)
    assert mode(floor) is TradingMode.REDUCE_ONLY and "60 MB of memory" in floor.engine.trading.describe()
    floor.engine.conditions.report("memory", "")
    floor.run(15)
    assert mode(floor) is TradingMode.ARMED


def test_o09_lower_limits_than_what_is_held_force_no_trade_but_allow_only_reductions(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.hold(10)
    floor.order(BUY, 1, 99)
    before = floor.venue_orders()
    low = AccountLimits(max_notional_usd=d(500), max_order_usd=d(400), max_leverage=d(3))
    again = floor.restart(tmp_path, limits=low, armed=False)
    again.print(100.0)
    again.engine.arm("ann")
    assert mode(again) is TradingMode.REDUCE_ONLY
    text = "trading is reduce-only by engine: max_notional_usd: 1,000 USD is held, more than the limit 500 USD"
    assert again.engine.trading.describe().startswith(text)
    quote_for(again, 30)
    assert again.venue_quantity() == 10 and again.venue_orders() == before, "nothing was traded because of it"
    with pytest.raises(TradingHalted, match="max_notional_usd"):
        again.submit(BUY, 1, 99)
    again.order(SELL, 6, type=MARKET)
    quote_for(again, 15)
    assert again.venue_quantity() == 4 and mode(again) is TradingMode.ARMED
    again.check_books()


def test_p11_a_live_engine_counts_the_time_that_the_machine_slept(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=TroubledDriver)
    floor.print(100.0)
    floor.engine.core.account = replace(floor.account, mode=Mode.LIVE)
    slept = [0]
    floor.clock.stopwatch_ns = lambda: floor.clock.now_ns() + slept[0]
    floor.engine.conditions.start()
    floor.run(2)
    assert mode(floor) is TradingMode.ARMED
    slept[0] = 28_800 * NS_PER_S
    with pytest.raises(TradingHalted, match="stood still for 28"):
        floor.submit(BUY, 1, 99)
    assert not floor.venue_orders()

"""The monitor on money: margin, unexplained equity, fees, funding, refusals and the venue's clock."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.kernel.account import FundingPayment
from engine.kernel.anomaly import Severity
from engine.kernel.errors import CtosError, RiskReject, VenueUnavailable
from engine.kernel.market import FundingRate
from engine.kernel.orders import OrderState, OrderType
from engine.kernel.syscalls import AccountEvent, Fees
from engine.runtime.anomalies import Anomaly
from engine.runtime.events import LogLine
from engine.runtime.shell import run_to_end
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, PERP, SELL, d
from tests.engine.monitor_desk import CALM, QUIET, Desk

MARKET, POST_ONLY = OrderType.MARKET, OrderType.POST_ONLY
STEADY = {**QUIET, **CALM, "pnl_swing": {"warn": 1_000_000, "crit": 1_000_000}}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, levels=STEADY)


def only(desk: Desk, kind: str) -> Anomaly:
    (found,) = [one for one in desk.all() if one.kind == kind]
    return found


def test_margin_of_positions_and_orders_warns_blocks_and_clears(tmp_path: Path):
    desk = Desk(tmp_path, balance=1000, levels=STEADY)
    run_to_end(desk.floor.venue.set_leverage(PERP, d(2)))
    desk.floor.hold(13, 100.0)
    desk.wait(15, 100.0)
    assert desk.kinds() == [], "65 % is below the warning"
    resting = desk.floor.order(BUY, 2, 90)
    desk.wait(2, 100.0)
    margin = only(desk, "margin")
    assert (margin.severity, Decimal(margin.value), margin.threshold) == (Severity.WARN, d("0.74"), "0.7")
    more = desk.floor.order(BUY, 3, 90)
    desk.wait(2, 100.0)
    assert margin.severity is Severity.CRIT and margin.action == "new entries blocked" and margin.symbol == ""
    with pytest.raises(RiskReject, match="Margin Used"):
        desk.floor.submit(BUY, 1, 90)
    for order in (resting, more):
        desk.floor.engine.cancel(order.client_id)
    desk.wait(60, 100.0)
    assert margin.is_active, "65 % is not yet below 90 % of the limit"
    desk.floor.order(SELL, 1, type=MARKET)
    desk.wait(35, 100.0)
    assert not margin.is_active


def test_equity_that_nothing_explains_is_critical_until_a_person_explains_it(desk: Desk, tmp_path: Path):
    desk.floor.hold(10, 100.0)
    desk.wait(5, 100.0)
    desk.floor.venue.exchange.account.deposit("USD", d(-2000))
    desk.wait(60, 100.0)
    assert desk.kinds() == [], "the balances were asked for less than 35 s ago"
    desk.wait(20, 100.0)
    gap = only(desk, "equity_gap")
    assert (gap.severity, Decimal(gap.value)) == (Severity.CRIT, d("0.02"))
    assert "-2000.00 USD" in gap.text and gap.action == "new entries blocked"
    with pytest.raises(RiskReject, match="Equity Gap"):
        desk.floor.submit(BUY, 1, 99)
    desk.wait(200, 100.0)
    assert gap.is_active
    desk.monitor.acknowledge(gap.id, "ann")
    desk.wait(35, 100.0)
    assert gap.is_active, "seen is not explained"
    with pytest.raises(CtosError, match="needs a reason"):
        desk.monitor.decide(gap.id, "ann", " ")
    desk.monitor.decide(gap.id, "ann", "paid out to the bank")
    desk.wait(35, 100.0)
    assert not gap.is_active and gap.acked_by == "ann"
    desk.floor.order(SELL, 1, type=MARKET)
    desk.floor = desk.floor.restart(tmp_path)
    desk.watch(desk.floor)
    desk.wait(1000, 100.0)
    assert desk.active() == [], "what was explained stays explained"
    desk.floor.venue.exchange.account.deposit("USD", d(5000))
    desk.wait(90, 100.0)
    (second,) = desk.monitor.anomalies.active()
    assert second.kind == "equity_gap" and "+5000.00 USD" in second.text


def test_profit_fees_and_funding_explain_the_equity(tmp_path: Path):
    desk = Desk(tmp_path, balance=2000, levels=STEADY, floor={"perp_taker": d("0.01")})
    desk.floor.hold(20, 100.0)
    settle = desk.floor.clock.now_ms() + 20_000
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), 0.02, 8, settle))
    desk.wait(100, 120.0)
    desk.floor.order(SELL, 10, type=MARKET)
    desk.wait(100, 110.0)
    portfolio = desk.floor.engine.portfolio
    assert portfolio.ledger(MANUAL, PERP).funding < -40 and portfolio.ledger(MANUAL, PERP).fees > 30
    assert "equity_gap" not in desk.kinds()


class Schedule(FaultyDriver):
    """A venue with a fee schedule of its own."""

    taker = d("0.0002")
    asked = 0

    async def fees(self, symbol: str) -> Fees:
        self.asked += 1
        if "fees" in self.broken:
            raise self.broken["fees"]
        return msgspec.structs.replace(await self._driver.fees(symbol), taker=self.taker)


def test_fees_above_the_schedule_are_told_after_twenty_fills(tmp_path: Path):
    desk = Desk(tmp_path, levels=STEADY, floor={"driver_of": Schedule, "perp_taker": d("0.00035")})
    desk.wait(1, 100.0)
    for _ in range(19):
        desk.floor.order(BUY, "0.1", type=MARKET)
        desk.wait(1, 100.0)
    assert desk.kinds() == [] and desk.floor.driver.asked == 0
    desk.floor.order(BUY, "0.1", type=MARKET)
    desk.wait(12, 100.0)
    surprise = only(desk, "fee_surprise")
    assert (surprise.severity, surprise.symbol, Decimal(surprise.value)) == (Severity.WARN, PERP, d("0.00015"))
    assert "1.50 bp above" in surprise.text and desk.floor.driver.asked == 1
    desk.floor.driver.taker = d("0.00035")
    desk.wait(3700, 100.0)
    assert not surprise.is_active and desk.floor.driver.asked == 2


def test_a_discount_is_no_surprise_and_a_schedule_that_cannot_be_asked_is_told(tmp_path: Path):
    desk = Desk(tmp_path, levels=STEADY, floor={"driver_of": Schedule, "perp_taker": d("0.00015")})
    lines: list[str] = []
    desk.floor.bus.subscribe(LogLine, lambda line: lines.append(line.text))
    desk.floor.driver.broken["fees"] = VenueUnavailable("maintenance")
    for _ in range(20):
        desk.floor.order(BUY, "0.1", type=MARKET)
        desk.wait(1, 100.0)
    desk.wait(70, 100.0)
    assert len([line for line in lines if "fees of" in line and "maintenance" in line]) == 2
    desk.floor.driver.broken.clear()
    desk.wait(130, 100.0)
    assert desk.floor.driver.asked == 3 and desk.kinds() == []


def funded(tmp_path: Path, rate: float, seconds: int = 30) -> tuple[Desk, int]:
    """Return a desk that holds 100 coins before a settlement at the returned time (ms)."""
    desk = Desk(tmp_path, levels=STEADY, floor={"driver_of": FaultyDriver})
    desk.floor.admit("g1")
    desk.floor.hold(60, 100.0)
    desk.floor.hold(40, 100.0, "g1")
    settle = desk.floor.clock.now_ms() + seconds * 1000
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), rate, 8, settle))
    return desk, settle


def halved(event: AccountEvent) -> tuple[AccountEvent, ...]:
    return (replace(event, amount=event.amount / 2),) if isinstance(event, FundingPayment) else (event,)


def test_funding_as_expected_is_no_surprise_and_other_funding_is_until_the_next(tmp_path: Path):
    desk, settle = funded(tmp_path, 0.0005)
    desk.wait(40, 100.0)
    assert desk.floor.engine.portfolio.ledger("g1", PERP).funding == -2 and desk.kinds() == []
    desk.floor.driver.scramble = halved
    period_ms = 3_600_000
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), 0.0005, 1, settle + period_ms))
    desk.floor.run_to((settle + period_ms) * 1_000_000)
    desk.wait(15, 100.0)
    surprise = only(desk, "funding_surprise")
    assert (surprise.severity, surprise.symbol, surprise.value) == (Severity.WARN, PERP, "0.5")
    assert "-2.50 USD was booked, -5.00 USD were expected" in surprise.text
    desk.wait(200, 100.0)
    assert surprise.is_active
    desk.floor.driver.scramble = lambda event: (event,)
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), 0.0005, 1, settle + 2 * period_ms))
    desk.floor.run_to((settle + 2 * period_ms) * 1_000_000)
    desk.wait(45, 100.0)
    assert not surprise.is_active


def test_a_few_cents_of_funding_are_no_surprise(tmp_path: Path):
    desk, _ = funded(tmp_path, 0.00005)
    desk.floor.driver.scramble = halved
    desk.wait(60, 100.0)
    assert desk.floor.engine.portfolio.ledger("g1", PERP).funding == d("-0.1") and desk.kinds() == []


def test_a_predicted_rate_against_the_position_is_told_until_it_is_paid(tmp_path: Path):
    desk, settle = funded(tmp_path, 0.0012, 90)
    desk.wait(12, 100.0)
    dear = only(desk, "funding_rate")
    assert (dear.severity, dear.symbol, dear.value) == (Severity.WARN, PERP, "0.0012")
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), 0.0002, 8, settle))
    desk.wait(60, 100.0)
    assert dear.is_active, "it clears at the settlement"
    desk.wait(60, 100.0)
    assert not dear.is_active and desk.kinds() == ["funding_rate"]
    desk.floor.order(SELL, 60, type=MARKET)
    desk.floor.order(SELL, 40, type=MARKET, instance="g1")
    desk.floor.order(SELL, 10, type=MARKET)
    desk.floor.play(FundingRate(PERP, desk.floor.clock.now_ms(), 0.009, 8, settle + 3_000_000))
    desk.wait(1000, 100.0)
    assert desk.active() == [], "a short position receives it"


def test_refused_orders_are_counted_by_strategy(desk: Desk):
    desk.floor.admit("g1", "g2", max_open_orders=100)
    desk.wait(1, 100.0)
    for number in range(7):
        assert desk.floor.order(BUY, "0.1", 90 - number, instance="g1").state is OrderState.OPEN
    refuse(desk, "g1", 2)
    desk.wait(12, 100.0)
    assert desk.kinds() == [], "two of nine: too few to judge"
    desk.floor.order(BUY, "0.1", 89.5, instance="g1")
    desk.wait(2, 100.0)
    rate = only(desk, "reject_rate")
    assert (rate.severity, rate.instance, rate.value) == (Severity.WARN, "g1", "0.2")
    for _ in range(3):
        refuse(desk, "g1", 2)
        desk.wait(12, 100.0)
    assert desk.floor.engine.risk.limits_of("g1") and rate.severity is Severity.CRIT and rate.value == "0.5"
    with pytest.raises(RiskReject, match="Orders Rejected"):
        desk.floor.submit(BUY, "0.1", 99, instance="g1")
    assert desk.floor.order(BUY, "0.1", 99, instance="g2").state is OrderState.OPEN
    desk.wait(340, 100.0)
    assert not rate.is_active


def test_quotes_that_would_have_taken_are_no_refusals_to_count(desk: Desk):
    desk.floor.admit("g1", max_open_orders=100)
    desk.wait(1, 100.0)
    orders = [desk.floor.order(BUY, "0.1", 101, POST_ONLY, "g1") for _ in range(12)]
    assert {order.error for order in orders} == {"PostOnlyWouldTake"}
    desk.wait(12, 100.0)
    assert desk.kinds() == []


def refuse(desk: Desk, instance: str, count: int) -> None:
    """Have the venue refuse orders of an instance."""
    place = desk.floor.venue.gateway.place
    clock = desk.floor.clock

    def refused(request: Any, reply: Any) -> None:
        clock.call_later(0.001, reply, CtosError("not today"))

    desk.floor.venue.gateway.place = refused  # type: ignore[method-assign]
    for _ in range(count):
        assert desk.floor.order(BUY, "0.1", 80, instance=instance).state is OrderState.REJECTED
        desk.floor.run(1.0)
    desk.floor.venue.gateway.place = place  # type: ignore[method-assign]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_that_differs_from_the_venues_is_told(desk: Desk, sign: int, monkeypatch: pytest.MonkeyPatch):
    desk.wait(12, 100.0)
    offset_ms = 0.0
    monkeypatch.setattr(desk.floor.venue, "clock_offset_ms", lambda: sign * offset_ms)
    offset_ms = 900.0
    desk.wait(12, 100.0)
    assert desk.kinds() == []
    offset_ms = 1200.0
    desk.wait(12, 100.0)
    skew = only(desk, "clock_skew")
    assert (skew.severity, skew.value) == (Severity.WARN, "1.2")
    assert ("behind paper's" if sign > 0 else "ahead of paper's") in skew.text
    offset_ms = 6000.0
    desk.wait(12, 100.0)
    assert skew.severity is Severity.CRIT and skew.action == "new entries blocked"
    offset_ms = 700.0
    desk.wait(60, 100.0)
    assert skew.is_active
    offset_ms = 400.0
    desk.wait(35, 100.0)
    assert not skew.is_active


def test_a_funding_payment_that_never_comes_is_told_and_forgotten_when_it_is_booked(tmp_path: Path):
    desk, _ = funded(tmp_path, 0.0005)
    desk.floor.driver.scramble = lambda event: () if isinstance(event, FundingPayment) else (event,)
    held_back: list[AccountEvent] = []
    desk.floor.driver._driver.subscribe_account(held_back.append)
    desk.wait(19 * 60, 100.0)
    assert desk.kinds() == [], "venues list payments late"
    desk.wait(120, 100.0)
    (surprise,) = [one for one in desk.all() if one.kind == "funding_surprise"]
    assert surprise.is_active and "no funding was booked 20 min after it was due, -5.00 USD" in surprise.text
    (payment,) = [event for event in held_back if isinstance(event, FundingPayment)]
    desk.floor.engine.booking.on_funding(payment)
    desk.wait(40, 100.0)
    assert not surprise.is_active and desk.floor.engine.portfolio.ledger("g1", PERP).funding == -2

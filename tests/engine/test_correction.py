"""Auto-correction: what was missed is booked, what nobody explains is a person's, what is our own is taken back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drivers.paper.config import QueueModel
from drivers.paper.markets.scripted import trial_instrument
from engine.kernel.account import Position
from engine.kernel.anomaly import Severity
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.market import BookUpdate, Trade
from engine.kernel.orders import Fill, OrderRequest, OrderType, Side
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Purpose
from engine.kernel.syscalls import AccountEvent
from engine.runtime.anomalies import Anomaly
from engine.runtime.client_ids import purpose_of
from engine.runtime.correction_state import CorrectionState, correction_size, note_sent, refusal
from engine.runtime.events import HandActed
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, PERP, SELL, d
from tests.engine.monitor_desk import CALM, QUIET, Desk

MARKET = OrderType.MARKET


class Outside(FaultyDriver):
    """A venue at which things happen that its stream does not tell.

    Attributes:
        listed: Trade ids that the list of executions shows; None for all.
        shift: Base coins by which its position differs from its executions.
        extra: Base coins by which the execution of an order is larger than what the order asked, by client id.
    """

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self.listed: set[str] | None = None
        self.shift = Decimal(0)
        self.extra: dict[str, Decimal] = {}
        self.scramble = self.told

    def told(self, event: AccountEvent) -> list[AccountEvent]:
        if isinstance(event, Position):
            return [replace(event, quantity=event.quantity + self.shift)]
        return [self.enlarged(event)] if isinstance(event, Fill) else [event]

    def enlarged(self, fill: Fill) -> Fill:
        return replace(fill, quantity=fill.quantity + self.extra.get(fill.client_id, Decimal(0)))

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        fills = await self._driver.get_fills(symbol, since)
        return [self.enlarged(fill) for fill in fills if self.listed is None or fill.trade_id in self.listed]

    async def get_position(self, symbol: str | None = None) -> list[Position]:
        return [replace(row, quantity=row.quantity + self.shift) for row in await self._driver.get_position(symbol)]


class Yard(Desk):
    """A desk with a deep book two ticks around the price, at a venue that misbehaves on command."""

    def __init__(self, folder: Path, mode: str = "on", **options: Any) -> None:
        floor = {"driver_of": Outside, "queue": QueueModel.FIFO}
        steady = {**QUIET, **CALM, "pnl_swing": {"warn": 1_000_000, "crit": 1_000_000}}
        super().__init__(folder, correction=mode, floor=floor, levels=steady, **options)
        self.owner: InstanceState | None = InstanceState.RUNNING
        self.monitor.corrector.owner_state = lambda instance: self.owner
        self.book()

    @property
    def venue(self) -> Outside:
        driver: Outside = self.floor.driver
        return driver

    def book(self, middle: float = 100.0) -> None:
        bids = [(round(middle - 0.01 - step, 2), 1000.0) for step in range(5)]
        asks = [(round(middle + 0.01 + step, 2), 1000.0) for step in range(5)]
        self.floor.play(BookUpdate(PERP, self.floor.clock.now_ms(), bids, asks, True))
        self.floor.run()

    def pass_by(self, seconds: float) -> None:
        """Let time pass with a live market that touches nothing."""
        for _ in range(round(seconds)):
            self.book()
            self.floor.run(0.98)

    def trade(self, price: float, size: float, side: Side = BUY) -> None:
        """Play a print that meets what rests up to its price."""
        self.floor.play(Trade(PERP, self.floor.clock.now_ms(), price, size, side, "1"))
        self.floor.run()

    def fill(self, quantity: object) -> None:
        """Fill a part of the one order that rests."""
        (order,) = self.floor.engine.tracker.working(PERP)
        assert order.price is not None
        self.trade(float(order.price), float(d(quantity)), order.side.opposite)

    def take(self, quantity: object, instance: str = "g1") -> None:
        """Have an instance buy at the market."""
        self.floor.order(BUY, quantity, type=MARKET, instance=instance)
        assert self.floor.ledger(instance) == d(quantity)

    def leave(self, held: object, left: object, instance: str = "g1") -> None:
        """Have an instance take a position and close it softly, so that at the deadline a part of it is left."""
        self.take(held, instance)
        self.floor.engine.close(instance, PERP, soft=True, deadline_s=5)
        self.floor.run()
        self.fill(d(held) - d(left))
        self.pass_by(8)
        assert self.floor.ledger(instance) == d(left) and not self.floor.engine.work_of()

    def overfill(self, asked: object, extra: object, instance: str = "g1") -> None:
        """Have an order of an instance filled beyond what it asked for."""
        order = self.floor.submit(BUY, asked, type=MARKET, instance=instance)
        self.venue.extra[order.client_id] = self.venue.shift = d(extra)
        self.floor.run()
        assert self.floor.ledger(instance) == d(asked) + d(extra)

    def corrections(self) -> list[tuple[str, str, str, bool]]:
        """Return (instance, side, quantity, reduce-only) of every order that auto-correction sent, oldest first."""
        placed = [r for r in self.venue.gateway.placed if purpose_of(r.client_id) is Purpose.CORRECTION]
        return [(r.instance, r.side.value, f"{r.quantity.normalize():f}", r.reduce_only) for r in placed]

    def ops(self, *wanted: str) -> list[str]:
        return [op for op in self.floor.ops() if op in wanted]

    def drift(self) -> Anomaly:
        (found,) = [one for one in self.all() if one.kind == "position_drift"]
        return found

    def proposal(self) -> str:
        return self.drift().data["correction"]


def test_t1_a_person_buys_outside_it_is_manual_and_never_answered(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.floor.venue.exchange.place(OrderRequest("", "", PERP, BUY, OrderType.MARKET, d("0.5")))
    yard.floor.venue._commit()
    yard.pass_by(120)
    assert yard.floor.ledger(MANUAL) == d("0.5")
    assert [one.kind for one in yard.all()] == ["external_trade"] and yard.corrections() == []


def test_t2_a_price_that_jumps_is_no_reason_for_an_order(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.pass_by(61)
    for _ in range(30):
        yard.book(112.0)
        yard.floor.run(0.98)
    assert set(yard.kinds()) == {"price_jump"} and yard.corrections() == []
    assert yard.ops("AutoCorrectionProposed") == []


def test_t3_an_own_fill_that_was_missed_repairs_the_ledger_without_an_order(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.venue.deaf = True
    order = yard.floor.submit(SELL, 4, type=MARKET, instance="g1", reduce_only=True)
    yard.venue.listed = {fill.trade_id for fill in yard.floor.venue.exchange.registry.fills}
    yard.pass_by(90)
    yard.venue.listed = None
    yard.floor.engine.reconciler.look_at_orders = lambda: None  # type: ignore[method-assign]
    assert yard.floor.ledger("g1") == 10 and order.filled == 0, "neither stream nor list has told of it"
    yard.venue.deaf = False
    yard.pass_by(60)
    assert yard.floor.ledger("g1") == 6 and order.filled == 4
    assert yard.corrections() == []


def test_t3_a_trade_that_the_venue_listed_too_late_for_reconciliation_is_found(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.venue.deaf = True
    yard.venue.listed = {fill.trade_id for fill in yard.floor.venue.exchange.registry.fills}
    yard.floor.venue.exchange.place(OrderRequest("", "", PERP, SELL, OrderType.MARKET, d("0.5")))
    yard.floor.venue._commit()
    yard.pass_by(180)
    drift = yard.drift()
    assert drift.severity is Severity.CRIT and "never sent" in yard.proposal()
    yard.venue.listed = None
    yard.pass_by(60)
    assert yard.floor.ledger(MANUAL) == d("-0.5") and not drift.is_active
    assert yard.corrections() == [] and "LedgerRepair" in yard.floor.ops()


def test_t4_what_a_close_left_is_taken_back_by_one_reduce_only_order(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.leave("5", "0.3")
    yard.pass_by(20)
    assert yard.corrections() == [("g1", "sell", "0.3", True)]
    yard.fill(5)
    yard.pass_by(60)
    assert yard.floor.ledger("g1") == 0 == yard.floor.venue_quantity() and len(yard.corrections()) == 1
    wanted = ("AutoCorrectionProposed", "AutoCorrectionSent", "AutoCorrectionDone", "AutoCorrectionFailed")
    assert yard.ops(*wanted) == ["AutoCorrectionSent", "AutoCorrectionDone"]
    assert not yard.drift().is_active and "corrected" in yard.drift().action


def test_t4_in_a_dry_run_it_is_only_proposed(tmp_path: Path):
    yard = Yard(tmp_path, mode="dry_run")
    yard.leave("5", "0.3")
    yard.pass_by(1200)
    assert yard.corrections() == [] and yard.floor.ledger("g1") == d("0.3")
    assert yard.proposal().startswith(f"sell 0.3 {PERP} reduce-only, soft for 30 s, for g1; not sent")
    assert yard.ops("AutoCorrectionProposed", "AutoCorrectionSent") == ["AutoCorrectionProposed"]
    assert yard.drift().severity is Severity.WARN, "its cause is known, so it blocks nothing"


def test_t5_a_large_excess_goes_by_200_usd_three_times_an_hour(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.overfill("21", "9")
    for number in (1, 2, 3):
        yard.pass_by(25)
        assert len(yard.corrections()) == number
        yard.fill(50)
        yard.pass_by(880)
    yard.pass_by(800)
    assert yard.corrections() == 3 * [("g1", "sell", "2", True)], "200 USD at 100 each"
    assert "3 an account in 60 min" in yard.proposal()
    yard.pass_by(200)
    assert len(yard.corrections()) == 4, "an hour after the first"


def test_t6_a_position_that_a_person_closed_is_not_opened_again(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.floor.venue.exchange.place(OrderRequest("", "", PERP, SELL, OrderType.MARKET, d(10)))
    yard.floor.venue._commit()
    yard.pass_by(600)
    assert (yard.floor.ledger("g1"), yard.floor.ledger(MANUAL)) == (10, -10)
    assert yard.corrections() == [] and "position_drift" not in yard.active()


def test_t7_a_jump_that_lasts_is_one_record_and_no_order(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.pass_by(61)
    for second in range(300):
        yard.book(100.0 + 20.0 * (second % 30 > 15))
        yard.floor.run(0.98)
    assert yard.kinds().count("price_jump") == 1 and yard.corrections() == []


def test_t8_while_the_venue_is_silent_nothing_is_corrected(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.leave("5", "0.3")
    yard.floor.run(60)
    assert yard.corrections() == [] and "no fresh market data" in yard.proposal()


def test_e17_a_quantity_without_a_trade_blocks_entries_until_a_person_decides(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.take(10)
    yard.venue.shift = d("-0.5")
    yard.floor.engine.reconciler.look_at_account()
    yard.pass_by(30)
    drift = yard.drift()
    assert drift.severity is Severity.CRIT and "never sent" in yard.proposal() and yard.corrections() == []
    with pytest.raises(RiskReject, match=f"#{drift.id}"):
        yard.floor.submit(BUY, 1, 99)
    with pytest.raises(CtosError, match="reason"):
        yard.monitor.decide(drift.id, "ann", "")
    assert yard.monitor.decision(drift) == "book the venue's quantity: -0.5 goes to the ledger 'manual'"
    portfolio = yard.floor.engine.portfolio
    shown = portfolio.venue_positions()[PERP]
    portfolio.set_venue_position(replace(shown, quantity=d("9.2")), yard.floor.clock.now_ns())
    with pytest.raises(CtosError, match=r"moved on to 9\.2: decide in a moment"):
        yard.monitor.decide(drift.id, "ann", "the venue settled it")
    portfolio.set_venue_position(shown, yard.floor.clock.now_ns())
    yard.monitor.decide(drift.id, "ann", "the venue settled it")
    yard.pass_by(30)
    assert (yard.floor.ledger(MANUAL), portfolio.adjusted(PERP)) == (d("-0.5"), d("-0.5"))
    assert not drift.is_active and "ann decided" in drift.action and drift.acked_by == "ann"
    repairs = [fields["det"] for op, fields in yard.floor.operations if op == "LedgerRepair"]
    assert repairs == ["accepted by ann: the venue settled it"]
    yard.floor.order(BUY, 1, type=MARKET)
    assert yard.corrections() == []


def test_a_drift_of_which_only_a_known_excess_is_left_blocks_nothing_any_more(tmp_path: Path):
    yard = Yard(tmp_path, mode="dry_run")
    yard.overfill("2", "1")
    yard.pass_by(30)
    drift = yard.drift()
    assert drift.severity is Severity.WARN and "is not wanted" in drift.text and not drift.action
    yard.venue.shift += d(-2)
    yard.floor.engine.reconciler.look_at_account()
    yard.pass_by(30)
    assert drift.severity is Severity.CRIT and "apart" in drift.text and drift.action == "new entries blocked"
    with pytest.raises(RiskReject, match=f"#{drift.id}"):
        yard.floor.submit(BUY, 1, 99)
    yard.changes.clear()
    yard.venue.shift += d(2)
    yard.floor.engine.reconciler.look_at_account()
    yard.pass_by(15)
    assert drift.is_active and drift.severity is Severity.WARN and not drift.action
    assert "1 of 3 is not wanted" in drift.text and drift.data["drift"] == "1"
    assert ("position_drift", "WARN", False) in yard.changes, "kept and shown, and nobody is called for it"
    yard.floor.submit(BUY, 1, 99)


@pytest.mark.parametrize("what", ["order", "cancel", "parameter", "paused", "halted", "kill", "disarmed"])
def test_a_person_is_never_fought(tmp_path: Path, what: str):
    yard = Yard(tmp_path)
    yard.leave("5", "0.3")
    act = {
        "order": lambda: yard.floor.order(BUY, 1, 90),
        "cancel": lambda: yard.floor.bus.publish(HandActed(PERP, "")),
        "parameter": lambda: yard.floor.bus.publish(HandActed("", "g1")),
        "paused": lambda: setattr(yard, "owner", InstanceState.PAUSED),
        "halted": lambda: setattr(yard, "owner", InstanceState.HALTED),
        "kill": lambda: yard.floor.engine.panic("ann"),
        "disarmed": lambda: yard.floor.engine.disarm("ann"),
    }
    act[what]()
    yard.pass_by(29 * 60)
    assert yard.corrections() == [] and "not sent" in yard.proposal()
    yard.pass_by(3 * 60)
    assert len(yard.corrections()) == (1 if what in ("order", "cancel", "parameter") else 0)


def test_a_correction_that_does_not_help_disarms_its_symbol_until_a_person_decides(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.leave("5", "0.3")
    yard.pass_by(60)
    assert len(yard.corrections()) == 1 and yard.floor.ledger("g1") == d("0.3"), "nobody bought it"
    assert yard.ops("AutoCorrectionFailed", "AutoCorrectionDisarmed")[-1] == "AutoCorrectionDisarmed"
    yard.pass_by(3600)
    assert len(yard.corrections()) == 1 and "disarmed" in yard.proposal()
    yard.monitor.decide(yard.drift().id, "ann", "thin market, try again")
    yard.pass_by(40)
    assert len(yard.corrections()) == 2


def test_an_entry_of_the_owner_makes_what_was_left_its_own(tmp_path: Path):
    yard = Yard(tmp_path, mode="dry_run")
    yard.leave("5", "0.3")
    yard.pass_by(20)
    assert yard.drift().is_active
    yard.floor.order(BUY, 1, 90, instance="g1")
    yard.pass_by(60)
    assert not yard.drift().is_active


def test_locks_and_counters_outlive_a_restart(tmp_path: Path):
    yard = Yard(tmp_path)
    yard.overfill("21", "9")
    yard.pass_by(20)
    yard.fill(50)
    yard.pass_by(60)
    assert len(yard.corrections()) == 1
    shift = yard.venue.shift
    yard.floor = yard.floor.restart(tmp_path, driver_of=Outside, queue=QueueModel.FIFO)
    yard.venue.shift = shift
    yard.floor.admit("g1")
    yard.watch(yard.floor)
    yard.monitor.corrector.owner_state = lambda instance: yard.owner
    yard.floor.engine.reconciler.look_at_account()
    yard.pass_by(600)
    assert yard.corrections() == [] and "one a symbol in 15 min" in yard.proposal()
    yard.pass_by(400)
    assert len(yard.corrections()) == 1


def test_a_correction_is_on_record_before_its_order_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    yard = Yard(tmp_path)
    seen: list[CorrectionState] = []
    soft, journal = yard.floor.engine.soft, yard.floor.journal

    def watched(instance: str, symbol: str, *args: Any, **options: Any) -> str:
        if options.get("purpose") is Purpose.CORRECTION:
            (saved,) = [value for key, value in journal.items("notes") if key.endswith("/correction")]
            seen.append(msgspec.json.decode(saved, type=CorrectionState))
        return soft(instance, symbol, *args, **options)

    monkeypatch.setattr(yard.floor.engine, "soft", watched)
    yard.leave("5", "0.3")
    yard.pass_by(20)
    (state,) = seen
    assert state.running is not None and state.running.symbol == PERP
    assert len(state.sent) == 1 and state.directions[PERP].side is SELL


@pytest.mark.parametrize(
    ("excess", "base", "price", "size"),
    [("9", "30", "100", "2"), ("0.3", "5", "100", "0.3"), ("5", "10", "100", "1"), ("0.05", "0.05", "100", "0.05")],
)
def test_an_order_is_the_least_of_excess_200_usd_and_a_tenth(excess: str, base: str, price: str, size: str):
    instrument = replace(trial_instrument(), min_notional=d(5))
    assert correction_size(d(excess), d(base), d(price), instrument) == d(size)


def test_the_minimum_is_used_when_the_excess_covers_it_and_nothing_is_sent_when_it_does_not():
    instrument = replace(trial_instrument(), min_notional=d(5))
    assert correction_size(d("0.2"), d("0.2"), d(100), instrument) == d("0.05")
    assert correction_size(d("0.04"), d("0.04"), d(100), replace(instrument, min_quantity=d("0.05"))) == 0


def test_the_opposite_direction_is_locked_for_a_day():
    state = CorrectionState()
    note_sent(state, PERP, SELL, 0)
    hour = 3_600_000
    assert "no buy for 24 h" in refusal(state, PERP, "g1", BUY, 23 * hour)
    assert refusal(state, PERP, "g1", SELL, 23 * hour) == "" == refusal(state, PERP, "g1", BUY, 24 * hour)

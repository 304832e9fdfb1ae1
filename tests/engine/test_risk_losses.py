from __future__ import annotations

import json

import pytest

from engine.kernel.errors import CtosError, TradingHalted
from engine.kernel.orders import Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.risk import RiskWatcher
from engine.runtime.trading_state import TradingMode, TradingState
from tests.engine.risk_view import BTC, DAY_S, Gate, d


def profit(gate: Gate, usd: object, seconds: float = 1.0) -> None:
    gate.view.profits["grid"] = d(usd)
    gate.clock.advance(seconds)


def watching(**risk: object) -> Gate:
    gate = Gate(**risk)
    gate.watcher.start()
    return gate


def test_stop_loss_halts_the_instance_once_and_refuses_its_entries() -> None:
    gate = watching(daily_loss_pct=1)
    profit(gate, "-49.99")
    assert not gate.halted_instances
    profit(gate, -50, 5)
    text = "stop_loss_pct: a loss of 50 USD reaches the limit 50 USD (5 %)"
    assert gate.halted_instances == [("grid", text)]
    with pytest.raises(TradingHalted, match=r"grid is halted \(stop_loss_pct.*resume it"):
        gate.send()
    gate.view.held["grid", BTC] = d(1)
    gate.send(Side.SELL, 1)
    assert gate.state.mode is TradingMode.ARMED, "the account goes on"


def test_a_resumed_instance_is_measured_from_there() -> None:
    gate = watching()
    profit(gate, -60)
    gate.watcher.release_instance("grid")
    profit(gate, -65, 5)
    gate.send()
    assert len(gate.halted_instances) == 1
    profit(gate, -110)
    assert len(gate.halted_instances) == 2


def test_daily_loss_starts_anew_at_midnight_utc() -> None:
    gate = watching(stop_loss_pct=1)
    profit(gate, -20, DAY_S - 1)
    profit(gate, -20, 2)
    profit(gate, -49)
    assert not gate.halted_instances
    profit(gate, -50)
    assert gate.halted_instances == [("grid", "daily_loss_pct: a loss of 30 USD reaches the limit 30 USD (3 %)")]


def test_drawdown_is_measured_from_the_best_equity() -> None:
    gate = watching(stop_loss_pct=1, daily_loss_pct=1)
    profit(gate, 1000)
    profit(gate, 501)
    assert not gate.halted_instances
    profit(gate, 500)
    assert gate.halted_instances == [("grid", "max_drawdown_pct: a loss of 500 USD reaches the limit 500 USD (25 %)")]


def test_an_earlier_profit_of_the_name_is_not_a_loss_of_this_instance() -> None:
    gate = Gate()
    gate.view.profits["trend"] = d(-500)
    gate.watcher.admit("trend", RiskParams(), d(1000))
    gate.watcher.start()
    gate.clock.advance(5)
    assert not gate.halted_instances


def test_more_capital_moves_the_limits() -> None:
    gate = watching(daily_loss_pct=1)
    gate.watcher.admit("grid", RiskParams(daily_loss_pct=d(1)), d(2000))
    profit(gate, -99)
    assert not gate.halted_instances
    profit(gate, -100)
    assert gate.halted_instances


def test_the_accounts_daily_loss_halts_the_account_latched() -> None:
    gate = watching()
    gate.view.equity_usd, gate.view.day_usd = d(9_701), d(-299)
    gate.clock.advance(5)
    assert not gate.halted
    gate.view.equity_usd, gate.view.day_usd = d(9_700), d(-300)
    gate.clock.advance(5)
    assert gate.halted == ["daily_loss_pct: a loss of 300 USD reaches the limit 300 USD (3 %)"]
    assert gate.watcher.is_halted
    gate.view.equity_usd, gate.view.day_usd = d(10_000), d(0)
    gate.clock.advance(5)
    with pytest.raises(TradingHalted, match="release it with rearm"):
        gate.state.arm("ann")


def test_blindness_is_told_at_once_and_halts_after_120_s() -> None:
    gate = watching()
    gate.view.profits["grid"] = None
    gate.clock.advance(300)
    assert gate.state.mode is TradingMode.ARMED, "nothing is held"
    gate.view.held["grid", BTC] = d("0.0005")
    gate.clock.advance(300)
    assert gate.state.mode is TradingMode.ARMED, "half a lot, which no order can sell"
    gate.view.held["grid", BTC] = d(1)
    gate.clock.advance(20)
    gate.view.profits["grid"] = d(0)
    gate.clock.advance(20)
    gate.view.profits["grid"] = None
    assert not gate.watcher.losses.is_blind, "it could see in between"
    gate.clock.advance(119)
    assert gate.watcher.losses.is_blind and not gate.halted
    gate.clock.advance(3)
    assert gate.halted == ["profit and loss could not be computed for 120 s with open positions"]


def test_unknown_equity_is_blindness_too() -> None:
    gate = watching()
    gate.view.held["grid", BTC] = d(1)
    gate.view.equity_usd = None
    gate.clock.advance(2)
    assert gate.watcher.losses.is_blind


def test_a_drawdown_from_the_best_profit_halts_and_is_measured_anew_by_whoever_releases_it() -> None:
    gate = watching(limits=AccountLimits(max_drawdown_pct=d("0.1")))
    gate.view.profit_usd = d(1000)
    gate.clock.advance(2)
    gate.view.profit_usd, gate.view.equity_usd = d(-99), d(9_000)
    again = RiskWatcher(gate.clock, gate.watcher.limits, gate.view, TradingState(gate.clock), gate.halted.append)
    again.restore(json.loads(json.dumps(gate.watcher.to_dict())))
    assert again.losses.peak == 1000, "kept over a restart"
    gate.clock.advance(2)
    assert gate.halted == ["max_drawdown_pct: a loss of 1,099 USD reaches the limit 1,009.9 USD (10 %)"]
    gate.halted.clear()
    gate.watcher.losses.release_account()
    gate.state.rearm("ann", "seen")
    gate.clock.advance(2)
    assert not gate.halted


def test_watching_stops() -> None:
    gate = watching()
    gate.watcher.stop()
    profit(gate, -900, 60)
    assert not gate.halted_instances


def test_a_restart_keeps_halts_and_what_was_lost() -> None:
    gate = watching(stop_loss_pct=1)
    profit(gate, 100)
    profit(gate, 80)
    gate.state.halt("ann", "panic")
    body = json.loads(json.dumps(gate.watcher.to_dict()))
    state = TradingState(gate.clock)
    again = RiskWatcher(gate.clock, AccountLimits(), gate.view, state, gate.halted.append)
    again.on_instance_halt = lambda instance, reason: gate.halted_instances.append((instance, reason))
    again.restore(body)
    again.admit("grid", RiskParams(stop_loss_pct=d(1)), d(1000))
    assert again.is_halted and state.describe() == "trading is halted by ann: panic"
    gate.watcher.stop()
    again.start()
    profit(gate, -29)
    assert not gate.halted_instances
    profit(gate, -30)
    assert gate.halted_instances == [("grid", "daily_loss_pct: a loss of 30 USD reaches the limit 30 USD (3 %)")]
    assert json.loads(json.dumps(again.to_dict()))["losses"]["grid"]["halted"]


def test_a_drawdown_goes_on_over_a_restart() -> None:
    gate = watching(stop_loss_pct=1, daily_loss_pct=1)
    profit(gate, 1000)
    body = json.loads(json.dumps(gate.watcher.to_dict()))
    again = RiskWatcher(gate.clock, AccountLimits(), gate.view, TradingState(gate.clock), gate.halted.append)
    again.on_instance_halt = lambda instance, reason: gate.halted_instances.append((instance, reason))
    again.restore(body)
    again.admit("grid", RiskParams(stop_loss_pct=d(1), daily_loss_pct=d(1)), d(1000))
    gate.watcher.stop()
    again.start()
    profit(gate, 501)
    assert not gate.halted_instances
    profit(gate, 500)
    assert gate.halted_instances == [("grid", "max_drawdown_pct: a loss of 500 USD reaches the limit 500 USD (25 %)")]


def test_what_must_be_kept_is_announced() -> None:
    changes: list[None] = []
    gate = Gate(on_change=lambda: changes.append(None))
    assert len(changes) == 1, "admitted"
    gate.watcher.start()
    gate.clock.advance(2)
    assert len(changes) == 2, "the account's first peak: a crash now must not forget what the drawdown is measured from"
    gate.clock.advance(DAY_S)
    assert len(changes) == 3, "a new day, nothing else"
    kept = gate.watcher.to_dict()
    profit(gate, d("0.5"))
    assert len(changes) == 3 and gate.watcher.to_dict() == kept, "a peak that is hardly higher"
    profit(gate, 2)
    assert len(changes) == 4, "a higher peak, from which a drawdown is measured after a crash"
    profit(gate, d("2.5"))
    gate.watcher.stop()
    assert len(changes) == 4 and gate.watcher.to_dict()["losses"]["grid"]["peak"] == "1002.5", "exact at the end"
    gate.watcher.start()
    profit(gate, -60)
    assert len(changes) == 5, "halted"


def test_a_dismissed_instance_starts_clean() -> None:
    gate = watching()
    profit(gate, -60)
    gate.watcher.dismiss("grid")
    gate.watcher.admit("grid", RiskParams(), d(1000))
    gate.send()


class TestTradingState:
    def test_the_account_stays_armed_while_the_grant_for_orders_by_hand_runs_out(self) -> None:
        gate = Gate()
        seen = []
        state = TradingState(gate.clock, seen.append, hand_needs_grant=True)
        assert state.mode is TradingMode.DISARMED and not state.is_hand_open
        with pytest.raises(TradingHalted, match="arm it first"):
            state.open_hand(60)
        state.arm("ann", hand_s=60)
        gate.clock.advance(59)
        assert state.is_hand_open
        state.open_hand(60)
        gate.clock.advance(59)
        assert state.is_hand_open, "granted anew"
        gate.clock.advance(2)
        assert not state.is_hand_open and state.mode is TradingMode.ARMED
        assert [status.mode.value for status in seen] == ["armed"]

    def test_locked_orders_by_hand_leave_strategies_reductions_and_begun_work_alone(self) -> None:
        gate = Gate()
        gate.state.hand_needs_grant = True
        gate.view.held[(MANUAL, BTC)] = d(1)
        with pytest.raises(TradingHalted, match="orders by hand are locked"):
            gate.send(instance=MANUAL)
        with pytest.raises(TradingHalted, match="orders by hand are locked"):
            gate.watcher.check_hand(MANUAL)
        gate.send(instance=MANUAL, side=Side.SELL, price=105, reduce_only=True)
        gate.send(instance=MANUAL, parent="soft1")
        gate.send()
        gate.state.open_hand(60)
        gate.send(instance=MANUAL, price=99)

    def test_a_restriction_of_the_engine_ends_by_itself_one_of_a_person_does_not(self) -> None:
        state = TradingState(Gate().clock)
        state.arm("ann")
        state.restrict("engine", "no prices", lifts=True)
        with pytest.raises(TradingHalted, match="no prices; it ends by itself"):
            state.arm("ann")
        state.lift("engine", "prices are back")
        assert state.mode is TradingMode.ARMED
        state.restrict("engine", "no prices", lifts=True)
        state.restrict("ann", "holiday")
        state.restrict("engine", "no prices", lifts=True)
        state.lift("engine", "prices are back")
        assert state.describe() == "trading is reduce-only by ann: holiday"
        state.rearm("ann", "back")
        assert state.mode is TradingMode.ARMED

    def test_a_halt_is_latched_and_keeps_its_first_reason(self) -> None:
        state = TradingState(Gate().clock)
        state.arm("ann")
        state.halt("ann", "panic")
        state.halt("risk", "daily loss")
        state.disarm("ann")
        state.restrict("risk", "no data")
        assert state.describe() == "trading is halted by ann: panic"

    def test_rearm_needs_a_halt_and_a_reason(self) -> None:
        state = TradingState(Gate().clock)
        with pytest.raises(CtosError, match="there is no halt to release"):
            state.rearm("ann", "fixed")
        state.halt("ann", "panic")
        with pytest.raises(CtosError, match="needs a reason"):
            state.rearm("ann", "  ")
        state.rearm("ann", "looked at it")
        assert (state.mode, state.status.reason) == (TradingMode.ARMED, "looked at it")

    @pytest.mark.parametrize("mode", ["armed", "disarmed", "reduce_only", "halted"])
    def test_after_a_restart_only_restrictions_are_left(self, mode: str) -> None:
        clock = Gate().clock
        state, again = TradingState(clock), TradingState(clock)
        if mode != "disarmed":
            state.arm("ann", 60)
        if mode == "reduce_only":
            state.restrict("risk", "blind")
        if mode == "halted":
            state.halt("ann", "panic")
        again.restore(json.loads(json.dumps(state.to_dict())))
        assert again.mode.value == (mode if mode in ("reduce_only", "halted") else "disarmed")

    def test_nothing_is_restricted_that_is_not_armed(self) -> None:
        state = TradingState(Gate().clock)
        state.restrict("risk", "blind")
        assert state.mode is TradingMode.DISARMED

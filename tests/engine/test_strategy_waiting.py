"""Strategies that wait: halted before they go on, paused, faulted, stopped with something left, not restored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from engine.io.logs import LEVELS
from engine.kernel.errors import CtosError, InvalidOrder, Paused, UnknownStrategy, VenueUnavailable
from engine.kernel.market import Trade
from engine.kernel.orders import Fill, OrderType, Pending, Side
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import DoneStatus, PauseMode, StopPolicy
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.risk.rates import STORM
from tests.engine.faults import FaultyDriver
from tests.engine.floor import d
from tests.engine.test_strategy_manager import Probe, Watcher, boom, buy, do, heard, hold, launch, state, stop_order
from tests.paper.venue import OTHER, PERP
from tests.rig import Rig


class Guard(Probe):
    """Looks after what it has once a second, and may fail or enter at its start."""

    name = "guard"
    at_start = None

    def on_start(self, reason: str) -> None:
        super().on_start(reason)
        self.ctx.timer.every("look", 1)
        if Guard.at_start is not None:
            Guard.at_start(self.ctx)


@pytest.fixture
def rig(tmp_path) -> Rig:
    Guard.at_start = None
    return Rig(tmp_path, classes=(Probe, Watcher, Guard))


def names(rig: Rig) -> list[str]:
    return [name for name, _ in heard(rig)]


def looks(rig: Rig) -> int:
    return heard(rig).count(("timer", "look"))


def critical(rig: Rig) -> list[str]:
    return [instance for kind, _, instance, level in rig.anomalies if (kind, level) == ("strategy_fault", "CRIT")]


def restart_halted(rig: Rig, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Rig:
    """Start anew with a halt that comes before the strategies go on."""
    start = Rig.start

    def halted(self: Rig) -> None:
        start(self)
        self.engine.panic("KILL file", "found at the start")

    with monkeypatch.context() as patch:
        patch.setattr(Rig, "start", halted)
        return rig.restart(armed=False, **options)


def let_go(rig: Rig) -> None:
    rig.engine.rearm("operator", "checked")
    if rig.engine.trading.mode.value != "ARMED":
        rig.engine.arm("operator")


def test_a_halt_before_instances_go_on_leaves_none_of_them_deaf(rig, monkeypatch):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    second = restart_halted(rig, monkeypatch, prices=[95])
    assert state(second) is InstanceState.HALTED and not second.manager.get("p1").is_asleep
    assert names(second) == ["fill", "filled"]
    let_go(second)
    second.manager.resume("p1")
    second.run(1)
    assert state(second) is InstanceState.RUNNING
    assert second.manager.get("p1").context.state["fills"] == 2
    do(second, buy(1, 80))
    assert len(second.working("p1")) == 1, "its limits are in force"
    second.print(80)
    assert heard(second)[-1][0] == "filled"


@pytest.mark.parametrize("policy", [None, StopPolicy.FLATTEN])
def test_a_halt_before_instances_go_on_keeps_what_they_were_about(rig, monkeypatch, policy):
    launch(rig)
    hold(rig)
    if policy is None:
        rig.manager.pause("p1")
    else:
        rig.engine.disarm("test")
        rig.manager.stop("p1", policy)
    second = restart_halted(rig, monkeypatch)
    assert state(second) is (InstanceState.HALTED if policy is None else InstanceState.STOPPING)
    if policy is not None:
        let_go(second)
        second.run(6)
        assert state(second) is InstanceState.STOPPED and second.ledger_of("p1").quantity == 0


def test_a_fault_does_not_undo_a_pause(rig):
    rig.launch("guard", name="p1")
    hold(rig)
    rig.manager.pause("p1")
    do(rig, boom)
    assert state(rig) is InstanceState.FAULTED
    rig.run(6)
    assert state(rig) is InstanceState.PAUSED and heard(rig)[0] == ("start", "restart")
    before = looks(rig)
    rig.run(3)
    assert looks(rig) >= before + 2 and not rig.manager.get("p1").entries_allowed
    do(rig, boom)
    second = rig.restart()
    assert state(second) is InstanceState.PAUSED and second.manager.get("p1").life.reason == "by the operator"
    second.manager.resume("p1")
    assert state(second) is InstanceState.RUNNING and heard(second)[-1] == ("start", "resume")
    do(second, boom)
    second.run(32)
    assert state(second) is InstanceState.RUNNING, "only a pause that holds is gone back to"


def test_one_that_never_started_hears_nothing_while_it_is_paused(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), first_price=None, armed=False)
    launch(rig)
    rig.manager.pause("p1")
    rig.print(100)
    rig.engine.arm("test")
    rig.manager.amend("p1", {"size": 3})
    with pytest.raises(CtosError, match="before it had started"):
        rig.manager.act("p1", "jump", {})
    rig.run(3)
    assert heard(rig) == [] and state(rig) is InstanceState.PAUSED
    rig.manager.resume("p1")
    assert heard(rig) == [("start", "new")] and rig.manager.get("p1").strategy.params.size == 3


def test_a_paused_instance_looks_after_its_position_after_a_restart(rig):
    rig.launch("guard", name="p1")
    hold(rig)
    rig.manager.pause("p1")
    second = rig.restart(armed=False)
    assert state(second) is InstanceState.PAUSED and heard(second) == [("start", "restart")]
    second.engine.arm("test")
    second.run(3)
    assert looks(second) >= 2 and state(second) is InstanceState.PAUSED
    with pytest.raises(Paused):
        second.manager.get("p1").context.buy(PERP, quantity=d(1), price=d(90))
    second.manager.pause("p1", PauseMode.FREEZE)
    third = second.restart()
    third.run(3)
    assert state(third) is InstanceState.PAUSED and heard(third) == []
    third.manager.pause("p1")
    third.run(3)
    assert heard(third)[0] == ("start", "restart") and looks(third) >= 2


def test_a_start_that_wants_to_enter_waits_for_resume(rig):
    Guard.at_start = buy(1, 90)
    rig.launch("guard", name="p1")
    rig.manager.pause("p1")
    rig.run()
    second = rig.restart()
    second.run(3)
    assert state(second) is InstanceState.PAUSED and looks(second) == 0 and critical(second) == []
    assert any("until it is resumed" in text for text in second.log_of("p1"))
    second.manager.resume("p1")
    second.run(3)
    assert looks(second) >= 2 and len(second.working("p1")) == 1


def test_a_level_that_there_is_not_reaches_the_log_as_a_warning(rig):
    launch(rig)
    do(rig, lambda ctx: ctx.log("thin \ud800 ice", "warning", left=3))
    assert ("warn", "p1", "thin ? ice left=3") in rig.lines and state(rig) is InstanceState.RUNNING
    assert all(level in LEVELS for level, _, _ in rig.lines)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def unspeakable(ctx) -> None:
    raise Unspeakable


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda ctx: ctx.why(None), "why None must be a text"),
        (lambda ctx: ctx.anomaly(None, PERP, 1, 2, "text"), "kind None must be a text"),
        (lambda ctx: ctx.anomaly("odd", None, 1, 2, "text"), "symbol None must be a text"),
        (lambda ctx: ctx.anomaly("odd", "", 1, 2, 3.5), "text 3.5 must be a text"),
        (lambda ctx: ctx.anomaly("odd", "", 1, 2, "text", None), "severity None must be a text"),
        (lambda ctx: ctx.cancel(["x"]), "must be a text"),
        (unspeakable, "its text cannot be made"),
    ],
)
def test_words_of_a_wrong_type_are_an_error_of_their_strategy_alone(rig, action, words):
    launch(rig)
    do(rig, action)
    assert state(rig) is InstanceState.FAULTED and words in rig.manager.get("p1").life.reason
    assert [kind for kind, *_ in rig.anomalies] == ["strategy_fault"]
    assert state(rig.restart()) is InstanceState.RUNNING


def test_half_a_character_in_words_can_be_kept(rig):
    launch(rig)
    do(rig, lambda ctx: ctx.why("thin \ud800 ice"))
    second = rig.restart()
    assert state(second) is InstanceState.RUNNING


@pytest.mark.parametrize("cause", ["class", "limits"])
def test_what_is_not_restored_leaves_no_entries_and_is_told(rig, cause):
    launch(rig, risk__max_notional_usd=800)
    hold(rig)
    do(rig, buy(1, 95))
    do(rig, stop_order())
    options = {"classes": (Watcher,)} if cause == "class" else {"limits": AccountLimits(max_notional_usd=d(500))}
    second = rig.restart(**options)
    assert "p1" not in second.manager.instances and critical(second) == ["p1"]
    assert [order.type for order in second.working("p1")] == [OrderType.STOP]
    for ask in (lambda name: second.manager.stop(name, StopPolicy.KEEP), second.manager.pause):
        with pytest.raises(UnknownStrategy, match=f"p1 was not restored: .*nobody looks after 1 {PERP}.*halt p1"):
            ask("p1")
    options = {"classes": (Probe, Watcher)} if cause == "class" else {"limits": AccountLimits()}
    third = second.restart(**options)
    assert state(third) is InstanceState.RUNNING and third.manager.get("p1").context.state["fills"] == 1


def test_what_is_not_restored_and_has_nothing_left_is_forgotten_by_a_stop(rig):
    launch(rig)
    hold(rig)
    second = rig.restart(classes=(Watcher,))
    with pytest.raises(UnknownStrategy, match="nobody looks after"):
        second.manager.stop("p1", StopPolicy.KEEP)
    third = second.restart(classes=(Probe, Watcher))
    third.manager.stop("p1", StopPolicy.KEEP)
    launch(third)
    do(third, lambda ctx: ctx.close(PERP))
    fourth = third.restart(classes=(Watcher,))
    assert critical(fourth) == ["p1"]
    fourth.manager.stop("p1")
    assert critical(fourth.restart(classes=(Probe, Watcher))) == []
    with pytest.raises(UnknownStrategy, match="no strategy instance"):
        fourth.manager.stop("p1")


@pytest.mark.parametrize("policy", [None, StopPolicy.FLATTEN])
@pytest.mark.parametrize("closed_before", [False, True])
def test_what_is_not_restored_is_handed_over_by_a_stop(rig, policy, closed_before):
    launch(rig)
    hold(rig)
    do(rig, stop_order())
    do(rig, lambda ctx: ctx.sell(PERP, quantity=d(1), price=d(105), reduce_only=True))
    second = rig.restart(classes=(Watcher,))
    assert len(second.working("p1")) == 2
    if closed_before:
        second.engine.close(MANUAL, PERP)
        second.run(1)
        assert (second.ledger_of("p1").quantity, second.ledger_of(MANUAL).quantity) == (1, -1)
    second.manager.stop("p1", policy)
    second.run(1)
    assert second.working() == [] and second.ledger_of("p1").quantity == 0
    left = 0 if closed_before or policy is StopPolicy.FLATTEN else 1
    assert second.ledger_of(MANUAL).quantity == left == second.venue_quantity()
    assert any(f"moved from p1 to {MANUAL}" in text for text in second.log_of("engine"))
    with pytest.raises(UnknownStrategy, match="no strategy instance"):
        second.manager.stop("p1")
    third = second.restart(classes=(Probe, Watcher))
    assert critical(third) == [] and "p1" not in third.manager.instances
    third.check_books()


def test_fills_of_an_order_that_is_taken_back_are_handed_over_too(rig):
    launch(rig)
    hold(rig)
    do(rig, lambda ctx: ctx.sell(PERP, quantity=d(1), price=d(105), reduce_only=True))
    second = rig.restart(classes=(Watcher,), first_price=None)
    (exit,) = second.working("p1")
    second.manager.stop("p1")
    assert exit.pending is Pending.CANCEL and second.ledger_of("p1").quantity == 1
    second.play(Trade(PERP, second.clock.now_ms(), 105.0, 1.0, Side.BUY, "1"))
    second.run(1)
    assert exit.filled == 1 and second.ledger_of("p1").quantity == second.ledger_of(MANUAL).quantity == 0
    second.check_books()


def test_executions_that_are_still_to_come_are_waited_for_before_a_hand_over(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), driver_of=FaultyDriver)
    launch(rig)
    hold(rig)
    do(rig, lambda ctx: ctx.sell(PERP, quantity=d(1), price=d(105), reduce_only=True))
    second = rig.restart(classes=(Watcher,))
    (exit,) = second.working("p1")
    second.driver.scramble = lambda event: () if isinstance(event, Fill) else (event,)
    second.play(Trade(PERP, second.clock.now_ms(), 105.0, 1.0, Side.BUY, "1"))
    assert exit.reported_filled == 1 and not exit.is_open and second.ledger_of("p1").quantity == 1
    second.manager.stop("p1")
    assert second.ledger_of("p1").quantity == 1, "what is about to be booked is not moved"
    second.run(60)
    assert second.ledger_of("p1").quantity == second.ledger_of(MANUAL).quantity == 0 == second.venue_quantity()
    second.check_books()


def test_what_was_held_back_by_a_fault_outlives_restarts(rig):
    launch(rig)
    do(rig, buy(1, 95))
    for delay in (5, 30, 120):
        do(rig, boom)
        rig.run(delay + 1)
    do(rig, buy(2, 95))
    do(rig, boom)
    assert state(rig) is InstanceState.FAULTED and rig.working("p1") == []
    rig.print(100)
    rig.engine.submit("p1", PERP, Side.BUY, OrderType.LIMIT, d(1), d(99))
    rig.run()
    rig.print(99)
    assert rig.ledger_of("p1").quantity == 1
    second = rig.restart()
    assert state(second) is InstanceState.FAULTED and heard(second) == []
    second.manager.amend("p1", {"size": 2})
    third = second.restart()
    third.manager.resume("p1")
    assert names(third).count("fill") == 1 and third.manager.get("p1").context.state["fills"] == 1
    fourth = third.restart()
    assert "fill" not in names(fourth) and fourth.manager.get("p1").context.state["fills"] == 1


def test_what_went_well_before_a_fault_is_not_told_again_after_a_restart(rig, monkeypatch):
    launch(rig)
    do(rig, buy(1, 95))
    do(rig, buy(1, 94))
    fills = []
    on_fill = Probe.on_fill

    def second_fails(self, fill) -> None:
        fills.append(fill)
        if len(fills) == 2:
            raise ValueError("out of cheese")
        on_fill(self, fill)

    rig.journal.flush()
    monkeypatch.setattr(Probe, "on_fill", second_fails)
    second = rig.restart(prices=[94])
    assert state(second) is InstanceState.FAULTED and second.manager.get("p1").context.state["fills"] == 1
    monkeypatch.setattr(Probe, "on_fill", on_fill)
    third = second.restart()
    assert third.manager.get("p1").context.state["fills"] == 2 and third.ledger_of("p1").quantity == 2


def test_a_loss_limit_of_a_stopped_instance_takes_its_kept_entries_back(rig):
    launch(rig, capital_usd=100)
    hold(rig)
    do(rig, buy(1, 60))
    do(rig, stop_order(50))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    rig.print(90)
    rig.run(2)
    assert [order.type for order in rig.working("p1")] == [OrderType.STOP] and critical(rig) == ["p1"]
    assert state(rig) is InstanceState.STOPPED and any("reached a limit" in text for text in rig.log_of("p1"))
    launch(rig)
    do(rig, buy(1, 60))
    assert len(rig.working("p1")) == 2, "a person who runs it again lets it trade again"


@pytest.mark.parametrize("filled_before", [False, True])
def test_a_loss_limit_of_a_stopped_instance_holds_over_a_restart(rig, filled_before):
    launch(rig, capital_usd=100)
    do(rig, buy(1, 99))
    do(rig, buy(1, 60))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    if filled_before:
        rig.print(99)
    second = rig.restart()
    second.print(99)
    assert second.ledger_of("p1").quantity == 1 and len(second.working("p1")) == 1
    second.print(90)
    second.run(2)
    assert second.working("p1") == [] and critical(second) == ["p1"]
    assert any("reached a limit" in text and "halt p1 flat" in text for text in second.log_of("p1"))
    third = second.restart()
    assert third.working("p1") == [] and critical(third) == [], "it is told once"
    launch(third)
    do(third, buy(1, 60))
    assert len(third.working("p1")) == 1, "a person who runs it again lets it trade again"


def test_a_crash_between_a_limit_and_its_cancels_leaves_no_entries(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), driver_of=FaultyDriver)
    launch(rig, capital_usd=100)
    hold(rig)
    do(rig, buy(1, 60))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    rig.driver.gateway.refuse_cancels = [VenueUnavailable("busy")] * 99
    rig.print(90)
    rig.run(2)
    (entry,) = rig.working("p1")
    assert entry.pending is Pending.CANCEL
    rig.journal.flush()
    with closing(sqlite3.connect(tmp_path / "ctos.db")) as database, database:
        asked = "DELETE FROM journal WHERE seq >= (SELECT MAX(seq) FROM journal WHERE kind = 'ASKED')"
        assert database.execute(asked).rowcount > 0
    second = rig.restart()
    second.run(1)
    assert second.working("p1") == [] and second.ledger_of("p1").quantity == 1


def test_a_stopped_instance_whose_limits_cannot_be_known_after_a_restart_leaves_no_entries(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 60))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    second = rig.restart(classes=(Watcher,))
    assert second.working("p1") == [] and critical(second) == ["p1"]
    third = second.restart(classes=(Probe, Watcher))
    launch(third)
    assert heard(third)[-1] == ("start", "restart") and third.manager.get("p1").context.state["fills"] == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_stopped_instance_left_is_closed_by_a_second_stop(rig, restarts):
    launch(rig)
    hold(rig)
    do(rig, stop_order())
    do(rig, lambda ctx: ctx.sell(PERP, quantity=d(1), price=d(105), reduce_only=True))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    if restarts:
        rig = rig.restart()
    with pytest.raises(CtosError, match=f"p1 is stopped already; it left 1 {PERP}, 2 working orders: halt p1 flat"):
        rig.manager.stop("p1")
    assert len(rig.working("p1")) == 2, "a stop that is given twice takes no protection away"
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(1)
    assert rig.working() == [] and rig.venue_quantity() == 0
    assert rig.ledger_of("p1").quantity == rig.ledger_of(MANUAL).quantity == 0
    launch(rig)
    assert heard(rig) == [("start", "new")]
    rig.check_books()


def test_a_loss_limit_that_is_reached_while_stopping_is_told(rig):
    launch(rig, capital_usd=100)
    hold(rig)
    rig.engine.disarm("test")
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(1)
    rig.print(90)
    rig.run(3)
    assert state(rig) is InstanceState.STOPPING and critical(rig) == ["p1"]
    assert [text for text in rig.log_of("p1") if "stop_loss_pct" in text] != []
    assert [fields["instance"] for op, fields in rig.operations if op == "RiskHalt"] == ["p1"]
    rig.engine.arm("test")
    rig.run(10)
    assert state(rig) is InstanceState.STOPPED and rig.ledger_of("p1").quantity == 0 and critical(rig) == ["p1"]


def test_an_order_storm_at_its_stop_takes_the_entries_that_were_to_be_kept(rig, monkeypatch):
    def on_stop(self, reason: str) -> None:
        for _ in range(STORM):
            self.ctx.sell(PERP, quantity=d(1), price=d(100), reduce_only=True)

    launch(rig)
    do(rig, buy(1, 60))
    monkeypatch.setattr(Probe, "on_stop", on_stop)
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run(1)
    assert state(rig) is InstanceState.STOPPED and critical(rig) == ["p1"] and rig.working("p1") == []


def test_a_stop_by_flatten_ends_although_a_holding_is_not_listed_any_more(rig):
    rig.print(10, symbol=OTHER)
    launch(rig, symbols=f"{PERP}+{OTHER}")
    hold(rig)
    do(rig, lambda ctx: ctx.buy(OTHER, quantity=d(1), type=OrderType.MARKET))
    assert rig.ledger_of("p1", OTHER).quantity == 1
    rig.engine.market.set_instruments([one for one in rig.engine.instruments.values() if one.symbol != OTHER])
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(30)
    assert state(rig) is InstanceState.STOPPED and rig.ledger_of("p1").quantity == 0
    assert rig.ledger_of("p1", OTHER).quantity == 1
    (told,) = [text for text in rig.log_of("p1") if "does not list" in text]
    assert "1 " + OTHER in told and [row for row in rig.anomalies if row[1] == OTHER and row[3] == "WARN"] != []
    assert not any("cannot close" in text for text in rig.log_of("p1"))


def test_a_loss_limit_is_let_go_when_what_was_stopped_is_run_again(rig):
    launch(rig, capital_usd=100, on_halt="hold")
    hold(rig)
    rig.print(90)
    rig.run(2)
    assert state(rig) is InstanceState.HALTED
    rig.manager.stop("p1", StopPolicy.KEEP)
    launch(rig, capital_usd=100)
    do(rig, buy(1, 80))
    assert len(rig.working("p1")) == 1 and state(rig) is InstanceState.RUNNING


def test_a_flatten_that_leaves_dust_ends(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), first_price=1000.0, driver_of=FaultyDriver)
    launch(rig)
    instrument = rig.engine.instrument(PERP)
    assert instrument.min_notional > 0
    small = instrument.floor_quantity(instrument.min_notional / 990) + instrument.lot_size
    do(rig, lambda ctx: ctx.buy(PERP, quantity=small, type=OrderType.MARKET))
    assert rig.ledger_of("p1").quantity == small
    rig.print(10.0)
    rig.driver.gateway.refuse_places = [InvalidOrder("below the smallest amount") for _ in range(9)]
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(12)
    assert rig.ledger_of("p1").quantity == small, "the venue does not take so small an order"
    assert state(rig) is InstanceState.STOPPED and ("done", DoneStatus.DUST.value) in heard(rig)
    assert [kind for kind, *_ in rig.anomalies] == []


def test_one_target_that_is_refused_does_not_stop_the_others(rig):
    launch(rig)
    hold(rig)
    rig.manager.pause("p1")
    do(rig, lambda ctx: ctx.set_positions({PERP: d(0), OTHER: d(100), "NO-SUCH-PERP": d(5)}, soft=False))
    rig.run(1)
    assert rig.ledger_of("p1").quantity == 0 and state(rig) is InstanceState.PAUSED
    assert sorted(status for name, status in heard(rig) if name == "done") == ["error", "error", "filled"]


def test_the_store_of_an_older_program_is_read(rig):
    launch(rig)
    rig.manager.pause("p1")
    rig.journal.flush()
    raw = dict(rig.journal.items("strategy_state"))
    (key,) = [key for key in raw if key.endswith("/p1")]
    rig.journal.put("strategy_state", key, raw[key].replace(b',"pause_reason":""', b""))
    assert state(rig.restart()) is InstanceState.PAUSED

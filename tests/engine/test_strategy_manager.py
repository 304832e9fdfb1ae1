"""The life of strategy instances: launch, pause, amend, stop, faults, restarts, limits."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from pydantic import Field

from engine.kernel.errors import BelowMinimum, ConfigError, CtosError, Paused, RiskConfigConflict, UnknownStrategy
from engine.kernel.market import Quote
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Side
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import DeadlinePolicy, Done, Params, PauseMode, Purpose, StopPolicy, Strategy
from engine.runtime.accounts import AccountLimits
from engine.runtime.events import InstanceChanged, OrderChanged, WorkDone
from tests.engine.floor import d
from tests.paper.venue import OTHER, PERP
from tests.rig import Rig


class ProbeParams(Params):
    size: int = Field(1, ge=1, le=9, description="size, coins, 1 to 9")
    period: int = Field(5, description="bars", json_schema_extra={"restart": True})


class Probe(Strategy[ProbeParams]):
    """Does what a test tells it to and writes down what it hears."""

    name = "probe"
    params_model = ProbeParams
    heard: list[tuple[str, Any]]

    def __init__(self, ctx, params):
        super().__init__(ctx, params)
        self.heard = []
        self.todo: list = []

    def on_start(self, reason: str) -> None:
        self.heard.append(("start", reason))
        self.ctx.state["starts"] = self.ctx.state.get("starts", 0) + 1

    def on_timer(self, name, payload) -> None:
        self.heard.append(("timer", name))
        if self.todo:
            self.todo.pop(0)(self.ctx)

    def on_order(self, order: Order) -> None:
        self.heard.append((order.state.value, order.client_id))

    def on_fill(self, fill: Fill) -> None:
        self.heard.append(("fill", fill.quantity))
        self.ctx.state["fills"] = self.ctx.state.get("fills", 0) + 1

    def on_done(self, done: Done) -> None:
        self.heard.append(("done", done.status.value))

    def on_params(self, old, new) -> None:
        self.heard.append(("params", (old.size, new.size)))

    def on_stop(self, reason: str) -> None:
        self.heard.append(("stop", reason))


class Watcher(Strategy[Params]):
    """Only listens to quotes."""

    name = "watcher"
    params_model = Params
    seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1


class Awkward(Strategy[Params]):
    """Fails wherever it is asked before it runs."""

    name = "awkward"
    params_model = Params
    fails_in = ""

    @classmethod
    def limits(cls, params, n_symbols):
        return 1 / 0 if cls.fails_in == "limits" else params.risk

    @classmethod
    def timeframes(cls, params):
        return ("7m",) if cls.fails_in == "timeframes" else ()

    def __init__(self, ctx, params):
        super().__init__(ctx, params)
        if self.fails_in == "__init__":
            raise KeyError("half")


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path, classes=(Probe, Watcher))


def launch(rig: Rig, name: str = "p1", **params):
    return rig.launch("probe", name=name, **params)


def do(rig: Rig, action, name: str = "p1") -> None:
    """Have an instance do something inside a handler."""
    instance = rig.manager.get(name)
    instance.strategy.todo.append(action)
    instance.context.timer.after("go", 0)
    rig.run()


def heard(rig: Rig, name: str = "p1") -> list[tuple[str, Any]]:
    return rig.manager.get(name).strategy.heard


def state(rig: Rig, name: str = "p1") -> InstanceState:
    return rig.manager.get(name).life.state


def buy(quantity: object = 1, price: object = 99, **options):
    return lambda ctx: ctx.buy(PERP, quantity=d(quantity), price=d(price), **options)


def hold(rig: Rig, quantity: object = 1, name: str = "p1") -> None:
    do(rig, lambda ctx: ctx.buy(PERP, quantity=d(quantity), type=OrderType.MARKET), name)
    assert rig.ledger_of(name).quantity == d(quantity)


def stop_order(price: object = 90):
    return lambda ctx: ctx.sell(
        PERP, quantity=d(1), type=OrderType.STOP, trigger_price=d(price), reduce_only=True, purpose=Purpose.STOP
    )


def boom(ctx) -> None:
    ctx.buy(PERP, quantity=d(1), price=d(99))
    ctx.state["half"] = "done"
    raise ValueError("out of cheese")


def test_launch_runs_and_hears_its_orders_and_fills(rig):
    instance = launch(rig)
    assert (state(rig), instance.symbols) == (InstanceState.RUNNING, (PERP,))
    do(rig, buy())
    assert [name for name, _ in heard(rig)][:2] == ["start", "timer"] and heard(rig)[-1][0] == "open"
    rig.print(99)
    assert [name for name, _ in heard(rig)][-2:] == ["fill", "filled"]
    assert rig.manager.views()[0].notional == 99


@pytest.mark.parametrize("ends", ["pause", "fault", "restart"])
def test_an_order_that_its_soft_order_has_left_is_the_strategys_own(rig, ends):
    launch(rig)
    rig.book(100)
    do(rig, lambda ctx: ctx.soft(PERP, Side.BUY, d(1), deadline_s=5, policy=DeadlinePolicy.LEAVE))
    (order,) = rig.working("p1")
    assert order.parent and not [name for name, _ in heard(rig) if name == "open"], "its work reports for it"
    before = rig.engine.event_seq("p1")
    rig.run(6)
    missed = [event for _, event in rig.engine.missed("p1", before)]
    assert [type(event) for event in missed] == [OrderChanged, WorkDone]
    assert order.is_open and not order.parent and heard(rig)[-2:] == [("open", order.client_id), ("done", "partial")]
    if ends == "restart":
        again = rig.restart(prices=[99.0])
        assert ("filled", order.client_id) in heard(again)
        return
    if ends == "pause":
        rig.manager.pause("p1")
    else:
        do(rig, boom)
    rig.run()
    assert not order.is_open and not rig.venue_orders()


@pytest.mark.parametrize(
    ("strategy", "options", "error", "words"),
    [
        ("prob", {}, UnknownStrategy, "known: probe, watcher"),
        ("probe", {"nonsense": 1}, ConfigError, "no parameter 'nonsense'; known: symbols, capital_usd"),
        ("probe", {"size": 10}, ConfigError, "size: .*less than or equal to 9.*got 10"),
        ("probe", {"size": "x"}, ConfigError, "size: .*valid integer.*got 'x'"),
        ("probe", {"risk.max_order_usd": -1}, ConfigError, "risk.max_order_usd"),
        ("probe", {"risk.max_notional_usd": 11_000_000}, RiskConfigConflict, "needs 11,000,000 USD.*allows 10,000,000"),
        ("probe", {"symbols": "nope"}, CtosError, "nope"),
        ("probe", {"name": "no good"}, ConfigError, "bad instance name"),
        ("probe", {"name": "manual"}, ConfigError, "operator"),
    ],
)
def test_a_bad_launch_is_refused_in_words_and_leaves_nothing(rig, strategy, options, error, words):
    symbols, name = options.pop("symbols", PERP), options.pop("name", None)
    with pytest.raises(error, match=words):
        rig.manager.launch(strategy, options, symbols, name)
    assert rig.manager.instances == {}


@pytest.mark.parametrize(
    ("where", "words"),
    [("limits", "ZeroDivisionError"), ("timeframes", "no candles of '7m'"), ("__init__", "cannot be made: KeyError")],
)
def test_a_strategy_that_cannot_even_be_made_is_refused_in_words(tmp_path, where, words):
    rig = Rig(tmp_path, classes=(Awkward,))
    Awkward.fails_in = where
    with pytest.raises(ConfigError, match=words):
        rig.launch("awkward")
    assert rig.manager.instances == {}


def test_an_unlisted_symbol_is_left_out_with_a_warning(rig):
    assert rig.launch("probe", symbols=f"{PERP}+nope+alt-usd-perp").symbols == (PERP, OTHER)
    assert any(level == "warn" and "nope" in text for level, _, text in rig.lines)


def test_names_are_unique_and_short(rig):
    assert [launch(rig, None).name, launch(rig, None).name] == ["p1", "p2"]
    with pytest.raises(ConfigError, match="'p1' is running already"):
        launch(rig, "p1")


def test_refused_orders_arrive_as_rejected(rig):
    launch(rig, risk__max_order_usd=50)
    do(rig, buy())
    (name, client_id) = heard(rig)[-1]
    assert name == "rejected" and rig.engine.tracker.get(client_id) is None
    refusals: list[type] = []

    def too_small(ctx) -> None:
        try:
            ctx.buy(PERP, amount=d(4), price=d(99))
        except BelowMinimum as error:
            refusals.append(type(error))

    do(rig, too_small)
    assert refusals == [BelowMinimum]


def test_a_raising_handler_faults_itself_alone_and_sends_nothing(rig):
    launch(rig)
    launch(rig, "p2")
    hold(rig)
    do(rig, stop_order())
    do(rig, buy(1, 95))
    do(rig, boom)
    assert state(rig) is InstanceState.FAULTED and state(rig, "p2") is InstanceState.RUNNING
    assert [order.type for order in rig.working("p1")] == [OrderType.STOP]
    assert rig.ledger_of("p1").quantity == 1
    assert "half" not in rig.manager.get("p1").context.state
    assert [(kind, name) for kind, _, name, _ in rig.anomalies] == [("strategy_fault", "p1")]
    assert "out of cheese" in rig.manager.get("p1").life.reason
    do(rig, buy(1, 98), "p2")
    assert len(rig.working("p2")) == 1


def test_restarts_after_5_30_and_120_s_then_waits_for_a_person(rig):
    launch(rig)
    for delay in (5, 30, 120):
        do(rig, boom)
        rig.run(delay - 0.1)
        assert state(rig) is InstanceState.FAULTED
        rig.run(0.2)
        assert state(rig) is InstanceState.RUNNING and heard(rig) == [("start", "restart")]
    do(rig, boom)
    rig.run(700)
    assert state(rig) is InstanceState.FAULTED and "by hand" in rig.manager.get("p1").why
    rig.manager.resume("p1")
    assert state(rig) is InstanceState.RUNNING and heard(rig) == [("start", "resume")]
    assert rig.manager.get("p1").context.state["starts"] == 5
    do(rig, boom)
    rig.run(5.1)
    assert state(rig) is InstanceState.RUNNING


def test_what_happens_while_faulted_is_heard_before_the_restart(rig):
    launch(rig)
    hold(rig)
    do(rig, stop_order())
    do(rig, boom)
    rig.print(90)
    rig.run(5)
    assert [name for name, _ in heard(rig)][-3:] == ["fill", "filled", "start"]
    assert rig.manager.get("p1").context.state["fills"] == 2


def test_state_that_cannot_be_kept_faults_the_instance(rig):
    launch(rig)
    do(rig, lambda ctx: ctx.state.update(bad=object()))
    assert state(rig) is InstanceState.FAULTED
    assert "bad" not in rig.manager.get("p1").context.state


def test_s02_an_endless_handler_is_broken_off(rig):
    before = signal.getsignal(signal.SIGALRM)
    launch(rig)

    def endless(ctx) -> None:
        while True:
            try:
                ctx.price(PERP)
            except Exception:
                continue

    rig.watch.start()
    try:
        do(rig, endless)
    finally:
        rig.watch.stop()
        signal.signal(signal.SIGALRM, before)
    assert state(rig) is InstanceState.FAULTED and "interrupted" in rig.manager.get("p1").life.reason


def test_answering_refusals_without_end_faults(rig, monkeypatch):
    monkeypatch.setattr("engine.runtime.instance.MAX_EVENTS", 50)
    instance = launch(rig, risk__max_order_usd=50)
    instance.strategy.on_order = lambda order: instance.context.buy(PERP, quantity=d(1), price=d(99))
    do(rig, buy())
    assert state(rig) is InstanceState.FAULTED and "never comes to rest" in instance.life.reason
    rig.run(6)
    assert state(rig) is InstanceState.RUNNING


def test_pause_takes_entries_back_and_keeps_exits(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    do(rig, stop_order())
    do(rig, lambda ctx: ctx.close(PERP, soft=True))
    rig.manager.pause("p1")
    rig.run()
    assert sorted(order.type.value for order in rig.working("p1")) == ["post_only", "stop"]
    assert all(order.reduce_only for order in rig.working("p1"))
    refused: list[str] = []

    def enter(ctx) -> None:
        assert not ctx.entries_allowed
        for attempt in (
            lambda: ctx.buy(PERP, quantity=d(1), price=d(95)),
            lambda: ctx.soft(PERP, Side.BUY, d(1)),
            lambda: ctx.set_position(PERP, d(500)),
            lambda: ctx.place_incremental_orders(d(100), PERP, Side.BUY),
        ):
            try:
                attempt()
            except Paused:
                refused.append("paused")

    do(rig, enter)
    assert refused == ["paused"] * 4
    rig.manager.resume("p1")
    assert state(rig) is InstanceState.RUNNING and heard(rig)[-1] == ("start", "resume")


def test_a_frozen_pause_sees_no_timers_and_a_kept_order_stays(rig):
    launch(rig)
    do(rig, buy())
    rig.manager.pause("p1", PauseMode.FREEZE, keep_orders=True)
    rig.run()
    count = len(heard(rig))
    do(rig, buy())
    assert len(heard(rig)) == count and len(rig.working("p1")) == 1
    rig.print(99)
    assert heard(rig)[-1][0] == "filled"


def test_amend_checks_the_whole_model_and_applies_at_once(rig):
    launch(rig, risk__max_order_usd=500)
    with pytest.raises(ConfigError, match=r"size: .*got 12"):
        rig.manager.amend("p1", {"size": 12})
    with pytest.raises(ConfigError, match="period of p1 needs a restart"):
        rig.manager.amend("p1", {"period": 6})
    with pytest.raises(ConfigError, match="nothing changes"):
        rig.manager.amend("p1", {"size": 1})
    with pytest.raises(RiskConfigConflict):
        rig.manager.amend("p1", {"risk.max_notional_usd": 99_000_000})
    assert rig.manager.get("p1").params.risk.max_notional_usd is None
    (change,) = rig.manager.amend("p1", {"size": "3"})
    assert (change.name, change.old, change.new) == ("size", 1, 3)
    assert heard(rig)[-1] == ("params", (1, 3))
    assert rig.manager.get("p1").params.risk.max_order_usd == 500
    assert ("ParamsChanged", "p1") in [(op, fields.get("instance")) for op, fields in rig.operations]


def test_stop_by_keep_leaves_all_and_the_next_start_takes_it_over(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    rig.manager.stop("p1", StopPolicy.KEEP)
    rig.run()
    assert state(rig) is InstanceState.STOPPED and len(rig.working("p1")) == 1
    assert heard(rig)[-1] == ("stop", "by the operator")
    rig.print(95)
    launch(rig, "p1")
    assert [name for name, _ in heard(rig)] == ["fill", "filled", "start"]
    assert heard(rig)[-1] == ("start", "restart")
    assert rig.manager.get("p1").context.state["fills"] == 2


def test_stop_by_cancel_keeps_the_stops_of_a_position(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    do(rig, stop_order())
    rig.manager.stop("p1", StopPolicy.CANCEL)
    assert state(rig) is InstanceState.STOPPING
    rig.run()
    assert state(rig) is InstanceState.STOPPED
    assert [order.type for order in rig.working("p1")] == [OrderType.STOP]
    assert rig.ledger_of("p1").quantity == 1
    launch(rig, "p1")
    assert heard(rig) == [("start", "new")]


def test_stop_by_flatten_cancels_all_and_closes(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    do(rig, stop_order())
    do(rig, lambda ctx: ctx.sell(PERP, quantity=d(1), price=d(105), reduce_only=True))
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(0.1)
    assert state(rig) is InstanceState.STOPPED
    assert rig.working("p1") == [] and rig.ledger_of("p1").quantity == 0
    rig.check_books()
    with pytest.raises(CtosError, match="stopped already"):
        rig.manager.stop("p1")


def test_flatten_goes_on_until_the_position_is_closed(rig):
    launch(rig)
    hold(rig)
    rig.engine.disarm("test")
    rig.manager.stop("p1", StopPolicy.FLATTEN)
    rig.run(12)
    assert state(rig) is InstanceState.STOPPING and rig.ledger_of("p1").quantity == 1
    assert ("strategy_fault", "p1", "WARN") in [(kind, name, level) for kind, _, name, level in rig.anomalies]
    second = rig.restart(armed=False)
    assert state(second) is InstanceState.STOPPING
    second.engine.arm("test")
    second.run(6)
    second.print(100)
    second.run(6)
    assert state(second) is InstanceState.STOPPED and second.ledger_of("p1").quantity == 0


def test_a_loss_limit_halts_and_flattens_until_a_person_resumes(rig):
    launch(rig, capital_usd=100)
    hold(rig)
    do(rig, stop_order(50))
    rig.print(90)
    rig.run(2)
    assert state(rig) is InstanceState.HALTED and "stop_loss_pct" in rig.manager.get("p1").life.reason
    rig.run(10)
    assert rig.ledger_of("p1").quantity == 0 and rig.working("p1") == []
    rig.print(90)
    do(rig, buy(1, 80))
    assert rig.working("p1") == []
    rig.manager.resume("p1")
    do(rig, buy(1, 80))
    assert len(rig.working("p1")) == 1


def test_a_loss_limit_that_breaks_while_the_account_is_halted_is_told_and_flattens_after_it(rig):
    launch(rig, capital_usd=100)
    hold(rig)
    rig.engine.panic("operator")
    rig.run()
    rig.print(90)
    rig.run(30)
    (told,) = [text for text in rig.log_of("p1") if "stop_loss_pct" in text]
    assert "halted already" in told and ("strategy_fault", "", "p1", "CRIT") in rig.anomalies
    assert rig.ledger_of("p1").quantity == 1, "nothing of a strategy passes while the account is halted"
    assert not any("cannot close" in text or "not flat" in text for text in rig.log_of("p1"))
    rig.engine.rearm("operator", "checked")
    rig.run(10)
    assert rig.ledger_of("p1").quantity == 0 and state(rig) is InstanceState.HALTED


def test_an_account_halt_halts_instances_and_keeps_positions(rig):
    launch(rig)
    hold(rig)
    do(rig, buy(1, 95))
    do(rig, stop_order())
    rig.engine.panic("operator")
    rig.run()
    assert state(rig) is InstanceState.HALTED and rig.ledger_of("p1").quantity == 1
    assert [order.type for order in rig.working("p1")] == [OrderType.STOP]
    with pytest.raises(CtosError, match="account is halted"):
        rig.manager.resume("p1")
    rig.engine.rearm("operator", "checked")
    rig.manager.resume("p1")
    assert state(rig) is InstanceState.RUNNING


def test_a_restart_goes_on_with_memory_and_what_was_missed(rig):
    launch(rig, size=4, risk__max_order_usd=500)
    hold(rig)
    do(rig, buy(1, 95))
    second = rig.restart(prices=[95])
    instance = second.manager.get("p1")
    assert [name for name, _ in heard(second)][:3] == ["fill", "filled", "start"]
    assert heard(second)[2] == ("start", "restart")
    assert instance.context.state == {"starts": 2, "fills": 2}
    assert instance.params.size == 4 and instance.params.risk.max_order_usd == 500
    third = second.restart()
    assert heard(third)[0] == ("start", "restart") and third.manager.get("p1").context.state["fills"] == 2
    assert third.ledger_of("p1").quantity == 2


def test_work_that_ended_while_down_is_reported_once(rig):
    launch(rig)
    do(rig, lambda ctx: ctx.soft(PERP, Side.BUY, d(1)))
    second = rig.restart(prices=[99])
    assert [pair for pair in heard(second) if pair[0] in ("done", "start")] == [
        ("done", "filled"),
        ("start", "restart"),
    ]
    third = second.restart()
    assert "done" not in [name for name, _ in heard(third)]


@pytest.mark.parametrize("name", ["paused", "faulted", "stopped"])
def test_a_restart_keeps_who_waits_waiting(rig, name):
    launch(rig)
    if name == "paused":
        rig.manager.pause("p1", PauseMode.FREEZE)
    elif name == "faulted":
        for delay in (5, 30, 120):
            do(rig, boom)
            rig.run(delay + 1)
        do(rig, boom)
    else:
        rig.manager.stop("p1")
        rig.run()
    second = rig.restart()
    if name == "stopped":
        assert second.manager.instances == {}
        assert second.launch("probe").name == "p1" and heard(second) == [("start", "new")]
        return
    assert state(second).value == name and heard(second) == []
    second.manager.resume("p1")
    assert heard(second) == [("start", "resume")]


def test_a_fault_just_before_the_end_restarts_with_the_next_run(rig):
    launch(rig)
    do(rig, boom)
    second = rig.restart()
    assert state(second) is InstanceState.RUNNING and heard(second)[0] == ("start", "restart")


def test_a_class_that_is_gone_is_reported_and_its_memory_kept(rig):
    launch(rig)
    second = rig.restart(classes=(Watcher,))
    assert second.manager.instances == {}
    assert any("p1 was not restored" in text for _, _, text in second.lines)
    third = second.restart(classes=(Probe,))
    assert heard(third)[0] == ("start", "restart")


def test_waits_for_the_first_price(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), first_price=None)
    launch(rig)
    assert state(rig) is InstanceState.WARMUP and "first quote" in rig.manager.get("p1").why
    rig.print(100)
    rig.run(1)
    assert state(rig) is InstanceState.RUNNING and heard(rig) == [("start", "new")]
    assert any(isinstance(event, InstanceChanged) for event in rig.events)


def test_one_symbol_without_a_price_does_not_stop_the_others(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,))
    rig.launch("probe", symbols=f"{PERP}+{OTHER}", name="p1")
    assert state(rig) is InstanceState.WARMUP
    rig.run(11)
    assert state(rig) is InstanceState.RUNNING


def test_actions_are_refused_in_words_and_failures_fault(rig):
    launch(rig)
    with pytest.raises(CtosError, match="no action 'jump'"):
        rig.manager.act("p1", "jump", {})
    assert state(rig) is InstanceState.RUNNING
    rig.manager.get("p1").strategy.action = lambda name, **arguments: 1 / 0
    with pytest.raises(CtosError, match="jump failed: ZeroDivisionError"):
        rig.manager.act("p1", "jump", {})
    assert state(rig) is InstanceState.FAULTED


def test_quotes_reach_those_who_listen_only(rig):
    instance = rig.launch("watcher")
    rig.path(101, 102)
    assert instance.strategy.seen >= 2
    rig.manager.stop(instance.name)
    seen = instance.strategy.seen
    rig.path(103)
    assert instance.strategy.seen == seen


def test_arming_is_told_to_running_instances(tmp_path):
    rig = Rig(tmp_path, classes=(Probe,), armed=False)
    launch(rig)
    do(rig, buy())
    assert heard(rig)[-1][0] == "rejected"
    rig.engine.arm("test")
    assert heard(rig)[-1] == ("timer", "armed")


def test_needs_more_than_the_account_allows(tmp_path):
    rig = Rig(tmp_path, limits=AccountLimits(max_notional_usd=d(500)))
    with pytest.raises(RiskConfigConflict, match=r"needs 710\.4 USD, the account allows 500 USD"):
        rig.launch("dyn_grid", symbols=f"{PERP}+{OTHER}", max_inventory="355.2")


def test_final_states_of_orders_reach_a_stopping_instance_only_once(rig):
    launch(rig)
    do(rig, buy())
    rig.manager.stop("p1")
    rig.run()
    assert [name for name, _ in heard(rig)].count(OrderState.CANCELED.value) == 1

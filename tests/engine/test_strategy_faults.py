"""A strategy that raises, wherever and whatever: isolated, restarted a few times, then stopped; others go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.boot.strategies import load_strategies
from engine.kernel.market import Bar
from engine.kernel.orders import OrderType
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Params, Purpose, Strategy
from tests.engine.floor import BUY, PERP, SELL, d
from tests.rig import Rig

RESTARTS_S = (5, 30, 120)


class Wild(Strategy[Params]):
    """Holds a position with its stop and an entry; raises in the callback that is named, from when it is told."""

    name = "wild"
    params_model = Params
    raises_in = ""
    error: type[BaseException] = ValueError

    @classmethod
    def timeframes(cls, params: Params) -> tuple[str, ...]:
        return ("1m",)

    def _come(self, callback: str) -> None:
        if callback == Wild.raises_in:
            self.ctx.buy(PERP, quantity=d(5), price=d(90))
            raise Wild.error("out of cheese")

    def on_start(self, reason: str) -> None:
        self.ctx.timer.after("tick", 1)
        self._come("on_start")

    def on_timer(self, name: str, payload: object) -> None:
        self.ctx.timer.after("tick", 1)
        self._come("on_timer")

    def on_bar(self, bar: Bar) -> None:
        self._come("on_bar")

    def on_quote(self, quote: object) -> None:
        self._come("on_quote")

    def on_trade(self, trade: object) -> None:
        self._come("on_trade")

    def on_order(self, order: object) -> None:
        self._come("on_order")

    def on_fill(self, fill: object) -> None:
        self._come("on_fill")


class Calm(Strategy[Params]):
    """Minds its own business."""

    name = "calm"
    params_model = Params
    ticks = 0

    def on_start(self, reason: str) -> None:
        self.ctx.timer.after("tick", 1)

    def on_timer(self, name: str, payload: object) -> None:
        self.ticks += 1
        self.ctx.timer.after("tick", 1)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    Wild.raises_in, Wild.error = "", ValueError
    rig = Rig(tmp_path, classes=(Wild, Calm))
    rig.launch("wild", name="w1")
    rig.launch("calm", name="c1")
    return rig


def provoke(rig: Rig, callback: str) -> None:
    """Let everything happen that a strategy can hear of."""
    if callback in ("on_order", "on_fill"):
        rig.print(95.0)  # its entry fills
    rig.run(1.1)
    rig.print(100.0)
    if callback == "on_bar":
        rig.candles([100.0, 100.0])


@pytest.mark.parametrize("callback", ["on_timer", "on_bar", "on_quote", "on_trade", "on_order", "on_fill"])
@pytest.mark.parametrize("error", [ValueError, RecursionError, SystemExit, MemoryError])
def test_s01_an_error_in_any_callback_stops_at_its_instance(
    rig: Rig, callback: str, error: type[BaseException]
) -> None:
    wild, calm = rig.manager.get("w1"), rig.manager.get("c1").strategy
    rig.engine.submit("w1", PERP, BUY, OrderType.MARKET, d(2))
    rig.run()
    rig.engine.submit("w1", PERP, SELL, OrderType.STOP, d(2), trigger_price=d(80), purpose=Purpose.STOP)
    rig.engine.submit("w1", PERP, BUY, OrderType.LIMIT, d(1), d(95))
    other = rig.engine.submit("c1", PERP, BUY, OrderType.LIMIT, d(1), d(90))
    rig.run()
    Wild.raises_in, Wild.error = callback, error
    provoke(rig, callback)
    assert wild.life.state is InstanceState.FAULTED and "out of cheese" in wild.life.reason
    assert [order.type for order in rig.working("w1")] == [OrderType.STOP], "entries go, stops stay"
    assert ("strategy_fault", "", "w1", "CRIT") in [(k, "", i, s) for k, _, i, s in rig.anomalies]
    ticks = calm.ticks
    rig.run(3)
    assert calm.ticks >= ticks + 2 and [order.client_id for order in rig.working("c1")] == [other]
    Wild.raises_in = ""
    rig.run(31)
    assert wild.life.state is InstanceState.RUNNING and rig.ledger_of("w1").quantity >= 2


def test_s01_at_its_start_it_is_tried_three_times_and_then_waits_for_a_person(rig: Rig) -> None:
    Wild.raises_in = "on_start"
    wild = rig.launch("wild", name="w2")
    for delay in RESTARTS_S:
        assert wild.life.state is InstanceState.FAULTED
        rig.run(delay + 0.1)
    rig.run(700)
    assert wild.life.state is InstanceState.FAULTED and "by hand" in wild.why and rig.working("w2") == []
    assert rig.manager.get("w1").life.state is InstanceState.RUNNING


@pytest.mark.parametrize("text", ["raise ValueError('x')", "def broken(:", "import no_such_module", "raise SystemExit"])
def test_s01_a_file_that_fails_at_import_is_named_and_the_others_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    found = load_strategies(folder=tmp_path)
    assert "dyn_grid" in found.classes
    ((path, failure),) = found.failures.items()
    assert Path(path).name == "bad.py" and failure

"""Checks before an order, one by one: rule, limit and value are told, and what is not known refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.io.config import Config, Paths, load_config
from engine.kernel.errors import CtosError, InvalidOrder, RiskConfigConflict, RiskReject
from engine.kernel.instruments import InstrumentKind
from engine.kernel.orders import OrderType, Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.risk.limits import instance_limits
from tests.engine.floor import Floor
from tests.engine.risk_view import BTC, Gate, d
from tests.paper.venue import instruments

ROOMY = {"max_notional_usd": d(10_000), "max_order_usd": d(5_000)}
"""What most checks need to be reached."""


def refusal(gate: Gate, **terms: object) -> RiskReject:
    with pytest.raises(RiskReject) as caught:
        gate.send(**terms)
    assert caught.value.rule and str(caught.value)
    return caught.value


def test_an_instrument_read_more_than_a_day_ago_takes_no_entry_but_reductions():
    gate = Gate()
    gate.view.instruments_s = 86_399
    gate.send()
    gate.view.instruments_s = 90_000
    told = refusal(gate, price=99)
    assert (told.rule, told.limit) == ("stale_instrument", "24 h") and "25.0 h" in str(told)
    gate.view.held["grid", BTC] = d(1)
    gate.send(Side.SELL, 1, 105, reduce_only=True)


def test_a_perpetual_needs_margin_and_what_is_not_known_refuses():
    gate = Gate(**ROOMY)
    gate.view.free, gate.view.leverages[BTC] = d(150), d(2)
    gate.send(quantity=3)
    told = refusal(gate, quantity="3.1")
    assert str(told) == "margin: 155 USD of margin at 2x exceeds the limit 150 USD free"
    gate.view.leverages[BTC] = None
    assert "at 1x" in str(refusal(gate, quantity=2, price=98)), "a leverage that is not known is none"
    gate.view.free = None
    assert "not known" in str(refusal(gate, quantity=1, price=97))


@pytest.mark.parametrize(("side", "pays"), [(Side.BUY, "USDT"), (Side.SELL, "BTC")])
def test_spot_needs_the_coin_that_is_paid(side: Side, pays: str):
    gate = Gate(**ROOMY)
    gate.view.instruments[BTC] = replace(gate.view.instruments[BTC], kind=InstrumentKind.SPOT)
    wallets = {"USDT": d(50), "BTC": d(50)}
    gate.view.free_usd = wallets.get  # type: ignore[method-assign]
    gate.view.fx = lambda currency: d(100) if currency == "BTC" else d(1)  # type: ignore[method-assign]
    told = refusal(gate, side=side, quantity="0.6", instance=MANUAL)
    assert str(told) == f"margin: 60 USD of {pays} exceeds the limit 50 USD free"
    gate.send(side, "0.4", instance=MANUAL)


def test_a_stop_whose_trigger_is_long_past_is_refused():
    gate = Gate()
    gate.view.held["grid", BTC] = d(1)
    stop = {"side": Side.SELL, "price": None, "type": OrderType.STOP, "reduce_only": True}
    gate.send(**stop, trigger=109)
    told = refusal(gate, **stop, trigger=112)
    assert (told.rule, told.limit) == ("stop_band_bp", "1,000 bp") and "1200 bp past the price 100" in str(told)
    gate.send(**stop, trigger=50)
    gate.view.held["grid", BTC] = d(-1)
    told = refusal(gate, **{**stop, "side": Side.BUY}, trigger=85)
    assert told.rule == "stop_band_bp"


def test_an_order_ten_times_larger_than_the_last_ones_is_refused_for_strategies():
    gate = Gate(**ROOMY, max_open_orders=50)
    for number in range(5):
        gate.send(quantity="0.6", price=99 - number)
    told = refusal(gate, quantity=7, price=90)
    assert told.rule == "size_jump" and "10 times the largest of the last orders" in str(told) and told.limit
    gate.send(quantity="5.9", price=90)
    gate.send(quantity=20, price=89), "the usual size has grown"
    gate.send(quantity=20, price=88, instance=MANUAL)
    gate.send(quantity=20, price=87, parent="w1")


def test_the_first_orders_and_small_ones_may_have_any_size():
    gate = Gate(**ROOMY)
    gate.send(quantity="0.01")
    gate.send(quantity=10, price=99)
    small = Gate(**ROOMY)
    for number in range(6):
        small.send(quantity="0.001", price=99 - number)
    small.send(quantity=4, price=90)


def test_an_order_larger_than_the_venue_takes_is_refused_and_flattened_in_parts(tmp_path: Path):
    listed = [replace(instrument, max_quantity=d(2)) for instrument in instruments()]
    floor = Floor(tmp_path, listed=listed)
    floor.print(100.0)
    with pytest.raises(InvalidOrder, match=r"2\.001 is more than one order may have; 2 TST would do"):
        floor.submit(Side.BUY, "2.001", 99)
    for _ in range(3):
        floor.order(Side.BUY, 2, type=OrderType.MARKET)
        floor.run(1.1)
    floor.engine.flatten_all("operator")
    floor.run(5)
    assert floor.venue_quantity() == 0 and len(floor.fills()) == 6


def config_file(folder: Path) -> Path:
    folder.chmod(0o700)
    return folder / "ctos.yaml"


def load(path: Path) -> Config:
    return load_config(Paths(path.parent, path.parent / "state"))


class TestG03:
    """Limits that contradict each other, are zero or negative, or are not there at all."""

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("max_order_usd: 20000", "max_notional_usd"),
            ("max_notional_usd: 0", "max_notional_usd"),
            ("max_notional_usd: -5", "max_notional_usd"),
            ("max_leverage: 0", "max_leverage"),
            ("max_leverage: .nan", "max_leverage"),
            ("max_notional_usd: .inf", "max_notional_usd"),
            ("daily_loss_pct: 0", "daily_loss_pct"),
            ("max_drawdown_pct: 1.5", "max_drawdown_pct"),
            ("max_open_orders: 0", "max_open_orders"),
            ("max_orders_per_min: -1", "max_orders_per_min"),
        ],
    )
    def test_g03_a_limit_that_makes_no_sense_is_refused_with_its_line(self, tmp_path, line: str, named: str):
        path = config_file(tmp_path)
        path.write_text(f"risk:\n  {line}\n")
        with pytest.raises(CtosError) as caught:
            load(path)
        assert str(path) in str(caught.value) and named in str(caught.value) and "2" in str(caught.value)

    def test_g03_a_limit_that_is_absent_is_the_default_and_never_none(self, tmp_path):
        path = config_file(tmp_path)
        for text in ("risk:\n", "risk: {}\n", "risk:\n  max_leverage: 2\n", "risk:\n  max_notional_usd:\n"):
            path.write_text(text)
            risk = load(path).risk
            assert risk.max_notional_usd == 10_000 and risk.max_drawdown_pct == d("0.25")
            assert all(value is not None for value in risk.model_dump().values())
        limits = instance_limits("grid", RiskParams(), AccountLimits())
        values = (limits.max_notional_usd, limits.max_order_usd, limits.stop_loss_pct, limits.daily_loss_pct)
        assert all(value is not None and value > 0 for value in values)

    def test_g03_a_strategy_whose_limits_contradict_each_other_does_not_start(self):
        with pytest.raises(RiskConfigConflict, match="max_order_usd, at most its max_notional_usd"):
            instance_limits("grid", RiskParams(max_notional_usd=d(100), max_order_usd=d(200)), AccountLimits())

    @pytest.mark.parametrize("name", ["max_notional_usd", "max_order_usd", "max_open_orders", "max_cmds_per_min"])
    def test_g03_a_strategy_cannot_ask_for_zero_less_or_more_than_its_account_has(self, name: str):
        for wrong in (0, -1):
            with pytest.raises(ValueError, match=name):
                RiskParams(**{name: wrong})
        with pytest.raises((RiskConfigConflict, ValueError), match=name):
            instance_limits(
                "grid",
                RiskParams(**{name: 999}),
                AccountLimits(d(500), d(500), max_open_orders=9, max_orders_per_min=9),
            )

"""The example strategy that `ctos-tui init` writes is one that loads and trades."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from engine.boot.strategies import load_strategies
from engine.io.paths import Paths
from engine.io.templates import write_templates
from tests.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    paths = Paths(tmp_path / "config", tmp_path / "config" / "state")
    write_templates(paths)
    catalogue = load_strategies(folder=paths.strategies())
    assert catalogue.failures == {}
    return Rig(tmp_path, classes=[catalogue.get("dip_buyer")])


def test_it_buys_the_dip_and_sells_the_rebound(rig: Rig):
    instance = rig.launch("dip_buyer", name="d1", amount=100, dip_bp=100, rebound_bp=100)
    assert rig.resting("d1") == {"buy": ("1.010", "99.00")}
    rig.path(99.0)
    assert rig.ledger("d1") == Decimal("1.010") and rig.resting("d1") == {"sell": ("1.010", "99.99")}
    rig.path(100.0)
    assert rig.ledger("d1") == 0 and set(rig.resting("d1")) == {"buy"}
    assert instance.life.state.value == "running" and rig.anomalies == []


def test_its_bid_follows_the_market(rig: Rig):
    rig.launch("dip_buyer", name="d1", amount=100, dip_bp=100, rebound_bp=100, requote_s=5)
    rig.path(110.0, *[110.0] * 12)
    assert rig.resting("d1")["buy"][1] == "108.90"


def test_it_says_why_it_does_not_trade(rig: Rig):
    instance = rig.launch("dip_buyer", name="d1", amount=1)
    rig.path(100.0)
    assert "below the minimum" in instance.why

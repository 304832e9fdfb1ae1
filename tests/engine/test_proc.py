from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.orders import OrderType
from engine.runtime.proc import Counter, LoopLag, Probe, ProcView, Stopwatch
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, SELL, Floor, d


def part(view: ProcView, name: str) -> tuple[str, str]:
    return next((each.level, each.text) for each in view.parts if each.name == name)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver, latency_ms=40)
    floor.print(100.0)
    floor.run(0.1)
    return floor


def test_latencies_are_measured_on_the_engines_clock(floor: Floor):
    probe = Probe(floor.engine)
    assert probe.view().order_ack is None and part(probe.view(), "latency") == ("good", "no order yet")
    order = floor.order(BUY, 1, 99)
    floor.run(1)
    floor.engine.cancel(order.client_id)
    floor.run(1)
    view = probe.view()
    assert view.order_ack is not None and view.cancel_ack is not None
    assert view.order_ack.count == view.cancel_ack.count == 1
    assert 40 <= view.order_ack.p50_ms <= 100 and 40 <= view.cancel_ack.p99_ms <= 100
    assert view.order_ack.max_ms == view.order_ack.p50_ms


def test_percentiles():
    watch = Stopwatch()
    for milliseconds in range(1, 101):
        watch.begin("a", 0)
        watch.end("a", milliseconds * 1_000_000)
    latency = watch.latency()
    assert latency is not None
    assert (round(latency.p50_ms), latency.p99_ms, latency.max_ms, latency.count) == (51, 99.0, 100.0, 100)


def test_rates_look_at_the_last_ten_seconds():
    counter = Counter()
    assert counter.per_second(0) == 0
    for second in range(1, 41):
        for _ in range(5 if second > 20 else 100):
            counter.count(None)
        rate = counter.per_second(second * 1_000_000_000)
    assert rate == 5 and counter.total == 2_100


def test_a_healthy_engine_is_good_in_every_part(floor: Floor):
    probe = Probe(floor.engine, lambda: LoopLag(1.2, 8.0))
    floor.order(BUY, 1, 99)
    for symbol in floor.engine.instruments:
        floor.print(100.0, symbol=symbol)
    floor.run(1)
    view = probe.view()
    assert view.level == "good", view.parts
    assert [each.name for each in view.parts] == [
        "trading", "data", "orders", "journal", "venue", "latency", "limits", "loop",
    ]  # fmt: skip
    assert part(view, "orders") == ("good", "1 working, all known")
    assert part(view, "loop") == ("good", "lag p99 1.2 ms, max 8.0 ms")
    assert (view.working_orders, view.work, view.account) == (1, 0, floor.account.key)
    counts = {each.name: each.total for each in view.events}
    assert counts["Trade"] >= 3 and counts["OrderChanged"] >= 2
    assert {stream.symbol for stream in view.streams} == set(floor.engine.market.watched)


def test_what_is_wrong_is_named(floor: Floor):
    lag = LoopLag(60.0, 3000.0)
    probe = Probe(floor.engine, lambda: lag)
    floor.driver.gateway.lose_requests = 1
    floor.submit(BUY, 1, 99)
    floor.run(0.3)
    assert part(probe.view(), "orders") == ("danger", "no known outcome: #1")
    floor.run(20)
    floor.engine.disarm("ann")
    view = probe.view()
    assert part(view, "trading") == ("warn", "trading is disarmed by ann, since 2023-11-14T22:13:40.421Z")
    assert part(view, "data")[0] == "warn" and "stale" in part(view, "data")[1]
    assert part(view, "loop")[0] == "warn"
    lag = LoopLag(2001.0, 3000.0)
    floor.engine.panic("ann", "enough")
    view = probe.view()
    assert view.level == "danger" and part(view, "trading")[0] == part(view, "loop")[0] == "danger"


def test_a_limit_that_is_nearly_used_up_warns(floor: Floor):
    floor.admit("grid", max_notional_usd=d(200))
    probe = Probe(floor.engine)
    floor.order(BUY, "1.7", 100, type=OrderType.LIMIT, instance="grid")
    assert part(probe.view(), "limits") == ("warn", "grid max_notional_usd at 85 %")


def test_a_closed_probe_counts_no_more(floor: Floor):
    probe = Probe(floor.engine)
    probe.close()
    floor.order(SELL, 1, 101, instance=MANUAL)
    assert not sum(each.total for each in probe.view().events)

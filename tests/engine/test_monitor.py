"""The system monitor on a whole engine: one cause, one anomaly; nothing is ever traded."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from engine.io.files import read_checked
from engine.io.settings import MonitorConfig
from engine.kernel.account import Position
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.orders import OrderRequest, OrderState, OrderType, OrderUpdate
from engine.kernel.scheduler import InstanceState
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.data import BarFeed
from engine.runtime.detectors import History
from engine.runtime.events import EngineAlarm, InstanceChanged, LogLine, PositionChanged
from engine.runtime.monitor import SystemMonitor
from engine.runtime.records import Status
from engine.runtime.shell import ImmediateShell, run_to_end
from engine.runtime.work.soft import SoftOrder
from tests.engine.floor import BUY, MANUAL, PERP, ROOMY, SELL, Floor, d
from tests.engine.monitor_desk import CALM, QUIET, Desk
from tests.paper.venue import OTHER


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_t2_a_price_move_is_one_anomaly_with_its_effects_and_no_order(tmp_path: Path):
    desk = Desk(tmp_path, balance=1000, levels={**QUIET, "leverage": CALM["leverage"]})
    desk.floor.hold(4.5, 100.0)
    desk.wait(70, 100.0)
    assert desk.kinds() == []
    sent = desk.floor.ops()
    desk.wait(70, 112.0 * 1.2)
    assert desk.kinds()[0] == "price_jump" and desk.active()[0] == "price_jump"
    (jump,) = [one for one in desk.all() if one.kind == "price_jump"]
    assert (jump.severity, jump.symbol) == (Severity.CRIT, PERP)
    assert jump.raised_ms - desk.floor.clock.now_ms() <= -69_000
    assert {effect.kind for effect in jump.effects} == {"pnl_swing", "large_position"}
    assert [op for op in desk.floor.ops()[len(sent) :] if op.startswith("Order")] == []


def test_t2_exactly_twelve_percent_on_a_thousand_dollars(desk: Desk):
    desk.floor.hold(10, 100.0)
    desk.wait(65, 100.0)
    desk.wait(20, 112.0)
    (jump,) = desk.all()
    assert (jump.kind, jump.severity, jump.value, jump.threshold) == ("price_jump", Severity.CRIT, "0.12", "0.1")
    assert "+12.00%" in jump.text


def test_t7_a_price_that_goes_on_jumping_for_5_min_is_one_record(desk: Desk):
    desk.wait(65, 100.0)
    price = 100.0
    for _ in range(15):
        price *= 1.03
        desk.wait(20, price)
    (jump,) = desk.all()
    assert jump.is_active and jump.count > 20 and jump.severity is Severity.WARN
    assert desk.changes == [("price_jump", "WARN", True)]
    desk.wait(100, price)
    assert not jump.is_active and jump.cleared_ms is not None
    desk.wait(30, price * 1.06)
    assert desk.all() == [jump], "raised again in its cool-down without being worse"
    desk.wait(30, price * 1.2)
    assert len(desk.all()) == 2 and desk.all()[1].severity is Severity.CRIT


def test_t8_a_silent_venue_is_one_stale_data_with_effects(tmp_path: Path):
    desk = Desk(tmp_path, levels={"leverage": CALM["leverage"]})
    for _ in range(65):
        desk.mark(100.0)
        desk.mark(50.0, OTHER)
        desk.floor.run(1.0)
    desk.floor.hold(10, 100.0)
    assert desk.kinds() == []
    order = desk.floor.submit(BUY, 1, 90)
    assert order.state is OrderState.SENT
    desk.floor.engine.tracker.get(order.client_id).updated_ns -= 40 * 10**9  # type: ignore[union-attr]
    desk.mark(100.0)
    desk.floor.venue.gateway.place = lambda *_: None  # type: ignore[method-assign]
    for _ in range(90):
        desk.floor.clock.advance(1.0)
    stale = [one for one in desk.all() if one.kind == "stale_data"]
    assert [(one.symbol, one.severity) for one in stale if not one.cause_id] == [("", Severity.CRIT)]
    (outage,) = desk.monitor.anomalies.active()
    assert outage.symbol == "" and {PERP, OTHER} == {
        effect.symbol for effect in outage.effects if effect.kind == "stale_data"
    }
    with pytest.raises(RiskReject, match="anomaly"):
        desk.monitor.check_entry(MANUAL, PERP)
    for _ in range(45):
        desk.mark(100.0)
        desk.mark(50.0, OTHER)
        desk.floor.run(1.0)
    assert desk.active() == []


def silence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Let the returned times, in ms, be those of the last message of a stream."""
    heard: dict[str, int] = {}
    market = desk.floor.engine.market
    age_ms, now_ms = market.age_ms, desk.floor.clock.now_ms
    monkeypatch.setattr(market, "age_ms", lambda name: now_ms() - heard[name] if name in heard else age_ms(name))
    return heard


def test_streams_that_fall_silent_one_after_the_other_are_one_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    desk = Desk(tmp_path, levels=CALM)
    desk.mark(50.0, OTHER)
    heard = silence(desk, monkeypatch)
    heard[OTHER] = desk.floor.clock.now_ms()
    desk.wait(4, 100.0)
    heard[PERP] = desk.floor.clock.now_ms()
    for _ in range(30):
        desk.floor.bus.publish(PositionChanged(PERP))
        desk.floor.run(1.0)
    (outage,) = desk.all()
    assert outage.symbol == "" and {effect.symbol for effect in outage.effects} == {PERP, OTHER}


def test_an_outage_takes_over_what_was_stale_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    desk = Desk(tmp_path, levels=CALM)
    desk.mark(50.0, OTHER)
    heard = silence(desk, monkeypatch)
    heard[OTHER] = desk.floor.clock.now_ms()
    desk.wait(30, 100.0)
    heard[PERP] = desk.floor.clock.now_ms()
    desk.floor.run(30.0)
    stream, outage = desk.all()
    assert (stream.symbol, stream.is_active, stream.cause_id) == (OTHER, False, outage.id)
    assert desk.monitor.anomalies.active() == [outage]


def test_one_silent_stream_is_its_own_anomaly_and_clears_after_10_s_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    desk = Desk(tmp_path, levels=CALM)
    desk.mark(50.0, OTHER)
    heard = silence(desk, monkeypatch)
    heard[OTHER] = desk.floor.clock.now_ms()
    desk.wait(30, 100.0)
    (stale,) = desk.all()
    assert (stale.kind, stale.symbol, stale.severity) == ("stale_data", OTHER, Severity.WARN)
    for second in range(60):
        heard[OTHER] = desk.floor.clock.now_ms()
        desk.floor.bus.publish(PositionChanged(PERP))
        desk.wait(1, 100.0)
        assert stale.is_active or second >= 10
    assert not stale.is_active and len(desk.all()) == 1


def test_t1_a_trade_from_outside_is_told_and_never_answered(desk: Desk):
    desk.wait(5, 100.0)
    sent = desk.orders()
    outside = OrderRequest("app1", "", PERP, BUY, OrderType.MARKET, d("0.5"))
    desk.floor.venue.gateway.place(outside, lambda reply: None)
    desk.wait(60, 100.0)
    assert desk.floor.ledger(MANUAL) == d("0.5")
    external = [one for one in desk.all() if one.kind == "external_trade"]
    assert [(one.severity, one.is_active, one.value) for one in external] == [(Severity.INFO, False, "0.5")]
    assert "position_drift" not in desk.kinds() and desk.orders() == sent
    desk.floor.hold(2, 100.0, "g1")
    desk.floor.order(BUY, 1, 99)
    assert desk.kinds().count("external_trade") == 1


def test_drift_is_raised_when_seen_twice_and_clears_when_the_quantities_agree(desk: Desk):
    desk.floor.hold(10, 100.0, "g1")
    desk.wait(3, 100.0)
    engine = desk.floor.engine
    engine.reconciler.stop()
    engine.booking.on_event(_position("10.5"))
    desk.wait(4, 100.0)
    assert desk.kinds() == []
    desk.wait(10, 100.0)
    (drift,) = desk.all()
    assert (drift.kind, drift.symbol, drift.severity, drift.value) == ("position_drift", PERP, Severity.WARN, "50")
    assert drift.data["drift"] == "0.500" or Decimal(drift.data["drift"]) == d("0.5")
    desk.wait(15, 150.0)
    assert drift.severity is Severity.WARN, "a price alone made it worse"
    engine.booking.on_event(_position("12.5"))
    desk.wait(20, 150.0)
    assert drift.severity is Severity.CRIT and drift.action == "new entries blocked"
    with pytest.raises(RiskReject, match=f"Position Value Anomaly #{drift.id}"):
        desk.monitor.check_entry(MANUAL, PERP)
    desk.floor.order(SELL, 1, type=OrderType.MARKET, instance="g1")
    assert desk.floor.ledger("g1") == 9
    engine.booking.on_event(_position("9"))
    desk.wait(40, 150.0)
    assert not drift.is_active
    assert "Position Value" not in desk.monitor.entry_block(MANUAL, PERP)


def test_what_the_venue_told_before_the_last_fill_is_no_drift(desk: Desk):
    desk.floor.hold(10, 100.0, "g1")
    engine = desk.floor.engine
    engine.reconciler.stop()
    before_ns = engine.clock.now_ns()
    desk.wait(3, 100.0)
    desk.floor.order(SELL, 4, type=OrderType.MARKET, instance="g1")
    engine.portfolio.set_venue_position(_position("10"), before_ns)
    desk.wait(40, 100.0)
    assert desk.kinds() == []
    engine.booking.on_event(_position("10"))
    desk.wait(20, 100.0)
    assert desk.active() == ["position_drift"]


def test_what_is_reported_but_not_booked_yet_is_no_drift(desk: Desk):
    desk.wait(2, 100.0)
    order = desk.floor.order(BUY, 1, 90)
    desk.floor.engine.reconciler.stop()
    terms = (order.client_id, order.venue_order_id, order.symbol, order.side, order.type, OrderState.PARTIAL)
    desk.floor.engine.tracker.apply(Status(OrderUpdate(*terms, order.quantity, order.price, d(1), ts=1)), 1)
    desk.floor.engine.booking.on_event(_position("1"))
    desk.wait(20, 100.0)
    assert desk.kinds() == []
    order.reported_filled = d(0)
    desk.wait(20, 100.0)
    assert desk.kinds() == ["position_drift"]


def _position(quantity: str) -> Position:
    return Position(PERP, d(quantity), d(100), d(100), d(0), d(20))


def test_a_large_position_by_hand_is_told_one_within_a_strategys_limit_is_not(tmp_path: Path):
    desk = Desk(tmp_path, balance=1000, levels={**QUIET, "leverage": CALM["leverage"]})
    desk.floor.hold(9, 100.0, "g1")
    desk.wait(20, 100.0)
    assert desk.kinds() == []
    desk.floor.order(BUY, 6, type=OrderType.MARKET)
    desk.wait(3, 100.0)
    (large,) = desk.all()
    assert (large.kind, large.severity, large.value) == ("large_position", Severity.WARN, "0.6")
    desk.floor.order(SELL, 6, type=OrderType.MARKET)
    desk.wait(40, 100.0)
    assert not large.is_active


def test_an_order_without_an_answer_is_stuck_until_it_is_known(desk: Desk):
    desk.wait(2, 100.0)
    desk.floor.venue.gateway.place = lambda *_: None  # type: ignore[method-assign]
    order = desk.floor.submit(BUY, 1, 90)
    desk.wait(8, 100.0)
    assert desk.kinds() == []
    desk.floor.engine.reconciler.stop()
    desk.floor.engine.resolver.stop()
    desk.wait(14, 100.0)
    assert [(one.kind, one.severity) for one in desk.all()][:1] == [("order_stuck", Severity.WARN)]
    assert desk.all()[0].data["orders"] == f"#{order.label}"


def test_a_stop_that_the_engine_holds_is_not_stuck(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(stops=False))
    quiet = MonitorConfig.model_validate({"levels": QUIET})
    monitor = SystemMonitor(floor.engine, quiet, floor.writer, tmp_path / "logs")
    floor.hold(1, 100.0)
    stop = floor.order(SELL, 1, type=OrderType.STOP, trigger=90, reduce_only=True)
    assert stop.held and stop.state is OrderState.INTENT
    floor.run(60)
    monitor.evaluate()
    assert "order_stuck" not in [anomaly.kind for anomaly in monitor.anomalies]


def test_a_gap_in_the_prices_is_no_jump():
    history = History()
    for second, price in ((0, 100), (30, 101), (60, 102), (61, 103), (200, 150), (201, 151)):
        history.add(second * NS_PER_S, d(price))
    assert (history.first, history.last) == (150, 151)
    history.add(230 * NS_PER_S, d(140))
    history.add(262 * NS_PER_S, d(141))
    assert history.first == 151, "the newest that is at least a minute old"


def test_a_swing_of_the_profit_is_judged_by_amount_and_equity(tmp_path: Path):
    jumpless = {"price_jump": {"warn": 100, "crit": 200}}
    desk = Desk(tmp_path, balance=20_000, levels={**QUIET, **CALM, **jumpless})
    desk.floor.hold(10, 100.0)
    desk.wait(65, 100.0)
    desk.wait(10, 118.0)
    assert desk.kinds() == [], "180 USD is below 1 % of the equity"
    desk.wait(20, 125.0)
    (swing,) = desk.all()
    assert (swing.kind, swing.severity, swing.symbol) == ("pnl_swing", Severity.WARN, "")
    assert Decimal(swing.threshold) > 200
    desk.wait(120, 125.0)
    assert not swing.is_active


def test_a_faulted_strategy_is_critical_until_it_runs_again(desk: Desk):
    desk.wait(1, 100.0)
    desk.monitor.raise_anomaly("strategy_fault", "", "g1", "FAULTED", "", "g1: ZeroDivisionError", "CRIT")
    with pytest.raises(RiskReject, match="ZeroDivisionError"):
        desk.floor.submit(BUY, 1, 99, instance="g1")
    assert desk.floor.order(BUY, 1, 99).state is OrderState.OPEN
    desk.floor.bus.publish(InstanceChanged("g1", InstanceState.RUNNING, ""))
    assert desk.active() == []
    assert desk.floor.order(BUY, 1, 98, instance="g1").state is OrderState.OPEN
    desk.monitor.raise_anomaly("strategy_fault", "", "g1", "FAULTED", "", "again", "CRIT")
    (fault,) = desk.all()
    assert fault.count == 2 and fault.is_active
    assert [change[2] for change in desk.changes] == [True, False, False]


def test_what_was_reported_is_seen_by_a_person_or_forgotten(desk: Desk):
    desk.floor.bus.publish(EngineAlarm("overfill", PERP, "g1", "#1 filled more than asked", "CRIT"))
    desk.monitor.raise_anomaly("grid_guard", PERP, "g1", "0.7", "0.8", "grid frozen")
    first, second = desk.all()
    assert (first.severity, second.title) == (Severity.CRIT, "Grid Guard")
    desk.monitor.acknowledge(first.id, "ann")
    assert not first.is_active and first.acked_by == "ann" and first.acked_ms == desk.floor.clock.now_ms()
    desk.wait(899, 100.0)
    assert second.is_active
    desk.wait(15, 100.0)
    assert not second.is_active
    with pytest.raises(CtosError, match="no anomaly '99'"):
        desk.monitor.acknowledge("99")
    with pytest.raises(CtosError, match="no severity"):
        desk.monitor.raise_anomaly("x", "", "", "", "", "", "FATAL")


def test_a_muted_one_goes_on_in_silence(desk: Desk):
    desk.monitor.raise_anomaly("grid_guard", PERP, "g1", "1", "", "a")
    desk.monitor.mute(desk.all()[0].id)
    desk.changes.clear()
    desk.monitor.raise_anomaly("grid_guard", PERP, "g1", "2", "", "b", "CRIT")
    assert desk.changes == [("grid_guard", "CRIT", False)] and desk.all()[0].severity is Severity.CRIT


def test_stopping_ends_at_once_and_leaves_the_files(desk: Desk):
    desk.floor.hold(2, 100.0, "g1")
    resting = desk.floor.order(BUY, 1, 90)
    desk.monitor.raise_anomaly("grid_guard", PERP, "g1", "0.7", "0.8", "grid frozen")
    desk.wait(2, 100.0)
    backup = read_checked(desk.folder / "paper_account0_position_backup.json")
    assert list(backup) == [
        "schema_version", "written_at", "exchange", "account", "mode", "equity", "journal_seq", "positions",
        "open_orders",
    ]  # fmt: skip
    (position,) = backup["positions"]
    assert list(position) == [
        "symbol", "side", "qty", "notional", "entry_price", "mark_price", "liq_price", "break_even", "leverage",
        "unrealised", "realised", "funding", "ledgers", "manual_qty", "drift_qty",
    ]  # fmt: skip
    assert (position["side"], Decimal(position["qty"]), Decimal(position["drift_qty"])) == ("long", 2, 0)
    assert [ledger["instance"] for ledger in position["ledgers"]] == ["g1"]
    assert backup["open_orders"][0]["cid"] == resting.client_id
    report = read_checked(desk.folder / "paper_account0_anomaly_report.json")
    assert list(report["anomalies"][0]) == [
        "id", "kind", "title", "severity", "state", "symbol", "instance", "raised_at", "updated_at", "cleared_at",
        "count", "value", "threshold", "clear_threshold", "peak", "data", "cause_id", "effects", "action", "acked_by",
        "acked_at",
    ]  # fmt: skip
    assert report["anomalies"][0]["raised_at"].endswith("Z")
    desk.monitor.stop_position_monitoring()
    assert not desk.monitor.is_monitoring
    before = (desk.folder / "paper_account0_position_backup.json").read_bytes()
    desk.floor.order(BUY, 1, type=OrderType.MARKET)
    desk.wait(70, 500.0)
    assert (desk.folder / "paper_account0_position_backup.json").read_bytes() == before
    assert desk.kinds() == ["grid_guard"]


def test_the_backup_is_written_every_minute_and_when_quantities_change(desk: Desk):
    path = desk.folder / "paper_account0_position_backup.json"
    desk.wait(2, 100.0)
    times = {read_checked(path)["written_at"]}
    desk.wait(30, 100.0)
    assert {read_checked(path)["written_at"]} == times
    desk.floor.hold(1, 100.0)
    desk.wait(2, 100.0)
    times.add(read_checked(path)["written_at"])
    assert len(times) == 2
    desk.wait(65, 100.0)
    times.add(read_checked(path)["written_at"])
    assert len(times) == 3


def test_summaries(desk: Desk):
    desk.floor.hold(2, 100.0, "g1")
    desk.mark(110.0)
    desk.floor.run(1)
    summary = desk.monitor.get_position_summary()
    assert (summary.count, summary.long, summary.short, summary.net, summary.gross) == (1, 220, 0, 220, 220)
    assert (summary.unrealised, summary.rows[0].symbol) == (20, PERP)
    for number in range(12):
        desk.monitor.raise_anomaly(f"kind_{number}", PERP, "g1", number, "", "x", "CRIT" if number % 2 else "WARN")
    anomalies = desk.monitor.get_anomaly_summary(24)
    assert anomalies.total == 12 and anomalies.by_severity == {"WARN": 6, "CRIT": 6}
    assert [one.kind for one in anomalies.last][:2] == ["kind_11", "kind_10"] and len(anomalies.last) == 10
    desk.monitor.stop_position_monitoring()
    desk.floor.run(7200)
    assert desk.monitor.get_anomaly_summary(1).total == 0


def test_anomalies_outlive_a_restart(desk: Desk, tmp_path: Path):
    desk.monitor.raise_anomaly("grid_guard", PERP, "g1", "0.7", "0.8", "grid frozen", "CRIT")
    desk.monitor.raise_anomaly("other", PERP, "g1", "1", "", "x")
    desk.monitor.acknowledge(desk.all()[1].id, "ann")
    desk.floor = desk.floor.restart(tmp_path)
    desk.watch(desk.floor)
    first, second = desk.all()
    assert (first.kind, first.is_active, second.acked_by) == ("grid_guard", True, "ann")
    assert desk.monitor.entry_block("g1", PERP) and not desk.monitor.entry_block("g2", PERP)
    desk.monitor.raise_anomaly("third", "", "", "", "", "x")
    assert [one.id for one in desk.all()] == ["1", "2", "3"]


def test_a_report_that_cannot_be_written_is_told_once(desk: Desk):
    desk.wait(2, 100.0)
    lines: list[tuple[str, str]] = []
    desk.floor.bus.subscribe(LogLine, lambda line: lines.append((line.level, line.text)))
    report = desk.folder / "paper_account0_position_backup.json"
    report.unlink()
    report.mkdir()
    desk.floor.hold(1, 100.0)
    desk.wait(70, 100.0)
    (anomaly,) = desk.all()
    assert anomaly.kind == "file_not_written" and str(report) in anomaly.text
    assert [line for line in lines if line[0] == "warn"] == [("warn", f"File Not Written: {anomaly.text}")]
    desk.monitor.stop_position_monitoring()
    assert desk.all() == [anomaly] and anomaly.count == 1


def test_what_is_no_longer_so_is_resolved(desk: Desk):
    desk.monitor.raise_anomaly("disk_space", "", "", "20 MB", "200 MB", "only 20 MB are free", "CRIT")
    assert desk.monitor.entry_block("g1", PERP).startswith("Disk Space #1: only 20 MB")
    desk.monitor.resolve("disk_space")
    assert desk.monitor.entry_block("g1", PERP) == "" and desk.active() == []


def test_a_soft_order_that_outlives_its_deadline_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    desk = Desk(tmp_path)
    desk.wait(2, 100.0)
    monkeypatch.setattr(SoftOrder, "_on_deadline", lambda work: None)
    handle = desk.floor.engine.soft(MANUAL, PERP, BUY, d(1), deadline_s=60)
    desk.wait(85, 100.0)
    assert desk.kinds() == []
    desk.wait(20, 100.0)
    (stuck,) = desk.all()
    assert (stuck.kind, stuck.severity) == ("order_stuck", Severity.WARN) and handle in stuck.text
    desk.wait(20, 100.0)
    assert stuck.severity is Severity.CRIT
    desk.floor.engine.end(handle)
    desk.wait(40, 100.0)
    assert not stuck.is_active


def test_a_candle_that_is_later_than_two_timeframes_is_stale_data(desk: Desk):
    bars = BarFeed(desk.floor.driver, desk.floor.clock, ImmediateShell(), lambda what, error: None)
    bars.watch(PERP, "1m", lambda bar: None)
    desk.monitor.watch_bars(bars)
    desk.wait(125, 100.0)
    assert bars.bars(PERP, "1m") and desk.kinds() == []
    bars._series[PERP, "1m"].unsubscribe()  # type: ignore[misc]  # the stream falls silent, ticks go on
    desk.wait(190, 100.0)
    (stale,) = desk.all()
    assert (stale.kind, stale.symbol, stale.severity) == ("stale_data", PERP, Severity.WARN)
    assert "no 1m candle has closed" in stale.text


def test_a_critical_one_that_comes_back_soon_blocks_again_in_silence(tmp_path: Path):
    desk = Desk(tmp_path, balance=1000, levels={**QUIET, "leverage": CALM["leverage"]})
    desk.floor.hold(11, 100.0)
    desk.wait(12, 100.0)
    (large,) = [one for one in desk.all() if one.kind == "large_position"]
    assert large.severity is Severity.CRIT
    desk.floor.order(SELL, 8, type=OrderType.MARKET)
    desk.wait(35, 100.0)
    assert not large.is_active
    desk.changes.clear()
    desk.floor.order(BUY, 8, type=OrderType.MARKET)
    desk.wait(3, 100.0)
    assert large.is_active and large.count >= 2 and not any(notify for *_, notify in desk.changes)
    with pytest.raises(RiskReject, match=f"#{large.id}"):
        desk.floor.submit(BUY, 1, 99)


def test_e16_orders_and_cancels_of_others_are_shown_and_counted_and_left_alone(tmp_path: Path):
    desk = Desk(tmp_path)
    floor, exchange = desk.floor, desk.floor.venue.exchange
    floor.hold(2, 100.0, "g1")
    ours = floor.order(BUY, 1, 95, instance="g1")
    theirs = exchange.place(OrderRequest("", "", PERP, BUY, OrderType.LIMIT, d(3), d(90)))
    floor.venue._commit()
    desk.wait(15, 100.0)
    (seen,) = [order for order in floor.engine.tracker.working() if order.external]
    assert (seen.quantity, seen.price, seen.instance) == (3, 90, MANUAL)
    exposed = floor.engine.risk.usage()[0].used
    assert exposed == 2 * 100 + 1 * 95 + 3 * 90, "what others may still buy counts"
    exchange.cancel(ours.venue_order_id, PERP)
    floor.venue._commit()
    desk.wait(15, 100.0)
    assert ours.state is OrderState.CANCELED
    floor.engine.cancel_all()
    floor.engine.panic("ann")
    desk.wait(90, 100.0)
    assert [update.venue_order_id for update in exchange.open_orders()] == [theirs.venue_order_id]
    floor.check_books()


def test_e17_a_liquidation_is_booked_to_its_holders_and_halts(tmp_path: Path):
    limits = replace(ROOMY, daily_loss_pct=Decimal(1))
    desk = Desk(tmp_path, balance=250, floor={"limits": limits})
    run_to_end(desk.floor.venue.set_leverage(PERP, d(20)))
    desk.floor.hold(30, 100.0, "g1")
    desk.wait(2, 100.0)
    desk.floor.print(88.0)
    engine = desk.floor.engine
    assert engine.risk.is_halted and "the venue liquidated" in engine.trading.describe()
    assert desk.floor.venue_quantity() == engine.portfolio.quantity(PERP) == desk.floor.ledger("g1") == 0
    assert "liquidation" in desk.kinds() and "LedgerTransfer" in desk.floor.ops()
    desk.floor = desk.floor.restart(tmp_path, armed=False)
    assert desk.floor.engine.risk.is_halted, "the halt outlives a restart"
    desk.floor.check_books()

"""Mean reversion on the real paper venue: test lines of its specification."""

from __future__ import annotations

import pytest

from drivers.paper.config import QueueModel
from engine.kernel.errors import ConfigError, InvalidOrder, VenueUnavailable
from engine.kernel.orders import OrderType
from engine.kernel.syscalls import VenueFeatures
from tests.engine.faults import FaultyDriver
from tests.engine.floor import d
from tests.paper.venue import PERP, SPOT
from tests.rig import Rig

DIP = (100, 101, 99, 100, 94)


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path)


def start(rig: Rig, **params):
    given = {"period": 5, "entry_z": 1.5, "max_slope_z": 0, "timeframe": "1m", **params}
    rig.candles((98, 102, 98, 102, 98, 102))
    return rig.launch("mean_reversion", **given)


def entered(rig: Rig, **params) -> None:
    start(rig, **params)
    rig.candles(DIP)
    rig.print(94)
    assert rig.ledger_of("mr1").quantity == d("1.063")


def stops(rig: Rig) -> list[tuple[str, str]]:
    return [
        (f"{order.remaining:f}", f"{order.trigger_price:f}")
        for order in rig.working("mr1")
        if order.type is OrderType.STOP
    ]


def test_buys_the_dip_and_closes_at_the_mean(rig):
    start(rig)
    rig.candles(DIP[:-1])
    assert rig.fills() == []
    rig.candles(DIP[-1:])
    rig.print(94)
    assert rig.ledger_of("mr1").quantity == d("1.063")
    assert stops(rig) == [("1.063", "91.18")]
    rig.candles((99,))
    ledger = rig.ledger_of("mr1")
    assert (ledger.quantity, ledger.realised) == (0, d("5.315"))
    assert rig.working("mr1") == []
    rig.check_books()


def test_a_wider_band_gives_no_entry(rig):
    start(rig, entry_z=2)
    rig.candles(DIP)
    rig.print(94)
    assert rig.fills() == [] and "enters beyond 2" in rig.manager.get("mr1").why


def test_the_stop_takes_three_per_cent_and_idles(rig):
    entered(rig)
    rig.print(91.18)
    ledger = rig.ledger_of("mr1")
    assert (ledger.quantity, ledger.realised) == (0, d("1.063") * d("-2.82"))
    idle = (91, 95, 91, 95, 80)
    for close in idle:
        rig.candles((close,))
        assert rig.working("mr1") == [] and "cooling down" in rig.manager.get("mr1").why
    rig.candles((70,))
    assert rig.working("mr1") != []


def test_after_a_stop_a_close_inside_the_band_comes_first(rig):
    entered(rig, cooldown=0)
    rig.print(91.18)
    rig.candles((80,))
    assert rig.working("mr1") == [] and "waits for a close inside" in rig.manager.get("mr1").why
    rig.candles((85, 84, 86, 70))
    assert [order.side.value for order in rig.working("mr1")] == ["buy"]


def test_closes_that_do_not_move_give_no_signal(rig):
    start(rig)
    rig.candles([100] * 8)
    assert rig.fills() == [] and rig.working("mr1") == []
    assert "do not move" in rig.manager.get("mr1").why


def test_reenter_waits_for_the_first_close_inside(rig):
    start(rig, trigger="reenter")
    rig.candles(DIP)
    assert rig.working("mr1") == []
    rig.candles((97,))
    assert [(order.side.value, f"{order.price:f}") for order in rig.working("mr1")] == [("buy", "97")]


def test_the_stop_is_there_again_after_a_restart(rig):
    entered(rig)
    stop = rig.working("mr1")[0]
    second = rig.restart()
    assert stops(second) == [("1.063", "91.18")]
    rig = second
    rig.cancel_outside(rig.working("mr1")[0])
    assert rig.working("mr1") == []
    third = rig.restart()
    third.path(94, seconds=31)
    third.path(94, seconds=2)
    assert stops(third) == [("1.063", "91.18")]
    assert third.working("mr1")[0].client_id != stop.client_id
    third.print(91.18)
    assert third.ledger_of("mr1").quantity == 0


def test_leaves_after_max_hold_counted_over_a_restart(rig):
    entered(rig, max_hold=3, exit_z=0, stop_pct="0.5", stop_z=9)
    rig = rig.restart()
    entry_bar = rig.manager.get("mr1").strategy._trades[PERP].entry_bar
    assert entry_bar
    rig.candles((90, 88, 86, 84))
    assert any("held for" in line for line in rig.log_of("mr1"))


def test_an_unfilled_entry_ends_after_two_minutes(rig):
    start(rig)
    rig.candles(DIP)
    assert len(rig.working("mr1")) == 1
    rig.run(125)
    assert rig.working("mr1") == [] and rig.ledger_of("mr1").quantity == 0
    assert "entry ended without a fill" in rig.manager.get("mr1").why


def test_no_entry_while_the_mean_moves(rig):
    start(rig, max_slope_z=1.5)
    rig.candles((100, 98, 96, 94, 92, 90, 88, 86, 84, 70))
    assert rig.working("mr1") == [] and "mean itself is moving" in rig.manager.get("mr1").why


def test_sells_the_peak_and_stops_above_it(rig):
    start(rig)
    rig.candles((100, 99, 101, 100, 106))
    rig.print(106)
    assert rig.ledger_of("mr1").quantity == d("-0.943")
    assert stops(rig) == [("0.943", "109.18")]
    rig.print(109.18)
    assert rig.ledger_of("mr1").quantity == 0


def test_takes_only_the_allowed_direction(rig):
    start(rig, direction="long_only")
    rig.candles((100, 99, 101, 100, 106))
    assert rig.working("mr1") == []


def test_a_close_beyond_the_stop_score_gives_up(rig):
    entered(rig, stop_pct="0.5", stop_z=1.75)
    rig.candles((93, 92, 91, 90, 80))
    assert rig.ledger_of("mr1").quantity == 0
    assert any("beyond the stop" in line for line in rig.log_of("mr1"))


@pytest.mark.parametrize("held", [False, True])
def test_the_stop_covers_what_filled_and_nothing_is_topped_up(tmp_path, held):
    rig = Rig(tmp_path, queue=QueueModel.FIFO, first_price=None, features=VenueFeatures(stops=not held))
    rig.book(100)
    rig.candles_traded((98, 102, 98, 102, 98, 102))
    rig.launch("mean_reversion", period=5, entry_z=1.5, max_slope_z=0, timeframe="1m")
    rig.candles_traded(DIP)
    (entry,) = rig.working("mr1")
    rig.trade(float(entry.price), 1000.4)
    assert rig.ledger_of("mr1").quantity == d("0.4")
    assert [quantity for quantity, _ in stops(rig)] == ["0.4"]
    rig.trade(float(entry.price), 0.3)
    assert [quantity for quantity, _ in stops(rig)] == ["0.7"]
    rig.run(125)
    assert len(rig.working("mr1")) == 1 and rig.ledger_of("mr1").quantity == d("0.7")
    assert rig.working("mr1")[0].held is held


def test_a_stop_cancelled_by_a_person_comes_back_three_times(rig):
    entered(rig)
    for _ in range(3):
        rig.cancel_outside(rig.working("mr1")[0])
        rig.run(29)
        assert stops(rig) == []
        rig.path(94, seconds=2)
        assert stops(rig) == [("1.063", "91.18")]
    rig.cancel_outside(rig.working("mr1")[0])
    rig.path(94, seconds=60)
    assert stops(rig) == []
    assert ("external_cancel", PERP, "mr1", "CRIT") in rig.anomalies


@pytest.mark.parametrize("held", [False, True])
def test_an_amended_stop_distance_moves_the_stop(tmp_path, held):
    rig = Rig(tmp_path, features=VenueFeatures(stops=not held))
    entered(rig)
    rig.manager.amend("mr1", {"stop_pct": "0.05"})
    rig.run()
    assert stops(rig) == [("1.063", "89.30")]


def test_a_refused_stop_closes_the_position(rig):
    start(rig)
    real = rig.venue.exchange.place

    def refuse_stops(request):
        if request.type is OrderType.STOP:
            raise InvalidOrder("no stops here")
        return real(request)

    rig.venue.exchange.place = refuse_stops
    rig.candles(DIP)
    rig.print(94)
    assert rig.ledger_of("mr1").quantity == 0
    assert ("stop_refused", PERP, "mr1", "CRIT") in rig.anomalies


def test_a_stop_that_the_venue_did_not_take_is_left_to_the_engine(tmp_path):
    rig = Rig(tmp_path, features=VenueFeatures(stops=False), driver_of=FaultyDriver)
    entered(rig)
    rig.driver.gateway.refuse_places.append(VenueUnavailable("busy"))
    rig.print(91.18)
    assert stops(rig) == [("1.063", "91.18")]
    rig.run(1)
    assert rig.ledger_of("mr1").quantity == 0 and rig.working("mr1") == [] and rig.anomalies == []
    assert any("stopped out" in line for line in rig.log_of("mr1"))


def test_a_lost_memory_finds_its_stop_again(rig):
    entered(rig)
    instance = rig.manager.get("mr1")
    instance.context.state.clear()
    instance.memory = b"{}"
    rig.manager.save_all()
    second = rig.restart()
    assert stops(second) == [("1.063", "91.18")] and second.ledger_of("mr1").quantity == d("1.063")
    assert second.anomalies == []
    second.print(91.18)
    assert second.ledger_of("mr1").quantity == 0 and second.working("mr1") == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"period": 4}, "period: .*5.*got 4"),
        ({"entry_z": 4}, "exit_z 0.5 < entry_z 4.0 < stop_z 3.5 must hold"),
        ({"timeframe": "2m"}, "'2m' must be one of 1m, 3m"),
        ({"direction": "up"}, "direction"),
    ],
)
def test_bad_parameters_are_named(rig, params, words):
    with pytest.raises(ConfigError, match=words):
        rig.launch("mean_reversion", **params)


def test_spot_cannot_be_short_only(rig):
    with pytest.raises(ConfigError, match="TST-USD is spot"):
        rig.launch("mean_reversion", symbols=SPOT, direction="short_only")

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ctos_tui.guard.arming import Arming, ArmingPolicy, ArmingRefused, Trigger
from ctos_tui.guard.keys import KeyGuard
from ctos_tui.guard.levels import (
    Decision,
    GuardLimits,
    Level,
    OrderFacts,
    decide,
    decide_amend,
    guard_limits,
    size_refusals,
)
from engine.kernel.orders import Side
from engine.runtime.accounts import AccountLimits
from tests.console.consoles import console, opened
from tests.console.scripted import busy_port

D = Decimal
S = 1_000_000_000
MS = 1_000_000
NOW = 1_767_323_045 * S
BTC, ETH = "BTC-USDT-PERP", "ETH-USDT-PERP"

CALM = OrderFacts(
    Side.BUY,
    D("0.1"),
    D(100),
    best=D("100.1"),
    mid=D("100.05"),
    far_depth=D(50),
    book_age_ms=10,
    equity=D(1000),
    free=D(1000),
    margin_rate=D("0.1"),
)
LIMITS = GuardLimits(soft_order=D(50), hard_order=D(100), soft_exposure=D(300), hard_exposure=D(500), max_leverage=D(3))


def level(**fields: object) -> Level:
    return decide(replace(CALM, **fields), LIMITS).level  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, Level.L1),
        ({"market": True}, Level.L2),
        ({"price": D("100.1")}, Level.L1),
        ({"price": D("100.2")}, Level.L2),
        ({"price": D("100.1"), "post": True}, Level.L3),
        ({"price": D("102.2")}, Level.L3),
        ({"price": D("99.5")}, Level.L2),
        ({"side": Side.SELL, "price": D("100.2"), "best": D(100)}, Level.L1),
        ({"side": Side.SELL, "price": D("97"), "best": D(100)}, Level.L3),
        ({"focused": False}, Level.L2),
        ({"book_age_ms": 1000}, Level.L1),
        ({"book_age_ms": 1001}, Level.L2),
        ({"book_age_ms": 3000}, Level.L2),
        ({"book_age_ms": 3001}, Level.L3),
        ({"book_age_ms": None}, Level.L3),
        ({"crossed": True}, Level.L3),
        ({"same_age_ms": 2000}, Level.L2),
        ({"same_age_ms": 2001}, Level.L1),
        ({"usual_quantity": D("0.034")}, Level.L1),
        ({"usual_quantity": D("0.033")}, Level.L2),
        ({"far_depth": D("0.5")}, Level.L1),
        ({"far_depth": D("0.49")}, Level.L2),
        ({"quantity": D("0.5")}, Level.L1),
        ({"quantity": D("0.51")}, Level.L2),
        ({"quantity": D("1")}, Level.L2),
        ({"quantity": D("1.01")}, Level.L3),
        ({"exposure": D(290)}, Level.L1),
        ({"exposure": D(291)}, Level.L2),
        ({"exposure": D(491)}, Level.L3),
        ({"equity": D(3)}, Level.L3),
        ({"equity": D(0)}, Level.L3),
        ({"free": D("0.99")}, Level.L3),
        ({"unknown_order": True}, Level.L3),
        ({"halted": "panic"}, Level.L3),
        ({"armed": False}, Level.L3),
        ({"rate_full": True}, Level.L3),
        ({"can_short": False, "side": Side.SELL, "best": D("99.9")}, Level.L3),
    ],
)
def test_the_level_of_an_order(fields: dict[str, object], wanted: Level) -> None:
    assert level(**fields) is wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"halted": "panic"},
        {"armed": False},
        {"rate_full": True},
        {"unknown_order": True},
        {"exposure": D(10_000)},
        {"equity": D(1)},
        {"quantity": D(5)},
    ],
)
def test_a_reduction_passes_what_stops_an_increase(fields: dict[str, object]) -> None:
    reducing = {"side": Side.SELL, "best": D("99.9"), "position": D(5), "reduces": True}
    assert level(**fields) is Level.L3 or "quantity" in fields
    assert level(**reducing, **fields) is not Level.L3
    assert level(**reducing, crossed=True) is Level.L3
    assert level(**reducing, book_age_ms=None) is Level.L3


def test_a_refusal_names_rule_limit_value_and_the_largest_that_passes() -> None:
    decision = decide(replace(CALM, quantity=D(2)), LIMITS)
    assert decision.refused
    assert decision.reasons[0].text() == "max_order_usd 200 $ > 100 $"
    assert decision.largest == D(1)
    assert decide(replace(CALM, quantity=D(2), armed=False), LIMITS).largest is None


@given(
    st.sampled_from([LIMITS, replace(LIMITS, hard_order=None), replace(LIMITS, hard_order=None, max_leverage=None)]),
    st.sampled_from(list(Side)),
    st.decimals("-20", "20", places=2),
    st.decimals("0", "800", places=1),
    st.decimals("0", "400", places=1),
    st.decimals("0.01", "50", places=2),
)
def test_the_largest_that_passes_is_right(
    limits: GuardLimits, side: Side, position: Decimal, other: Decimal, equity: Decimal, quantity: Decimal
) -> None:
    exposure = other + abs(position) * 100
    facts = replace(CALM, side=side, position=position, exposure=exposure, equity=equity, quantity=quantity)
    broken = size_refusals(facts, limits)
    if not broken:
        return
    sizes = [reason.largest for reason in broken if reason.largest is not None]
    assert len(sizes) == len(broken) and max(sizes) < quantity
    largest = min(sizes)
    if largest > 0:
        assert not size_refusals(replace(facts, quantity=largest), limits)
    assert size_refusals(replace(facts, quantity=largest + D("0.02")), limits)


def test_the_limits_of_an_account_are_confirmed_before_they_are_refused() -> None:
    limits = guard_limits(AccountLimits(max_order_usd=D(100), max_notional_usd=D(500), max_leverage=D(2)))
    assert decide(replace(CALM, quantity=D("0.6")), limits).level is Level.L2
    assert decide(replace(CALM, quantity=D("1.01")), limits).level is Level.L3
    assert decide(replace(CALM, exposure=D(400)), limits).level is Level.L2
    assert decide(replace(CALM, exposure=D(491)), limits).level is Level.L3
    assert decide(replace(CALM, equity=D("4.9")), limits).level is Level.L3


@pytest.mark.parametrize(
    ("side", "price", "quantity", "wanted"),
    [
        (Side.BUY, "99", "1", Level.L0),
        (Side.BUY, "100", "0.5", Level.L0),
        (Side.BUY, "101", "1", Level.L3),
        (Side.BUY, "99", "1.1", Level.L3),
        (Side.SELL, "101", "1", Level.L0),
        (Side.SELL, "99", "1", Level.L3),
    ],
)
def test_only_a_smaller_or_farther_amend_goes_at_once(side: Side, price: str, quantity: str, wanted: Level) -> None:
    as_new = Decision(Level.L3)
    assert decide_amend(side, D(100), D(price), D(1), D(quantity), as_new).level is wanted


def test_paper_is_armed_by_one_key_and_stays_armed() -> None:
    arming = Arming(ArmingPolicy.paper("paper"))
    assert arming.label(NOW) == "DISARMED" and not arming.is_armed(BTC, NOW)
    arming.arm(NOW)
    assert arming.is_armed(BTC, NOW + 10**6 * S) and arming.everything(NOW)
    assert arming.label(NOW, BTC) == "ARMED"
    for trigger in (Trigger.SLOW_TERMINAL, Trigger.RESUMED, Trigger.FOCUS_LOST):
        assert arming.trigger(trigger) == "" and arming.is_armed(BTC, NOW)
    arming.disarm()
    assert not arming.is_armed(BTC, NOW)


@pytest.mark.parametrize("typed", ["", "main ", "Main", "mai", "other"])
def test_live_needs_the_exact_name(typed: str) -> None:
    arming = Arming(ArmingPolicy.live("main"))
    if typed.strip() == "main":
        arming.arm(NOW, typed=typed)
        return
    with pytest.raises(ArmingRefused, match="type main to arm"):
        arming.arm(NOW, typed=typed)
    assert not arming.is_armed(BTC, NOW)


def test_live_is_armed_for_a_time_that_use_extends() -> None:
    arming = Arming(ArmingPolicy.live("main"))
    arming.arm(NOW, BTC, 60, "main")
    assert arming.label(NOW + 1, BTC) == "ARMED 00:59"
    assert arming.is_armed(BTC, NOW + 59 * S) and not arming.is_armed(ETH, NOW)
    assert arming.label(NOW, ETH) == "DISARMED here, 1 armed"
    arming.used(BTC, NOW + 50 * S)
    assert arming.is_armed(BTC, NOW + 109 * S)
    assert arming.expire(NOW + 109 * S) == ""
    assert not arming.is_armed(BTC, NOW + 110 * S)
    assert "BTC-USDT-PERP: the time is over" in arming.expire(NOW + 110 * S)
    arming.used(BTC, NOW + 111 * S)
    assert not arming.is_armed(BTC, NOW + 111 * S)


def test_live_without_a_time_ends_ten_minutes_after_the_last_use() -> None:
    arming = Arming(ArmingPolicy.live("main"))
    arming.arm(NOW, typed="main")
    assert arming.is_armed(ETH, NOW + 599 * S) and not arming.is_armed(ETH, NOW + 600 * S)
    with pytest.raises(ArmingRefused, match="at most 8 h"):
        arming.arm(NOW, seconds=9 * 3600, typed="main")


@pytest.mark.parametrize("trigger", [trigger for trigger in Trigger if trigger is not Trigger.FOCUS_LOST])
def test_every_trigger_disarms_live(trigger: Trigger) -> None:
    arming = Arming(ArmingPolicy.live("main"))
    assert arming.trigger(trigger) == ""
    arming.arm(NOW, typed="main")
    assert trigger in arming.trigger(trigger)
    assert not arming.is_armed(BTC, NOW)


def test_losing_the_focus_disarms_only_where_it_is_asked_for() -> None:
    for asked in (False, True):
        arming = Arming(ArmingPolicy.live("main", on_focus_lost=asked))
        arming.arm(NOW, typed="main")
        assert bool(arming.trigger(Trigger.FOCUS_LOST)) is asked


@pytest.mark.parametrize("policy", [ArmingPolicy.paper("main"), ArmingPolicy.live("main")])
def test_a_halt_disarms_and_must_be_released_first(policy: ArmingPolicy) -> None:
    arming = Arming(policy)
    arming.arm(NOW, typed="main")
    assert "halted" in arming.halt("panic")
    assert arming.label(NOW) == "HALTED"
    with pytest.raises(ArmingRefused, match="rearm main"):
        arming.arm(NOW, typed="main")
    arming.release()
    assert arming.label(NOW) == "DISARMED"
    arming.arm(NOW, typed="main")
    assert arming.is_armed(BTC, NOW)


def press(guard: KeyGuard, key: str, at_ms: int, delay_ms: int = 1, **fields: bool) -> str:
    return guard.check(
        key, NOW + at_ms * MS, NOW + (at_ms + delay_ms) * MS, guarded=fields.pop("guarded", True), **fields
    )


def test_a_fresh_order_key_passes() -> None:
    guard = KeyGuard()
    assert press(guard, "b", 0) == ""
    assert press(guard, "enter", 120) == ""
    assert press(guard, "b", 400, 250) == ""


def test_an_old_key_is_dropped() -> None:
    assert "251 ms old" in press(KeyGuard(), "b", 0, 251)
    assert press(KeyGuard(), "x", 0, 5000, guarded=False) == ""


def test_a_paste_is_dropped_from_its_third_key_on() -> None:
    guard = KeyGuard()
    notes = [press(guard, key, 0) for key in ("b", "s", "enter", "B")]
    assert notes[:2] == ["", ""] and all("paste" in note for note in notes[2:])
    assert press(guard, "enter", 200) == ""


def test_unguarded_keys_count_towards_a_burst() -> None:
    guard = KeyGuard()
    assert press(guard, "j", 0, guarded=False) == ""
    assert press(guard, "k", 1, guarded=False) == ""
    assert "paste" in press(guard, "enter", 2)


def test_a_held_key_acts_once_for_each_press() -> None:
    guard = KeyGuard()
    notes = [press(guard, "enter", at) for at in (0, 400, 433, 466, 499)]
    assert notes[:2] == ["", ""] and all("held" in note for note in notes[2:])
    assert press(guard, "enter", 700) == ""


def test_a_question_that_just_appeared_is_not_answered() -> None:
    guard = KeyGuard()
    guard.dialog_opened(NOW)
    assert "just appeared" in press(guard, "enter", 299)
    assert press(guard, "y", 300) == ""


def test_nothing_is_sent_while_the_screen_is_behind() -> None:
    assert "behind" in press(KeyGuard(), "enter", 0, output_behind=True)
    assert press(KeyGuard(), "x", 0, guarded=False, output_behind=True) == ""


async def test_a_front_that_was_stopped_and_goes_on_finds_orders_by_hand_locked() -> None:
    port = busy_port()
    app = console(port)
    async with opened(app):
        app.session.arming = Arming(ArmingPolicy.live("main"))
        app.session.arming.arm(app.session.now(), typed="main")
        app.terminal_resumed()
        assert ("lock_hand",) in port.calls and not app.session.arming.everything(app.session.now())
        assert "the program was stopped and went on" in app.session.note.text

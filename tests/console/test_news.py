"""What the operator is told without asking about what others do at the venue."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ctos_tui.session import Session
from ctos_tui.workplace import Workplace
from engine.kernel.orders import Fill, OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import EndedOutside, EngineAlarm, FillBooked, OrderChanged
from engine.runtime.outside import STOP_LOST
from tests.console.scripted import BTC, ScriptedPort, busy_port


@pytest.fixture
def port() -> ScriptedPort:
    return busy_port()


@pytest.fixture
def session(port: ScriptedPort) -> Session:
    return Workplace.at(port).session


def said(session: Session) -> tuple[str, str]:
    note = session.current_note()
    return ("", "") if note is None else (note.level, note.text)


@pytest.mark.parametrize(
    ("outside", "forced", "level", "begins"),
    [
        (False, False, "good", "filled: sell 0.0200 BTC @ "),
        (True, False, "warn", "traded outside: sell 0.0200 BTC @ "),
        (True, True, "danger", "liquidated by the venue: sell 0.0200 BTC @ "),
    ],
)
def test_a_trade_is_told_by_who_made_it(
    port: ScriptedPort, session: Session, outside: bool, forced: bool, level: str, begins: str
):
    price, size = Decimal("64000.0"), Decimal("0.02")
    fill = Fill("t1", BTC, "", "v9", Side.SELL, price, size, Decimal(0), "USDT", False, 1, liquidation=forced)
    port.bus.publish(FillBooked(fill, MANUAL, Decimal(0), outside))
    assert said(session)[0] == level and said(session)[1].startswith(begins)


def test_orders_that_others_ended_warn_and_a_lost_stop_is_danger(port: ScriptedPort, session: Session):
    logged = len(session.feed.log)
    port.bus.publish(EndedOutside("gone: #4 buy 1 BTC: cancelled at the venue"))
    assert said(session) == ("warn", "gone: #4 buy 1 BTC: cancelled at the venue")
    port.bus.publish(EngineAlarm("late_order", BTC, MANUAL, "late", "CRIT"))
    assert said(session)[0] == "warn"
    port.bus.publish(EngineAlarm(STOP_LOST, BTC, MANUAL, "BTC: 1 is UNPROTECTED now", "CRIT"))
    assert said(session) == ("danger", "BTC: 1 is UNPROTECTED now")
    assert len(session.feed.log) == logged, "the engine has said it in the log already"


def test_a_refusal_that_a_venue_calls_expired_is_told_and_a_declined_change_is_none(
    port: ScriptedPort, session: Session
):
    def expire(error: str, reason: str, parent: str = "") -> None:
        order = port.add_order(BTC, Side.BUY, "0.01", "64000.0", OrderType.POST_ONLY)
        order.parent = parent
        if reason.startswith("not amended"):
            order.error, order.reason = error, reason
            port.bus.publish(OrderChanged(order))
        session.note = None
        order.error = error
        order.advance(OrderState.EXPIRED, port.time_ns, reason)
        port.bus.publish(OrderChanged(order))

    expire("PostOnlyWouldTake", "it would have matched at once")
    assert said(session)[0] == "danger" and "expired: PostOnlyWouldTake: it would" in said(session)[1]
    for error, reason, parent in (
        ("", "no more size within the price", ""),
        ("UnknownOutcome", "", ""),
        ("PostOnlyWouldTake", "it would have matched at once", "wdog-soft-1"),
        ("RateLimited", "not amended: slow down", ""),
    ):
        expire(error, reason, parent)
        assert said(session) == ("", "")

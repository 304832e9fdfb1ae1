"""The session of a live account: the engine's arming follows the desk's, and nothing stays armed by mistake."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ctos_tui.feed import Feed
from ctos_tui.port import InstanceRow
from ctos_tui.session import Session
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, TradingHalted
from engine.runtime.accounts import Mode
from engine.runtime.trading_state import TradingMode, TradingStatus
from tests.console.scripted import ScriptedPort, busy_port

BTC = "BTC-USDT-PERP"


class TimedPort(ScriptedPort):
    """Refuses to be armed when a test says so."""

    refusal = ""

    def arm(self, seconds: int | None) -> None:
        if self.refusal:
            raise TradingHalted(self.refusal)
        super().arm(seconds)


@pytest.fixture
def port() -> TimedPort:
    port = busy_port(mode=Mode.LIVE)
    port.__class__ = TimedPort
    return port  # type: ignore[return-value]


@pytest.fixture
def session(port: TimedPort) -> Session:
    return Session(port, Feed(port), lambda: port.time_ns)


def test_orders_by_hand_pass_for_a_time_and_strategies_stay_armed(port: TimedPort, session: Session) -> None:
    session.arm(None, None, "main")
    assert port.hand_left_s() == 600 and session.state_word() == "ARMED 10:00"
    port.time_ns += 20 * NS_PER_S
    session.arming.used(BTC, port.time_ns)
    session.look()
    assert port.hand_left_s() == 580, "not for a few seconds"
    port.time_ns += 300 * NS_PER_S
    session.arming.used(BTC, port.time_ns)
    session.look()
    assert port.hand_left_s() == 600
    port.time_ns += 601 * NS_PER_S
    session.look()
    assert port.status.mode is TradingMode.ARMED and port.hand_left_s() == 0
    assert session.state_word() == "ARMED · HAND LOCKED" and session.desk().closed.startswith("HAND LOCKED: press A")
    assert session.note is not None and "locked for all markets: the time is over" in session.note.text


def test_a_market_armed_for_less_does_not_shorten_the_others(port: TimedPort, session: Session) -> None:
    session.arm(None, 3600, "main")
    session.arm(BTC, 60, "main")
    session.look()
    assert port.hand_left_s() == 3600


def test_what_the_engine_refuses_is_not_armed_on_the_desk(port: TimedPort, session: Session) -> None:
    port.refusal = "cannot arm main: hedge mode"
    with pytest.raises(TradingHalted):
        session.arm(None, None, "main")
    assert session.arming.label(port.time_ns) == "DISARMED" and session.state_word() == "DISARMED"


def test_disarming_takes_both_away_and_names_the_strategies_that_cannot_send(port: TimedPort, session: Session) -> None:
    port.rows.append(InstanceRow("gr1", "dyn_grid", (BTC,), "running", "", "", Decimal(0), Decimal(0), 0, "", 0))
    session.arm(None, None, "main")
    session.disarm("by the operator")
    assert port.status.mode is TradingMode.DISARMED and session.state_word() == "DISARMED"
    assert session.note is not None and "gr1 cannot send" in session.note.text


def test_a_restriction_is_a_word_of_its_own(port: TimedPort, session: Session) -> None:
    session.arm(None, None, "main")
    port._set_status(TradingStatus(TradingMode.REDUCE_ONLY, "engine", "no prices", port.time_ns, True))
    assert session.state_word() == "REDUCE-ONLY" and session.desk().closed.startswith("REDUCE-ONLY (no prices)")


@pytest.mark.parametrize(
    ("environment", "word"), [("live", "LIVE"), ("live_eea", "LIVE"), ("demo", "DEMO"), ("testnet", "TESTNET")]
)
def test_one_word_says_what_is_at_stake(port: TimedPort, session: Session, environment: str, word: str) -> None:
    object.__setattr__(port.account, "environment", environment)
    assert session.mode_word == word


def test_only_a_telling_name_stands_before_a_refusal(session: Session) -> None:
    session.refuse(CtosError("there is nothing to close"))
    assert session.note is not None and session.note.text == "there is nothing to close"
    session.refuse(TradingHalted("panic"))
    assert session.note.text == "TradingHalted: panic"

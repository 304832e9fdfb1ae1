"""The session of a live account: the engine's arming follows the desk's, and nothing stays armed by mistake."""

from __future__ import annotations

import pytest

from ctos_tui.feed import Feed
from ctos_tui.session import Session
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import TradingHalted
from engine.runtime.accounts import Mode
from engine.runtime.trading_state import TradingMode, TradingStatus
from tests.console.scripted import ScriptedPort, busy_port

BTC = "BTC-USDT-PERP"


class TimedPort(ScriptedPort):
    """Arms for a time, as the engine does, or refuses to."""

    refusal = ""

    def arm(self, seconds: int | None) -> None:
        if self.refusal:
            raise TradingHalted(self.refusal)
        until = None if seconds is None else self.time_ns + seconds * NS_PER_S
        self._set_status(TradingStatus(TradingMode.ARMED, "operator", "", self.time_ns, until))


@pytest.fixture
def port() -> TimedPort:
    port = busy_port(mode=Mode.LIVE)
    port.__class__ = TimedPort
    return port  # type: ignore[return-value]


@pytest.fixture
def session(port: TimedPort) -> Session:
    return Session(port, Feed(port), lambda: port.time_ns)


def test_use_keeps_the_engine_armed_as_long_as_the_desk(port: TimedPort, session: Session) -> None:
    session.arm(None, None, "main")
    assert port.status.armed_until_ns == port.time_ns + 600 * NS_PER_S
    port.time_ns += 20 * NS_PER_S
    session.arming.used(BTC, port.time_ns)
    session.look()
    assert port.status.since_ns == port.time_ns - 20 * NS_PER_S, "not for a few seconds"
    port.time_ns += 300 * NS_PER_S
    session.arming.used(BTC, port.time_ns)
    session.look()
    assert port.status.armed_until_ns == port.time_ns + 600 * NS_PER_S
    port.time_ns += 601 * NS_PER_S
    session.look()
    assert port.status.mode is TradingMode.DISARMED


def test_a_market_armed_for_less_does_not_shorten_the_others(port: TimedPort, session: Session) -> None:
    session.arm(None, 3600, "main")
    session.arm(BTC, 60, "main")
    session.look()
    assert port.status.armed_until_ns == port.time_ns + 3600 * NS_PER_S


def test_what_the_engine_refuses_is_not_armed_on_the_desk(port: TimedPort, session: Session) -> None:
    port.refusal = "cannot arm main: hedge mode"
    with pytest.raises(TradingHalted):
        session.arm(None, None, "main")
    assert session.arming.label(port.time_ns) == "DISARMED"
    port.refusal = ""
    session.arm(None, None, "main")
    port.refusal = "cannot arm main: the key may withdraw"
    port.time_ns += 100 * NS_PER_S
    session.arming.used(BTC, port.time_ns)
    session.look()
    assert port.status.mode is TradingMode.DISARMED
    assert session.arming.label(port.time_ns) == "DISARMED"


@pytest.mark.parametrize(
    ("environment", "word"), [("live", "LIVE"), ("live_eea", "LIVE"), ("demo", "DEMO"), ("testnet", "TESTNET")]
)
def test_one_word_says_what_is_at_stake(port: TimedPort, session: Session, environment: str, word: str) -> None:
    object.__setattr__(port.account, "environment", environment)
    assert session.mode_word == word

"""The kill switch on the wire of every venue, while something else is going wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import combinations
from pathlib import Path

import pytest

from engine.kernel.errors import CtosError, TradingHalted
from engine.kernel.orders import OrderState, OrderType
from engine.runtime.trading_state import TradingMode
from tests.faults.desk import BUY, SELL, Desk, each_venue, play

Trouble = Callable[[Desk], Awaitable[None]]


async def submit_in_flight(desk: Desk) -> None:
    """An order is on its way; its answer takes its time."""
    desk.emulator.faults.delay(desk.wire.place, 3.0, times=1)
    desk.give(price="2900", quantity="0.2", symbol=desk.other)
    await desk.wait(0.1)


async def answer_lost(desk: Desk) -> None:
    """An order is taken, and nobody hears of it."""
    desk.emulator.faults.mute(desk.wire.account_channels)
    desk.emulator.faults.lose_response(desk.wire.place)
    desk.give(price="59200")
    await desk.wait(0.1)


async def reconnect(desk: Desk) -> None:
    """Every socket breaks."""
    desk.emulator.faults.cut_sockets()
    await desk.wait(0.05)


async def too_many_requests(desk: Desk) -> None:
    """The venue asks for fewer requests; the next order has to wait."""
    busy = desk.wire.busy
    desk.emulator.faults.answer(desk.wire.place, busy.status, busy.body, {"Retry-After": "1"})
    refused = desk.give(SELL, price="60700")
    await desk.until(lambda: not desk.order(refused).is_open)
    desk.give(SELL, price="60800")
    await desk.wait(0.1)


async def disk_stands_still(desk: Desk) -> None:
    """The journal does not get to the disk for two seconds while an order waits for it."""
    submit = desk.writer.submit
    desk.writer.submit = lambda *args, **kw: desk.clock.call_later(2.0, lambda: submit(*args, **kw))  # type: ignore[method-assign]
    desk.clock.call_later(0.5, lambda: setattr(desk.writer, "submit", submit))
    desk.give(SELL, price="3100", quantity="0.2", symbol=desk.other)


async def lag(desk: Desk) -> None:
    """Everything takes a second more."""
    desk.emulator.faults.lag(1.0)


async def another_kill(desk: Desk) -> None:
    """Somebody else has halted a moment ago."""
    desk.engine.panic("ann", "first")
    await desk.wait(0.01)


TROUBLES: tuple[Trouble, ...] = (
    submit_in_flight,
    too_many_requests,
    disk_stands_still,
    answer_lost,
    reconnect,
    lag,
    another_kill,
)
PAIRS = list(combinations(TROUBLES, 2))


@each_venue
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: "-".join(trouble.__name__ for trouble in pair))
def test_o01_the_kill_switch_holds_whatever_two_things_go_wrong(
    venue: str, pair: tuple[Trouble, Trouble], tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        await desk.rest("59000")
        await desk.rest("58900")
        for trouble in pair:
            await trouble(desk)
        report = desk.engine.panic("operator", "fire")
        assert desk.engine.trading.mode is TradingMode.HALTED
        tripped_s, sent = desk.loop.time(), len(desk.placements())
        with pytest.raises(CtosError):
            desk.give(price="59600")
        await desk.wait(1.2)
        late = len(desk.placements()) - sent
        assert late <= (1 if lag in pair else 0), "only what was on the wire already may arrive"
        sent += late
        desk.emulator.faults.clear()
        await desk.until(lambda: report.confirmed, 90)
        assert desk.resting() == [] and report.unconfirmed == []
        await desk.wait(60)
        assert len(desk.placements()) == sent, "and nothing leaves later"
        assert desk.resting() == [] and desk.engine.risk.is_halted and desk.loop.time() - tripped_s >= 60
        await desk.agrees()

    play(venue, tmp_path, story)


def test_o01_a_ban_halts_while_orders_rest_sends_nothing_until_it_ends_and_then_cancels(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.rest("59000")
        await desk.rest("58900")
        desk.emulator.faults.ban(60)
        await desk.until(lambda: desk.engine.risk.is_halted, 30)
        assert "serves us nothing until" in desk.engine.trading.describe()
        await desk.wait(11)  # the other interface hears of the ban with its own next question
        before = len(desk.emulator.requests)
        desk.engine.panic("operator", "fire")
        await desk.wait(40)
        report = desk.engine.panic_switch.report
        assert report is not None and len(report.unconfirmed) == 2 and report.is_trouble
        asked = [seen for seen in desk.emulator.requests[before:] if not seen.path.startswith(("/ws", "/stream"))]
        assert asked == [], "a ban is waited out in silence"
        await desk.until(lambda: report.confirmed, 90)
        assert desk.resting() == [] and desk.engine.risk.is_halted

    play("binance", tmp_path, story)


@each_venue
def test_o02_a_crash_while_orders_are_cancelled_comes_back_halted_and_goes_on(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        for number in range(5):
            await desk.rest(str(59000 - number * 100))
        desk.proxy.black_hole("rest")
        desk.emulator.faults.cut_sockets()
        desk.engine.panic("operator", "fire")
        await desk.wait(1.0)
        assert len(desk.resting()) == 5
        await desk.end()
        desk.proxy.clear()
        await desk.begin()
        assert desk.engine.risk.is_halted and "operator: fire" in desk.engine.trading.describe()
        report = desk.engine.panic_switch.report
        assert report is not None
        await desk.until(lambda: report.confirmed, 60)
        assert desk.resting() == []
        with pytest.raises(TradingHalted):
            desk.give()

    play(venue, tmp_path, story)


@each_venue
def test_e22_a_key_that_is_revoked_in_mid_run_halts_and_says_so(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        client_id = await desk.rest("59000")
        good = desk.emulator.key
        desk.emulator.key = desk.wire.wrong_key[0]
        desk.emulator.faults.cut_sockets(desk.wire.account)
        await desk.until(lambda: desk.engine.risk.is_halted, 30)
        assert "refuses the key" in desk.engine.trading.describe()
        assert desk.order(client_id).is_open, "it may rest still, and that is said"
        before = len(desk.emulator.requests)
        await desk.wait(120)
        assert len(desk.emulator.requests) - before < 200, "no storm"
        report = desk.engine.panic_switch.report
        assert report is not None and report.is_trouble and client_id in " ".join(report.details.values())
        with pytest.raises(CtosError, match="cannot rearm"):
            desk.engine.rearm("operator", "go on")
        desk.emulator.key = good
        await desk.until(lambda: report.confirmed, 60)
        assert desk.resting() == []

    play(venue, tmp_path, story)


@each_venue
def test_e23_maintenance_with_a_position_restricts_then_halts_and_is_over_when_a_person_says_so(
    venue: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        client_id = desk.give(BUY, "0.02", None)
        await desk.ends(client_id, OrderState.FILLED)
        desk.emulator.faults.answer("", 503, "", times=None)
        desk.emulator.faults.cut_sockets()
        took_s = await desk.until(lambda: desk.engine.trading.mode is TradingMode.REDUCE_ONLY, 60)
        assert 20 < took_s < 60
        await desk.until(lambda: desk.engine.risk.is_halted, 150)
        assert "does not answer" in desk.engine.trading.describe() or "no prices" in desk.engine.trading.describe()
        await desk.wait(30 * 60)
        assert desk.engine.risk.is_halted
        desk.emulator.faults.clear()
        await desk.until(desk.is_ready, 120)
        await desk.until(lambda: not desk.engine.reconciler.last_error, 60)
        desk.engine.rearm("operator", "the venue is back")
        await desk.ends(desk.give(SELL, "0.02", None, type=OrderType.MARKET), OrderState.FILLED)
        await desk.agrees()

    play(venue, tmp_path, story)

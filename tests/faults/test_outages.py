"""Links that are down, deaf, slow or flapping: it is seen, nothing late is sent, and what was missed is found."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from engine.kernel.clock import Rng
from engine.kernel.errors import RiskReject
from engine.kernel.links import LinkState
from engine.kernel.orders import OrderState, OrderType
from tests.faults.desk import BUY, SELL, Desk, each_venue, play


def cut_off(desk: Desk) -> None:
    """Cut every connection and refuse new ones, as a link that is unplugged at our end."""
    desk.loop.network.refusing = True
    for flow in list(desk.proxy.flows):
        desk.proxy.reset(flow)


def refused_entry(desk: Desk) -> str:
    """Return why an entry is refused now, nothing when it is not."""
    try:
        desk.engine.risk.check_entry("manual", desk.perp)
        desk.give(price="58000")
    except RiskReject as error:
        return str(error)
    return ""


@each_venue
@pytest.mark.parametrize("seconds", [3, 600])
def test_n06_a_refused_connection_sends_nothing_and_trade_goes_on_soon_after(
    venue: str, seconds: float, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        await desk.ends(desk.give(BUY, "0.02", None), OrderState.FILLED)
        cut_off(desk)
        await desk.wait(0.2)
        client_id = desk.give(SELL, "0.02", "61000", reduce_only=True)
        await desk.ends(client_id, OrderState.NEVER_SENT, 5)
        assert "nothing was sent" in desk.order(client_id).reason
        assert any(link.state is not LinkState.LIVE and link.detail for link in desk.driver.links())
        await desk.wait(seconds)
        assert desk.order(kept).state is OrderState.OPEN, "what cannot be asked is not gone"
        assert len(desk.placements()) == 2
        desk.loop.network.refusing = False
        took_s = await desk.until(desk.is_ready, 10)
        assert took_s <= 5, f"ready {took_s:.1f} s after the link was back"
        assert desk.engine.risk.is_halted == (seconds > 120), "what is held was unwatched for too long"
        if desk.engine.risk.is_halted:
            await desk.ends(kept, OrderState.CANCELED, 20)
            desk.engine.rearm("operator", "the link is back")
        again = await desk.rest()
        await desk.agrees()
        assert desk.order(again).state is OrderState.OPEN

    play(venue, tmp_path, story)


@each_venue
def test_n07_a_market_stream_that_is_cut_without_a_word_is_stale_within_ten_seconds(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        book = desk.driver.book(desk.perp)
        await desk.until(lambda: book.valid)
        desk.proxy.black_hole("ws")
        took_s = await desk.until(lambda: not book.valid and refused_entry(desk), 12)
        assert took_s <= 10, f"noticed after {took_s:.1f} s"
        before = len(desk.placements())
        await desk.wait(5)
        assert len(desk.placements()) == before
        desk.proxy.clear()
        await desk.until(lambda: desk.is_ready() and book.valid, 60)
        assert book.top_bids(3) == desk.emulator.exchange.market(desk.perp).book.top_bids(3)
        await desk.rest()

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("pings", [False, True], ids=["n08 pongs only", "n09 ping flood"])
def test_n08_n09_pings_and_pongs_do_not_make_a_mute_stream_look_alive(venue: str, pings: bool, tmp_path: Path) -> None:
    async def flood(desk: Desk) -> None:
        while True:
            for socket in list(desk.emulator.sockets):
                socket.ping(b"alive?")
            await asyncio.sleep(0.05)

    async def story(desk: Desk) -> None:
        book = desk.driver.book(desk.perp)
        await desk.until(lambda: book.valid)
        flooding = desk.loop.create_task(flood(desk)) if pings else None
        desk.emulator.faults.mute("*")
        accepted = len(desk.proxy.accepted)
        await desk.until(lambda: refused_entry(desk), 60)
        await desk.until(lambda: not book.valid and len(desk.proxy.accepted) > accepted, 90)
        desk.emulator.faults.unmute("*")
        await desk.until(lambda: desk.is_ready() and book.valid, 90)
        if flooding is not None:
            flooding.cancel()
        await desk.rest()

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("seconds", [1, 30, 600])
def test_n10_fills_while_the_private_stream_is_away_are_booked_once(venue: str, seconds: float, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        whole, part = await desk.rest("59900", "0.03"), await desk.rest("59800", "0.05")
        faults = desk.emulator.faults
        closed = faults.answer(lambda method, path, body: True, 503, "", times=None)
        closed.stop() if seconds == 1 else None
        faults.cut_sockets("*")
        await desk.until(lambda: desk.engine.stream.trouble(), 5)
        desk.emulator.print(desk.perp, 59_900.0, 5.0, SELL)
        desk.emulator.print(desk.perp, 59_800.0, 0.02, SELL)
        desk.emulator.book(desk.perp, [(60_000.0, 2.0)], [], snapshot=False)
        if seconds > 1:
            await desk.wait(seconds)
            assert desk.engine.stream.trouble() and desk.order(whole).state is OrderState.OPEN
        closed.stop()
        await desk.until(lambda: not desk.engine.stream.trouble(), 60)
        assert desk.order(whole).state is OrderState.FILLED, "entries are open, but what was missed is not known"
        assert desk.order(part).filled == Decimal("0.02")
        await desk.agrees(5)
        await desk.until(desk.is_ready, 60)
        await desk.wait(40)
        assert not desk.differences()

    play(venue, tmp_path, story)


@each_venue
def test_n11_flapping_links_back_off_and_leave_nothing_behind(venue: str, tmp_path: Path) -> None:
    def tasks() -> Counter[str]:
        return Counter(task.get_name() for task in asyncio.all_tasks() if not task.get_name().startswith("Task-"))

    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        await desk.wait(65)
        named, sockets, open_ends = tasks(), len(desk.emulator.sockets), len(desk.proxy.of("ws"))
        began, asked = len(desk.proxy.accepted), len(desk.emulator.requests)
        for _ in range(300):
            desk.emulator.faults.cut_sockets("*")
            await desk.wait(2)
        attempts = desk.proxy.accepted[began:]
        half = [at for at in attempts if at > desk.loop.time() - 300]
        assert len(half) < sockets * 300 / 12 + 60, f"{len(half)} connections in the last 5 minutes, REST included"
        assert len(desk.emulator.requests) - asked < 1_500
        assert len(set(attempts)) == len(attempts), "no two at the same moment"
        await desk.until(desk.is_ready, 60)
        await desk.wait(70)
        assert (len(desk.emulator.sockets), len(desk.proxy.of("ws"))) == (sockets, open_ends)
        assert not tasks() - named, tasks() - named
        desk.emulator.faults.cut_sockets("*")
        await desk.until(lambda: not desk.is_live(), 5)
        took_s = await desk.until(desk.is_ready, 10)
        assert took_s < 5, "after a stable minute the back-off begins anew"
        # Spot coins of the account are held, too, and nobody could see their price for most of ten minutes.
        assert desk.engine.risk.is_halted and desk.order(kept).state is OrderState.CANCELED
        await desk.agrees()

    play(venue, tmp_path, story)


@each_venue
def test_n13_on_a_slow_line_what_would_come_late_is_refused_here(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await desk.ends(desk.give(BUY, "0.3", None), OrderState.FILLED)
        rng = Rng("slow line")
        desk.proxy.delay_s = lambda: rng.uniform(0.5, 8.0)
        left: list[int] = []
        orders = tuple(desk.wire.place.encode() + end for end in (b" ", b"?"))
        desk.proxy.on_sent = lambda data: left.append(desk.clock.now_ms()) if data.startswith(orders) else None
        await desk.wait(60)
        given: dict[str, int] = {}
        for number in range(12):
            client_id = desk.give(SELL, "0.01", str(61_000 + number), reduce_only=True)
            given[client_id] = desk.clock.now_ms()
            await desk.wait(4)
        latencies = [link.rtt_ms for link in desk.driver.links() if link.rtt_ms]
        assert max(latencies, default=0) > 500, "the links show how slow they are"
        desk.proxy.clear()
        await desk.until(desk.is_ready, 90)
        await desk.until(lambda: not desk.engine.tracker.unknown(), 90)
        await desk.agrees(60)
        late = [at for at in left if not any(0 <= at - since <= 2_100 for since in given.values())]
        assert not late, "an order left more than two seconds after it was wanted"
        never_sent = [each for each in given if desk.order(each).state is OrderState.NEVER_SENT]
        assert never_sent and left, "some orders found their way, others were refused here"
        assert desk.taken() <= 1 + len(given)

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("over", ["rest", "socket"])
@pytest.mark.parametrize("how", ["refused", "black hole", "held back 12 s", "held back 40 s"])
def test_n16_an_order_that_is_wanted_while_the_link_is_down_is_not_sent_when_it_returns(
    venue: str, over: str, how: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        if over == "socket" and "ws_trade_url" not in desk.driver.setup.hosts:  # type: ignore[attr-defined]
            pytest.skip("the venue has no trading socket")
        await desk.rest("59000")
        if how == "refused":
            cut_off(desk)
        elif how == "black hole":
            desk.proxy.black_hole("rest")
            desk.proxy.black_hole("ws")
        else:
            held_s = float(how.split()[2])
            desk.proxy.delay_s = lambda: held_s  # as TCP does that sends again when the link is back
        client_id = desk.give()
        await desk.wait(40)
        desk.loop.network.refusing = False
        desk.proxy.clear()
        await desk.until(desk.is_ready, 60)
        gone = (OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED, OrderState.REJECTED)
        await desk.until(lambda: desk.order(client_id).state in gone, 60)
        await desk.agrees()
        assert desk.taken() == 1, "nothing late was taken"

    play(venue, tmp_path, story, trade_over_ws=over == "socket")


@each_venue
def test_n17_when_events_do_not_come_asking_finds_what_happened(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        filled, canceled = await desk.rest("59901"), await desk.rest("59000")
        desk.emulator.faults.mute(desk.wire.account_channels)
        taken = desk.give(BUY, "0.01", None, type=OrderType.MARKET)
        desk.emulator.print(desk.perp, 59_900.0, 5.0, SELL)
        await desk.wait(0.5)
        theirs = next(o for o in desk.emulator.exchange.open_orders() if o.price == Decimal(59000))
        desk.emulator.carry_out(lambda: desk.emulator.exchange.cancel(theirs.client_id, theirs.symbol))
        await desk.agrees(30)
        assert desk.order(filled).state is OrderState.FILLED and desk.order(taken).filled == Decimal("0.01")
        await desk.until(lambda: desk.order(canceled).state is OrderState.CANCELED, 20)

    play(venue, tmp_path, story)

"""Books with gaps, histories in pages, clocks and time stamps that are wrong: only proven numbers are used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import RiskReject
from engine.kernel.market import BookInvalid, BookUpdate
from engine.kernel.orders import OrderState
from tests.faults.desk import BUY, SELL, Desk, each_venue, play


@each_venue
def test_e13_fills_of_one_millisecond_over_several_pages_are_each_booked_once(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        client_id = await desk.rest("60005", "0.23")
        desk.emulator.faults.mute(desk.wire.account_channels)
        for number in range(230):
            desk.emulator.print(desk.perp, 60_005.0, 0.001, SELL)
            if number in (120, 200):
                await desk.wait(11)  # the same fills are listed again and again
        assert len(desk.emulator.executions()) == 230
        await desk.agrees(30)
        assert desk.order(client_id).state is OrderState.FILLED
        await desk.end()
        await desk.begin()
        assert not desk.differences()
        assert desk.engine.portfolio.quantity(desk.perp) == Decimal("0.23")

    play(venue, tmp_path, story)


def change(desk: Desk, symbol: str, number: int) -> None:
    desk.emulator.book(symbol, [(BOOK_AT[symbol.partition("-")[0]] + number, 1.0 + number)], [], snapshot=False)


BOOK_AT = {"BTC": 59_991.0, "ETH": 2_999.5}


@each_venue
@pytest.mark.parametrize("fault", ["drop", "stale", "crossed"])
def test_e18_a_broken_book_is_invalid_at_once_and_whole_in_two_seconds_and_no_other(
    venue: str, fault: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        book, other = desk.driver.book(desk.perp), desk.driver.book(desk.other)
        await desk.until(lambda: book.valid and other.valid)
        await desk.wait(31)
        heard: list[tuple[str, bool]] = []
        others: list[object] = []
        desk.driver.subscribe_orderbook(desk.perp, lambda event: heard.append((type(event).__name__, book.valid)))
        desk.driver.subscribe_orderbook(desk.other, others.append)
        channel = desk.wire.book(desk.emulator.exchange.instruments[desk.perp])
        if fault == "stale":  # a message from before comes once more
            desk.emulator.faults.duplicate(channel, 1)
            desk.emulator.faults.reorder(channel)
        elif fault == "drop":
            desk.emulator.faults.drop_message(channel)
        for number in range(1, 4):
            change(desk, desk.perp, number)
        if fault == "crossed":
            desk.emulator.book(desk.perp, [(60_500.0, 1.0)], [], snapshot=False)
        await desk.until(lambda: ("BookInvalid", False) in heard or (fault == "stale" and len(heard) >= 3), 3)
        if ("BookInvalid", False) in heard:
            with pytest.raises(RiskReject, match="book"):
                desk.give()
        if fault == "crossed":
            desk.emulator.book(desk.perp, [(60_500.0, 0.0)], [], snapshot=False)
        truth = desk.emulator.exchange.market(desk.perp).book
        await desk.until(lambda: book.valid and book.top_bids(5) == truth.top_bids(5), 2)
        lost = [name for name, _ in heard].index("BookInvalid") if ("BookInvalid", False) in heard else len(heard)
        again = next((at for at, (name, _) in enumerate(heard) if at > lost and name == "BookSynced"), len(heard))
        assert not [name for name, _ in heard[lost + 1 : again] if name == "BookUpdate"], "nothing of a broken book"
        assert not any(isinstance(event, BookInvalid) for event in others)
        await desk.until(lambda: any(isinstance(event, BookUpdate) for event in others), 2)
        await desk.until(desk.is_ready, 5)
        await desk.rest()

    play(venue, tmp_path, story)


@pytest.mark.parametrize("checksum", [0, -1, 123456789])
def test_e19_okx_checksums_mean_nothing_and_numbers_may_begin_anew(checksum: int, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        told = f'"checksum":{checksum}'.encode()
        shown = []

        def spoil(kind: str, data: bytes) -> bytes:
            shown.append(b'"checksum":0' in data)
            spaced = told.ljust(12) if len(told) <= 12 else told
            return data.replace(b'"checksum":0', spaced) if len(spaced) == 12 else data

        desk.proxy.rewrite = spoil
        book = desk.driver.book(desk.perp)
        await desk.until(lambda: book.valid)
        opened = len(desk.proxy.accepted)
        for again in range(3):
            desk.emulator.restart_sequence(desk.perp)  # type: ignore[attr-defined]
            await desk.wait(20)
            assert book.valid, again
        assert any(shown) and desk.driver.books.resyncs[desk.perp] == 0  # type: ignore[attr-defined]
        assert len([flow for flow in desk.proxy.flows if flow.kind == "ws"]) == 2
        assert len(desk.proxy.accepted) - opened < 12, "no connection was made anew for it"
        await desk.rest()

    play("okx", tmp_path, story)


@each_venue
@pytest.mark.parametrize("step_s", [2, -2, 3600, -3600])
def test_c01_a_step_of_the_time_of_day_delays_nothing(venue: str, step_s: int, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        desk.clock.step_ns = step_s * NS_PER_S
        began_s, sent = desk.loop.time(), len(desk.placements())
        desk.engine.cancel(kept)
        await desk.ends(kept, OrderState.CANCELED, 2)
        for number in range(5):
            await desk.rest(str(59_100 + number))
        assert desk.loop.time() - began_s < 5
        assert len(desk.placements()) - sent == 5, "no request was refused for its time"
        assert any("system's time stepped" in line for line in desk.logs)
        await desk.wait(60)
        assert desk.is_ready()
        await desk.agrees()

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("skew_ms", [2_000, -2_000, 3_600_000, -3_600_000])
def test_c01_when_the_clocks_part_at_most_one_request_is_refused(venue: str, skew_ms: int, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        desk.emulator.skew_ms = skew_ms  # seen from the venue, our time stepped the other way
        desk.engine.cancel(kept)
        await desk.ends(kept, OrderState.CANCELED, 4)
        await desk.until(desk.is_ready, 15)
        first = desk.give(price="59100")
        await desk.until(lambda: desk.order(first).state not in (OrderState.INTENT, OrderState.SENT))
        for number in range(4):
            await desk.until(desk.is_ready, 15)  # listen keys may have run out
            await desk.rest(str(59_200 + number))
        await desk.agrees()
        assert desk.taken() == 5 + (desk.order(first).state is OrderState.OPEN)

    play(venue, tmp_path, story)


@each_venue
def test_c02_a_clock_that_drifts_for_hours_is_followed(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        began_ms, hours = desk.clock.now_ms(), 0.5

        def drift() -> None:
            desk.emulator.skew_ms = round((desk.clock.now_ms() - began_ms) * DRIFT)
            desk.clock.call_later(10.0, drift)

        drift()
        number = 0
        while desk.clock.now_ms() - began_ms < hours * 3_600_000:
            await desk.wait(420)
            number += 1
            sent = len(desk.placements())
            client_id = await desk.rest(str(58_000 + number), "0.01")
            assert len(desk.placements()) == sent + 1, "not one time stamp was refused"
            offset_ms = desk.driver.clock_offset_ms()
            assert offset_ms is not None and abs(offset_ms - desk.emulator.skew_ms) < 700
            desk.engine.cancel(client_id)
            await desk.ends(client_id, OrderState.CANCELED)
        assert desk.emulator.skew_ms > 2_500, "as much as 200 ppm in four hours"

    play(venue, tmp_path, story)


DRIFT = 0.0016
"""Eight times 200 ppm."""

_NAMES = rb"E|T|O|ts|uTime|cTime|fillTime|pTime|timestamp|time|updateTime|engineTimestamp"
_TIMES = re.compile(rb'"(' + _NAMES + rb')":("?)(\d{13})(\d*)("?)')
SPOILED: dict[str, Callable[[bytes, bytes], bytes]] = {
    "zero": lambda millis, more: b"0",
    "microseconds": lambda millis, more: millis + b"000" if not more else millis,
    "nanoseconds": lambda millis, more: millis + b"000000",
    "yesterday": lambda millis, more: str(int(millis) - 86_400_000).encode() + more,
    "tomorrow": lambda millis, more: str(int(millis) + 86_400_000).encode() + more,
}


@each_venue
@pytest.mark.parametrize("how", SPOILED)
def test_c05_order_of_events_is_told_by_their_numbers_not_by_their_times(venue: str, how: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        spoil = SPOILED[how]
        faults = desk.emulator.faults
        plain = faults.stream

        def stream(channel: str, text: str) -> list[str]:
            return [respell(each, spoil) for each in plain(channel, text)]

        faults.stream = stream  # type: ignore[method-assign]
        first = await desk.rest("59901", "0.02")
        desk.emulator.print(desk.perp, 59_901.0, 0.015, SELL)
        await desk.until(lambda: desk.order(first).filled == Decimal("0.015"), 15)
        desk.engine.cancel(first)
        await desk.ends(first, OrderState.CANCELED)
        taken = desk.give(BUY, "0.01", None)
        await desk.ends(taken, OrderState.FILLED)
        assert desk.order(first).state is OrderState.CANCELED and desk.order(first).filled == Decimal("0.015")
        await desk.agrees()
        book, truth = desk.driver.book(desk.perp), desk.emulator.exchange.market(desk.perp).book
        await desk.until(lambda: book.valid and book.top_bids(3) == truth.top_bids(3), 5)
        await desk.wait(45)
        assert not desk.differences()
        assert not [text for text in desk.alarms if "fill_conflict" in text], "another time makes no other trade"

    play(venue, tmp_path, story)


def respell(text: str, spoil: Callable[[bytes, bytes], bytes]) -> str:
    def one(found: re.Match[bytes]) -> bytes:
        name, quote, millis, more, end = found.groups()
        return b'"' + name + b'":' + quote + spoil(millis, more) + end

    changed = _TIMES.sub(one, text.encode()).decode()
    json.loads(changed)
    return changed

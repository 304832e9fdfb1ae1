"""Bytes on a stream that no venue should send: the connection goes, with a reason; the engine and its memory stay."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.kernel.orders import OrderState
from tests.faults.desk import Desk, each_venue, play

TEXT, FINAL, COMPRESSED = 0x1, 0x80, 0x40


def frame(payload: bytes, first: int = FINAL | TEXT, claimed: int | None = None) -> bytes:
    """Return a frame as a server sends it; `claimed` is the length that it tells."""
    size = len(payload) if claimed is None else claimed
    if size < 126:
        head = struct.pack("!BB", first, size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first, 126, size)
    else:
        head = struct.pack("!BBQ", first, 127, size)
    return head + payload


def bomb(megabytes: int) -> bytes:
    """Return very much in very few bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = [packer.compress(bytes(1 << 20)) for _ in range(megabytes)]
    return b"".join(packed) + packer.flush(zlib.Z_SYNC_FLUSH)[:-4]


BREAKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "64 MB": (lambda: frame(b"{" + bytes(1 << 16), claimed=64 << 20), "1009"),
    "bomb": (lambda: frame(bomb(64), FINAL | TEXT | COMPRESSED), "1002"),
    "no frame": (lambda: b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "1002"),
    "masked": (lambda: struct.pack("!BB", FINAL | TEXT, 0x80 | 2) + b"\0\0\0\0{}", "1002"),
}
"""What ends a connection, and the close code with which we end it."""
BORNE: dict[str, Callable[[], bytes]] = {
    "bad UTF-8": lambda: frame(b'{"e":"\xff\xfe\xc0"}'),
    "cut JSON": lambda: frame(b'{"e":"depthUpdate","s":"BTC'),
    "joined": lambda: frame(b"{}{}{}"),
    "fragments": lambda: frame(b'{"e":', TEXT) + frame(b'"odd"}', FINAL),
    "empty": lambda: frame(b""),
    "deep": lambda: frame(b"[" * 100_000),
    "8 MB": lambda: frame(b'{"e":"' + b"x" * (8 << 20) + b'"}'),
}
"""What is a frame, but no message."""


async def follow(desk: Desk) -> None:
    book = desk.driver.book(desk.perp)
    await desk.until(lambda: book.valid and desk.is_ready())


@each_venue
@pytest.mark.parametrize("what", BREAKS)
def test_n15_what_is_no_frame_breaks_the_connection_with_its_reason(venue: str, what: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await follow(desk)
        kept = await desk.rest("59000")
        data, code = BREAKS[what][0](), BREAKS[what][1]
        before = desk.proxy.of("ws")
        tracemalloc.start()
        desk.proxy.inject(data)
        await desk.until(lambda: not desk.is_live(), 5)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 24 << 20, f"{most >> 20} MB were taken"
        assert any(code in line for line in desk.logs), desk.logs[-3:]
        await desk.until(lambda: desk.is_ready() and not set(before) & set(desk.proxy.of("ws")), 30)
        await desk.until(lambda: len(desk.proxy.of("ws")) == len(before), 5)
        assert desk.order(kept).state is OrderState.OPEN
        await desk.rest()
        await desk.agrees()

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("what", BORNE)
def test_n15_a_frame_that_is_no_message_costs_at_most_its_connection(venue: str, what: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        await follow(desk)
        kept = await desk.rest("59000")
        desk.proxy.inject(BORNE[what]())
        await desk.wait(3)
        await desk.until(desk.is_ready, 30)
        await follow(desk)
        assert desk.order(kept).state is OrderState.OPEN
        await desk.rest()
        await desk.agrees()

    play(venue, tmp_path, story)


@each_venue
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_n15_messages_cut_into_pieces_anywhere_are_the_same_messages(venue: str, size: int, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        desk.proxy.slice_bytes = size
        await follow(desk)
        before = len(desk.proxy.accepted)
        client_id = await desk.rest("59901")
        desk.emulator.print(desk.perp, 59_900.0, 5.0)
        await desk.ends(client_id, OrderState.FILLED)
        await asyncio.sleep(3)
        book, truth = desk.driver.book(desk.perp), desk.emulator.exchange.market(desk.perp).book
        await desk.until(lambda: book.valid and book.top_bids(3) == truth.top_bids(3), 5)
        assert len(desk.proxy.of("ws")) == len(desk.emulator.sockets) and len(desk.proxy.accepted) <= before + 6
        await desk.agrees()

    play(venue, tmp_path, story)

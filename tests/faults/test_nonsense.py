"""Messages with unknown words, nulls, numbers in other clothes and new fields: one is dropped and told, or understood.

The messages are those of a desk that trades: every channel and every query of each venue, changed in one place or two.
"""

from __future__ import annotations

import copy
import json
import math
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from engine.boot.decoding import make_decoder
from engine.kernel.clock import Rng
from engine.kernel.errors import CtosError
from engine.kernel.instruments import InstrumentKind
from engine.kernel.market import BookUpdate, Trade, Unparsed
from engine.kernel.orders import Fill, OrderState
from engine.kernel.syscalls import Driver
from tests.faults.desk import BUY, SELL, Desk, each_venue, play
from tests.venues.emulators.faults import Answer
from tests.venues.emulators.wire import Seen

NONSENSE: tuple[Any, ...] = (
    *(None, "", "zzz", "1e-7", 1e-7, "-1e-7", 1e300, "NaN", "Infinity", -1, 0, True, 2**70, "9" * 400, "１２"),
    *([], {}, [[]], {"zzz": None}, ["zzz"], "\u0000\u202e[red]"),
)
ADDED = "added by the venue"


@cache
def recorded(venue: str) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """Return (channel, message) of a venue's streams, and its answer to each query, while a desk trades."""
    streamed: dict[str, list[str]] = {}
    answers: dict[str, str] = {}

    async def story(desk: Desk) -> None:
        plain, served = desk.emulator.faults.stream, desk.emulator.answer

        def stream(channel: str, text: str) -> list[str]:
            kept = streamed.setdefault(channel, [])
            kept.append(text) if len(kept) < 6 else None
            return plain(channel, text)

        async def answer(seen: Seen) -> Answer:
            told = await served(seen)
            if seen.method == "GET" and told.status == 200:
                answers[seen.path] = told.body.decode()
            return told

        desk.emulator.faults.stream = stream  # type: ignore[method-assign]
        desk.emulator.answer = answer  # type: ignore[method-assign]
        desk.driver.subscribe_klines(desk.perp, "1m", lambda bar: None)
        await desk.rest("59901", "0.03")
        desk.emulator.print(desk.perp, 59_901.0, 0.01, SELL)
        await desk.ends(desk.give(BUY, "0.01", None), OrderState.FILLED)
        for call in queries(desk.driver, desk.perp):
            await call()
        await desk.wait(65)

    with tempfile.TemporaryDirectory() as folder:
        play(venue, Path(folder), story)
    return tuple((channel, text) for channel, kept in streamed.items() for text in kept), answers


def texts_of(venue: str) -> list[str]:
    return [text for _, text in recorded(venue)[0]]


def queries(driver: Driver, symbol: str) -> list[Callable[[], Awaitable[object]]]:
    return [
        driver.get_open_orders,
        lambda: driver.get_fills(symbol, None),
        driver.get_position,
        lambda: driver.fetch_balance(),
        lambda: driver.get_klines(symbol, "1m", 10),
        lambda: driver.get_price_now(symbol),
        lambda: driver.get_orderbook(symbol, 5),
        lambda: driver.fees(symbol),
        driver.check_account,
        driver.key_rights,
        driver.server_time,
        lambda: driver.symbols(InstrumentKind.PERP),
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return where something can be changed."""
    items = value.items() if isinstance(value, dict) else enumerate(value[:40]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(message: Any, path: tuple[Any, ...], how: Any) -> Any:
    """Return a message that is changed in one place."""
    copied = copy.deepcopy(message)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    if how is ADDED:
        if isinstance(holder, dict):
            holder["zzzNew"] = {"a": [1, None, "b"]}
    elif how == "removed":
        del holder[path[-1]]
    elif how == "as text":
        holder[path[-1]] = str(holder[path[-1]])
    elif how == "as number" and isinstance(holder[path[-1]], str):
        holder[path[-1]] = _number(holder[path[-1]])
    else:
        holder[path[-1]] = how
    return copied


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


HOWS = (*NONSENSE, ADDED, "removed", "as text", "as number")


def check(event: object) -> None:
    """Refuse numbers that can be no price, size or money."""
    if isinstance(event, Trade):
        assert event.price > 0 and event.size > 0, event
    elif isinstance(event, Fill):
        assert event.price >= 0 and event.quantity > 0, event
    elif isinstance(event, BookUpdate):
        levels = [number for side in (event.bids, event.asks) for level in side for number in level]
        assert all(0 <= number < math.inf for number in levels), event
    names = getattr(event, "__struct_fields__", None) or getattr(event, "__dataclass_fields__", ())
    for number in [getattr(event, name) for name in names]:
        if isinstance(number, float | Decimal):
            assert math.isfinite(number), event


@each_venue
@given(data=st.data())
def test_e21_a_changed_message_is_understood_or_told_and_the_next_one_is_read(venue: str, data: st.DataObject) -> None:
    texts = texts_of(venue)
    decoder = make_decoder(venue)
    for text in texts[:3]:
        decoder.feed(text.encode())
    whole = json.loads(data.draw(st.sampled_from(texts)))
    for _ in range(data.draw(st.integers(1, 2))):
        spots = list(places(whole))
        if spots:
            whole = changed(whole, data.draw(st.sampled_from(spots)), data.draw(st.sampled_from(HOWS)))
    for event in decoder.feed(json.dumps(whole).encode()):
        check(event)
        assert not isinstance(event, Unparsed) or event.reason
    for text in texts:
        for event in decoder.feed(text.encode()):
            check(event)


@each_venue
def test_e21_a_new_field_changes_nothing(venue: str) -> None:
    texts = texts_of(venue)
    plain, richer = make_decoder(venue), make_decoder(venue)
    for text in texts:
        message = json.loads(text)
        holders = {spot[:-1] for spot in places(message) if isinstance(spot[-1], str)}
        for holder in sorted(holders, key=repr):
            message = changed(message, (*holder, "zzz"), ADDED)
        assert [type(e) for e in plain.feed(text.encode())] == [
            type(e) for e in richer.feed(json.dumps(message).encode())
        ]
    assert not plain.counts["unparsed"]


@each_venue
def test_e21_changed_messages_on_a_live_stream_stop_nothing(venue: str, tmp_path: Path) -> None:
    messages, _ = recorded(venue)
    rng = Rng(f"nonsense {venue}")

    async def story(desk: Desk) -> None:
        sockets = len(desk.emulator.sockets)
        for number in range(600):
            channel, text = rng.choice(messages)
            message = json.loads(text)
            spots = list(places(message))
            nonsense = json.dumps(changed(message, rng.choice(spots), rng.choice(HOWS)))
            for socket in [each for each in desk.emulator.sockets if channel in each.topics]:
                socket.send(nonsense)
            if number % 10 == 0:
                await desk.wait(0.5)
        await desk.wait(5)
        await desk.until(desk.is_ready, 120)
        assert len(desk.emulator.sockets) == sockets
        assert desk.engine.market.quote(desk.perp)

    play(venue, tmp_path, story)


@each_venue
def test_e21_a_changed_answer_is_an_answer_or_a_typed_error(venue: str, tmp_path: Path) -> None:
    _, answers = recorded(venue)
    rng = Rng(f"answers {venue}")

    async def story(desk: Desk) -> None:
        driver, served = desk.driver, desk.emulator.answer
        refused = 0
        spoiling = [False]

        async def answer(seen: Seen) -> Answer:
            told = await served(seen)
            if not spoiling[0] or seen.method != "GET" or told.status != 200:
                return told
            message = json.loads(told.body)
            spots = list(places(message))
            if not spots:
                return told
            spoiled = changed(message, rng.choice(spots), rng.choice(HOWS))
            return Answer(200, json.dumps(spoiled).encode(), told.headers)

        desk.emulator.answer = answer  # type: ignore[method-assign]
        await desk.rest("59901", "0.03")
        desk.emulator.print(desk.perp, 59_901.0, 0.01, SELL)
        await desk.wait(1)
        for _ in range(40):
            for call in queries(driver, desk.perp):
                spoiling[0] = True
                try:
                    await call()
                except CtosError:
                    refused += 1
                spoiling[0] = False
                await desk.wait(0.3)
        assert refused > 20, "most nonsense is told"
        await desk.until(desk.is_ready, 120)

    play(venue, tmp_path, story)
    assert answers

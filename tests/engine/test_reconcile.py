"""What the streams did not say is found by asking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.paper.config import QueueModel
from engine.kernel.account import unreadable
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import VenueUnavailable
from engine.kernel.market import BookUpdate
from engine.kernel.orders import OrderRequest, OrderState, OrderType
from engine.runtime.events import LogLine
from engine.runtime.shell import ImmediateShell
from engine.runtime.state_digest import replay, state_digest
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d
from tests.rig import Rig

MARKET = OrderType.MARKET


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    return floor


def test_e07_fills_that_the_stream_lost_are_found_within_ten_seconds(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.print(99)
    assert floor.ledger() == 0
    floor.run(10)
    assert floor.ledger() == 1 and order.state is OrderState.FILLED and len(floor.fills()) == 1
    floor.check_books()


def test_e05_e13_a_fill_that_memory_has_forgotten_is_not_booked_again_under_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.runtime.fills.KEPT_FILLS", 3)
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    for _ in range(6):
        floor.order(BUY, 1, type=MARKET)
        floor.run(1.1)
    fills = [event.fill for event in floor.fills()]
    book = floor.engine.portfolio.fills
    assert len(fills) == 6 == len(book.recent()), "the newest are kept, however many there are"
    for _ in range(4):
        floor.run(50)
        floor.print(100.0)
        floor.order(BUY, 1, type=MARKET)
    assert book.get(PERP, fills[0].trade_id) is None and book.horizon_ts >= fills[0].ts
    looked: list[object] = []
    has_fill = floor.journal.has_fill
    monkeypatch.setattr(floor.journal, "has_fill", lambda *key: looked.append(key) or has_fill(*key))
    for fill in fills:
        floor.engine.booking.on_event(fill)
        floor.engine.booking.on_event(replace(fill, ts=book.horizon_ts + 45_000))
    assert floor.ledger() == 10 and len(floor.fills()) == 10 and looked
    again = floor.restart(tmp_path, driver_of=FaultyDriver, armed=False)
    again.engine.booking.on_event(replace(fills[0], ts=book.horizon_ts + 45_000))
    assert again.ledger() == 10
    looked.clear()
    again.engine.arm("test")
    again.print(100.0)
    again.order(BUY, 1, type=MARKET)
    assert again.ledger() == 11 and not looked, "what is new costs no look at the disk"


def test_e05_a_crash_in_a_storm_of_fills_books_none_of_those_twice_that_the_checkpoint_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.runtime.fills.KEPT_FILLS", 3)
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    for _ in range(8):
        floor.order(BUY, 1, type=MARKET)
        floor.run(1.1)
    floor.run(11)  # until it is known up to when all fills are booked
    fills = [event.fill for event in floor.fills()]
    floor.engine.core.state.checkpoint()
    assert floor.engine.portfolio.fills.get(PERP, fills[0].trade_id) is not None, "memory keeps what is so young"
    again = floor.restart(tmp_path, driver_of=FaultyDriver, armed=False, start_ns=floor.clock.now_ns())
    again.engine.booking.on_event(fills[0])
    assert again.ledger() == again.engine.portfolio.quantity(PERP) == again.venue_quantity() == 8
    proof = replay(again.journal, again.account.key, VirtualClock())
    assert proof.digest == state_digest(again.engine.core.state), "the same from the first record and from a checkpoint"


def test_a_cancel_by_others_is_found(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.venue.gateway.cancel(order.client_id, order.symbol, lambda outcome: None)
    floor.run(21)
    assert order.state is OrderState.CANCELED and floor.ledger() == 0


def test_a_failed_query_is_not_an_empty_answer(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.broken = {
        name: VenueUnavailable("maintenance") for name in ("get_open_orders", "get_fills", "get_position")
    }
    floor.run(65)
    assert order.state is OrderState.OPEN
    assert floor.alarms().count("reconcile") == 1 and "maintenance" in floor.engine.reconciler.last_error
    floor.driver.broken = {}
    floor.run(31)
    assert floor.engine.reconciler.last_error == ""


def test_an_empty_list_alone_does_not_end_an_order(floor: Floor):
    order = floor.order(BUY, 1, 99)

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(60)
    assert order.state is OrderState.OPEN


def test_what_moved_a_moment_ago_is_left_to_the_stream(floor: Floor):
    floor.run(9.9)
    order = floor.order(BUY, 1, 99)
    queries: list[str] = []
    query = floor.driver.gateway.query
    floor.driver.gateway.query = lambda cid, *rest: (queries.append(cid), query(cid, *rest))[1]

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(3)
    assert queries == []
    floor.run(10)
    assert set(queries) == {order.client_id}


def test_an_order_that_the_venue_forgot_ends_as_expired(floor: Floor):
    order = floor.order(BUY, 1, 99)
    registry = floor.venue.exchange.registry
    registry.open.clear()
    floor.driver.gateway.hide = 1000

    async def empty(symbol: str | None = None) -> list[object]:
        return []

    floor.driver.get_open_orders = empty
    floor.run(100)
    assert order.state is OrderState.EXPIRED and order.error == "OrderNotFound"


def test_e06_e07_fills_that_a_status_announced_are_fetched_after_two_seconds(floor: Floor):
    order = floor.order(BUY, 1, 99)
    floor.driver.scramble = lambda event: () if type(event).__name__ == "Fill" else (event,)
    floor.print(99)
    assert order.state is OrderState.FILLED and order.filled == 0 and order.remaining == 0
    floor.run(1)
    assert order.filled == 0
    floor.run(1.1)
    assert order.filled == 1 and floor.ledger() == 1 and len(floor.fills()) == 1


def test_a_fill_that_crossed_with_the_cancel_is_booked_when_it_is_told_later(tmp_path: Path):
    floor = Floor(tmp_path, queue=QueueModel.FIFO, driver_of=FaultyDriver)
    floor.play(BookUpdate(PERP, 0, [(99.0, 5.0)], [(100.0, 0.4)], True))
    floor.driver.scramble = lambda event: () if type(event).__name__ == "Fill" else (event,)
    order = floor.order(BUY, 1, 100)
    floor.engine.cancel(order.client_id)
    floor.run(0.1)
    assert (order.state, order.filled, order.reported_filled) == (OrderState.CANCELED, 0, d("0.4"))
    floor.run(3)
    assert order.state is OrderState.CANCELED and order.filled == d("0.4") == floor.ledger()
    floor.check_books()


def test_balances_and_positions_follow_without_the_stream(floor: Floor):
    floor.driver.deaf = True
    floor.order(BUY, 1, type=MARKET)
    floor.print(110.0)
    floor.order(SELL, 1, type=MARKET)
    floor.run(31)
    assert floor.engine.portfolio.balance("USD").total == 100_010
    assert floor.engine.portfolio.equity() == 100_010 and floor.engine.portfolio.profit() == d(10)


def test_what_an_unreadable_message_may_have_told_is_asked_for_at_once(floor: Floor):
    lines: list[tuple[str, str]] = []
    floor.bus.subscribe(LogLine, lambda line: lines.append((line.level, line.text)))
    order = floor.order(BUY, 1, 99)
    floor.driver.deaf = True
    floor.print(99)
    assert order.filled == 0
    floor.engine.booking.on_event(unreadable("field q is no number"))
    assert order.state is OrderState.FILLED and floor.ledger() == 1
    assert [text for level, text in lines if level == "warn"] == [
        "account stream: a message could not be read: field q is no number"
    ]
    assert floor.engine.stream.trouble() == ""


def test_a_flood_of_unreadable_messages_asks_once_a_second(floor: Floor):
    asked: list[int] = []
    get_fills = floor.driver.get_fills

    async def counted(symbol: str | None = None, since: int | None = None) -> object:
        asked.append(floor.clock.now_ns())
        return await get_fills(symbol, since)

    floor.driver.get_fills = counted
    start_ns = floor.clock.now_ns()
    for _ in range(200):
        floor.engine.booking.on_event(unreadable("rubbish"))
        floor.run(0.01)
    assert 2 <= len([when for when in asked if when < start_ns + 2 * NS_PER_S]) <= 3
    floor.run(1.5)
    assert floor.engine.stream.trouble() == ""


class HeldShell:
    """Keeps questions until it is told to carry them out."""

    def __init__(self) -> None:
        self.held: list[tuple[Any, ...]] = []

    def run(self, *work: Any) -> None:
        self.held.append(work)

    def answer(self) -> None:
        held, self.held = self.held, []
        for work, on_result, on_error in held:
            ImmediateShell().run(work, on_result, on_error)


def test_an_answer_asked_for_before_the_stream_came_back_does_not_count(floor: Floor):
    shell = HeldShell()
    floor.engine.reconciler._shell = shell
    floor.engine.reconciler.look_at_orders()
    floor.run(0.1)
    floor.engine.booking.on_event(unreadable("rubbish"))
    floor.run(0.1)
    shell.answer()
    assert "is being asked for" in floor.engine.stream.trouble()
    shell.answer()
    assert floor.engine.stream.trouble() == ""
    assert not shell.held, "and no third time"


@pytest.mark.parametrize("count", [3, 12])
def test_what_a_start_finds_is_told_line_by_line_or_summed_up(tmp_path: Path, count: int):
    before = Rig(tmp_path, classes=(), driver_of=FaultyDriver)
    for number in range(count):
        before.order(BUY, 1, 99 + d(number) / 100)
    before.driver.deaf = True
    for number in range(count):
        request = OrderRequest(f"other-{number}", "", PERP, SELL, OrderType.LIMIT, d("0.5"), d(120))
        before.venue.exchange.place(request)
    before.venue._commit()
    after = before.restart(prices=[99])
    told = [text for _, _, text in after.lines]
    fills = [text for text in told if "filled while nothing ran" in text]
    others = [text for text in told if "placed by others" in text]
    sums = [text for text in told if text.startswith("found at the start: 12")]
    if count == 3:
        assert len(fills) == len(others) == 3 and sums == []
        assert f"filled while nothing ran: #1 manual buy 1 {PERP} at 99" in fills
        assert f"sell 0.5 {PERP} at 120" in others[0]
    else:
        assert fills == others == []
        assert sums == [
            f"found at the start: 12 fills: {PERP} +12 in 12; see the operation log",
            f"found at the start: 12 orders of others: {PERP} -6 in 12; see the operation log",
        ]
    assert after.ops().count("OrderAdopted") == count

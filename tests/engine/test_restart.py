"""What survives: the same orders, ledgers and trading state, whenever the program ends."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.paper.config import MemoryStore
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.account import AccountStream
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import JournalError, TradingHalted
from engine.kernel.orders import OrderRequest, OrderState, OrderType, Pending
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.events import FillBooked, OrderChanged
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

LIMIT, MARKET, STOP = OrderType.LIMIT, OrderType.MARKET, OrderType.STOP


def facts(floor: Floor) -> dict[str, Any]:
    """Everything that must be the same after a replay, to the last digit."""
    state = floor.engine.core.state
    return {
        "orders": [repr(order) for order in state.tracker.recent()],
        "ledgers": repr(state.books.snapshot()),
        "trading": state.trading,
        "works": state.works,
        "seq": state.event_seq,
        "label": state.tracker.next_label,
    }


def busy_day(floor: Floor) -> None:
    """Orders of every kind in every state, by the operator and two strategies."""
    floor.print(100.0)
    floor.admit("grid", "trend")
    floor.order(BUY, 2, 99, instance="grid")
    floor.order(BUY, 1, type=MARKET, instance="trend")
    resting = floor.order(BUY, 1, 98)
    floor.print(99)
    floor.order(SELL, "0.7", 101, instance="grid", reduce_only=True)
    floor.order(SELL, 1, None, STOP, "grid", trigger=95)
    floor.engine.amend(resting.client_id, price=d("97.5"), quantity=d(3))
    floor.run()
    floor.order(BUY, 1, 100.5, type=OrderType.POST_ONLY)
    floor.print(101)
    gone = floor.order(SELL, 1, 105, instance="trend")
    floor.engine.cancel(gone.client_id)
    floor.run()
    floor.order(SELL, "1.5", type=MARKET, instance="trend")


def test_a_replay_gives_the_same_state_to_the_last_digit(tmp_path: Path):
    floor = Floor(tmp_path)
    busy_day(floor)
    before = facts(floor)
    floor.journal.flush()
    fresh = Floor(tmp_path / "other", started=False, armed=False)
    state = fresh.engine.core.state
    state._journal = floor.journal
    state.load()
    assert facts(fresh) == before


def test_a_checkpoint_and_the_records_after_it_give_the_same_state(tmp_path: Path):
    floor = Floor(tmp_path)
    busy_day(floor)
    floor.engine.core.state.checkpoint()
    floor.order(BUY, 1, 96)
    floor.print(95.5)
    before = facts(floor)
    floor.journal.flush()
    fresh = Floor(tmp_path / "other", started=False, armed=False)
    fresh.engine.core.state._journal = floor.journal
    assert fresh.engine.core.state.load() < 15
    assert facts(fresh) == before


def test_a_checkpoint_is_taken_after_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("engine.runtime.state.CHECKPOINT_EVERY", 10)
    floor = Floor(tmp_path)
    busy_day(floor)
    saved = floor.journal.load_checkpoint(floor.account.key)
    assert saved is not None and saved[0] > floor.journal.last_seq - 10


def test_a_restart_shows_the_same_orders_positions_and_money(tmp_path: Path):
    floor = Floor(tmp_path)
    busy_day(floor)
    floor.engine.stop()
    equity, labels = floor.engine.portfolio.equity(), [o.label for o in floor.engine.tracker.working()]
    after = floor.restart(tmp_path, armed=False)
    after.print(101)
    assert after.engine.portfolio.equity() == equity
    assert [order.label for order in after.engine.tracker.working()] == labels
    assert after.fills() == [] and after.engine.trading.mode is TradingMode.DISARMED
    after.check_books()
    with pytest.raises(TradingHalted):
        after.submit(BUY, 1, 99)
    after.engine.arm("test")
    new = after.order(BUY, 1, 99)
    known = {order.client_id for order in floor.engine.tracker.recent()}
    assert new.client_id not in known and new.label > max(labels)


def test_ids_are_never_used_twice_not_even_with_an_old_backup(tmp_path: Path):
    floor = Floor(tmp_path)
    first = floor.engine.new_client_id("grid")
    second = floor.restart(tmp_path)
    third = second.engine.new_client_id("grid")
    assert first != third and first[:2] == third[:2] and int(third[10:], 36) > int(first[10:], 36)


def test_d09_numbers_go_on_behind_those_that_the_venue_has_seen(tmp_path: Path):
    floor = Floor(tmp_path / "one")
    floor.print(100.0)
    floor.journal.flush()
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "ctos.db", tmp_path / "two" / "ctos.db")
    shutil.copy(tmp_path / "one" / "ctos.db-wal", tmp_path / "two" / "ctos.db-wal")
    for _ in range(1500):
        floor.engine.new_client_id("grid")
    newest = floor.order(BUY, 1, 99)
    after = Floor(tmp_path / "two", MemoryStore(floor.store.state))
    [adopted] = after.engine.tracker.working()
    assert adopted.client_id == newest.client_id and adopted.external
    fresh = after.engine.new_client_id("grid")
    assert int(fresh[10:], 36) > int(newest.client_id[10:], 36) > 1500
    floor.journal.close()
    after.journal.close()


@dataclass
class Moment:
    """The state of the world when a record had just been appended."""

    kind: str
    venue: bytes | None
    now_ns: int


def moments_of(tmp_path: Path, features: VenueFeatures) -> tuple[Floor, list[Moment]]:
    floor = Floor(tmp_path / "first", features=features)
    moments: list[Moment] = []
    append = floor.journal.append

    def watched(kind: str, *args: Any, **kwargs: Any) -> int:
        seq = append(kind, *args, **kwargs)
        moments.append(Moment(kind, floor.store.state, floor.clock.now_ns()))
        return seq

    start = floor.journal.last_seq
    floor.journal.append = watched  # type: ignore[method-assign]
    busy_day(floor)
    floor.print(94)
    floor.journal.flush()
    assert floor.journal.last_seq == start + len(moments)
    return floor, moments


def cut_journal(source: Floor, path: Path, last_seq: int) -> None:
    """Write the first records of a journal, and its values, to a new one."""
    path.mkdir()
    journal = Journal(path / "ctos.db", WriterThread(None, lambda error: None), ballast_bytes=0)
    for entry in source.journal.records(source.account.key):
        if entry.seq <= last_seq:
            journal.append(entry.kind, entry.account, entry.ts_ns, entry.body)
    for key, value in source.journal.items("settings"):
        journal.put("settings", key, value)
    journal.close()


def check_recovered(floor: Floor) -> None:
    """After a crash everything agrees with the venue, and nothing was sent or booked twice."""
    begun_ns = floor.clock.now_ns()
    floor.run(70)
    floor.check_books()
    assert not floor.engine.tracker.unknown() and floor.engine.desk.closed() == ""
    for request in floor.driver.gateway.placed:  # in the place of a stop that proved never to have arrived
        order = floor.engine.tracker.get(request.client_id)
        assert order is not None and order.fired and order.created_ns > begun_ns
    keys = [(event.fill.symbol, event.fill.trade_id) for event in floor.fills()]
    assert len(keys) == len(set(keys))
    for order in floor.engine.tracker.recent():
        assert order.pending is Pending.NONE and (order.held or order.state is not OrderState.INTENT)


@pytest.mark.parametrize("stops", [True, False], ids=["venue stops", "held stops"])
def test_the_program_may_end_at_every_record(tmp_path: Path, stops: bool):
    features = VenueFeatures(stops=stops)
    source, moments = moments_of(tmp_path, features)
    first_seq = source.journal.last_seq - len(moments)
    for index, moment in enumerate(moments):
        # What the venue did until the next intent may be lost with the records that nobody waited for.
        later = index
        while later + 1 < len(moments) and moments[later + 1].kind not in ("INTENT", "ASKED", "SENT"):
            later += 1
        for number, venue in enumerate({moment.venue, moments[later].venue}):
            path = tmp_path / f"cut-{index}-{number}"
            cut_journal(source, path, first_seq + index + 1)
            after = Floor(
                path,
                MemoryStore(venue),
                start_ns=moments[later].now_ns + NS_PER_S,
                driver_of=FaultyDriver,
                features=features,
                armed=False,
            )
            newest = after.engine.tracker.recent()[-1:]
            if moment.kind == "INTENT" and venue == moment.venue and not newest[0].held:
                assert "of the last run" in after.engine.desk.closed()
            check_recovered(after)
            after.journal.close()


def test_missed_fills_are_delivered_once_by_the_normal_way(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    order = floor.order(BUY, 1, 99, instance="grid")
    seen = floor.engine.event_seq("grid")
    floor.driver.deaf = True
    floor.print(99)
    after = floor.restart(tmp_path)
    assert [event.fill.client_id for event in after.fills()] == [order.client_id]
    assert after.ledger("grid") == 1
    missed = list(after.engine.missed("grid", seen))
    assert [type(event) for _, event in missed] == [FillBooked, OrderChanged]
    assert missed[1][1].order.state is OrderState.FILLED
    assert list(after.engine.missed("grid", after.engine.event_seq("grid"))) == []
    again = after.restart(tmp_path)
    assert again.fills() == [] and again.ledger("grid") == 1
    assert [type(event) for _, event in again.engine.missed("grid", seen)] == [FillBooked, OrderChanged]


def test_trading_stays_closed_while_an_order_of_the_last_run_is_in_doubt(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.hold(1)
    floor.driver.gateway.lose_requests = 1
    floor.submit(BUY, 1, 99)
    after = floor.restart(tmp_path, start_ns=floor.clock.now_ns() + NS_PER_S)
    after.print(100.0)
    with pytest.raises(TradingHalted, match="of the last run has no known outcome"):
        after.submit(SELL, 1, 101)
    assert after.order(SELL, 1, type=MARKET, reduce_only=True).state is OrderState.FILLED
    after.run(60)
    after.print(100.0)
    assert after.order(SELL, 1, 101).state is OrderState.OPEN


def test_p02_a_reduction_that_had_left_is_not_given_up_while_missed_fills_are_booked(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=FaultyDriver)
    floor.print(100.0)
    floor.admit("grid")
    floor.hold(2, instance="grid")
    floor.order(SELL, 3, type=MARKET)  # so that the venue takes no reduction of the strategy for one
    floor.order(SELL, 2, 101, instance="grid")
    floor.driver.deaf = True
    reduction = floor.order(SELL, 2, 105, instance="grid", reduce_only=True)
    floor.print(101.0)
    forget_all_but_the_intent(floor, tmp_path, reduction.client_id)
    after = floor.restart(tmp_path)
    assert after.ledger("grid") == 0 and "late_order" not in after.alarms()
    after.run(3)
    known = after.engine.tracker.get(reduction.client_id)
    assert known is not None and known.state is OrderState.CANCELED and after.venue_orders() == []


def forget_all_but_the_intent(floor: Floor, folder: Path, client_id: str) -> None:
    """Leave of an order what a crash right after it was sent leaves on the disk."""
    floor.journal.flush()
    with closing(sqlite3.connect(folder / "ctos.db")) as database, database:
        about = "DELETE FROM journal WHERE kind <> 'INTENT' AND CAST(body AS TEXT) LIKE ?"
        assert database.execute(about, (f"%{client_id}%",)).rowcount > 0


def test_a_cancel_in_flight_is_carried_out_after_the_restart(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.print(100.0)
    order = floor.order(BUY, 1, 99)
    floor.engine.cancel(order.client_id)
    after = floor.restart(tmp_path)
    after.run(1)
    assert after.venue_orders() == []
    after.check_books()


def test_a_held_stop_is_held_again(tmp_path: Path):
    floor = Floor(tmp_path, features=VenueFeatures(stops=False))
    floor.hold(1)
    floor.order(SELL, 1, None, STOP, trigger=95)
    after = floor.restart(tmp_path, features=VenueFeatures(stops=False))
    after.print(94)
    assert after.ledger() == 0
    after.check_books()


def test_a_halt_outlives_the_restart_and_arming_does_not(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.engine.panic("test", "enough")
    after = floor.restart(tmp_path, armed=False)
    assert after.engine.risk.is_halted and "enough" in after.engine.trading.describe()
    after.engine.rearm("test", "all is well")
    final = after.restart(tmp_path, armed=False)
    assert final.engine.trading.mode is TradingMode.DISARMED


def test_what_the_account_held_before_is_adopted_by_hand(tmp_path: Path):
    floor = Floor(tmp_path / "first")
    floor.hold(2)
    venue = MemoryStore(floor.store.state)
    after = Floor(tmp_path / "second", venue)
    assert after.ledger() == 2 and after.engine.portfolio.position(PERP).entry_price == 100
    assert after.engine.portfolio.adjusted(PERP) == 2 and after.fills() == []
    again = after.restart(tmp_path / "second")
    assert again.ledger() == 2 and again.engine.portfolio.adjusted(PERP) == 2


class Restless(FaultyDriver):
    """A stream that breaks while the engine asks the venue, and is back while it looks at the account."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self._told: list[AccountStream] = []

    def subscribe_account(self, handler: Any) -> Any:
        self._heard = handler
        return super().subscribe_account(handler)

    def _tell_once(self, news: AccountStream) -> None:
        if news not in self._told:
            self._told.append(news)
            self._heard(news)

    async def get_open_orders(self, symbol: str | None = None) -> Any:
        self._tell_once(AccountStream(False, "the connection broke"))
        return await self._driver.get_open_orders(symbol)

    async def check_account(self) -> list[str]:
        self._tell_once(AccountStream(True, ""))
        return await self._driver.check_account()


def test_a_stream_that_is_back_before_the_engine_has_started_is_not_held_for_broken(tmp_path: Path):
    floor = Floor(tmp_path, driver_of=Restless)
    floor.run(60)
    assert floor.engine.stream.trouble() == ""


def test_what_happens_while_the_engine_starts_is_counted_once(tmp_path: Path):
    first = Floor(tmp_path / "first")
    first.hold(2)
    after = Floor(tmp_path / "second", MemoryStore(first.store.state), started=False, armed=False)
    after.print(100.0)
    ask = after.venue.get_position
    traded: list[str] = []

    async def while_a_person_trades(symbol: str | None = None) -> Any:
        if not traded:
            request = OrderRequest("by-hand", "", PERP, BUY, MARKET, d(1))
            traded.append(after.venue.exchange.place(request).venue_order_id)
            after.venue._commit()
        return await ask(symbol)

    after.venue.get_position = while_a_person_trades  # type: ignore[method-assign]
    after.start()
    assert traded and after.ledger() == 3 == after.venue_quantity()
    after.run(30)
    assert after.ledger() == 3 and after.engine.portfolio.adjusted(PERP) == 3


def test_a_market_that_begins_anew_keeps_orders_and_books(tmp_path: Path):
    floor = Floor(tmp_path)
    busy_day(floor)
    floor.engine.stop()
    after = floor.restart(tmp_path, start_ns=floor.clock.now_ns() - 3600 * NS_PER_S)
    after.print(100)
    after.run(20)
    after.check_books()
    after.print(100)
    after.order(BUY, 1, type=MARKET)
    after.check_books()


def test_p18_a_journal_of_a_newer_version_is_refused_by_name(tmp_path: Path):
    floor = Floor(tmp_path)
    floor.journal.append("FUTURE", floor.account.key, 0, {})
    with pytest.raises(JournalError, match="FUTURE"):
        floor.restart(tmp_path)

"""I16: the journal explains the state. Replayed, it gives the very state that the engine holds, bit for bit."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.io.database import JournalDamaged
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import Rng, VirtualClock
from engine.kernel.errors import CtosError, RateLimited
from engine.kernel.orders import OrderType
from engine.runtime.state_digest import replay, state_digest
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

TYPES = (OrderType.LIMIT, OrderType.LIMIT, OrderType.POST_ONLY, OrderType.MARKET, OrderType.STOP)
INSTANCES = ("manual", "grid", "trend")


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come often and final orders and fills are forgotten soon, so that a short day meets all of it."""
    monkeypatch.setattr("engine.runtime.state.CHECKPOINT_EVERY", 61)
    monkeypatch.setattr("engine.runtime.tracker.KEPT_ORDERS", 7)
    monkeypatch.setattr("engine.runtime.fills.KEPT_FILLS", 9)
    monkeypatch.setattr("engine.runtime.fills.KEPT_MS", 5_000)


def plain(gate: dict[str, Any] | None) -> Any:
    """Return the gate's state as JSON values."""
    return json.loads(msgspec.json.encode(gate))


def open_floor(path: Path, before: Floor | None = None) -> Floor:
    if before is None:
        floor = Floor(path, driver_of=FaultyDriver, armed=False)
    else:
        floor = before.restart(path, driver_of=FaultyDriver, armed=False)
    if not floor.engine.risk.is_halted:
        floor.engine.arm("test")
    floor.admit("grid", "trend", max_open_orders=100)
    floor.print(100.0)
    return floor


def trade(floor: Floor, rng: Rng) -> None:
    """Do something that traders, venues and networks do."""
    engine, gateway = floor.engine, floor.driver.gateway
    working = engine.tracker.working()
    instance = INSTANCES[rng.randint(0, 2)]
    side = (BUY, SELL)[rng.randint(0, 1)]
    price = d(rng.randint(9_700, 10_300)) / 100
    quantity = d(rng.randint(100, 3_000)) / 1000
    what = rng.randint(0, 19)
    try:
        if what < 7:
            type = TYPES[rng.randint(0, len(TYPES) - 1)]
            limit = price if type.has_price else None
            floor.submit(side, quantity, limit, type, instance, trigger=price if type is OrderType.STOP else None)
        elif what < 9 and working:
            engine.amend(working[rng.randint(0, len(working) - 1)].client_id, price, quantity)
        elif what < 11 and working:
            engine.cancel(working[rng.randint(0, len(working) - 1)].client_id)
        elif what == 11:
            engine.soft("grid", PERP, side, quantity)
        elif what == 12:
            engine.set_coin_position("trend", "TST", d(rng.randint(-50, 50)))
        elif what == 13:
            setattr(gateway, ("lose_requests", "lose_answers", "hide")[rng.randint(0, 2)], 1)
        elif what == 14:
            gateway.refuse_cancels.append(RateLimited("slow down"))
        elif what == 15:
            floor.driver.deaf = not floor.driver.deaf
        elif what == 16 and rng.randint(0, 9) == 0:
            engine.panic("test")
        elif what == 16 and engine.risk.is_halted:
            engine.rearm("test", "going on")
        else:
            floor.print(float(price))
    except CtosError:
        pass  # refused: that is a day's work, too
    floor.run((0.001, 0.02, 1.0, 11.0)[rng.randint(0, 3)])


@pytest.mark.parametrize("seed", range(6))
def test_a_replay_gives_the_state_bit_for_bit_whenever_the_program_ends(tmp_path: Path, seed: int) -> None:
    rng = Rng(seed)
    floor = open_floor(tmp_path)
    account = floor.account.key
    compared = 0
    for _ in range(8):
        for _ in range(rng.randint(10, 40)):
            trade(floor, rng)
        state = floor.engine.core.state
        here = state_digest(state)
        proof = replay(floor.journal, account, VirtualClock())
        assert proof.digest == here
        compared += proof.compared
        assert plain(floor.engine.risk.to_dict()) == plain(state.trading)
        restarted = Floor(tmp_path / "aside", started=False, armed=False)
        restarted.engine.core.state._journal, restarted.engine.core.state._account = floor.journal, account
        restarted.engine.core.state.load()
        assert state_digest(restarted.engine.core.state) == here, "from the newest checkpoint on"
        restarted.journal.close()
        floor = open_floor(tmp_path, floor)
    assert compared >= 5 and floor.engine.core.state.tracker.next_label > 30
    floor.journal.close()


def test_a_change_that_no_record_tells_of_is_found(tmp_path: Path) -> None:
    floor = open_floor(tmp_path)
    floor.order(BUY, 1, 99)
    floor.engine.tracker.recent()[0].reason = "touched in memory"
    floor.engine.core.state.checkpoint()
    floor.journal.flush()
    with pytest.raises(JournalDamaged, match="lead to state"):
        replay(floor.journal, floor.account.key, VirtualClock())
    floor.journal.close()


def test_old_records_of_orders_go_and_fills_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.runtime.state.BASE_EVERY", 100)
    rng = Rng(4)
    floor = open_floor(tmp_path)
    for _ in range(600):
        trade(floor, rng)
    floor.engine.core.state.checkpoint()
    account, state = floor.account.key, floor.engine.core.state
    assert replay(floor.journal, account, VirtualClock()).digest == state_digest(state)
    base = floor.journal.load_base(account)
    assert base is not None and base[0] > 300
    rows = sqlite3.connect(tmp_path / "ctos.db").execute("SELECT seq, kind FROM journal").fetchall()
    old = {kind for seq, kind in rows if seq <= base[0] - 100}
    assert old <= {"FILL", "FUNDING", "ADJUST", "TRANSFER", "TRADING", "DAY", "CASH"} and "FILL" in old
    assert {seq for seq, _ in rows} >= set(range(base[0] + 1, floor.journal.last_seq + 1)), "the rest is complete"
    venue = {(fill.symbol, fill.trade_id) for fill in floor.venue.exchange.registry.fills}
    known = {key for key in venue if floor.journal.has_fill(account, *key)}
    floor.run(60)
    assert len(known) >= len(venue) - 5 and len(known) > 20
    after = open_floor(tmp_path, floor)
    assert after.fills() == [] or all(event.fill.trade_id not in {tid for _, tid in known} for event in after.fills())
    after.journal.close()


def test_d04_a_flipped_bit_inside_a_record_is_refused(tmp_path: Path) -> None:
    floor = open_floor(tmp_path)
    floor.order(BUY, 1, 99)
    floor.journal.close()
    connection = sqlite3.connect(tmp_path / "ctos.db")
    connection.execute('UPDATE journal SET body = replace(CAST(body AS TEXT), \'"side":"buy"\', \'"side":"buz"\')')
    connection.execute("UPDATE journal SET body = CAST(body AS BLOB)")
    connection.commit()
    connection.close()
    journal = Journal(tmp_path / "ctos.db", WriterThread(None, lambda error: None), ballast_bytes=0)
    with pytest.raises(JournalDamaged, match=r"INTENT record.*ctos-tui recover"):
        replay(journal, floor.account.key, VirtualClock())
    journal.close()

"""The journal beside SQLite itself: durable events a second, CPU of each, and how long the loop is held up.

The floor writes the same rows from the same process in batches of the same size, with nothing around it: no records,
no calls back, no thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.errors import CtosError
from tests.benchmarks.table import Table

pytestmark = pytest.mark.bench

EVENTS_PER_S = 20_000
SECONDS = 3
BURST = 20
CPU_US = 15.0
STALL_MS = 10.0
BODY = {
    "client_id": "AAAAg1abce00000001",
    "instance": "g1",
    "symbol": "BTC-USDT-PERP",
    "side": "buy",
    "type": "post_only",
    "quantity": "0.0010",
    "price": "64512.3",
    "reduce_only": False,
    "label": 12,
}


def raise_error(error: CtosError) -> None:
    raise error


async def idle_cpu_us(count: int) -> float:
    """Return the CPU of the load generator's own loop, in microseconds an event."""
    return await produce(count, lambda: None)


async def produce(count: int, event: object, lags: list[float] | None = None) -> float:
    """Make `count` events at the wanted rate in bursts; returns CPU microseconds an event."""
    assert callable(event)
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(count // BURST):
        for _ in range(BURST):
            event()
        due = began + (number + 1) * BURST / EVENTS_PER_S
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if lags is not None:
            lags.append(time.perf_counter() - due)
    return (time.process_time() - cpu) / count * 1e6


def floor_us(path: Path, count: int, batch: int) -> float:
    """Return the CPU of plain `executemany` in transactions of `batch` rows, in microseconds a row."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE journal (seq INTEGER PRIMARY KEY, ts_ns INT, kind TEXT, account TEXT, body BLOB)")
    connection.execute("CREATE INDEX by_account ON journal (account, seq)")
    body = b"x" * 190
    cpu = time.process_time()
    for start in range(0, count, batch):
        rows = [(seq, 1, "INTENT", "paper:paper", body) for seq in range(start, start + batch)]
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    used = time.process_time() - cpu
    connection.close()
    return used / count * 1e6


async def test_durable_events(tmp_path: Path, table: Table) -> None:
    count = EVENTS_PER_S * SECONDS
    base = await idle_cpu_us(count)
    writer = WriterThread(asyncio.get_running_loop(), raise_error)
    journal = Journal(tmp_path / "ctos.db", writer, raise_error)
    durable = 0
    done = asyncio.Event()

    def on_durable() -> None:
        nonlocal durable
        durable += 1
        if durable == count:
            done.set()

    lags: list[float] = []
    began = time.perf_counter()
    cpu = await produce(count, lambda: journal.append("INTENT", "paper:paper", 1, BODY, on_durable), lags)
    await asyncio.wait_for(done.wait(), 30)
    rate = count / (time.perf_counter() - began)
    journal.close()
    writer.close()
    floor = floor_us(tmp_path / "floor.db", count, BURST * 2)
    stall = sorted(lags)[int(len(lags) * 0.99)] * 1e3
    least = EVENTS_PER_S * 0.95
    table.add("journal, durable events asked 20,000/s", f"{rate:,.0f}/s", f">= {least:,.0f}/s", rate >= least)
    table.add(
        f"  CPU each, {base:.1f} µs of it the load",
        f"{cpu:.1f} µs",
        f"<= {CPU_US:.0f} µs",
        cpu <= CPU_US,
        f"{floor:.1f} µs",
        cpu / floor,
    )
    table.add("  loop stall p99", f"{stall:.1f} ms", f"<= {STALL_MS:.0f} ms", stall <= STALL_MS)
    table.note("  loop stall max", f"{max(lags) * 1e3:.1f} ms")


async def test_one_intent_at_a_time(tmp_path: Path, table: Table) -> None:
    writer = WriterThread(asyncio.get_running_loop(), raise_error)
    journal = Journal(tmp_path / "ctos.db", writer, raise_error)
    waits: list[float] = []
    for _ in range(300):
        durable = asyncio.Event()
        began = time.perf_counter()
        journal.append("INTENT", "paper:paper", 1, BODY, durable.set)
        await durable.wait()
        waits.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.005)
    journal.close()
    writer.close()
    waits.sort()
    table.note("journal, one intent until durable, median", f"{waits[150]:.1f} ms")
    table.note("  p99", f"{waits[297]:.1f} ms")


def test_burst(tmp_path: Path, table: Table) -> None:
    """As fast as the loop can append: how many a second become durable, and at which CPU."""

    async def run() -> tuple[float, float]:
        writer = WriterThread(asyncio.get_running_loop(), raise_error)
        journal = Journal(tmp_path / "ctos.db", writer, raise_error)
        count = 100_000
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(count):
            journal.append("STATUS", "paper:paper", 1, BODY)
            if number % 200 == 0:
                await asyncio.sleep(0)
        journal.flush()
        result = count / (time.perf_counter() - began), (time.process_time() - cpu) / count * 1e6
        journal.close()
        writer.close()
        return result

    rate, cpu = asyncio.run(run())
    table.add("journal, burst of 100,000", f"{rate:,.0f}/s", f">= {EVENTS_PER_S:,}/s", rate >= EVENTS_PER_S)
    table.add("  CPU each", f"{cpu:.1f} µs", f"<= {CPU_US:.0f} µs", cpu <= CPU_US)

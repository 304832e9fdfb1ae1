"""A whole recording at full speed: messages a CPU second from raw text to fills, through the real system.

The floor reads the same file, decodes each line by a typed msgspec decoder and keeps float dicts, best prices and last
trade. Ours also checks sequences, matches, judges risk, journals and runs a grid and the monitor on it.
"""

from __future__ import annotations

import gc
import gzip
import time
from pathlib import Path
from statistics import median

import msgspec
import pytest

from engine.boot.full_speed import run_at_full_speed
from engine.boot.options import SystemOptions
from engine.boot.summary import Tally, summary
from engine.boot.system import build_system
from tests.benchmarks.table import Table

REPETITIONS = 7
LEAST_PER_SECOND = 25_000
GRID = {
    "base_amount": "200",
    "max_inventory": "1000",
    "buy_grid_step": "0.9995",
    "sell_grid_step": "1.0005",
    "buy_move_step": "0.9997",
    "sell_move_step": "1.0003",
}
Levels = list[tuple[float, float]]
pytestmark = pytest.mark.bench


class FloorDepth(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    u: int
    pu: int
    b: Levels
    a: Levels


class FloorQuote(msgspec.Struct, tag_field="e", tag="bookTicker", gc=False):
    b: float
    B: float
    a: float
    A: float


class FloorTrade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    p: float
    q: float
    m: bool


class FloorMessage(msgspec.Struct, gc=False):
    data: FloorDepth | FloorQuote | FloorTrade | None = None
    bids: Levels = []
    asks: Levels = []


def floor_run(path: Path) -> int:
    """Decode and keep; returns the number of lines."""
    decode = msgspec.json.Decoder(FloorMessage, strict=False).decode
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    touch, last, count = (0.0, 0.0, 0.0, 0.0), 0.0, 0
    with gzip.open(path) as file:
        for line in file:
            count += 1
            message = decode(line[line.index(b" ") + 1 :])
            data = message.data
            if type(data) is FloorQuote:
                touch = (data.b, data.B, data.a, data.A)
            elif type(data) is FloorTrade:
                last = data.p
            elif type(data) is FloorDepth:
                for side, changes in ((bids, data.b), (asks, data.a)):
                    for price, size in changes:
                        if size:
                            side[price] = size
                        else:
                            side.pop(price, None)
            else:
                bids, asks = dict(message.bids), dict(message.asks)
    assert bids and asks and touch[0] and last
    return count


def our_run(path: Path, folder: Path) -> int:
    """Play the recording with a grid on it; returns the number of fills."""
    options = SystemOptions(config=str(folder), market=f"replay:{path}", speed="max", seed=7)
    system = build_system(options, None)
    tally = Tally(system.bus)
    try:
        run_at_full_speed(system, lambda: system.manager.launch("dyn_grid", GRID, symbols="btc"), None)
        report = summary(system, tally)
    finally:
        system.close()
    assert report["adds_up"] and report["ledgers_agree"]
    return tally.fills


def test_whole_recording_at_full_speed(shared_dir: Path, tmp_path: Path, table: Table) -> None:
    path = shared_dir / "captures" / "usdm_btcusdt_20240808.gz"
    if not path.exists():
        pytest.skip(f"no recording {path}")
    messages = floor_run(path)
    ours, floors, fills = [], [], 0
    for repetition in range(REPETITIONS):
        gc.collect()
        started = time.process_time()
        floor_run(path)
        floors.append(time.process_time() - started)
        gc.collect()
        started = time.process_time()
        fills = our_run(path, tmp_path / str(repetition))
        ours.append(time.process_time() - started)
    assert fills > 0
    rate = messages / median(ours)
    table.add(
        f"replay at full speed with a grid, {messages:,} messages, {fills} fills",
        f"{rate:,.0f}/s",
        f">= {LEAST_PER_SECOND:,}/s",
        rate >= LEAST_PER_SECOND,
        f"{messages / median(floors):,.0f}/s",
        median(ours) / median(floors),
    )

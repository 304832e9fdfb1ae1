"""A run on paper whose disk goes bad: `python -m tests.storage.disk_child HOME WHAT`; prints what it saw as JSON.

The state folder is HOME/state, and whatever is wrong with it is arranged by who started this program: before, or when
it says `ready` and waits for a line.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine.io.space as space
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.io.journal import Journal
from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import EngineAlarm
from engine.runtime.trading_state import TradingMode
from tests.engine.floor import d

SYMBOL = "BTC-USDT-PERP"
PULSE_S = 0.01


async def until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until something is so; return whether it became so."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.005)
    return True


class Pulse:
    """Measures the longest time for which the event loop did not come around."""

    def __init__(self) -> None:
        self.gap_s = 0.0
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(PULSE_S)
            now = loop.time()
            self.gap_s = max(self.gap_s, now - last)
            last = now

    def stop(self) -> float:
        """Return the longest gap."""
        self._task.cancel()
        return self.gap_s


def resting(system: System, offset: float) -> str:
    """Place an order far below the market; return its client id."""
    quote = system.engine.market.quote(SYMBOL)
    assert quote is not None
    price = system.instruments[SYMBOL].price_from_float(round(quote.bid * (1 - offset), 1))
    return system.engine.submit(MANUAL, SYMBOL, Side.BUY, OrderType.POST_ONLY, d("0.001"), price)


async def begin(home: Path, alarms: list[str]) -> System:
    """Start, arm, and let two orders rest."""
    options = SystemOptions(config=str(home), market="synthetic:3", seed=1)
    system = build_system(options, asyncio.get_running_loop())
    system.bus.subscribe(EngineAlarm, lambda alarm: alarms.append(alarm.kind))
    await system.start()
    system.engine.market.watch(SYMBOL)
    await until(lambda: system.engine.market.quote(SYMBOL))
    system.engine.arm("operator")
    ids = [resting(system, 0.01), resting(system, 0.012)]
    await until(lambda: all(state_of(system, each) == "open" for each in ids))
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return system


def state_of(system: System, client_id: str) -> str:
    """Return an order's state."""
    order = system.engine.tracker.get(client_id)
    return "" if order is None else order.state.value


async def trade_until_it_fails(home: Path) -> dict[str, Any]:
    """Give records to the journal until the disk takes no more, then see whether everything is closed."""
    alarms: list[str] = []
    system = await begin(home, alarms)
    engine = system.engine
    assert system.paper is not None
    ballast = (home / "state" / "ballast").exists()
    number = 0
    while engine.trading.mode is TradingMode.ARMED and number < 4000:
        number += 1
        system.journal.put("notes", f"filler {number}", b"x" * 2000)
        try:
            client_id = resting(system, 0.01 + (number % 40) / 10_000)
        except CtosError:
            await asyncio.sleep(0.02)  # too many at once
            continue
        if number % 8 == 0:
            await until(lambda client_id=client_id: state_of(system, client_id) != "intent", 3)  # type: ignore[misc]
            engine.cancel(client_id)
    refused = ""
    try:
        resting(system, 0.01)
    except CtosError as error:
        refused = type(error).__name__
    exchange = system.paper.exchange
    gone = await until(lambda: not exchange.open_orders())
    placed = {order.client_id for order in exchange.registry._closed}
    failed, closing = str(system.journal.failed or ""), ""
    try:
        await system.stop()
    except CtosError as error:
        closing = str(error)
    return {
        "mode": engine.trading.mode.value,
        "refused": refused,
        "gone": gone,
        "alarms": sorted(set(alarms)),
        "had_ballast": ballast,
        "ballast": (home / "state" / "ballast").exists(),
        "kill_file": bool(list((home / "state").glob("KILL*"))),
        "placed": len(placed),
        "not_in_the_journal": sorted(placed - intents(home)),
        "kept_mode": kept_mode(home),
        "failed": failed,
        "closing": closing,
    }


def rows(home: Path, kind: str) -> list[dict[str, Any]]:
    """Return what is on the disk of a kind of record."""
    connection = sqlite3.connect(f"file:{home / 'state' / 'ctos.db'}?mode=ro", uri=True)
    found = [
        json.loads(body)
        for (body,) in connection.execute("SELECT body FROM journal WHERE kind = ? ORDER BY seq", (kind,))
    ]
    connection.close()
    return found


def intents(home: Path) -> set[str]:
    """Return the client ids of all intents that are on the disk."""
    return {body["client_id"] for body in rows(home, "INTENT")}


def kept_mode(home: Path) -> str:
    """Return the trading state that the next start will find."""
    return str(rows(home, "TRADING")[-1]["body"]["state"]["mode"])


async def submit_on_a_slow_disk(home: Path) -> dict[str, Any]:
    """Send an order while every flush takes seconds; measure the pulse of the loop."""
    alarms: list[str] = []
    system = await begin(home, alarms)
    assert system.paper is not None
    pulse = Pulse()
    client_id = resting(system, 0.02)
    await until(lambda: state_of(system, client_id) not in ("intent", ""), 10)
    gap_s = pulse.stop()
    placed = {order.client_id for order in system.paper.exchange.open_orders()}
    return {
        "state": state_of(system, client_id),
        "placed": client_id in placed,
        "gap_s": gap_s,
        "mode": system.engine.trading.mode.value,
        "in_the_journal": client_id in intents(home),
    }


WHAT = {"full": trade_until_it_fails, "slow": submit_on_a_slow_disk}


def main(home: Path, what: str) -> None:
    """Run one of the stories on a small reserve, and without the guard that would stop before the disk is full."""
    space.LOW_BYTES = space.CRITICAL_BYTES = 0
    Journal.__init__.__defaults__ = (None, None, 64 << 10)  # type: ignore[misc]
    told = asyncio.run(WHAT[what](home))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

"""An engine in a process of its own that leaves two orders: `python -m tests.boot.guarded HOME VENUE SYMBOL`.

It says what it knows, one JSON object a line: once it is ready, and then for every line that it is told. It ends in
good order with its input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.boot.test_real_venues import until
from tests.engine.floor import d


def known(system: System) -> dict[str, object]:
    """Return what the system knows of its orders and its watchdog."""
    watchdog = system.cover.watchdog
    assert watchdog is not None
    return {
        "pid": os.getpid(),
        "working": sorted(order.client_id for order in system.engine.tracker.working()),
        "watchdog": watchdog.pid,
        "runs": watchdog.is_running,
        "alarms": {each.kind: each.text for each in system.monitor.anomalies.active()},
        "cover": system.cover.describe(),
    }


async def place(system: System, symbol: str) -> None:
    """Leave two orders far from the market."""
    engine = system.engine
    engine.market.watch(symbol)
    await until(lambda: engine.market.quote(symbol) and engine.market.book(symbol).valid, 20)
    engine.arm("operator", 60)
    quote = engine.market.quote(symbol)
    assert quote is not None
    price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
    for number in range(2):
        engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price - 10 * number)
    await until(lambda: [o.state for o in engine.tracker.working(symbol)] == 2 * [OrderState.OPEN], 20)


async def lead(home: str, venue: str, symbol: str) -> None:
    """Live until the input ends."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    async with running(SystemOptions(config=home, exchange=venue)) as system:

        def tell() -> None:
            print(json.dumps(known(system)), flush=True)

        def obey() -> None:
            if os.read(0, 4096):
                tell()
            else:
                loop.remove_reader(0)
                over.set()

        if not system.engine.tracker.working():
            await place(system, symbol)
        assert system.cover.watchdog is not None
        await until(lambda: system.cover.watchdog.is_running)  # type: ignore[union-attr]
        loop.add_reader(0, obey)
        tell()
        await over.wait()


if __name__ == "__main__":
    asyncio.run(lead(*sys.argv[1:]))

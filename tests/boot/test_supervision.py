"""A part of the engine that dies is noticed at once and goes on: looks, the market, queries, subscribers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system, running
from engine.io import journal
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import LogLine
from tests.boot.test_real_venues import until
from tests.engine.floor import d

PERP = "BTC-USDT-PERP"


@pytest.fixture
async def system(home: Path) -> AsyncIterator[System]:
    """A paper system whose clock runs thirty times as fast as ours."""
    options = SystemOptions(config=str(home), market="synthetic:3", speed="30")
    running_one = build_system(options, asyncio.get_running_loop())
    await running_one.start()
    try:
        running_one.engine.market.watch(PERP)
        await until(lambda: running_one.engine.market.quote(PERP), 10)
        running_one.engine.arm("ann")
        yield running_one
    finally:
        if running_one.ready:  # a test may have ended it
            await running_one.stop()


class Fault(Exception):
    """What no part of the engine expects."""


class Trap:
    """Stands in for a method: raises once, then does what the method did, counting."""

    def __init__(self, owner: Any, name: str, error: BaseException | None = None) -> None:
        self._real: Callable[..., Any] = getattr(owner, name)
        self._error = error or Fault("broken on purpose")
        self.fired = False
        self.calls = 0
        setattr(owner, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.fired:
            self.fired = True
            raise self._error
        self.calls += 1
        return self._real(*args, **kwargs)


LOOKS: dict[str, Callable[[System], tuple[Any, str]]] = {
    "losses": lambda system: (system.engine.risk.losses, "evaluate"),
    "monitor": lambda system: (system.monitor, "evaluate"),
    "monitor sample": lambda system: (system.monitor._detectors, "sample"),
    "conditions": lambda system: (system.engine.conditions, "look"),
    "corrector": lambda system: (system.monitor.corrector, "evaluate"),
    "orders query": lambda system: (system.driver, "get_open_orders"),
    "account query": lambda system: (system.driver, "fetch_balance"),
    "reconciliation": lambda system: (system.engine.reconciler, "_take_orders"),
    "paper market": lambda system: (system.driver._pump, "pump_until"),
}


def faults(system: System) -> list[Any]:
    return [one for one in system.monitor.anomalies if one.kind == "engine_fault"]


@pytest.mark.parametrize("part", LOOKS)
async def test_p14_a_look_that_raises_is_noticed_at_once_blocks_entries_and_goes_on(system: System, part: str) -> None:
    trap = Trap(*LOOKS[part](system))
    await until(lambda: trap.fired, 10)
    await until(lambda: faults(system), 1)
    (fault,) = faults(system)
    assert fault.severity.value == "CRIT" and "broken on purpose" in fault.text
    with pytest.raises(RiskReject, match=f"#{fault.id}"):
        system.monitor.check_entry(MANUAL, PERP)
    await until(lambda: trap.calls >= 2, 20)
    system.monitor.acknowledge(fault.id, "ann")
    system.monitor.check_entry(MANUAL, PERP)
    system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.001"))
    assert not system.engine.risk.is_halted


@pytest.mark.parametrize("how", ["cancelled", "returned"])
async def test_p14_a_task_that_ends_without_an_error_is_noticed_and_begins_anew(
    system: System, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    playing = system.driver._playing
    if how == "returned":
        monkeypatch.setattr(playing, "_may_return", False)
        played, ends = playing._make, asyncio.Event()

        async def once() -> None:
            if ends.is_set():
                await played()
            ends.set()

        playing._make = once
    playing._task.cancel()
    await until(lambda: faults(system), 1)
    seen = system.engine.market.quote(PERP).ts
    await until(lambda: system.engine.market.quote(PERP).ts > seen + 5_000, 10)


async def test_p14_the_third_fault_in_a_minute_halts(system: System) -> None:
    for number in range(3):
        assert not system.engine.risk.is_halted, number
        Trap(system.engine.conditions, "look")
        await until(lambda done=number: sum(one.count for one in faults(system)) > done, 10)
    await until(lambda: system.engine.risk.is_halted, 1)
    assert "3 faults of the engine in a minute" in system.engine.trading.describe()


async def given(system: System, type: OrderType, quantity: str, wanted: OrderState) -> str:
    """Give a buy order until it arrives: on this fast clock a busy machine may miss the two seconds that it has."""
    engine = system.engine
    for _ in range(20):
        quote = engine.market.quote(PERP)
        assert quote is not None
        price = None if type is OrderType.MARKET else system.instruments[PERP].price_from_float(round(quote.bid * 0.97))
        client_id = engine.submit(MANUAL, PERP, Side.BUY, type, d(quantity), price)
        await until(lambda made=client_id: state(system, made) in (wanted, OrderState.NEVER_SENT), 10)
        if state(system, client_id) is wanted:
            return client_id
    raise AssertionError("no order arrived")


def state(system: System, client_id: str) -> OrderState:
    order = system.engine.tracker.get(client_id)
    assert order is not None
    return order.state


@pytest.mark.parametrize("part", LOOKS)
async def test_p12_want_of_memory_in_any_task_halts_at_once_and_stays_so(system: System, part: str) -> None:
    resting = await given(system, OrderType.POST_ONLY, "0.001", OrderState.OPEN)
    trap = Trap(*LOOKS[part](system), MemoryError())
    await until(lambda: trap.fired, 10)
    await until(lambda: system.engine.risk.is_halted, 1)
    assert "out of memory" in system.engine.trading.describe()
    await until(lambda: state(system, resting) is OrderState.CANCELED, 10)
    await system.stop()
    async with running(system.options) as again:
        assert again.engine.risk.is_halted and "out of memory" in again.engine.trading.describe()


async def test_p12_want_of_memory_in_the_disk_thread_loses_no_record(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, write, short = system.engine, journal.write_batch, [True]

    def scarce(connection: Any, batch: Any) -> Any:
        if short:
            raise MemoryError
        return write(connection, batch)

    monkeypatch.setattr(journal, "write_batch", scarce)
    bought = engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.001"))
    await until(lambda: engine.risk.is_halted, 10)
    assert "out of memory" in engine.trading.describe() and system.journal.failed is not None
    await until(lambda: state(system, bought) is OrderState.NEVER_SENT, 10)
    short.clear()
    with pytest.raises(CtosError, match="it is being tried again now"):
        engine.rearm("ann", "closed the browser")
    await until(lambda: system.journal.failed is None, 10)
    for anomaly in system.monitor.anomalies:
        system.monitor.acknowledge(anomaly.id, "ann")
    engine.rearm("ann", "closed the browser")
    engine.arm("ann")
    await given(system, OrderType.MARKET, "0.002", OrderState.FILLED)
    await system.stop()
    async with running(system.options) as again:
        assert again.engine.portfolio.quantity(PERP) == engine.portfolio.quantity(PERP) == d("0.002")
        assert state(again, bought) is OrderState.NEVER_SENT


async def test_p14_a_subscriber_that_raises_is_noticed_and_one_of_the_console_only_told(system: System) -> None:
    def broken(line: LogLine) -> None:
        if line.text == "bang":
            raise Fault("broken on purpose")

    unsubscribe = system.bus.subscribe(LogLine, broken)
    system.engine.say("bang")
    assert "broken on purpose" in faults(system)[0].text
    unsubscribe()
    system.monitor.acknowledge(faults(system)[0].id, "ann")
    broken.__module__ = "ctos_tui.feed"
    system.bus.subscribe(LogLine, broken)
    system.engine.say("bang")
    assert not faults(system)[0].is_active

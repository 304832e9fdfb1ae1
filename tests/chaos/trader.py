"""One life of a trading engine in a process of its own: the whole system, a bot that gives every kind of order, a grid.

It does what the pipe says: `look`, `replay`, `trade`, `end`. Whoever leads it kills it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import engine.runtime.resolver as resolver
from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.kernel.clock import NS_PER_S, Rng
from engine.kernel.errors import CtosError
from engine.kernel.scheduler import InstanceState
from engine.runtime.state_digest import replay, state_digest
from engine.runtime.trading_state import TradingMode
from strategies.dyn_grid import DynGrid
from tests.chaos.venue import Content, Terms, content_of
from tests.sim.bot import NAME, Bot
from tests.sim.life import GRID, GRID_PARAMS
from tests.sim.truth import settled, terms_of

PACE_S = 0.02
LIMITS = {
    "max_notional_usd": 50_000,
    "max_order_usd": 5_000,
    "max_leverage": 20,
    "daily_loss_pct": 1,
    "max_drawdown_pct": 1,
}
"""Wide enough that losses do not end the trading: it is about what is lost on the way."""
_GRANT_S = 600.0


@dataclass(frozen=True, slots=True)
class EngineView:
    """What the engine knows.

    Attributes:
        waits: What it still waits for, nothing when it is at rest.
        fills: The newest booked fills, by key.
        positions: What is held, by symbol.
        ledgers: The sums of what strategies and hands hold, by symbol.
        working: The terms of every order at the venue.
        external: Orders that it takes for somebody else's.
        trading: The state of the gate.
    """

    waits: str
    fills: dict[tuple[str, str], Content]
    positions: dict[str, Decimal]
    ledgers: dict[str, Decimal]
    working: list[Terms]
    external: list[str]
    trading: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """Whether the journal alone leads to the state in memory."""

    records: int
    agrees: bool


class Life:
    """A started system that obeys a pipe.

    Args:
        system: The system.
        seed: Of the bot.
        pipe: To whoever leads it.
    """

    def __init__(self, system: System, seed: int, pipe: Connection) -> None:
        self._system = system
        self._pipe = pipe
        self.over = asyncio.Event()
        quote = system.account.default_quote
        self._symbols = [f"BTC-{quote}-PERP", f"ETH-{quote}-PERP"]
        for symbol in self._symbols:
            system.engine.market.watch(symbol)
        limit = system.account.limits.max_notional_usd
        self._bot = Bot(system.engine, system.clock, Rng(seed), self._symbols, PACE_S, Counter(), limit)

    def obey(self) -> None:
        """Do what the pipe says."""
        try:
            what = self._pipe.recv()
        except EOFError:
            what = "end"
        answer: Any = getattr(self, what)()
        if what != "end":
            self._pipe.send(answer)

    def look(self) -> EngineView:
        """Return what the engine knows."""
        engine = self._system.engine
        ledgers: dict[str, Decimal] = {}
        for _, symbol, held in engine.portfolio.ledgers():
            ledgers[symbol] = ledgers.get(symbol, Decimal(0)) + held
        fills = {
            (each.fill.symbol, each.fill.trade_id): content_of(each.fill) for each in engine.portfolio.fills.recent()
        }
        return EngineView(
            waits=settled(engine, self._symbols),
            fills=fills,
            positions={row.symbol: row.quantity for row in engine.portfolio.positions() if row.quantity},
            ledgers={symbol: held for symbol, held in ledgers.items() if held},
            working=[terms_of(order) for order in engine.tracker.working() if not order.held],
            external=[order.client_id for order in engine.tracker.recent() if order.external],
            trading=engine.trading.describe(),
        )

    def replay(self) -> Replayed:
        """Hold what the journal alone leads to against the state in memory."""
        system = self._system
        system.writer.wait()
        found = replay(system.journal, system.account.key, system.clock)
        return Replayed(found.records, found.digest == state_digest(system.engine.core.state))

    def trade(self) -> str:
        """Begin to trade; returns why it cannot."""
        engine, manager = self._system.engine, self._system.manager
        try:
            if engine.trading.mode in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
                engine.rearm("chaos", "looked at it")
            if engine.risk.losses.halted(NAME):
                engine.risk.release_instance(NAME)
            engine.arm("chaos", _GRANT_S)
            if GRID not in manager.instances:
                manager.launch(DynGrid.name, GRID_PARAMS, self._symbols[1], GRID)
            for name, instance in manager.instances.items():
                if instance.life.state not in (InstanceState.RUNNING, InstanceState.WARMUP):
                    manager.resume(name)
        except CtosError as error:
            return str(error)
        self._bot.start()
        return ""

    def end(self) -> None:
        """Stop in good order."""
        self._bot.stop()
        asyncio.get_running_loop().remove_reader(self._pipe.fileno())
        self.over.set()


def lead(home: str, venue: str, seed: int, pipe: Connection) -> None:
    """Lead a life until it is ended or killed."""
    # The emulator shows orders at once: one that is not there needs no 20 s of looking to be called absent.
    resolver.SETTLED_AFTER_NS = NS_PER_S
    resolver.LOOK_GAP_NS = NS_PER_S // 5
    resolver.WAITS_S = (0.2, 0.2, 0.4)
    asyncio.run(_lead(SystemOptions(config=home, exchange=venue, seed=seed), seed, pipe))


async def _lead(options: SystemOptions, seed: int, pipe: Connection) -> None:
    async with running(options) as system:
        life = Life(system, seed, pipe)
        asyncio.get_running_loop().add_reader(pipe.fileno(), life.obey)
        pipe.send("ready")
        await life.over.wait()

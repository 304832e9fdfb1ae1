"""A venue that outlives its traders: an emulator in a process of its own, with its truth for the asking."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import yaml

from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import LoopClock
from engine.kernel.orders import Fill
from engine.kernel.syscalls import AccountEvent
from tests.chaos.processes import CONTEXT
from tests.sim.truth import terms_of
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.binance import BinanceEmulator
from tests.venues.emulators.binance_limits import Limits
from tests.venues.emulators.core import Emulator

Content = tuple[str, str, Decimal, Decimal]
Terms = tuple[str, str, Decimal | None, Decimal, Decimal]
CLIENT_ID = re.compile(r'(?:clOrdId|newClientOrderId|clientId|clientAlgoId|algoClOrdId)(?:=|":"?)([A-Za-z0-9]+)')
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class VenueTruth:
    """What the venue knows.

    Attributes:
        fills: Every execution so far, oldest first.
        positions: What is held, by symbol.
        resting: The terms of every working order.
        stops: How many of them wait for a trigger.
        placed: How often each client id was asked to be placed.
    """

    fills: list[Content]
    positions: dict[str, Decimal]
    resting: list[Terms]
    stops: int
    placed: Counter[str]


def content_of(fill: Fill) -> Content:
    """Return what a fill is known by on both sides: trade ids have other forms at each venue."""
    return (fill.symbol, fill.side.value, fill.quantity, fill.price)


class VenueProcess:
    """The handle on a venue's process.

    Args:
        name: Which venue.
        seed: Of its market.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._pipe, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_serve, args=(name, seed, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._files: tuple[str, str] = self._answer()

    def configure(self, home: Path, **settings: Any) -> None:
        """Write the files of a live account on this venue, with further settings of `ctos.yaml`."""
        config, accounts = self._files
        (home / "ctos.yaml").write_text(config + yaml.safe_dump(settings))
        keys = home / "accounts.yaml"
        keys.write_text(accounts)
        keys.chmod(0o600)
        home.chmod(0o700)

    def truth(self) -> VenueTruth:
        """Return what the venue knows now."""
        found: VenueTruth = self._ask("truth")
        return found

    def lose_responses(self, match: str, times: int | None) -> None:
        """Carry such requests out, and cut the connection before the answer."""
        self._ask("lose_responses", match, times)

    def forget_requests(self) -> None:
        """Count requests from zero again: restarts come quicker here than any venue's limits are made for."""
        self._ask("forget_requests")

    def heal(self) -> None:
        """End every fault."""
        self._ask("heal")

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, *what: Any) -> Any:
        self._pipe.send(what)
        return self._answer()

    def _answer(self) -> Any:
        if not self._pipe.poll(ANSWER_S):
            raise AssertionError(f"the {self.name} emulator does not answer")
        return self._pipe.recv()


class _Desk:
    """What the handle may ask, inside the venue's process."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._fills: list[Content] = []
        self._placed: Counter[str] = Counter()
        self._looked = 0
        emulator.venue.subscribe_account(self._on_event)

    def _on_event(self, event: AccountEvent) -> None:
        if isinstance(event, Fill):
            self._fills.append(content_of(event))

    def truth(self) -> VenueTruth:
        emulator = self._emulator
        if emulator.bugs:
            raise emulator.bugs[0]
        new, self._looked = emulator.requests[self._looked :], len(emulator.requests)
        for seen in new:
            over_socket = seen.method == "WS" and seen.path in ("order", "order.place")
            if over_socket or (seen.method == "POST" and seen.path.endswith(("/order", "/algoOrder", "/order-algo"))):
                self._placed.update(CLIENT_ID.findall(f"{seen.query} {seen.body.decode()}")[:1])
        working = list(emulator.exchange.registry.open.values())
        positions = {row.symbol: row.quantity for row in emulator.exchange.positions() if row.quantity}
        stops = sum(order.trigger_price is not None for order in working)
        return VenueTruth(self._fills, positions, [terms_of(order) for order in working], stops, self._placed)

    def lose_responses(self, match: str, times: int | None) -> None:
        self._emulator.faults.lose_response(match, times)

    def forget_requests(self) -> None:
        emulator = self._emulator
        emulator.limits.forget()
        if isinstance(emulator, BinanceEmulator):
            for product in emulator.limits_of:
                emulator.limits_of[product] = Limits(product, emulator.clock.now_ms)

    def heal(self) -> None:
        self._emulator.faults.clear()


def _serve(name: str, seed: int, pipe: Connection) -> None:
    asyncio.run(_serve_until_closed(name, seed, pipe))


async def _serve_until_closed(name: str, seed: int, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    clock = LoopClock(loop)
    emulator = emulator_class(name)(market=SyntheticMarket(seed, clock.now_ns()), clock=clock)
    desk, over = _Desk(emulator), asyncio.Event()

    def obey() -> None:
        try:
            what, *arguments = pipe.recv()
        except EOFError:
            loop.remove_reader(pipe.fileno())
            over.set()
            return
        pipe.send(getattr(desk, what)(*arguments))

    async with emulator:
        pipe.send(_files(emulator))
        loop.add_reader(pipe.fileno(), obey)
        await over.wait()


def _files(emulator: Emulator) -> tuple[str, str]:
    """Return `ctos.yaml` and `accounts.yaml`."""
    hosts = {**emulator.overrides, "trusted_hosts": ["127.0.0.1"]}
    account = {
        "mode": "live",
        "key": emulator.key,
        "secret": emulator.secret,
        "no_withdraw_confirmed": "2026-11-01",
    }
    if emulator.passphrase:
        account["passphrase"] = emulator.passphrase
    accounts = yaml.safe_dump({emulator.name: {"emulated": account}}, default_style='"')
    return yaml.safe_dump({"venues": {emulator.name: hosts}}), accounts

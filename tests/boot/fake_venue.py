"""A venue's driver package for tests: real-looking from outside, matched by the paper venue inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.paper.config import MemoryStore, PaperConfig
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.synthetic import SyntheticMarket
from drivers.transport.arch import Arch
from drivers.transport.setup import VenueSetup
from engine.kernel.account import AccountStream, KeyRights
from engine.kernel.clock import NS_PER_MS
from engine.kernel.errors import AuthError, CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import Trade
from engine.kernel.orders import Side
from engine.kernel.syscalls import AccountEvent, Unsubscribe, VenueFeatures

HOSTS = {
    "live": {"rest_url": "https://api.fake.example", "ws_public_url": "wss://ws.fake.example/public"},
    "demo": {"rest_url": "https://demo.fake.example", "ws_public_url": "wss://ws-demo.fake.example/public"},
}


@dataclass
class Behaviour:
    """What the next driver does; `made` keeps every driver that was made."""

    start_error: CtosError | None = None
    rights: KeyRights = field(default_factory=lambda: KeyRights(trade=True, withdraw=False))
    obstacles: list[str] = field(default_factory=list)
    made: list[FakeDriver] = field(default_factory=list)


behaviour = Behaviour()


class FakeDriver(PaperDriver):
    """The paper venue dressed as a real one."""

    features = VenueFeatures(dead_man=True)

    def __init__(self, setup: VenueSetup) -> None:
        market = SyntheticMarket(7, setup.clock.now_ns())
        super().__init__(market, setup.clock, setup.rng, PaperConfig(latency_ms=1), MemoryStore())
        self.venue = "okx"
        self.exchange.add_instruments([replace(one, venue="okx") for one in self.exchange.instruments.values()])
        self.setup = setup
        self.started = self.stopped = 0
        self.private = LinkState.LIVE
        self.timers: list[int] = []
        self.timer_error: CtosError | None = None
        self.raw: list[Callable[[bytes], None]] = []
        behaviour.made.append(self)

    async def start(self) -> None:
        if behaviour.start_error is not None:
            raise behaviour.start_error
        self.started += 1
        self.subscribe_trades("BTC-USDT-PERP", self._tell_raw)
        self.pump_until(self._clock.now_ns())
        await super().start()

    async def stop(self) -> None:
        self.stopped += 1
        if self.started:
            await super().stop()

    def links(self) -> list[LinkStatus]:
        public = LinkStatus("public", LinkState.LIVE, 0, 12.0)
        if self.setup.credentials is None:
            return [public]
        detail = "" if self.private is LinkState.LIVE else "log-in refused"
        return [public, LinkStatus("private", self.private, 0, None, detail)]

    def break_stream(self, live: bool, reason: str) -> None:
        event: AccountEvent = AccountStream(live, reason)
        self._streams.deliver((), (event,))

    async def check_account(self) -> list[str]:
        return list(behaviour.obstacles)

    async def key_rights(self) -> KeyRights:
        return behaviour.rights

    async def cancel_all_after(self, seconds: int) -> None:
        if self.timer_error is not None:
            raise self.timer_error
        self.timers.append(seconds)

    async def fetch_balance(self, currency: str | None = None) -> Any:
        if self.setup.credentials is None:
            raise AuthError("okx: no keys")
        return await super().fetch_balance(currency)

    def _tell_raw(self, trade: Trade) -> None:
        for handler in self.raw:
            handler(json.dumps({"fake": trade.price}, indent=1).encode())

    def subscribe_raw(self, handler: Callable[[bytes], None]) -> Unsubscribe:
        self.raw.append(handler)
        return lambda: self.raw.remove(handler)


def arch() -> Arch:
    return Arch(venue="okx", hosts=HOSTS, fees={"perp": {"maker": "0.0001", "taker": "0.0004"}})


def make_driver(setup: VenueSetup) -> FakeDriver:
    return FakeDriver(setup)


def default_instruments() -> list[Instrument]:
    return []


class _Decoder:
    """Reads `{"fake": price}` lines as trades of BTC-USDT-PERP."""

    def __init__(self) -> None:
        self.ts_ns = 0

    def feed(self, line: bytes) -> list[Any]:
        received, _, text = line.partition(b" ")
        self.ts_ns = int(received)
        message = json.loads(text)
        if "fake" not in message:
            return []
        ts = self.ts_ns // NS_PER_MS
        return [Trade("BTC-USDT-PERP", ts, message["fake"], 1.0, Side.BUY, str(self.ts_ns))]

    def summary(self) -> dict[str, Any]:
        return {}


def make_decoder() -> _Decoder:
    return _Decoder()

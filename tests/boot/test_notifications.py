"""Notifications of a whole system to a real HTTP server on this machine."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system, running
from engine.kernel.anomaly import Severity
from engine.kernel.errors import ConfigError
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.events import LogLine
from tests.boot.test_real_venues import until

TOKEN = "canary/Tok+en-4711"
QUOTED = urllib.parse.quote(TOKEN, safe="")


@dataclass
class Hook:
    """A webhook: what arrived at it, and how it answers."""

    port: int = 0
    status: int = 200
    delay: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [body["title"] for body in self.bodies]

    def titled(self, part: str) -> list[dict[str, Any]]:
        return [body for body in self.bodies if part in body["title"]]


@asynccontextmanager
async def webhook() -> AsyncIterator[Hook]:
    hook = Hook()
    hook.delay.set()

    async def take(request: web.Request) -> web.Response:
        hook.bodies.append(await request.json())
        await hook.delay.wait()
        return web.Response(status=hook.status)

    server = web.Application()
    server.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield hook
    finally:
        hook.delay.set()
        await runner.cleanup()


def options_for(home: Path, port: int, least: str = "crit", **more: Any) -> SystemOptions:
    home.chmod(0o700)
    file = home / "ctos.yaml"
    file.write_text(
        "log_level: debug\n"
        f"notifications:\n  - url: json://user:{QUOTED}@127.0.0.1:{port}/hook/{QUOTED}\n    min: {least}\n"
        "    name: hook\n"
    )
    file.chmod(0o600)
    return SystemOptions(config=str(home), seed=1, **more)


async def test_a_panic_is_told_outside_with_who_why_and_the_venues_word(home: Path) -> None:
    async with webhook() as hook, running(options_for(home, hook.port)) as system:
        system.engine.arm("ann")
        await _rest_order(system)
        system.engine.panic("ann", "the market is closed")
        await until(lambda: hook.titled("halt confirmed") != [], 15)
        halted, confirmed = hook.titled("HALTED")[0], hook.titled("halt confirmed")[0]
        assert halted["title"] == "[PAPER paper paper] HALTED by ann"
        assert halted["message"].startswith("the market is closed\n2") and halted["message"].endswith(" UTC")
        assert halted["type"] == "failure"
        assert "none rests (confirmed), 1 cancelled" in confirmed["message"]
        system.engine.rearm("ann", "it is open again")
        await until(lambda: hook.titled("halt released by ann") != [])
    assert len(hook.bodies) == 3, "start, stop and what is no crisis are not for this target"


async def test_start_and_stop_are_told_to_those_who_want_them(home: Path) -> None:
    async with webhook() as hook:
        async with running(options_for(home, hook.port, "info")):
            await until(lambda: hook.titled("engine started") != [])
        assert hook.titles[-1] == "[PAPER paper paper] engine stopped"
        seen = len(hook.bodies)
        async with running(options_for(home, hook.port, "info", tells_life=False)):
            pass
        assert len(hook.bodies) == seen


async def test_a_storm_of_anomalies_stays_within_the_limit_and_a_halt_gets_through(home: Path) -> None:
    async with webhook() as hook, running(options_for(home, hook.port, "warn")) as system:
        for number in range(1000):
            system.monitor.raise_anomaly(f"storm_{number}", "", "", number, "", "too much", "CRIT")
        await until(lambda: hook.titled("more") != [])
        system.engine.panic("ann", "enough")
        await until(lambda: hook.titled("HALTED") != [])
        assert hook.titled("and 99") or hook.titled("and 98")
        assert any("more: see the anomalies" in body["message"] for body in hook.bodies)
    assert len(hook.bodies) <= 8


@pytest.mark.parametrize("kind", ["refusing", "silent"])
async def test_a_dead_target_holds_up_neither_the_engine_nor_its_end(home: Path, kind: str) -> None:
    async with webhook() as hook:
        loop = asyncio.get_running_loop()
        if kind == "refusing":
            hook.status = 500
        else:
            hook.delay.clear()
        system = build_system(options_for(home, hook.port), loop)
        lines: list[str] = []
        system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
        await system.start()
        before = loop.time()
        system.engine.panic("ann", "look")
        assert loop.time() - before < 0.5
        await until(lambda: hook.bodies != [])
        if kind == "refusing":
            await until(lambda: any(a.kind == "notification" for a in system.monitor.anomalies.active()))
            assert any("notifications to hook do not arrive" in line and "500" in line for line in lines)
            hook.status = 200
            await until(lambda: any("notifications to hook arrive again" in line for line in lines), 10)
            assert not any(a.kind == "notification" for a in system.monitor.anomalies.active())
            hook.delay.clear()
            system.engine.rearm("ann", "again")
            system.engine.panic("ann", "look")
        before = loop.time()
        await system.stop()
        assert loop.time() - before < 5


async def test_x01_the_token_of_an_address_is_in_no_file_and_no_line(home: Path) -> None:
    """Also not where the service fails, which is when addresses slip into messages."""
    async with webhook() as hook:
        hook.status = 404
        lines: list[str] = []
        async with running(options_for(home, hook.port)) as system:
            system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
            system.engine.panic("ann", "look")
            await until(lambda: any(a.kind == "notification" for a in system.monitor.anomalies.active()))
            system.logs.line("error", "engine", f"as a library might log it: {TOKEN} {QUOTED}")
            system.notifier.tell("echo", f"a venue says {TOKEN}", Severity.CRIT)
            hook.status = 200
            await until(lambda: hook.titled("echo") != [], 15)
        told = json.dumps(hook.bodies)
    raw = TOKEN.encode()
    forms = [raw, QUOTED.encode(), base64.b64encode(raw)[:20], base64.urlsafe_b64encode(raw)[:20], raw.hex().encode()]
    texts = [told.encode(), "\n".join(lines).encode()]
    texts += [path.read_bytes() for path in (home / "state").rglob("*") if path.is_file()]
    assert len(texts) > 5
    for form in forms:
        assert not any(form in text for text in texts), form


async def test_an_address_that_its_service_cannot_read_is_told_soon_after_the_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.boot.notifying.PREPARE_S", 0.1)
    options = options_for(home, 1)
    (home / "ctos.yaml").write_text("notifications: [{url: 'slack://canary-8'}]\n")
    async with running(options) as system:
        await until(lambda: any(a.kind == "notification" for a in system.monitor.anomalies.active()), 10)
        (found,) = [a for a in system.monitor.anomalies.active() if a.kind == "notification"]
        assert "slack-1: the slack:// address is not complete" in found.text and "canary" not in found.text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("slakc://T/B/canary", r"ctos.yaml:2: notifications\[0\].url: unknown scheme slakc://; did you mean slack://"),
        ("dbus://canary", "unknown scheme dbus://.*allowed: slack://"),
        ("canary", "is not an address such as slack://"),
        ("slack://", "needs its address behind it"),
        ("${NO_SUCH_HOOK}", r"notifications\[0\].url: the environment variable NO_SUCH_HOOK is not set"),
        ("${BAD_HOOK}", r"notifications\[0\].url: unknown scheme ftp://"),
    ],
)
async def test_g01_a_wrong_address_is_refused_by_field_and_not_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, written: str, text: str
) -> None:
    monkeypatch.setenv("BAD_HOOK", "ftp://canary")
    file = home / "ctos.yaml"
    file.write_text(f"notifications:\n  - url: {written}\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match=text) as caught:
        build_system(SystemOptions(config=str(home)), asyncio.get_running_loop())
    assert "canary" not in str(caught.value)


async def test_g05_an_address_in_the_clear_needs_a_file_that_nobody_else_can_read(home: Path) -> None:
    options = options_for(home, 1)
    (home / "ctos.yaml").chmod(0o644)
    with pytest.raises(ConfigError, match=r"ctos\.yaml may be read by others \(mode 0644\); run: chmod 600"):
        build_system(options, asyncio.get_running_loop())


async def _rest_order(system: System) -> None:
    """Let one order rest far below the market."""
    engine, instrument = system.engine, system.resolve("btc")
    engine.market.watch(instrument.symbol)
    await until(lambda: engine.market.quote(instrument.symbol) is not None)
    quote = engine.market.quote(instrument.symbol)
    assert quote is not None
    price = instrument.round_price(Side.BUY, Decimal(str(quote.bid)) * Decimal("0.99"))
    quantity = instrument.minimum_order_quantity(price)
    placed = engine.submit("manual", instrument.symbol, Side.BUY, OrderType.POST_ONLY, quantity, price)
    await until(lambda: (order := engine.core.order(placed)) is not None and order.state is OrderState.OPEN)

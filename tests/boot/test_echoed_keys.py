"""A venue that echoes a key in its refusal: the key reaches neither journal, log, operator nor strategy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import running
from engine.kernel.errors import InvalidOrder
from engine.kernel.orders import OrderRequest, OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL
from engine.runtime.events import LogLine, OrderChanged
from tests.boot.conftest import write_accounts
from tests.boot.fake_venue import Behaviour
from tests.boot.test_real_venues import PERP, d, driver_of, quoted, until

FORMS = ("canary-key-4711", "canary-secret-0815", "Y2FuYXJ5LXNlY3JldC0wODE1")


async def test_x01_a_key_that_a_venue_echoes_in_a_refusal_is_written_nowhere(
    venue: Behaviour, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_accounts(home)
    seen: list[str] = []
    async with running(SystemOptions(config=str(home), exchange="okx")) as system:
        driver, engine = driver_of(system), system.engine

        def refuse(request: OrderRequest, reply: Callable[[Any], None]) -> None:
            text = f"invalid: {' '.join(FORMS)}"
            system.clock.call_later(0, reply, InvalidOrder("okx: place: refused", code="50111", venue_text=text))

        monkeypatch.setattr(driver.gateway, "place", refuse)
        system.bus.subscribe(LogLine, lambda line: seen.append(line.text))
        system.bus.subscribe(OrderChanged, lambda event: seen.append(f"{event.order.reason} {event.order.error}"))
        await quoted(system)
        engine.arm("operator", 60)
        placed = engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
        await until(lambda: (order := engine.core.order(placed)) is not None and order.state is OrderState.REJECTED)
        order = engine.core.order(placed)
        assert order is not None and "50111 invalid: *** *** ***" in order.reason
    for form in FORMS:
        assert not any(form in text for text in seen)
        for path in (home / "state").rglob("*"):
            assert not path.is_file() or form.encode() not in path.read_bytes(), path

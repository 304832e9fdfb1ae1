"""A stop of which one step fails does all the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.boot.system import build_system, running
from engine.kernel.errors import CtosError, UnknownSymbol, VenueUnavailable
from engine.kernel.orders import OrderType, Side
from engine.runtime.accounts import MANUAL
from tests.boot.conftest import write_accounts
from tests.boot.fake_venue import Behaviour
from tests.boot.test_real_venues import PERP, d, options, quoted, until


async def test_a_step_of_the_stop_that_fails_keeps_no_other_from_being_done(
    venue: Behaviour, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise UnknownSymbol("a stream cannot be left")

    async def timer() -> None:
        raise VenueUnavailable("the timer cannot be stopped")

    write_accounts(home)
    system = build_system(options(home), asyncio.get_running_loop())
    await system.start()
    await quoted(system)
    system.engine.arm("operator", 60)
    system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
    await until(lambda: system.engine.portfolio.quantity(PERP))
    for owner, name in ((system.manager, "save_all"), (system.bars, "close"), (system.engine.market, "close")):
        monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr(system.cover, "stop_timer", timer)
    seq = system.journal.last_seq
    with pytest.raises(CtosError) as failure:
        await system.stop()
    told, error = [], failure.value
    while error is not None:
        told.append(str(error))
        error = error.__context__  # type: ignore[assignment]
    assert sum("a stream cannot be left" in text for text in told) == 3 and "the timer cannot be stopped" in told
    async with running(options(home)) as again:
        saved = again.journal.load_checkpoint(again.account.key)
        assert saved is not None and saved[0] >= seq, "the state was stored"
        assert again.engine.portfolio.quantity(PERP) == d("0.01")

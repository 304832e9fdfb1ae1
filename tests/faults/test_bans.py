"""A venue that bans us is left alone until the time that it named, whatever is wanted and whoever starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.kernel.errors import RateLimited
from engine.kernel.orders import OrderState
from tests.faults.desk import Desk, play


@pytest.mark.parametrize("venue", ["okx", "binance"])
@pytest.mark.parametrize("restarted", [False, True], ids=["running on", "restarted"])
def test_e04_a_ban_halts_and_stops_every_request_until_it_ends_also_over_a_restart(
    venue: str, restarted: bool, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        kept = await desk.rest("59000")
        banned_s = desk.loop.time()
        desk.emulator.faults.ban(300)
        with pytest.raises(RateLimited):
            await desk.driver.fetch_balance()
        await desk.wait(15)  # every interface of the venue has said it once
        assert desk.engine.risk.is_halted, "an order rests where nobody can reach it"
        shown = desk.engine.trading.describe()
        assert "serves us nothing until" in shown and "1 orders are at the venue" in shown
        asked = len(desk.emulator.requests)
        with pytest.raises(RateLimited, match="serves us nothing until") as told:
            await desk.driver.fetch_balance()
        assert told.value.unsent
        desk.engine.cancel(kept)
        if restarted:
            await desk.end()
            with pytest.raises(RateLimited, match="serves us nothing until"):
                await desk.begin()
        await desk.wait(banned_s + 299 - desk.loop.time())
        assert len(desk.emulator.requests) == asked, "not one request while the ban lasts"
        await desk.wait(3)
        if restarted:
            await desk.begin()
        await desk.until(desk.is_ready, 60)
        await desk.until(lambda: not desk.resting(), 40)
        if not restarted:
            await desk.ends(kept, OrderState.CANCELED, 10)
        await desk.agrees()
        assert desk.engine.risk.is_halted, "for a person to release, over a restart, too"

    play(venue, tmp_path, story)

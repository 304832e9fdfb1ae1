"""All venues lose their links at the same moment: they come back one connection after the other."""

from __future__ import annotations

from pathlib import Path

from engine.kernel.orders import OrderState
from tests.faults.desk import REAL, Desk
from tests.sim.loop import SimLoop, run


def test_n12_when_every_venue_is_lost_at_once_the_connections_come_back_spread_out(tmp_path: Path) -> None:
    async def main(loop: SimLoop) -> None:
        desks = []
        for venue in REAL:
            (tmp_path / venue).mkdir()
            desks.append(Desk(loop, venue, tmp_path / venue))
            await desks[-1].open()
        kept = [await desk.rest("59000") for desk in desks]
        await desks[0].wait(70)
        sockets = [len(desk.emulator.sockets) for desk in desks]
        for again in range(3):
            began, asked = loop.time(), [len(desk.emulator.requests) for desk in desks]
            for desk in desks:
                desk.emulator.faults.cut_sockets("*")
            await desks[0].wait(0.1)
            assert not any(desk.is_live() for desk in desks)
            for desk in desks:
                await desk.until(desk.is_ready, 30)
            came = sorted(at for desk in desks for at in desk.proxy.accepted if at > began)
            assert len(came) >= sum(sockets)
            assert len(set(came)) == len(came), "no two at the same moment"
            assert came[0] - began > 0.12, f"nobody comes back in the same moment, round {again}"
            most = max(sum(at <= other < at + 0.02 for other in came) for at in came)
            assert most <= len(came) / 2, f"{most} of {len(came)} connections within 20 ms, round {again}"
            for desk, before in zip(desks, asked, strict=True):
                assert len(desk.emulator.requests) - before < 60, desk.venue
                assert not [line for line in desk.alarms if "RateLimited" in line]
            await desks[0].wait(20)
        for desk, order in zip(desks, kept, strict=True):
            assert desk.order(order).state is OrderState.OPEN
            assert len(desk.emulator.sockets) == sockets[desks.index(desk)]
            await desk.agrees()
        for desk in desks:
            await desk.close()

    run(main, "storm")

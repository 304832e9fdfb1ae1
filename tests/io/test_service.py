"""What a service manager is told, over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from engine.io.service import ServiceManager


class Manager:
    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.bind(address)

    async def next(self) -> list[str]:
        return (await asyncio.to_thread(self.socket.recv, 4096)).decode().splitlines()


@pytest.mark.parametrize("abstract", [False, True])
async def test_ready_alive_and_stopping_are_told(tmp_path: Path, abstract: bool) -> None:
    name = f"ctos-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager = Manager("\0" + name if abstract else name)
    environment = {
        "NOTIFY_SOCKET": "@" + name if abstract else name,
        "WATCHDOG_USEC": "100000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    errors: list[str] = []
    service = ServiceManager(environment, errors.append)
    service.ready(asyncio.get_running_loop(), "paper:\npaper is armed")
    assert await manager.next() == ["READY=1", "STATUS=paper: paper is armed"]
    assert [await manager.next() for _ in range(3)] == [["WATCHDOG=1"]] * 3
    service.stopping()
    last = await manager.next()
    while last == ["WATCHDOG=1"]:
        last = await manager.next()
    assert last == ["STOPPING=1", "STATUS=stopping"]
    manager.socket.close()
    service.status("late")
    service.status("later")
    assert len(errors) == 1 and "cannot be told" in errors[0]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "x", "WATCHDOG_USEC": "100", "WATCHDOG_PID": "1"}])
async def test_nothing_is_fed_that_nobody_watches(environment: dict[str, str]) -> None:
    service = ServiceManager(environment, lambda text: None)
    service.ready(asyncio.get_running_loop(), "")
    assert service._timer is None

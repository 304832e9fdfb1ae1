"""Tells a service manager (systemd) that the program is ready, alive or stopping, when it was started by one.

The protocol is one datagram of `NAME=value` lines to the socket named by `NOTIFY_SOCKET`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping

_US_PER_S = 1e6


class ServiceManager:
    """The service manager that started this process; does nothing when there is none.

    Args:
        environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` are read.
        on_error: Told in words, once, when the manager cannot be reached.
    """

    def __init__(self, environment: Mapping[str, str], on_error: Callable[[str], object]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._on_error = on_error
        self._failed = False
        self._timer: asyncio.TimerHandle | None = None
        self._every_s = _watchdog_s(environment) / 2

    @property
    def is_there(self) -> bool:
        """Return whether a service manager wants to be told."""
        return bool(self._address)

    def ready(self, loop: asyncio.AbstractEventLoop, status: str) -> None:
        """Say that the program does its work, and from now on that the loop is alive."""
        self._send("READY=1", f"STATUS={_one_line(status)}")
        if self.is_there and self._every_s:
            self._alive(loop)

    def status(self, text: str) -> None:
        """Say in a line how it is; `systemctl status` shows it."""
        self._send(f"STATUS={_one_line(text)}")

    def stopping(self) -> None:
        """Say that the program is about to end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._send("STOPPING=1", "STATUS=stopping")

    def _alive(self, loop: asyncio.AbstractEventLoop) -> None:
        self._send("WATCHDOG=1")
        self._timer = loop.call_later(self._every_s, self._alive, loop)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            first, self._failed = not self._failed, True
            if first:
                self._on_error(f"the service manager at {self._address} cannot be told: {error.strerror}")


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Return within which time the manager wants a sign of life from this process; 0 for never."""
    value, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not value.isdigit() or pid not in ("", str(os.getpid())):
        return 0.0
    return int(value) / _US_PER_S


def _one_line(text: str) -> str:
    return " ".join(text.split())

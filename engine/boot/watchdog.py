"""Cancels the engine's orders when the engine is gone, where the venue has no timer: `python -m engine.boot.watchdog`.

The engine starts it and speaks to it over a pipe: how the venue is reached, which of our orders work, and every second
that it lives. When nothing comes for a while (it was killed, or stands still), the orders are cancelled. This covers a
crash and a freeze of the program, not the loss of the machine or of its network.

While it waits it imports next to nothing.
"""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path
from typing import Any

from engine.io.private import forbid_dumps

BEAT, END, LEFT, CHARGE, ORDER, GONE, ACTED = "beat", "end", "left", "charge", "order", "gone", "acted"
"""First words of lines. BEAT is answered by the same; ACTED is told once the engine, which stood still, lives again.

END and LEFT are the engine's last: it has ended in good order, or so and could not confirm that all orders are gone.
"""
TICK_S = 0.5
HANDOVER_S = 600.0
"""How long another engine of this account may run without having a watchdog of its own before this one gives up."""
_DEAF_TO = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""It ends with the engine's word, not with the terminal's or the service's."""


class Feed:
    """What the engine says.

    Args:
        descriptor: Where it is read.
        answers: Where beats are answered.

    Attributes:
        charge: What this process is for; empty until it is told.
        orders: Symbol and venue order id, empty while not known, of every order to cancel, by client id.
        beats: How many signs of life came.
        is_over: Whether the engine has ended in good order.
        is_left: Whether it has, and leaves the orders that still work to this process.
        is_cut: Whether the pipe has ended.
    """

    def __init__(self, descriptor: int = 0, answers: int = 1) -> None:
        self._descriptor = descriptor
        self._answers = answers
        self._rest = b""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self.charge: dict[str, Any] = {}
        self.orders: dict[str, tuple[str, str]] = {}
        self.beats = 0
        self.is_over = self.is_left = self.is_cut = False
        for each in (descriptor, answers):
            os.set_blocking(each, False)

    @property
    def engine_is_gone(self) -> bool:
        """Return whether the engine's process has ended, whoever else holds its end of the pipe."""
        return self.is_cut or bool(self.charge and os.getppid() != self.charge["engine"])

    def wait(self, seconds: float) -> bool:
        """Wait so long for news; return whether there are any."""
        return bool(self._poll.poll(seconds * 1000)) and self.read()

    def read(self) -> bool:
        """Take in what has come; return whether anything has."""
        try:
            data = b"" if self.is_cut else os.read(self._descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            if not self.is_cut:
                self.is_cut = True
                self._poll.unregister(self._descriptor)
            return False
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.decode())
        return True

    def answer(self, word: str) -> None:
        """Say a word to the engine; one that does not listen misses it."""
        try:
            os.write(self._answers, f"{word}\n".encode())
        except (BlockingIOError, BrokenPipeError):
            return

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == BEAT:
            self.beats += 1
            self.answer(BEAT)
        elif word == ORDER:
            client_id, symbol, venue_order_id = rest.split(" ")
            self.orders[client_id] = symbol, venue_order_id
        elif word == GONE:
            self.orders.pop(rest, None)
        elif word == CHARGE:
            self.charge = json.loads(rest)
        elif word == END:
            self.is_over = True
        elif word == LEFT:
            self.is_left = True


def stand_guard(feed: Feed) -> None:
    """Wait until the engine ends in good order, or act in its place when it does not."""
    quiet_s = handed_over_s = 0.0
    while not feed.is_over:
        if feed.is_left:
            _take_over(feed)
            return
        # Ticks are counted, not the time: of a machine that slept nothing can be told but that it woke.
        if feed.wait(TICK_S):
            quiet_s = handed_over_s = 0.0
            continue
        if feed.engine_is_gone and (not feed.orders or is_relieved(feed.charge)):
            return
        quiet_s += TICK_S
        if not feed.charge or quiet_s < feed.charge["patience_s"]:
            continue
        quiet_s = 0.0
        if another_engine(feed.charge) is not None:
            handed_over_s += feed.charge["patience_s"]
            if handed_over_s >= HANDOVER_S:
                from engine.boot.orphans import give_up

                give_up(feed, "another engine has run for long without a watchdog for this account")
                return
        elif feed.is_cut and os.getppid() == feed.charge["engine"]:
            return  # the engine lives, and has let this process go
        elif feed.orders:
            _take_over(feed)
            while not feed.wait(TICK_S):
                if feed.engine_is_gone:
                    return
            feed.answer(ACTED)


def _take_over(feed: Feed) -> None:
    from engine.boot.orphans import cancel_orphans

    if feed.orders:
        cancel_orphans(feed)


def is_relieved(charge: dict[str, Any]) -> bool:
    """Return whether another watchdog is on duty for this account."""
    try:
        named = Path(charge["pid_file"]).read_text("ascii", "replace").strip()
    except OSError:
        return False  # nobody says so
    return named not in ("", str(os.getpid()))


def another_engine(charge: dict[str, Any]) -> int | None:
    """Return the process of another engine that has the account's orders in its care by now, None without one.

    Neither a short command nor the engine of another account has: the orders of the one that is gone are left.
    """
    from engine.io.lock import guard
    from engine.kernel.errors import StorageError

    try:
        found = guard(Path(charge["state"]), charge["owner"])
    except StorageError:
        return None  # the disk is gone as well: the orders are not
    return None if found == charge["engine"] else found


def main() -> None:
    """Serve the engine that started this process."""
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    forbid_dumps()
    stand_guard(Feed())


if __name__ == "__main__":
    main()

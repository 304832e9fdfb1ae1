"""What becomes of resting orders when this program is gone: the venue's timer, the watchdog process, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from engine.boot.orphans import LIMIT_NS
from engine.boot.venues import credentials_of, venue_config
from engine.boot.watchdog_keeper import WatchdogKeeper
from engine.io.watchdog_log import take_notes, watchdog_log_path
from engine.io.writer import Call
from engine.kernel.clock import NS_PER_S
from engine.kernel.instruments import InstrumentKind
from engine.kernel.orders import Order
from engine.runtime.dead_man import TIMEOUT_S, DeadMan
from engine.runtime.panic import is_protective

if TYPE_CHECKING:
    from engine.boot.system import System

TIMER, WATCHDOG = "dead_man", "watchdog"
_HERE = "not if host or link is lost"


class CrashCover:
    """Sees to it that a crash leaves no orders of a live account behind, as far as the operator wants that.

    Args:
        system: The system, with its engine and monitor.

    Attributes:
        dead_man: Keeps the venue's timer; None where there is none, or it is not wanted.
        watchdog: Keeps the watchdog process; None where the venue's timer covers every order.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._is_wanted = self._leaves = False
        self.dead_man: DeadMan | None = None
        self.watchdog: WatchdogKeeper | None = None
        choice, features = system.choice, system.driver.features
        account = choice.account
        self._log = watchdog_log_path(choice.paths.logs, account.venue, account.index)
        self._pid_file = choice.paths.state / f"watchdog_{account.venue}_{account.index}.pid"
        self._stands_guard = choice.is_live and system.loop is not None and system.options.guards
        if not self._stands_guard:
            return
        self._settings = venue_config(choice.config, account.venue)
        self._is_wanted = self._settings.dead_man
        if self._is_wanted and features.dead_man:
            self.dead_man = DeadMan(system.engine, system.shell, self._on_timer)
        if self._is_wanted and not all(features.has_timer(kind) for kind in InstrumentKind):
            self.watchdog = WatchdogKeeper(
                system.engine, self._charge, self._covers, self._pid_file, self._on_watchdog, self.report
            )

    def start(self) -> None:
        """Begin; to be called once the engine has started."""
        if self.dead_man is not None:
            self.dead_man.start()
        if self._stands_guard:
            self.report()
        if self.watchdog is not None:
            self.watchdog.start()

    async def stop_timer(self) -> None:
        """Switch the venue's timer off, while the venue can still be asked, unless it has something to do."""
        if self.dead_man is not None and self._leaves:
            self.dead_man.leave()
        elif self.dead_man is not None:
            await self.dead_man.stop()

    def leave(self, orders: Iterable[Order]) -> str:
        """Let timer and watchdog do their work after the end: these orders had to go and may still rest.

        Returns:
            Who goes on cancelling them, in words.
        """
        if not self._stands_guard:
            return "nobody goes on cancelling"
        self._leaves = True
        covered = [self._covers(order) for order in orders]
        found = []
        if self.watchdog is not None:
            self.watchdog.hand_over()
            if any(covered) and self.watchdog.is_running:
                found.append(f"the watchdog goes on cancelling, for {LIMIT_NS // (60 * NS_PER_S)} min at most")
        if not all(covered) and self.dead_man is not None and self.dead_man.is_set:
            found.append(f"the venue's timer cancels what rests within {TIMEOUT_S} s")
        return "; ".join(found) or "nobody goes on cancelling"

    async def stop_watchdog(self) -> None:
        """Send the watchdog home, once nothing can leave for the venue any more."""
        if self.watchdog is not None:
            await self.watchdog.stop()

    def close(self) -> None:
        """Send the watchdog home without waiting, unless that was done."""
        if self.watchdog is not None:
            self.watchdog.close()

    def describe(self) -> tuple[str, bool]:
        """Return what becomes of resting orders when this program dies, and whether that is as it should be.

        Nothing for paper, which dies with this program, and for a short command, which leaves none.
        """
        if not self._stands_guard:
            return "", True
        if not self._is_wanted:
            return "our orders stay: dead_man is switched off", True
        if self.watchdog is None:
            return f"venue cancels after {TIMEOUT_S} s", True
        patience = f"{self._settings.watchdog_s:g} s; {_HERE}"
        if self.dead_man is None:
            if not self.watchdog.is_running:
                return "our orders stay: no watchdog answers", False
            return f"watchdog cancels after {patience}", True
        perps = f"perps: venue, {TIMEOUT_S} s"
        if not self.watchdog.is_running:
            return f"{perps}; spot orders stay: no watchdog answers", False
        return f"{perps}; spot: watchdog, {patience}", True

    def report(self) -> None:
        """Say what the watchdog has done since it was last asked."""
        self._system.writer.submit(self._find_notes)

    def _find_notes(self) -> list[Call]:
        """Look in the writer thread."""
        engine, notes = self._system.engine, take_notes(self._log)
        texts = [
            f"while this program was gone or stood still, the watchdog {note.text} ({note.ts})"
            for note in notes
            if note.level != "info"
        ]
        canceled = [note.canceled for note in notes if note.canceled]
        told: list[Call] = [lambda: engine.outside.explain(canceled)] if canceled else []
        return [*told, *(lambda text=text: engine.core.alarm("watchdog_acted", text) for text in texts)]

    def _covers(self, order: Order) -> bool:
        """Return whether an order is one that nobody but the watchdog would cancel; protective stops stay."""
        if order.external or order.held or is_protective(order):
            return False
        instrument = self._system.instruments.get(order.symbol)
        return instrument is None or not self._system.driver.features.has_timer(instrument.kind)

    def _charge(self) -> Mapping[str, Any]:
        choice = self._system.choice
        credentials = credentials_of(choice.entry)
        assert credentials is not None
        passphrase = credentials.passphrase
        return {
            "engine": os.getpid(),
            "patience_s": self._settings.watchdog_s,
            "venue": choice.account.venue,
            "owner": choice.account.key,
            "settings": self._settings.model_dump(mode="json", exclude_none=True),
            "config": str(choice.paths.config.absolute()),
            "state": str(choice.paths.state.absolute()),
            "pid_file": str(self._pid_file.absolute()),
            "log": str(self._log.absolute()),
            "key": credentials.key.reveal(),
            "secret": credentials.secret.reveal(),
            "passphrase": passphrase.reveal() if passphrase is not None else "",
        }

    def _on_timer(self, trouble: str) -> None:
        self._tell(TIMER, trouble)

    def _on_watchdog(self, trouble: str) -> None:
        self._tell(WATCHDOG, trouble)

    def _tell(self, kind: str, trouble: str) -> None:
        if trouble:
            self._system.monitor.raise_anomaly(kind, "", "", "", "", trouble)
        else:
            self._system.monitor.resolve(kind)

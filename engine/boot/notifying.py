"""Notifications of a running system: its news, the targets that hear them, and the end of the program."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from engine.boot.trading import Choice
from engine.io.notify import TargetThread
from engine.io.notify_urls import NotifyTarget, open_targets
from engine.io.secrets import process_environment, process_redactor, take_password
from engine.kernel.anomaly import Severity
from engine.kernel.clock import TimerHandle
from engine.runtime.execution import ExecutionEngine
from engine.runtime.notice_outbox import Outbox
from engine.runtime.notices import Alarms, Notices

LAST_WORDS_S = 3.0
"""How long the end of the program may wait for a message on its way."""


def configured_targets(choice: Choice) -> list[NotifyTarget]:
    """Return the targets of `ctos.yaml` with their addresses.

    Raises:
        ConfigError: An address is missing or not of a known kind.
    """
    written = choice.config.notifications
    if not written:
        return []
    return open_targets(written, choice.paths.config_file, process_environment, take_password(), process_redactor)


PREPARE_S = 10.0
"""How long after the start the library is loaded: neither while the screen fills, nor first when something is wrong."""


class Notifier:
    """Tells the configured targets what happens; does nothing at all when there are none.

    Args:
        engine: The account's engine.
        alarms: Takes what is wrong with the delivery.
        targets: Where news go.
        loop: The event loop; None, on virtual time, tells nobody.
        tells_life: Whether start and end of the engine are news.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        alarms: Alarms,
        targets: Sequence[NotifyTarget],
        loop: asyncio.AbstractEventLoop | None,
        tells_life: bool,
    ) -> None:
        self._engine = engine
        self._tells_life = tells_life
        self._notices = Notices(engine, alarms, process_redactor.clean)
        self._threads = [TargetThread(target, loop) for target in targets] if loop is not None else []
        self._prepare_timer: TimerHandle | None = None
        self._is_told = False
        self._finished = False

    def start(self) -> None:
        """Listen to the engine; to be called before it starts."""
        if self._threads:
            trouble = self._notices.on_trouble
            clock = self._engine.clock
            self._notices.start(
                [Outbox(one.target.name, one.target.least, clock, one.send, trouble) for one in self._threads]
            )

    def started(self) -> None:
        """Tell that the engine runs."""
        self._notices.settle()
        if self._threads:
            self._prepare_timer = self._engine.clock.call_later(PREPARE_S, self._prepare)
        if self._tells_life:
            self._is_told = True
            self.tell("engine started", self._engine.trading.describe())

    def tell(self, title: str, text: str = "", severity: Severity = Severity.INFO) -> None:
        """Tell something that is no event of the engine."""
        self._notices.tell(title, text, severity)

    async def finish(self) -> None:
        """Tell that the engine stops, and wait a moment for what is on its way."""
        if self._is_told:
            self._is_told = False
            self.tell("engine stopped", self._engine.trading.describe())
        self._notices.close()
        idle = asyncio.Event()

        def look() -> None:
            if all(outbox.is_idle for outbox in self._notices.outboxes):
                idle.set()

        for outbox in self._notices.outboxes:
            outbox.on_idle = look
        look()
        try:
            await asyncio.wait_for(idle.wait(), LAST_WORDS_S)
        except TimeoutError:
            self._engine.say(f"the last notifications did not go within {LAST_WORDS_S:.0f} s", "warn")

    def close(self) -> None:
        """Give up what has not gone; nobody is told anything afterwards."""
        if not self._finished:
            self._finished = True
            if self._prepare_timer is not None:
                self._prepare_timer.cancel()
            self._notices.close()
            self._notices.stop()
            for thread in self._threads:
                thread.close()

    def _prepare(self) -> None:
        for thread in self._threads:
            thread.prepare(partial(self._prepared, thread.target.name))

    def _prepared(self, name: str, problem: str) -> None:
        if problem and not self._finished:
            self._notices.on_trouble(name, problem)

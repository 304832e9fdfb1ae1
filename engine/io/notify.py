"""Sends notifications: a thread for each target, so that none waits for another and the engine waits for none.

The library that knows the services is loaded in that thread, with the first message.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, get_ident
from typing import Any

from engine.io.notify_urls import NotifyTarget
from engine.io.secrets import process_redactor
from engine.kernel.anomaly import Severity

_TYPES = {Severity.INFO: "info", Severity.WARN: "warning", Severity.CRIT: "failure"}

Done = Callable[[str], object]
"""Told on the loop why a message did not go, with nothing when it went."""


class TargetThread:
    """Sends to one target, one message after the other.

    Args:
        target: Where to.
        loop: Where outcomes are told.
    """

    def __init__(self, target: NotifyTarget, loop: asyncio.AbstractEventLoop) -> None:
        self.target = target
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], str], Done] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def prepare(self, done: Done) -> None:
        """Load the library and look at the address before anything is to be sent; `done` is told what is wrong."""
        self._do(lambda: target_problem(self.target), done)

    def send(self, title: str, body: str, severity: Severity, done: Done) -> None:
        """Send a message; `done` is called on the loop."""
        self._do(lambda: deliver(self.target, title, body, severity), done)

    def _do(self, work: Callable[[], str], done: Done) -> None:
        if self._thread is None:
            # A daemon: a service that does not answer cannot keep the program from ending.
            self._thread = Thread(target=self._run, name=f"ctos-notify-{self.target.name}", daemon=True)
            self._thread.start()
        self._jobs.put((work, done))

    def close(self) -> None:
        """Let the thread end after what it has begun; nobody waits for it."""
        if self._thread is not None:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            failure = work()
            if self._loop.is_closed():
                return
            try:
                self._loop.call_soon_threadsafe(done, failure)
            except RuntimeError:  # the loop was closed in between: nobody is left to be told
                return


def deliver(target: NotifyTarget, title: str, body: str, severity: Severity) -> str:
    """Send one message and wait for it; return why it failed, nothing when it went. Takes seconds: not for the loop."""
    with _Complaints() as complaints:
        try:
            service = _service(target)
            if service is None:
                return _NOT_COMPLETE.format(scheme=target.scheme)
            went = service.notify(body=body, title=title, notify_type=_TYPES[severity], body_format="text")
        except Exception as error:  # whatever a service's own module raises: it is told, and tried again
            return process_redactor.clean(f"{type(error).__name__}: {error}")[:300]
    return "" if went else complaints.text or "the service refused it"


def target_problem(target: NotifyTarget) -> str:
    """Return what the service's module misses in an address, else nothing. Loads the library: not for the loop."""
    return "" if _service(target) is not None else _NOT_COMPLETE.format(scheme=target.scheme)


_NOT_COMPLETE = "the {scheme}:// address is not complete for this kind of service; see the examples of ctos-tui init"


def _service(target: NotifyTarget) -> Any:
    import apprise

    asset = apprise.AppriseAsset(app_id="CTOS", app_desc="CTOS", app_url="", allow_templates=False)
    return apprise.Apprise.instantiate(target.url.reveal(), asset=asset)


class _Complaints(logging.Handler):
    """Gathers what the library logs in this thread: its only way to tell why a message did not go."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = get_ident()
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """Return the words, without secrets and on one line."""
        return process_redactor.clean(" ".join("; ".join(self._lines).split()))[:300]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if record.thread == self._thread:
            self._lines.append(record.getMessage())

    def __enter__(self) -> _Complaints:
        logger = logging.getLogger("apprise")
        logger.propagate = False
        logger.addHandler(self)
        return self

    def __exit__(self, *exception: object) -> None:
        logging.getLogger("apprise").removeHandler(self)

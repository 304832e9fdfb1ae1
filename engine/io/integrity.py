"""Are the pages of the state database whole? Looked at in a thread of its own, beside the use of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

from engine.io.database import check_pages, open_reader
from engine.kernel.errors import JournalError


class IntegrityCheck:
    """One look at every page of a database, about a second for each gigabyte that the system has at hand.

    Args:
        path: The file; another connection has opened it already.
        on_damage: Called in the check's own thread with what is wrong, unless somebody waits for the verdict then.

    Attributes:
        error: What is wrong with the file, None while that is not known and when it is whole.
    """

    def __init__(self, path: Path, on_damage: Callable[[JournalError], object]) -> None:
        self.error: JournalError | None = None
        self._path = path
        self._on_damage = on_damage
        self._stopped = False
        self._awaited = True
        self._verdict = Lock()
        self._reader = open_reader(path)
        self._thread = Thread(target=self._run, name="ctos-integrity", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Return whether there is no verdict yet."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None) -> None:
        """Wait so long for the verdict, or until it is there.

        Raises:
            JournalError: The file is damaged; the message says what to do.
        """
        with self._verdict:
            self._awaited = True
        self._thread.join(seconds)
        with self._verdict:
            self._awaited = False
            if self.error is not None:
                raise self.error

    def stop(self) -> None:
        """Give it up; harmless when it has ended."""
        self._stopped = True
        if self._thread.is_alive():
            self._reader.interrupt()
            self._thread.join()

    def _run(self) -> None:
        try:
            check_pages(self._reader, self._path)
        except JournalError as error:
            with self._verdict:
                if self._stopped:
                    return
                self.error = error
                awaited = self._awaited
            if not awaited:
                self._on_damage(error)
        finally:
            self._reader.close()

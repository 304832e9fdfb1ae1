"""One process a state directory."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from engine.io.files import PRIVATE_FILE, make_private_dir
from engine.kernel.errors import StateLocked, StorageError

LOCK_NAME = "ctos.lock"


def guard(directory: Path, account: str) -> int | None:
    """Return the process that holds a state directory and has the orders of an account in its care; None without one.

    It only reads the lock file: to try the lock would keep it, for a moment, from a program that starts just then.

    Raises:
        StorageError: The lock file cannot be read.
    """
    path = directory / LOCK_NAME
    try:
        pid, _, guarded = _read(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read the lock file {path}: {error.strerror}") from error
    if not pid.isdecimal() or guarded != account:
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return int(pid)
    return int(pid)


def _read(content: bytes) -> tuple[str, str, str]:
    """Return the process, the one in front of its terminal, and the account whose orders it guards; "" for none."""
    pid, front, guarded, *_ = [*content.decode("utf-8", "replace").split("\n"), "", "", ""]
    return pid, front, guarded


class StateLock:
    """Holds a state directory for this process; the system releases it when the process dies, however it dies.

    Args:
        directory: The state directory, made when it is missing.
        account: Key of the account whose resting orders are in this process's care; nothing where it only looks.

    Raises:
        StateLocked: Another process holds it; the message names the process.
        StorageError: The lock file cannot be made.
    """

    def __init__(self, directory: Path, account: str = "") -> None:
        make_private_dir(directory)
        self._account = account
        self.path = directory / LOCK_NAME
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise StorageError(f"cannot open the lock file {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid, front, _ = _read(os.pread(self._descriptor, 4096, 0))
            holder = f"{pid or 'unknown'} with its terminal in process {front}" if front else pid or "unknown"
            os.close(self._descriptor)
            raise StateLocked(
                f"{directory} is in use by process {holder} (lock file {self.path}); "
                "bring its console here with ctos-tui attach, stop that process, or choose another folder with --config"
            ) from error
        except OSError as error:
            os.close(self._descriptor)
            raise StorageError(f"cannot lock {self.path}: {error.strerror}; keep the state on a local disk") from error
        self.name_front(None)

    def name_front(self, front: int | None) -> None:
        """Write down who holds the directory: this process, and the one in front of its terminal if that is another."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n{front or ''}\n{self._account}".encode(), 0)

    def release(self) -> None:
        """Let the directory go; harmless when it is released already."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

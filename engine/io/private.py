"""Keeping what is ours to ourselves: the state folder from other users, the keys in memory from dumps and debuggers."""

from __future__ import annotations

import os
import resource
import stat
import sys
from pathlib import Path

from engine.kernel.errors import ConfigError

_PR_SET_DUMPABLE = 4


def check_state_folder(folder: Path) -> None:
    """Refuse a state folder, or a file in it, that another user owns or may change.

    What others cannot reach, because the folder is closed to them, may have any mode.

    Raises:
        ConfigError: The message says how to mend it.
    """
    status = folder.stat()
    _check(folder, status)
    if not status.st_mode & 0o077:
        return
    for path in sorted(folder.iterdir()):
        if path.is_symlink() and path.is_file():
            raise ConfigError(f"{path} is a link, and others can enter {folder}; run: chmod 700 {folder}")
        if path.exists():
            _check(path, path.stat())


def _check(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{path} belongs to another user; run: sudo chown $USER {path}")
    if status.st_mode & 0o022:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path} may be changed by others (mode {mode:04o}); run: chmod go-w {path}")


def forbid_dumps() -> str:
    """Let this process leave no core file, and no other process of the same user read its memory.

    Returns:
        What the system refused, nothing when both hold.
    """
    refused = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        refused.append(f"a crash may leave a core file with keys in it: {error}")
    if sys.platform == "linux":
        import ctypes

        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
            words = os.strerror(ctypes.get_errno())
            refused.append(f"other programs of this user may read the keys in memory: {words}")
    return "; ".join(refused)

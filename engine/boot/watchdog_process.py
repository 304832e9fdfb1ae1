"""Starts the watchdog process, apart from everything that is this program's: session, descriptors, variables."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from pathlib import Path

from engine.io.files import PRIVATE_FILE

PIPE_BYTES = 1 << 20
_PACKAGES = Path(__file__).parents[2]
_KEPT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
"""Variables that it inherits: none that may hold a secret."""


def start_watchdog() -> subprocess.Popen[bytes]:
    """Return the process, with pipes that never block; it waits to be told what it is for.

    Raises:
        OSError: It cannot be started.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.boot.watchdog"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd=_PACKAGES,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    for pipe in (process.stdin, process.stdout):
        os.set_blocking(pipe.fileno(), False)
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(PermissionError):  # this user has many pipes: the usual size holds 1000 orders
            fcntl.fcntl(process.stdin.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process


def put_on_duty(path: Path, pid: int) -> None:
    """Name the process on duty; one that is not named any more, of an engine before this one, has nothing left to do.

    Raises:
        OSError: The file cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.write(descriptor, str(pid).encode())
    finally:
        os.close(descriptor)

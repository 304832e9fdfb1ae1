"""Files that are replaced as a whole: a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.kernel.errors import StorageError

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


def make_private_dir(path: Path) -> None:
    """Create a folder, and its parents, that only the owner can enter.

    Raises:
        StorageError: It cannot be made or written.
    """
    try:
        path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {path}: {error.strerror}; choose another with --config") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"cannot write in {path}: {_why_not(path)}, or choose another folder with --config")


def _why_not(path: Path) -> str:
    """Return why a folder cannot be written, and what to do about it."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return "its disk is mounted read-only; mount it for writing"
    owner = path.stat().st_uid
    if owner != os.geteuid():
        return f"it belongs to user {owner} and this is user {os.geteuid()}; run: sudo chown -R {os.geteuid()} {path}"
    return f"run: chmod u+rwx {path}"


def write_atomic(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace a file: temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        OSError: The disk refused; the old file is untouched.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_dir(path.parent)


def sync_dir(path: Path) -> None:
    """Make renames inside a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_generations(path: Path, generations: int) -> None:
    """Keep the present file as `path.1`, the one before as `path.2`, and so on, `generations` with the present one."""
    if generations < 2 or not path.exists():
        return
    for number in range(generations - 2, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            os.replace(older, path.with_name(f"{path.name}.{number + 1}"))
    newest = path.with_name(f"{path.name}.1")
    newest.unlink(missing_ok=True)
    os.link(path, newest)


def json_bytes(value: object) -> bytes:
    """Return readable JSON with decimals as strings."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def with_checksum(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with a `checksum`: SHA-256 of its compact JSON without that field."""
    digest = hashlib.sha256(msgspec.json.encode(body)).hexdigest()
    return {**body, "checksum": digest}


def read_checked(path: Path) -> dict[str, Any]:
    """Return the body of a file written by `with_checksum`, without the checksum.

    Raises:
        StorageError: The file is missing, is not JSON, or does not match its checksum.
    """
    try:
        body = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise StorageError(f"{path} is not valid JSON: {error}") from error
    checksum = body.pop("checksum", None)
    if with_checksum(body)["checksum"] != checksum:
        raise StorageError(f"{path} does not match its checksum; an older one is beside it ({path.name}.1)")
    return body

"""What the watchdog process did, line by line, for the next start of the engine and for people."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.io.files import PRIVATE_FILE
from engine.io.logs import escape_unseen, iso_time
from engine.kernel.clock import wall_time_ns
from engine.kernel.errors import StorageError


class WatchdogNote(msgspec.Struct, frozen=True):
    """One line; `level` is info, warn or error: what is above info is for the operator's eyes.

    Attributes:
        canceled: Client id of the order that the line says was cancelled, if any.
    """

    ts: str
    level: str
    text: str
    canceled: str = ""


def watchdog_log_path(logs: Path, venue: str, index: int) -> Path:
    """Return where the log of an account's watchdog is."""
    return logs / f"{venue}_Account{index}_watchdog.log"


class WatchdogLog:
    """Appends lines; one that cannot be written is kept for the next try.

    Args:
        path: The file.
        clean: Masks secrets.
    """

    def __init__(self, path: Path, clean: Callable[[str], str]) -> None:
        self._path = path
        self._clean = clean
        self._unwritten = b""
        self._newest = ""

    def write(self, level: str, text: str, canceled: str = "") -> None:
        """Write a line, unless it says the same as the one before."""
        if text == self._newest:
            return
        self._newest = text
        note = msgspec.json.encode(WatchdogNote(iso_time(wall_time_ns()), level, text, canceled)).decode()
        self._unwritten += escape_unseen(self._clean(note)).encode() + b"\n"
        try:
            with open(self._path, "ab", opener=_open_private) as file:
                file.write(self._unwritten)
        except OSError:
            return  # a full disk must not keep it from its work: the line goes with the next one
        self._unwritten = b""


def take_notes(path: Path) -> list[WatchdogNote]:
    """Return what the log says and put it aside as `.1`; nothing when there is none.

    Raises:
        StorageError: It is there and cannot be read or put aside.
    """
    try:
        lines = path.read_bytes().splitlines()
        os.replace(path, path.with_name(f"{path.name}.1"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"the watchdog's log {path} cannot be read: {error.strerror}") from error
    return [_decoded(line) for line in lines]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, PRIVATE_FILE)


def _decoded(line: bytes) -> WatchdogNote:
    try:
        return msgspec.json.decode(line, type=WatchdogNote)
    except msgspec.DecodeError:
        return WatchdogNote("", "warn", line.decode("utf-8", "replace"))

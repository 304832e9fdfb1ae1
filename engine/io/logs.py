"""The operation log and the monitor log of one account: JSON lines, one record a line, secrets masked.

Times are the engine clock's. Lines collect in memory and are appended and flushed to the disk by the writer thread.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec

from engine.io.line_file import DailyRotation, LineFile, SizeRotation
from engine.io.secrets import Redactor
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_MS, NS_PER_S, Clock
from engine.kernel.errors import CtosError

ENGINE = "engine"
MANUAL = "manual"
LEVELS = {"debug": 0, "info": 1, "warn": 2, "error": 3}
MONITOR_LOG_BYTES = 5 << 20
MONITOR_LOG_FILES = 5
OPERATION_LOG_DAYS = 90

_FIELDS = frozenset({"src", "actor", "symbol", "cid", "det", "latency_ms"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_UNSEEN = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that a terminal or reader obeys: JSON writes those below 32 as escapes already."""

_encode = msgspec.json.Encoder(enc_hook=str).encode

Processor = Callable[[Any, str, MutableMapping[str, Any]], Any]


def iso_time(ts_ns: int) -> str:
    """Return a time as UTC ISO-8601 with milliseconds: `2024-08-08T00:00:00.000Z`."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest // NS_PER_MS:03d}Z"


def escape_unseen(line: str) -> str:
    """Return a line of JSON with what a terminal obeys or hides as escapes."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


class AccountLogs:
    """Writes the logs of one account, a pair of files for each instance.

    Args:
        folder: Where the files are.
        exchange: Venue of the account.
        account_id: Position of the account.
        clock: Gives the times.
        writer: Writes the lines.
        redactor: Masks secrets.
        level: Least level that the monitor log keeps.
        on_error: Called once when the files cannot be written; trading is not affected.
    """

    def __init__(
        self,
        folder: Path,
        exchange: str,
        account_id: int,
        clock: Clock,
        writer: WriterThread,
        redactor: Redactor,
        level: str = "info",
        on_error: Callable[[CtosError], object] | None = None,
    ) -> None:
        self._stem = folder / f"{exchange}_Account{account_id}"
        self._account = f"{exchange}:{account_id}"
        self._clock = clock
        self._writer = writer
        self._redactor = redactor
        self._least = LEVELS[level]
        self._on_error = on_error
        self._files: list[LineFile] = []
        self._operations: dict[str, Any] = {}
        self._monitors: dict[str, Any] = {}
        self._seq = 0

    def operation(self, op: str, **fields: Any) -> None:
        """Write one operation.

        Args:
            op: Its name, as `OrderPlaced`.
            fields: `instance` chooses the file; `src`, `actor`, `symbol`, `cid`, `det` and `latency_ms` stand in the
                record; anything else stands inside `det`.
        """
        instance = str(fields.pop("instance", "") or ENGINE)
        logger = self._operations.get(instance)
        if logger is None:
            file = self._open(instance, "operation_log", DailyRotation(OPERATION_LOG_DAYS))
            logger = self._operations[instance] = self._logger(file, self._operation_record, instance=instance)
        logger.info(op, **fields)

    def line(self, level: str, source: str, text: str, **fields: Any) -> None:
        """Write one line of the monitor log of an instance or engine part.

        Args:
            level: debug, info, warn or error.
            source: The instance, or the part of the engine.
            text: The words.
            fields: More values.
        """
        if LEVELS[level] < self._least:
            return
        logger = self._monitors.get(source)
        if logger is None:
            file = self._open(source, "system_monitor", SizeRotation(MONITOR_LOG_BYTES, MONITOR_LOG_FILES))
            logger = self._monitors[source] = self._logger(file, self._monitor_record, level=level, src=source)
        logger.info(text, level=level, **fields)

    def flush(self) -> None:
        """Hand all collected lines to the writer."""
        for file in self._files:
            file.flush()

    def close(self) -> None:
        """Write what is left; nothing may be logged afterwards."""
        for file in self._files:
            file.close()

    def _open(self, instance: str, kind: str, rotation: DailyRotation | SizeRotation) -> LineFile:
        name = _UNSAFE.sub("_", instance)[:64]
        path = self._stem.with_name(f"{self._stem.name}_{name}_{kind}.log")
        file = LineFile(path, rotation, self._clock, self._writer, self._on_error)
        self._files.append(file)
        return file

    def _logger(self, file: LineFile, processor: Processor, **bound: Any) -> Any:
        import structlog  # slow to import, and nothing is logged before the console shows its first frame

        return structlog.wrap_logger(
            file,
            processors=[processor, self._render],
            wrapper_class=structlog.BoundLogger,
            context_class=dict,
            cache_logger_on_first_use=True,
            **bound,
        )

    def _operation_record(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self._seq += 1
        op, instance, det = event.pop("event"), event.pop("instance"), event.get("det")
        detail = {key: value for key, value in event.items() if key not in _FIELDS and value is not None}
        if det:
            detail["text"] = det
        actor = "engine" if instance == ENGINE else "human" if instance == MANUAL else "strategy"
        return {
            "ts": iso_time(self._clock.now_ns()),
            "seq": self._seq,
            "op": op,
            "src": event.get("src", instance),
            "actor": event.get("actor", actor),
            "account": self._account,
            "symbol": event.get("symbol", ""),
            "cid": event.get("cid", ""),
            "det": detail,
            "latency_ms": event.get("latency_ms"),
        }

    def _monitor_record(self, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        text = event.pop("event")
        head = {"ts": iso_time(self._clock.now_ns()), "level": event.pop("level"), "src": event.pop("src")}
        return {**head, "account": self._account, "text": text, **event}

    def _render(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        line = self._redactor.clean(_encode(event).decode("utf-8", "replace"))
        return escape_unseen(line)

"""Recordings of the market: a folder of Parquet parts with `instruments.yaml` beside them.

Each part holds about a minute of events in the order in which they were received, and begins with the whole book of
every symbol, so that it can be read alone. A part appears under its name only when it is complete on the disk; after a
crash at most the last minute is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.io.files import sync_dir
from engine.io.instruments_file import FILE_NAME, read_instruments, write_instruments
from engine.io.market_rows import CHECKPOINT, KINDS, TimedEvent, from_frame, to_frame
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S, Clock, TimerHandle
from engine.kernel.errors import ConfigError, CtosError, StorageError
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument
from engine.kernel.market import BookInvalid, BookSynced, BookUpdate, MarketEvent
from engine.kernel.orderbook import OrderBook

if TYPE_CHECKING:
    import polars as pl

PART_SECONDS = 60
PART_EVENTS = 250_000
CHUNK_SECONDS = 1.0
CHUNK_EVENTS = 5_000
"""So many events are turned into a table at a time; this bounds how long the writer keeps the interpreter busy."""
READ_ROWS = 10_000
_PART = re.compile(r"^part-\d{6}-\d{19}\.parquet$")


@dataclass(slots=True, frozen=True)
class RecordProgress:
    """How far a recording is: events taken, parts and bytes on the disk, ns since the first event."""

    events: int
    parts: int
    size: int
    elapsed_ns: int


class MarketRecorder:
    """Writes every market event of the bus to a folder.

    Args:
        folder: Where to; it must not hold a recording yet.
        bus: What is recorded.
        clock: Gives the receive times.
        writer: Does the disk work; one of its own, so that an order's journal entry never waits for a recording.
        instruments: What is traded, for `instruments.yaml`.
        book_of: Returns the live book of a symbol.
        on_progress: Called after each second's work.
        on_error: Called once when the disk refuses; recording has ended then.

    Raises:
        ConfigError: The folder holds a recording, or cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        bus: EventBus,
        clock: Clock,
        writer: WriterThread,
        instruments: Iterable[Instrument],
        book_of: Callable[[str], OrderBook],
        on_progress: Callable[[RecordProgress], object],
        on_error: Callable[[CtosError], object],
    ) -> None:
        _make_empty(folder)
        self._clock = clock
        self._writer = writer
        self._book_of = book_of
        self._on_progress = on_progress
        self._on_error = on_error
        self._parts = _PartWriter(folder)
        self._rows: list[tuple[int, str | None, MarketEvent]] = []
        self._books: dict[str, None] = {}
        self._events = 0
        self._first_ns = 0
        self._part_start_ns = 0
        self._part_events = 0
        self._closed = False
        self._timer: TimerHandle | None = None
        listed = list(instruments)
        self._writer.submit(lambda: write_instruments(folder / FILE_NAME, listed), on_error=self._fail)
        self._unsubscribe = [bus.subscribe(kind, self._take) for kind in KINDS.values()]
        self._tick()

    def close(self) -> None:
        """End the recording and queue what is left for the disk; it is there when the writer has closed."""
        if not self._closed:
            self._stop()
            self._flush(end_part=True)

    def _stop(self) -> None:
        self._closed = True
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        if self._timer is not None:
            self._timer.cancel()

    def _take(self, event: MarketEvent) -> None:
        now_ns = self._clock.now_ns()
        if self._part_events >= PART_EVENTS or now_ns - self._part_start_ns >= PART_SECONDS * NS_PER_S:
            self._begin_part(now_ns)
        if isinstance(event, BookUpdate) and event.symbol not in self._books:
            self._books[event.symbol] = None
            if not event.snapshot:
                self._checkpoint(event.symbol, now_ns)
        self._rows.append((now_ns, None, event))
        self._events += 1
        self._part_events += 1
        if len(self._rows) >= CHUNK_EVENTS:
            self._flush(end_part=False)

    def _begin_part(self, now_ns: int) -> None:
        self._flush(end_part=True)
        self._first_ns = self._first_ns or now_ns
        self._part_start_ns, self._part_events = now_ns, 0
        for symbol in self._books:
            self._checkpoint(symbol, now_ns)

    def _checkpoint(self, symbol: str, now_ns: int) -> None:
        book = self._book_of(symbol)
        if book.valid:
            whole = BookUpdate(symbol, book.ts, list(book.bids.items()), list(book.asks.items()), snapshot=True)
            self._rows.append((now_ns, CHECKPOINT, whole))

    def _tick(self) -> None:
        self._timer = self._clock.call_later(CHUNK_SECONDS, self._tick)
        self._flush(end_part=False)

    def _flush(self, end_part: bool) -> None:
        rows, self._rows = self._rows, []
        if not rows and not end_part:
            return

        def work() -> None:
            if rows:
                self._parts.add(to_frame(rows))
            if end_part:
                self._parts.finish()

        self._writer.submit(work, on_done=self._report, on_error=self._fail)

    def _report(self) -> None:
        elapsed = self._clock.now_ns() - self._first_ns if self._first_ns else 0
        self._on_progress(RecordProgress(self._events, self._parts.count, self._parts.size, elapsed))

    def _fail(self, error: CtosError) -> None:
        if not self._closed:
            self._stop()
            self._on_error(error)


class _PartWriter:
    """Gathers tables into parts; used in the writer thread only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames: list[pl.DataFrame] = []
        self.count = 0
        self.size = 0

    def add(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)

    def finish(self) -> None:
        """Write the part that was gathered.

        Raises:
            StorageError: The disk refused.
        """
        import polars as pl

        if not self._frames:
            return
        frame = pl.concat(self._frames, how="diagonal")
        self._frames = []
        path = self._folder / f"part-{self.count + 1:06d}-{frame['recv_ns'][0]:019d}.parquet"
        unfinished = path.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as file:
                frame.write_parquet(file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
            sync_dir(self._folder)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StorageError(f"cannot write the recording {path}: {error}; free space, then record anew") from error
        self.count += 1
        self.size += path.stat().st_size


class MarketReader:
    """Reads a recording made by `MarketRecorder`, a part at a time.

    Args:
        path: The folder, or one part of it.

    Attributes:
        parts: The files, oldest first.
        unfinished: Files that a crash left half written; they are not read.

    Raises:
        ConfigError: There is no recording, or a part of it is not a whole Parquet file.
    """

    def __init__(self, path: Path) -> None:
        self.folder = path if path.is_dir() else path.parent
        found = sorted(self.folder.glob("part-*.parquet")) if path.is_dir() else [path]
        self.parts = [part for part in found if _PART.match(part.name)]
        self.unfinished = sorted(self.folder.glob("part-*.unfinished"))
        if not path.exists() or not self.parts:
            raise ConfigError(
                f"no recording in {path}: a folder with part-*.parquet files is wanted; make one with record"
            )
        for part in self.parts:
            _check_whole(part)

    def instruments(self) -> list[Instrument]:
        """Return what was traded.

        Raises:
            ConfigError: `instruments.yaml` is missing or wrong.
        """
        return [entry.instrument for entry in read_instruments(self.folder / FILE_NAME)]

    def batches(self) -> Iterator[list[TimedEvent]]:
        """Yield the events in order, some thousands at a time; memory is bounded by one part.

        Raises:
            StorageError: A part cannot be read to its end.
        """
        followed: set[str] = set()
        previous: int | None = None
        for part in self.parts:
            number = _number(part)
            if previous is not None and number != previous + 1:
                followed.clear()
            previous = number
            for rows in _read_part(part):
                yield list(_without_checkpoints(rows, followed))


def _without_checkpoints(rows: list[tuple[int, str, MarketEvent]], followed: set[str]) -> Iterator[TimedEvent]:
    """Yield events; a checkpoint only for a book that is not followed, as that book coming into step."""
    for recv_ns, kind, event in rows:
        if kind == CHECKPOINT and isinstance(event, BookUpdate):
            if event.symbol in followed:
                continue
            yield recv_ns, BookSynced(event.symbol, event.ts)
        if isinstance(event, BookUpdate) and event.snapshot:
            followed.add(event.symbol)
        elif isinstance(event, BookInvalid):
            followed.discard(event.symbol)
        yield recv_ns, event


def _read_part(path: Path) -> Iterator[list[tuple[int, str, MarketEvent]]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
        for start in range(0, frame.height, READ_ROWS):
            yield from_frame(frame.slice(start, READ_ROWS))
    except (OSError, pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as error:
        raise StorageError(f"cannot read the recording {path}: {_first_line(error)}; {_REMEDY}") from error


_REMEDY = "restore the file from a copy, or delete it to replay the other parts"


def _check_whole(path: Path) -> None:
    """Read a part's footer, which is written last, so that damage is told before the replay begins."""
    import polars as pl

    try:
        pl.read_parquet_schema(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ConfigError(f"{path} is not a whole Parquet file: {_first_line(error)}; {_REMEDY}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _number(part: Path) -> int:
    return int(part.name.split("-")[1])


def _make_empty(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.glob("part-*"))
    except OSError as error:
        raise ConfigError(f"cannot record to {folder}: {error.strerror}; name a folder that can be made") from error
    if taken:
        raise ConfigError(f"{folder} holds a recording already; name another folder, or delete this one")

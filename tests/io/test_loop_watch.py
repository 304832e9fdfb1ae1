"""P15: a held event loop is told with the line that held it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import engine.io.loop_watch as loop_watch
from engine.io.loop_watch import IDLE, UNKNOWN, LoopWatch, place_of
from engine.io.writer import WriterThread
from engine.kernel.errors import CtosError, StorageError

ROOT = Path(__file__).resolve().parents[2]


def hold_the_loop(seconds: float) -> None:
    time.sleep(seconds)


HELD_AT = hold_the_loop.__code__.co_firstlineno + 1


async def watched(path: Path, hold_s: float) -> tuple[list[tuple[float, str]], list[CtosError], float]:
    told: list[tuple[float, str]] = []
    errors: list[CtosError] = []
    news = asyncio.Event()

    def on_late(late_s: float, place: str) -> None:
        told.append((late_s, place))
        news.set()

    loop = asyncio.get_running_loop()
    writer = WriterThread(loop, errors.append)
    watch = LoopWatch(path, writer, on_late, errors.append)
    watch.start(loop)
    await asyncio.to_thread(writer.wait)
    loop.call_later(0.3, hold_the_loop, hold_s)
    await asyncio.wait_for(news.wait(), 10)
    watch.stop()
    writer.close()
    return told, errors, watch.largest_s


async def test_p15_a_held_loop_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "held.log"
    told, errors, largest_s = await watched(path, 1.6)
    ((late_s, place),) = told
    assert place == f"in hold_the_loop, {__file__}:{HELD_AT}"
    assert 1.0 < late_s < 5
    assert largest_s == late_s and not errors


async def test_stacks_of_an_earlier_hold_are_not_taken_for_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "held.log"
    old = f"Thread {threading.get_ident():#x} (most recent call first):"
    path.write_text(f'Timeout (0:00:01)!\n{old}\n  File "/of/an/earlier/run.py", line 1 in run\n')
    monkeypatch.setattr(loop_watch, "DUMP_AFTER_S", 1000)
    told, _, _ = await watched(path, 1.6)
    assert [place for _, place in told] == [UNKNOWN]


async def test_without_a_file_the_delay_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "held.log").symlink_to(tmp_path / "elsewhere")
    told, errors, _ = await watched(tmp_path / "held.log", 1.6)
    assert [place for _, place in told] == [UNKNOWN]
    assert all(isinstance(error, StorageError) for error in errors) and errors
    assert not (tmp_path / "elsewhere").exists()


def test_the_newest_stack_of_the_loops_thread_counts() -> None:
    library = os.__file__
    dump = f"""Timeout (0:00:01)!
Thread 0x00000000000000aa (most recent call first):
  File "/srv/ann/old.py", line 1 in old

Timeout (0:00:01)!
Thread 0x00000000000000bb (most recent call first):
  File "/srv/ann/other.py", line 2 in other

Thread 0x00000000000000aa (most recent call first):
  File "{library}", line 300 in walk
  File "/srv/ann/strategies/mine.py", line 12 in on_tick
  File "/srv/ann/engine.py", line 5 in run
"""
    assert place_of(dump, 0xAA) == f"in on_tick, /srv/ann/strategies/mine.py:12 (in walk, {library}:300)"
    assert place_of(dump, 0xCC) == UNKNOWN
    assert place_of("", 0xAA) == UNKNOWN


def test_a_process_that_was_stopped_does_not_blame_its_code(tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from engine.io.loop_watch import LoopWatch
from engine.io.writer import WriterThread
async def main():
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    writer = WriterThread(loop, print)
    watch = LoopWatch(Path({str(tmp_path / "held.log")!r}), writer, lambda s, place: (print(place), done.set()), print)
    watch.start(loop)
    await asyncio.to_thread(writer.wait)
    print("ready", flush=True)
    await done.wait()
    watch.stop()
    writer.close()
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        timer = threading.Timer(1.6, os.kill, (process.pid, signal.SIGCONT))
        timer.start()
        out, _ = process.communicate(timeout=20)
        timer.join()
    assert out.strip() in (IDLE, UNKNOWN)

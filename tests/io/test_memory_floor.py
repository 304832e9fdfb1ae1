"""A machine that runs out of memory is noticed before it ends the program."""

from __future__ import annotations

from pathlib import Path

from engine.io.memory_floor import MemoryFloor, available_bytes
from engine.io.writer import WriterThread
from engine.kernel.clock import VirtualClock


def write(path: Path, megabytes: int) -> None:
    path.write_text(f"MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:   {megabytes << 10} kB\n")


def test_too_little_is_told_once_and_enough_again_too(tmp_path: Path) -> None:
    path, told = tmp_path / "meminfo", []
    clock, writer = VirtualClock(), WriterThread(None, lambda error: None)
    write(path, 4000)
    floor = MemoryFloor(clock, writer, told.append, path)
    floor.start()
    clock.advance(60)
    assert told == []
    write(path, 60)
    clock.advance(20)
    assert told == ["only 60 MB of memory are left on this machine; end other programs"]
    write(path, 300)
    clock.advance(30)
    assert told[1:] == [""]
    floor.stop()
    write(path, 1)
    clock.advance(60)
    assert len(told) == 2
    writer.close()


def test_a_system_that_does_not_tell_is_not_watched(tmp_path: Path) -> None:
    clock, writer = VirtualClock(), WriterThread(None, lambda error: None)
    MemoryFloor(clock, writer, lambda left: None, tmp_path / "none").start()
    clock.advance(60)
    assert available_bytes("nothing of the kind") is None
    writer.close()

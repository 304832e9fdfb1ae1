"""Disks that are full, fail, are slow or may not be written: no order without its record, and cancels still work."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def may(*command: str) -> bool:
    """Return whether this host lets us do something."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not may("unshare", "-m", "true"), reason="mounting is not permitted here")
needs_strace = pytest.mark.skipif(
    not may("strace", "-qq", "-o", "/dev/null", "true"), reason="strace does not work here"
)


class Child:
    """A run of `disk_child` on its way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, home: Path, what: str, before: str = "") -> Child:
        """Start a run; `before` is done by a shell first, in mounts of its own."""
        run = [sys.executable, "-m", "tests.storage.disk_child", str(home), what]
        if before:
            run = ["unshare", "-m", "sh", "-c", f'{before} && exec "$@"', "sh", *run]
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*run, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT))

    async def ready(self) -> bool:
        """Return whether it came to say that it is ready."""
        assert self.process.stdout is not None
        return (await self.process.stdout.readline()) == b"ready\n"

    async def finish(self) -> dict[str, Any]:
        """Let it go on and return what it tells."""
        out, err = await asyncio.wait_for(self.process.communicate(b"go\n"), 60)
        assert self.process.returncode == 0, err.decode()
        told: dict[str, Any] = json.loads(out)
        return told


async def inject(pid: int, fault: str) -> asyncio.subprocess.Process:
    """Have every flush to the disk of a process meet a fault from now on."""
    calls = "fsync,fdatasync"
    strace = await asyncio.create_subprocess_exec(
        "strace", "-f", "-o", "/dev/null", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}",
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert strace.stderr is not None
    line = await asyncio.wait_for(strace.stderr.readline(), 10)
    assert b"attached" in line, line
    return strace


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    return tmp_path


@needs_mounts
@pytest.mark.parametrize("size_kb", [*range(640, 1400, 76)])
async def test_d01_a_full_disk_at_any_write_closes_the_gate_and_lets_cancels_through(home: Path, size_kb: int) -> None:
    mount = f"mount -t tmpfs -o size={size_kb}k,mode=700 tmpfs {home / 'state'}"
    child = await Child.start(home, "full", mount)
    if not await child.ready():
        _, err = await child.process.communicate()
        assert (size_kb < 800 and b"disk is full" in err) or b"No space" in err, err.decode()
        return
    told = await child.finish()
    assert told["mode"] == "halted" and told["refused"] == "TradingHalted" and "journal" in told["alarms"]
    assert told["gone"], "what rested is cancelled although nothing can be written"
    assert told["not_in_the_journal"] == [] and told["placed"] > 2
    assert not told["ballast"], "the reserve is given up"
    assert told["kept_mode"] == "halted" or told["kill_file"], "the halt outlives the program"


@needs_strace
async def test_d02_a_disk_that_fails_to_flush_closes_the_gate_and_nothing_counts_as_written(home: Path) -> None:
    child = await Child.start(home, "full")
    assert await child.ready()
    strace = await inject(child.process.pid, "error=EIO")
    told = await child.finish()
    await strace.wait()
    assert told["mode"] == "halted" and told["refused"] == "TradingHalted" and "journal" in told["alarms"]
    assert "disk reports an error" in told["failed"]
    assert told["gone"] and told["not_in_the_journal"] == []


@needs_strace
async def test_d05_a_disk_that_takes_three_seconds_refuses_the_order_and_the_loop_goes_on(home: Path) -> None:
    child = await Child.start(home, "slow")
    assert await child.ready()
    strace = await inject(child.process.pid, "delay_exit=3000000")
    told = await child.finish()
    await strace.wait()
    assert told["state"] == "never_sent" and not told["placed"], "the deadline of two seconds refuses it"
    assert told["gap_s"] < 1.0, "the loop does not wait for the disk"


def run_program(home: Path, before: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m ctos_tui run --config {home} --market synthetic:3 --for 1s"
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{before} && exec {program}"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip


@needs_mounts
@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("mount -t tmpfs -o mode=700 tmpfs {state} && mount -o remount,ro {state}", "mounted read-only"),
        ("mount --bind {state} {state} && mount -o remount,ro,bind {state}", "mounted read-only"),
    ],
    ids=["read-only disk", "read-only folder"],
)
def test_d06_a_state_folder_that_cannot_be_written_is_named_at_the_start(home: Path, before: str, says: str) -> None:
    done = run_program(home, before.format(state=home / "state"))
    assert done.returncode in (1, 2) and done.stdout == "", done
    assert len(done.stderr.strip().splitlines()) == 1 and says in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or not may("setpriv", "--version"), reason="only root can give files away")
def test_d06_a_state_folder_of_somebody_else_is_named_at_the_start(home: Path) -> None:
    (home / "state").chmod(0o700)
    os.chown(home / "state", 12345, 12345)
    caps = "-dac_override,-dac_read_search"
    done = subprocess.run(
        ["setpriv", f"--bounding-set={caps}", f"--inh-caps={caps}", sys.executable, "-m", "ctos_tui", "run",
         "--config", str(home), "--market", "synthetic:3", "--for", "1s"],
        capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2) and done.stdout == "", done
    assert (len(done.stderr.strip().splitlines()) == 1 and "chmod" in done.stderr) or "cannot" in done.stderr

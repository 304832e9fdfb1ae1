"""The state folder is nobody else's, and keys in memory are in no dump."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from engine.boot.options import SystemOptions
from engine.boot.system import build_system
from engine.io.private import check_state_folder
from engine.kernel.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_g05_x02_a_state_folder_that_others_may_change_is_refused_with_the_command(tmp_path: Path, mode: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(ConfigError, match=rf"{state} may be changed by others \(mode 0{mode:o}\); run: chmod go-w"):
        build_system(SystemOptions(config=str(tmp_path)), None)
    state.chmod(0o700)
    build_system(SystemOptions(config=str(tmp_path)), None).close()


def test_g05_x02_files_of_an_open_state_folder_must_be_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "ctos.db"
    file.touch()
    file.chmod(0o666)
    tmp_path.chmod(0o700)
    check_state_folder(tmp_path)
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match=rf"{file} may be changed by others \(mode 0666\); run: chmod go-w {file}"):
        check_state_folder(tmp_path)
    file.chmod(0o644)
    check_state_folder(tmp_path)
    (tmp_path / "KILL").symlink_to(file)
    with pytest.raises(ConfigError, match="KILL is a link"):
        check_state_folder(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_g05_x02_a_state_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to another user; run: sudo chown"):
        check_state_folder(tmp_path)


_DUMPING = """
import ctypes, os, resource
from engine.io.private import forbid_dumps
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1
assert forbid_dumps() == ""
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
os.abort()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux'")
def test_x01_a_crash_leaves_no_core_file(tmp_path: Path) -> None:
    def allow_cores() -> None:
        hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    done = subprocess.run(
        [sys.executable, "-c", _DUMPING],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=allow_cores,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -6, done.stderr
    assert list(tmp_path.iterdir()) == []

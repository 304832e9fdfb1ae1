"""What every test stands on: a scrubbed environment, steady property tests, the shared recordings."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "tests" / "benchmarks"

settings.register_profile(
    "ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False, max_examples=2000)

# Read by our program or by the libraries under it; a test that needs one sets it itself.
_UNWANTED_PREFIXES = ("CTOS_", "TEXTUAL_")
_UNWANTED = ("NO_COLOR", "FORCE_COLOR", "COLORFGBG", "COLUMNS", "LINES", "TMUX", "SSH_CONNECTION", "SSH_TTY")
_OF_THE_TESTS = ("TEXTUAL_SNAPSHOT_TEMPDIR",)
_WANTED = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def pytest_configure(config: pytest.Config) -> None:
    """Scrubs the environment before any module of ours, or Textual, reads it at import."""
    for name in list(os.environ):
        if (name.startswith(_UNWANTED_PREFIXES) or name in _UNWANTED) and name not in _OF_THE_TESTS:
            del os.environ[name]
    os.environ.update(_WANTED)
    time.tzset()
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves the benchmarks out unless the command line names them."""
    if collection_path != BENCHMARKS:
        return None
    named = any("benchmarks" in Path(argument.split("::")[0]).parts for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session", autouse=True)
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Points the platform's user folders at an empty place, so no operator's file is read or written."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        yield home


@pytest.fixture(autouse=True)
def no_alarm_left() -> Iterator[None]:
    """Takes back the alarm that ends a program which does not end by itself: here the process goes on."""
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of shared recordings and specifications beside the repository."""
    shared = ROOT.parent / "shared"
    if not shared.is_dir():
        pytest.skip(f"no shared recordings at {shared}")
    return shared

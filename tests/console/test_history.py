from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctos_tui.command.history import MAX_LINES, History, is_storable, load, save
from engine.io.writer import WriterThread
from engine.kernel.errors import CtosError


def writer(errors: list[CtosError] | None = None) -> WriterThread:
    return WriterThread(None, (errors if errors is not None else []).append)


def test_what_was_entered_comes_back_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "prompt_history"
    history, message = load(path)
    assert (history.lines, message) == ([], "")
    for line in ("buy 1 btc @ best", "  x all  ", "x all", "go eth"):
        history.add(line)
    save(history, path, writer())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again, message = load(path)
    assert again.lines == ["buy 1 btc @ best", "x all", "go eth"] and message == ""


def test_a_file_that_others_may_read_is_made_private_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "prompt_history"
    path.write_text("go btc\n")
    path.chmod(0o644)
    history, _ = load(path)
    history.add("go eth")
    save(history, path, writer())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "go btc\ngo eth\n"


@pytest.mark.parametrize(
    "line",
    [
        "rearm main my password is hunter2",
        "set g1 api_key=abc",
        "set g1 token=abc",
        "account aB3dE5gH7jK9mN1pQ3sT5vX7zA9cE1gI",
        "go btc\x1b[31m",
        "",
        "x" * 500,
    ],
)
def test_secrets_and_rubbish_are_never_kept(line: str) -> None:
    history = History()
    assert not history.add(line)
    assert history.lines == []


def test_the_history_is_bounded() -> None:
    history = History()
    for number in range(MAX_LINES + 50):
        history.add(f"go c{number}")
    assert len(history.lines) == MAX_LINES
    assert history.lines[-1] == f"go c{MAX_LINES + 49}"


def test_walking_finds_lines_that_begin_with_what_was_typed() -> None:
    history = History(["buy 1 @ best", "go eth", "buy 2 @ best", "x all"])
    assert history.older("buy") == "buy 2 @ best"
    assert history.older("buy 2 @ best") == "buy 1 @ best"
    assert history.older("buy 1 @ best") is None
    assert history.newer("buy 1 @ best") == "buy 2 @ best"
    assert history.newer("buy 2 @ best") == "buy"
    assert history.newer("buy") is None
    history.reset()
    assert history.older("") == "x all"
    history.add("go sol")
    assert history.older("") == "go sol"


@pytest.mark.parametrize(
    "content",
    [b"go btc\n\xff\xfe\x00garbage\ngo eth\n", b"go btc\n\x1b[2J\ngo eth", b"go btc\n" + b"x" * 9000 + b"\ngo eth\n"],
)
def test_a_broken_file_costs_one_message_and_keeps_what_is_good(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prompt_history"
    path.write_bytes(content)
    history, message = load(path)
    assert history.lines[0] == "go btc" and history.lines[-1] == "go eth"
    assert "left out" in message and "\n" not in message


def test_a_file_that_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    history, message = load(tmp_path)
    assert history.lines == [] and "cannot be read" in message
    errors: list[CtosError] = []
    save(History(["go btc"]), tmp_path / "missing" / "prompt_history", writer(errors))
    assert len(errors) == 1


@given(st.binary(max_size=300))
def test_any_file_loads(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompt_history"
        path.write_bytes(content)
        history, message = load(path)
        assert all(is_storable(line) for line in history.lines)
        assert message.count("\n") == 0

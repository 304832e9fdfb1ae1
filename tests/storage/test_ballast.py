"""The reserve on the disk: what cannot be given up is said, and raises nothing in the writer thread."""

from __future__ import annotations

from pathlib import Path

from engine.io.space import Ballast


def test_a_reserve_that_the_disk_does_not_let_go_gives_no_room(tmp_path: Path):
    ballast = Ballast(tmp_path, 4096)
    file = tmp_path / "ballast"
    assert file.stat().st_size == 4096
    file.unlink()
    file.mkdir()
    assert ballast.give_up() is False
    file.rmdir()
    assert ballast.give_up() is False
    file.touch()
    assert ballast.give_up() is True and not file.exists()

"""What a state database that takes the place of a damaged one knows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from engine.io.database import open_database
from engine.io.recovery import begin_anew


def test_no_client_id_of_the_damaged_file_is_given_out_again(tmp_path: Path) -> None:
    path = tmp_path / "ctos.db"
    kept = {"installation": b"q7", "client_sequence:okx:main": b"41"}
    with closing(open_database(path)) as damaged:
        for key, value in kept.items():
            damaged.execute("INSERT INTO settings (key, value) VALUES (?, ?)", (key, value))
        damaged.commit()

    done = begin_anew(path, "20260101")

    with closing(open_database(path)) as fresh:
        found = dict(fresh.execute("SELECT key, value FROM settings").fetchall())
    assert (done.carried, done.unreadable) == (2, ())
    assert found["installation"] == kept["installation"]
    assert int(found["client_sequence:okx:main"]) >= 1_000_000

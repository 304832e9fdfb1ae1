"""Mutants stay what they were written as: their texts are there, once, and the bug compiles."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.mutant import Mutant, TextChanged
from tests.mutants.mutants import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_the_bug_fits_into_its_file(mutant: Mutant) -> None:
    text = mutant.text(ROOT)
    assert text != (ROOT / mutant.path).read_text("utf-8")
    compile(text, mutant.path, "exec")
    assert mutant.loses
    for test in mutant.tests:
        path, *_, name = test.split("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_there_are_enough_and_each_has_its_own_name() -> None:
    assert len({mutant.id for mutant in MUTANTS}) == len(MUTANTS)
    assert sum(not mutant.tests for mutant in MUTANTS) >= 40  # found by searching, without knowing what to look for


def test_a_text_that_is_gone_or_there_twice_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one = 1\none = 1\n")
    for old in ("one = 1", "two = 2"):
        with pytest.raises(TextChanged, match=r"a\.py has [02] times"):
            Mutant("m", "", "a.py", ((old, "x"),)).text(tmp_path)

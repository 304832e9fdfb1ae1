"""The fault matrix and the tests that carry its ids in their names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
MATRIX = Path(__file__).with_name("matrix.yaml")

_ID = re.compile(r"_([necpdosg]\d\d)(?=_|$)")


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: its group, id, title, and the part of the system it still waits for, if any."""

    group: str
    id: str
    title: str
    needs: str = ""


class CollectionError(Exception):
    """The suite could not be collected whole; the text is pytest's."""


def load(path: Path = MATRIX) -> list[Row]:
    """Rows in the order of the file."""
    rows = []
    for group, entries in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for fault, entry in entries.items():
            fields = entry if isinstance(entry, dict) else {"title": entry}
            rows.append(Row(group, fault, **fields))
    return rows


def ids_of(test: str) -> list[str]:
    """Ids that the name of a test carries; `test` is a pytest node id, parameters and path do not count.

    >>> ids_of("tests/a/test_n01_x.py::test_n02_n03_answer_lost[_e01]")
    ['N02', 'N03']
    """
    function = test.split("[")[0].rsplit("::", 1)[-1]
    return [found.upper() for found in _ID.findall(function)]


def collect() -> list[str]:
    """Node ids of the whole suite without parameters, each once, in the order pytest runs them.

    Raises:
        CollectionError: a test module does not import.
    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        raise CollectionError(f"the suite cannot be collected:\n{found.stdout[-4000:]}{found.stderr[-4000:]}")
    lines = (line.split("[")[0] for line in found.stdout.splitlines() if "::" in line)
    return list(dict.fromkeys(lines))


def by_id(tests: Iterable[str]) -> dict[str, list[str]]:
    """Tests of each id that some name carries, known to the matrix or not."""
    found: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        for fault in ids_of(test):
            found[fault].append(test)
    return found


def unknown(rows: Iterable[Row], tests: Iterable[str]) -> dict[str, list[str]]:
    """Ids in test names that the matrix does not know, with the tests that carry them."""
    known = {row.id for row in rows}
    return {fault: carriers for fault, carriers in by_id(tests).items() if fault not in known}


def table(rows: Iterable[Row], tests: Iterable[str]) -> str:
    """The matrix as text: each row with its tests, then the totals of each group."""
    carriers = by_id(tests)
    lines: list[str] = []
    totals: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        if row.group not in totals:
            lines += ["", row.group]
        proofs = carriers.get(row.id, [])
        totals[row.group].append(bool(proofs))
        state = "covered" if proofs else f"needs {row.needs}" if row.needs else "NOT COVERED"
        lines.append(f"  {row.id}  {row.title}: {state}")
        lines += [f"         {proof}" for proof in proofs]
    lines += ["", *_totals(totals)]
    return "\n".join(lines).lstrip("\n")


def _totals(totals: Mapping[str, list[bool]]) -> list[str]:
    every = [covered for group in totals.values() for covered in group]
    rows = [*totals.items(), ("all", every)]
    return [f"{group:<14}{sum(covered):>4} of {len(covered):>3} covered" for group, covered in rows]

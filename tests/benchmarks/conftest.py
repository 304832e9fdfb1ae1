"""One table of everything that was measured, printed at the end of `make bench`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.table import Table

_TABLE = Table()


@pytest.fixture
def table() -> Iterator[Table]:
    """Where a benchmark puts its figures; a figure over its budget fails the test at its end."""
    yield _TABLE
    _TABLE.verify()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table below the tests."""
    if _TABLE.results:
        terminalreporter.section("speed (CPU time, medians of repetitions in one run)")
        for line in _TABLE.lines():
            terminalreporter.write_line(line)

"""Hunts mutants: a copy of the packages, one bug in it, and everything that may find it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mutant import PACKAGES, Mutant, Seed
from tests.mutants.trial import VIOLATION

SEEDS = (
    Seed("okx", 1),
    Seed("backpack", 1),
    Seed("binance", 2),
    Seed("okx", 3),
    Seed("binance", 4),
    Seed("backpack", 2),
    Seed("okx", 6),
    Seed("binance", 1),
    Seed("backpack", 5),
    Seed("okx", 8),
    Seed("binance", 3),
    Seed("backpack", 4),
)
"""Looks for every mutant: all venues, with and without a grid, the monitor, a spot market and a stranger."""

MACHINES = ("tests/kernel/test_orders.py", "tests/engine/test_engine_faults.py")
"""Hypothesis' state machines of orders and of trading under faults."""

_TESTS_FAILED = 1
_IGNORED = shutil.ignore_patterns("benchmarks", "snapshots", ".hypothesis", ".pytest_cache")


class HuntError(Exception):
    """A killer did not run as it should, so that nothing can be said."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        killer: What found it; empty when nothing did.
        by_test: That was a test of the suite, not simulated trading or a state machine.
        hours: Simulated hours until then; 0 when it was found by tests.
        seconds: How long that took.
        found: The violation.
    """

    mutant: Mutant
    killer: str
    hours: float
    seconds: float
    found: str = ""
    by_test: bool = False

    def line(self) -> str:
        """Return it in one line."""
        if not self.killer:
            return f"{self.mutant.id}: SURVIVED {self.found} ({self.mutant.loses})"
        after = f"{self.hours:.2f} h, {self.seconds:.0f} s" if self.hours else f"{self.seconds:.0f} s"
        return f"{self.mutant.id}: killed by {self.killer} after {after}: {self.found[:110]}"


class Hunt:
    """One copy of the tree.

    Args:
        root: The tree that is copied.
        scratch: A new folder for the copy.
        limit_s: How long a mutant may take.
    """

    def __init__(self, root: Path, scratch: Path, limit_s: float) -> None:
        self._root, self._scratch, self._limit_s = root, scratch, limit_s
        for name in PACKAGES:
            shutil.copytree(root / name, scratch / name, ignore=_IGNORED)
        shutil.copy2(root / "pyproject.toml", scratch)

    def hunt(self, mutant: Mutant) -> Verdict:
        """Return what became of a mutant."""
        with self._mutated(mutant):
            if mutant.tests:
                return self._look(mutant, (), (), mutant.tests)
            return self._look(mutant, (*mutant.seeds, *SEEDS), MACHINES, ())

    def check(self, mutants: list[Mutant]) -> None:
        """See to it that nothing that looks for these mutants finds anything where there is none.

        Raises:
            HuntError: It does.
        """
        healthy = Mutant("healthy", "", "", ())
        seeds = dict.fromkeys((*(seed for mutant in mutants for seed in mutant.seeds), *SEEDS))
        tests = dict.fromkeys(path for mutant in mutants for path in mutant.tests)
        verdict = self._look(healthy, tuple(seeds), MACHINES, tuple(tests), patience=10)
        if verdict.killer or verdict.found:
            raise HuntError(f"without any mutant: {verdict.killer} {verdict.found}".strip())

    def _look(
        self,
        mutant: Mutant,
        seeds: tuple[Seed, ...],
        machines: tuple[str, ...],
        tests: tuple[str, ...],
        patience: int = 1,
    ) -> Verdict:
        began_s = time.monotonic()
        ends_s = began_s + self._limit_s * patience

        def verdict(killer: str, hours: float, found: str, by_test: bool = False) -> Verdict:
            return Verdict(mutant, killer, hours, time.monotonic() - began_s, found, by_test)

        try:
            done = self._python(["-m", "tests.mutants.trial", *map(str, seeds)], ends_s)
            if done.returncode == VIOLATION and done.stdout:
                told = json.loads(done.stdout.splitlines()[-1])
                return verdict(told["killer"], told["hours"], told["found"])
            if done.returncode:
                return verdict("a crash of the simulation", 0.0, _last_line(done.stderr))
            for name, paths in (("the state machines", machines), ("a test", tests)):
                if paths:
                    done = self._python(["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *paths], ends_s)
                    if done.returncode == _TESTS_FAILED:
                        return verdict(name, 0.0, _failure(done.stdout), paths is tests)
                    if done.returncode:
                        raise HuntError(f"{mutant.id}: {' '.join(paths)}: {_last_line(done.stdout + done.stderr)}")
        except subprocess.TimeoutExpired:
            return verdict("", 0.0, f"{self._limit_s * patience:.0f} s")
        return verdict("", 0.0, "")

    @contextmanager
    def _mutated(self, mutant: Mutant) -> Iterator[None]:
        """Have the bug in the copy; compiled modules there are of the healthy tree and stay so."""
        path = self._scratch / mutant.path
        healthy = path.with_name(path.name + ".healthy")
        text = mutant.text(self._scratch)
        path.rename(healthy)
        try:
            path.write_text(text, "utf-8")
            yield
        finally:
            healthy.replace(path)

    def _python(self, arguments: list[str], ends_s: float) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self._scratch,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=max(1.0, ends_s - time.monotonic()),
        )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no output"


def _failure(text: str) -> str:
    """Return the first line that pytest gives a failure."""
    return next((line for line in text.splitlines() if line.startswith(("FAILED", "ERROR"))), _last_line(text))

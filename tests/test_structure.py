"""Rules over the source text: clock seam, honest error handling, live panes, nothing of one machine.

Each rule is a function from source text to findings, run over the tree here and over bad samples below it.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ctos_tui", "engine", "drivers", "strategies", "themes")
MAX_LINES = 450

# The one clock of the engine, and the terminal's own: how fast it drains cannot be told in market time.
CLOCK_SEAM = ("engine/kernel/clock.py", "ctos_tui/terminal.py", "ctos_tui/terminal/", "ctos_tui/frame.py")
OUTSIDE_CLOCK = {
    "asyncio.sleep",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "numpy.random",
    "os.getrandom",
    "os.urandom",
    "random",
    "secrets",
    "structlog.processors.TimeStamper",
    "threading.Timer",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.process_time",
    "time.process_time_ns",
    "time.sleep",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
}
SLOW_IN_PANES = {"DataTable", "RichLog", "rich_style"}
REGISTRY_HOST = re.compile(r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org")
MACHINE_PATH = re.compile(r"(?<![\w/.:~$}-])/(work|root|opt|(home|Users)/\w+)/\w|[Ff]ile:/{3}|[A-Z]:\\Users")


def python_files(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported_names(tree: ast.AST) -> dict[str, str]:
    """Maps each name that an import binds to the dotted name of what it stands for."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return names


def dotted_name(node: ast.AST, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        base = dotted_name(node.value, names)
        return f"{base}.{node.attr}" if base else None
    return None


def is_outside_clock(dotted: str) -> bool:
    parts = dotted.split(".")
    if parts[-1] == "*":
        return any(banned == parts[0] or banned.startswith(f"{parts[0]}.") for banned in OUTSIDE_CLOCK)
    return any(".".join(parts[:end]) in OUTSIDE_CLOCK for end in range(1, len(parts) + 1))


def clock_findings(source: str) -> list[str]:
    """Uses of wall-clock time, sleeping or unseeded randomness, by whatever name they were imported."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found: set[tuple[int, str]] = set()
    for node in ast.walk(tree):
        candidates: list[str] = []
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            candidates = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Name | ast.Attribute):
            candidates = [dotted_name(node, names) or ""]
        elif isinstance(node, ast.Call):
            candidates = called_in_disguise(node, names)
        found.update((node.lineno, name) for name in candidates if is_outside_clock(name))
    return [f"{line}: {name}" for line, name in sorted(found)]


def called_in_disguise(call: ast.Call, names: dict[str, str]) -> list[str]:
    """The clock behind `import_module("random")`, `__import__("random")` and an event loop's `time()`."""
    called = call.func
    by_name = dotted_name(called, names) == "importlib.import_module" or (
        isinstance(called, ast.Name) and called.id == "__import__"
    )
    if by_name:
        return [str(argument.value) for argument in call.args if isinstance(argument, ast.Constant)]
    is_loop_time = isinstance(called, ast.Attribute) and called.attr == "time" and not call.args
    return ["time.monotonic"] if is_loop_time else []


def catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(each).split(".")[-1] in {"Exception", "BaseException"} for each in types)


def deals_with_error(handler: ast.ExceptHandler) -> bool:
    for node in (inner for statement in handler.body for inner in ast.walk(statement)):
        if isinstance(node, ast.Raise):
            return True
        if isinstance(node, ast.Name) and node.id == handler.name and isinstance(node.ctx, ast.Load):
            return True
        if isinstance(node, ast.Attribute) and node.attr in {"exception", "exc_info"}:
            return True
    return False


def swallowed_errors(source: str) -> list[str]:
    """Places where any error whatever is caught, and nobody hears of it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and catches_everything(node) and not deals_with_error(node):
            found.append(f"{node.lineno}: except that drops the error")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
            if any(ast.unparse(each) in {"Exception", "BaseException"} for each in node.args):
                found.append(f"{node.lineno}: suppress of every error")
        elif isinstance(node, ast.Expr) and "return_exceptions=True" in ast.unparse(node):
            found.append(f"{node.lineno}: gathered errors that nobody looks at")
    return found


def slow_widgets(source: str) -> list[str]:
    """Widgets and style look-ups of Textual that cannot keep the frame rate with live rows."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        used: list[str] = []
        if isinstance(node, ast.Name):
            used = [node.id]
        elif isinstance(node, ast.Attribute):
            used = [node.attr]
        elif isinstance(node, ast.ImportFrom):
            used = [alias.name for alias in node.names]
        found.extend(f"{node.lineno}: {name}" for name in used if name in SLOW_IN_PANES)
    return found


def traces_of_a_machine(text: str) -> list[str]:
    """Package registries and absolute paths that exist on one machine only."""
    return [
        f"{number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), start=1)
        for match in (*REGISTRY_HOST.finditer(line), *MACHINE_PATH.finditer(line))
    ]


def tracked_texts() -> Iterator[tuple[str, str]]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b""
        if b"\0" not in content:
            yield name, content.decode(errors="replace")


def findings(rule, files: Iterable[Path]) -> list[str]:
    return [f"{relative(path)}:{found}" for path in files for found in rule(path.read_text())]


def test_time_and_randomness_come_through_the_clock_only():
    files = [path for path in python_files(*PACKAGES) if not relative(path).startswith(CLOCK_SEAM)]
    assert findings(clock_findings, files) == []


def test_no_error_is_swallowed():
    assert findings(swallowed_errors, python_files(*PACKAGES)) == []


def test_panes_draw_lines_themselves():
    assert findings(slow_widgets, python_files("ctos_tui/panes")) == []


def test_no_file_names_a_registry_or_a_machine():
    assert [f"{name}:{found}" for name, text in tracked_texts() for found in traces_of_a_machine(text)] == []


def test_files_stay_readable():
    lengths = {relative(path): path.read_text().count("\n") for path in python_files(*PACKAGES)}
    assert {name: lines for name, lines in lengths.items() if lines >= MAX_LINES} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "import time as t\nstamp = t.monotonic_ns",
        "from time import perf_counter",
        "from time import sleep as pause\npause(1)",
        "from time import *",
        "import datetime\ndatetime.datetime.now()",
        "import datetime as dt\ndt.date.today()",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
        "from datetime import datetime\nstamp = field(default_factory=datetime.utcnow)",
        "import random",
        "from random import choice",
        "import numpy as np\nnp.random.default_rng()",
        "import uuid\nuuid.uuid4()",
        "from uuid import uuid1",
        "import secrets",
        "import os\nos.urandom(8)",
        "import asyncio\nasync def f():\n    await asyncio.sleep(1)",
        "from asyncio import sleep",
        "from importlib import import_module\nimport_module('random')",
        "import asyncio\nasyncio.get_running_loop().time()",
        "import structlog\nstructlog.processors.TimeStamper()",
    ],
)
def test_clock_rule_sees(source: str):
    assert clock_findings(source)


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "import time\ntime.strftime('%H', time.gmtime(0))",
        "def f(clock, random):\n    return clock.now_ns(), random.time",
        "import uuid\nuuid.UUID(int=1)",
    ],
)
def test_clock_rule_lets_pass(source: str):
    assert clock_findings(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept (ValueError, BaseException):\n    x = None",
        "try:\n    f()\nexcept Exception as error:\n    log('failed')",
        "try:\n    f()\nexcept* builtins.Exception:\n    pass",
        "import contextlib\nwith contextlib.suppress(Exception):\n    f()",
        "async def g():\n    await asyncio.gather(*tasks, return_exceptions=True)",
    ],
)
def test_swallow_rule_sees(source: str):
    assert swallowed_errors(source)


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept KeyError:\n    pass",
        "try:\n    f()\nexcept Exception as error:\n    raise Named('what') from error",
        "try:\n    f()\nexcept BaseException:\n    undo()\n    raise",
        "try:\n    f()\nexcept Exception as error:\n    report(error)",
        "try:\n    f()\nexcept Exception:\n    log.exception('failed')",
        "async def g():\n    results = await asyncio.gather(*tasks, return_exceptions=True)",
    ],
)
def test_swallow_rule_lets_pass(source: str):
    assert swallowed_errors(source) == []


@pytest.mark.parametrize("source", ["from textual.widgets import DataTable", "widgets.RichLog()", "self.rich_style"])
def test_pane_rule_sees(source: str):
    assert slow_widgets(source)


def test_machine_rule_sees_and_lets_pass():
    for parts in (("https://py", "pi.org"), ("'/wo", "rk/main'"), ("cd /ho", "me/ann/ctos"), ("fi", "le:///x")):
        assert traces_of_a_machine("".join(parts))
    harmless = "~/work/x ../shared/work/x https://example.com/work/x /home /usr/bin/env"
    assert traces_of_a_machine(harmless) == []

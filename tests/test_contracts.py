"""The import contracts and the ruff rules bite: each one breaks on a tree made to break it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

# A tree that keeps every contract; each case below adds one import that breaks one.
SKELETON = {
    "ctos_tui/__init__.py": "",
    "ctos_tui/__main__.py": "import engine.boot\ndef main():\n    import ctos_tui.app",
    "ctos_tui/app.py": "import textual\nimport engine.runtime",
    "ctos_tui/panes/__init__.py": "",
    "ctos_tui/panes/ladder.py": "import textual.widget\nimport engine.kernel",
    "ctos_tui/theme.py": "import rich",
    "engine/__init__.py": "",
    "engine/boot.py": "import engine.runtime, engine.io, engine.lab, drivers.paper, strategies.grid",
    "engine/kernel/__init__.py": "",
    "engine/io/__init__.py": "import engine.kernel",
    "engine/runtime/__init__.py": "import engine.io",
    "engine/runtime/indicators.py": "import engine.kernel",
    "engine/runtime/signals.py": "",
    "engine/runtime/risk.py": "",
    "engine/lab/__init__.py": "import engine.runtime",
    "drivers/__init__.py": "",
    "drivers/transport/__init__.py": "import engine.kernel",
    "drivers/paper/__init__.py": "import engine.kernel, drivers.transport",
    "drivers/binance/__init__.py": "import drivers.transport",
    "strategies/__init__.py": "",
    "strategies/grid.py": "from engine.runtime import indicators\nimport engine.runtime.signals",
    "strategies/trend.py": "import engine.kernel",
}


def lint_imports(tree: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, source in {**SKELETON, **extra}.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    command = [BIN / "lint-imports", "--no-logo", "--no-cache", "--config", ROOT / "pyproject.toml"]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_contracts_keep_a_tree_that_obeys_them(tmp_path: Path):
    result = lint_imports(tmp_path, {})
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "source", "broken"),
    [
        ("engine/kernel/orders.py", "import engine.io", "Imports point one way"),
        ("engine/io/journal.py", "import engine.runtime.risk", "Imports point one way"),
        ("engine/runtime/manager.py", "import engine.boot", "Imports point one way"),
        ("engine/runtime/venues.py", "import drivers.paper", "Imports point one way"),
        ("engine/lab/backtest.py", "import drivers.paper", "Imports point one way"),
        ("engine/kernel/screen.py", "import textual", "Only the screen modules know Textual"),
        ("drivers/paper/store.py", "import engine.io", "Drivers know the kernel only"),
        ("drivers/binance/match.py", "import drivers.paper", "No venue knows another"),
        ("drivers/transport/codec.py", "import drivers.binance", "No venue knows another"),
        ("drivers/kraken.py", "", "No venue knows another"),
        ("strategies/dip.py", "from engine.runtime import risk", "Strategies use the kernel"),
        ("strategies/dip.py", "import engine.io", "Strategies use the kernel"),
        ("strategies/dip.py", "import strategies.trend", "No strategy knows another"),
        ("ctos_tui/screens.py", "import drivers.paper", "The console reaches venues"),
        ("ctos_tui/frame.py", "from textual.app import App", "Only the screen modules know Textual"),
    ],
)
def test_contracts_see(tmp_path: Path, name: str, source: str, broken: str):
    result = lint_imports(tmp_path, {name: source})
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(rf"^{broken}.* BROKEN\b", result.stdout, re.MULTILINE), result.stdout


def test_ruff_asks_for_docstrings_and_types():
    command = [BIN / "ruff", "check", "--output-format=concise", "--stdin-filename=engine/sample.py", "-"]
    source = "class Order:\n    def size(self):\n        return 1\n\n\ndef place(order):\n    return order\n"
    result = subprocess.run(command, cwd=ROOT, input=source, capture_output=True, text=True, check=False)
    expected = {"ANN001", "ANN201", "D100", "D101", "D102", "D103"}
    assert set(re.findall(r": ([A-Z]+\d+)", result.stdout)) == expected

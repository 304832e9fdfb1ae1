"""Other tools that do the same work, each run in a process of its own environment."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).resolve().parent
PYTHON = _HERE.parents[2] / ".peers" / "bin" / "python"


def run_peer(script: str, *arguments: object) -> dict[str, Any]:
    """Run a script in the peers' environment and return what it printed; skips where that was not installed."""
    if not PYTHON.exists():
        pytest.skip("the peers are not installed; run: make bench")
    command = [str(PYTHON), str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed

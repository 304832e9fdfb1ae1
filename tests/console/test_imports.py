from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Slow to import and not needed before the first frame.
LATER = {
    "aiohttp", "cryptography", "engine.io.market_files", "engine.runtime.indicators", "numpy", "plotext", "polars",
    "sqlite_utils", "strategies", "structlog", "talib", "websockets",
}  # fmt: skip
UNTIL_FIRST_FRAME = """
import asyncio, sys
import ctos_tui.__main__, ctos_tui.console
from ctos_tui.app import ConsoleApp
from ctos_tui.local_port import LocalPort
from engine.boot.options import SystemOptions
from engine.boot.system import build_system

async def main():
    system = build_system(SystemOptions(config=sys.argv[1]), asyncio.get_running_loop())
    ConsoleApp(LocalPort(system))
    print(*sys.modules)
    system.close()

asyncio.run(main())
"""


def modules_after(code: str, config: Path) -> set[str]:
    command = [sys.executable, "-c", code, str(config)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


def test_what_is_slow_is_imported_after_the_first_frame(tmp_path: Path):
    modules_after(UNTIL_FIRST_FRAME, tmp_path)  # the very first start makes the database
    loaded = modules_after(UNTIL_FIRST_FRAME, tmp_path)
    assert {"ctos_tui.app", "engine.boot.system", "drivers.paper.driver"} <= loaded
    assert sorted(LATER & loaded) == []


def test_the_command_line_alone_imports_neither_screen_nor_engine(tmp_path: Path):
    loaded = modules_after("import ctos_tui.__main__, sys; print(*sys.modules)", tmp_path)
    assert sorted({"textual", "pydantic", "engine.boot.system"} & loaded) == []

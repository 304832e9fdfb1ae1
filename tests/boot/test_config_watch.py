"""Files that somebody edits while the program runs: what was read stays in force, and what is wrong is said."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

from engine.boot.options import SystemOptions
from engine.boot.system import System, running
from engine.runtime.events import LogLine
from tests.boot.conftest import write_accounts
from tests.boot.test_real_venues import until

GOOD = "risk:\n  max_order_usd: 700\n"


def listen(system: System) -> list[tuple[str, str]]:
    said: list[tuple[str, str]] = []
    system.bus.subscribe(LogLine, lambda line: said.append((line.level, line.text)) if "chang" in line.text else None)
    return said


async def test_g06_a_file_that_changes_while_the_program_runs_changes_nothing_and_is_judged(home: Path) -> None:
    file = home / "ctos.yaml"
    file.write_text(GOOD)
    async with running(SystemOptions(config=str(home), market="synthetic:3", speed="20")) as system:
        said = listen(system)
        limits = system.engine.account.limits

        file.write_text("risk:\n  max_order_usd: -5\n")
        await until(lambda: said, 10)
        level, text = said.pop()
        assert level == "error" and f"{file} changed and cannot be used" in text
        assert f"{file}:2: risk.max_order_usd: '-5' must be greater than 0" in text

        new = home / "new"
        new.write_text(GOOD.replace("700", "9"))
        os.replace(new, file)  # as an editor swaps a file in whole
        await until(lambda: said, 10)
        level, text = said.pop()
        assert level == "warn" and "start it again to use the new settings" in text

        file.write_text(GOOD)
        await until(lambda: said, 10)
        assert said.pop()[0] == "info"

        write_accounts(home, "paper:\n  paper:\n    limits: {max_ordr_usd: 5}\n")
        await until(lambda: said, 10)
        level, text = said.pop()
        assert level == "error" and "did you mean max_order_usd?" in text and "accounts.yaml" in text

        assert system.engine.account.limits is limits and limits.max_order_usd == Decimal(700)


async def test_g06_a_file_that_is_half_written_is_not_judged_before_it_is_whole(home: Path) -> None:
    file = home / "ctos.yaml"
    file.write_text(GOOD)
    async with running(SystemOptions(config=str(home), market="synthetic:3")) as system:
        said, watch = listen(system), system.config_watch
        watch.stop()
        with file.open("w") as slow:
            for letter in GOOD:
                slow.write(letter)
                slow.flush()
                assert watch._find() is None, "it still grows"
        system.writer.submit(watch._find)
        await until(lambda: said, 10)
        assert [level for level, _ in said] == ["info"], said
        assert watch._find() is None

"""The audit of a whole system: privileged acts are in it, it goes on over a restart, an edit is a critical anomaly."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

from engine.boot.checking import Finding, check, find_target
from engine.boot.options import SystemOptions
from engine.boot.system import System, build_system
from engine.io.audit import verify
from engine.kernel.anomaly import Severity
from tests.boot.test_real_venues import until


def options(home: Path) -> SystemOptions:
    return SystemOptions(config=str(home), market="synthetic:3", seed=1)


async def begin(home: Path) -> System:
    system = build_system(options(home), asyncio.get_running_loop(), "run")
    await system.start()
    return system


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def findings(home: Path) -> dict[str, Finding]:
    chosen = options(home)
    return {finding.name: finding async for finding in check(find_target(chosen), chosen, False)}


async def test_x15_privileged_acts_are_audited_and_an_edit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state" / "logs" / "paper_Account0_audit.log"
    system = await begin(tmp_path)
    engine = system.engine
    engine.arm("ann", 600)
    system.manager.launch("dyn_grid", {"base_amount": 200, "max_inventory": 1000}, symbols="btc", name="g")
    system.manager.amend("g", {"base_amount": 210}, "ann")
    engine.panic("ann", "looks odd")
    engine.rearm("ann", "it was nothing")
    system.monitor.raise_anomaly("odd", "", "", "", "", "something odd")
    anomaly = next(iter(system.monitor.anomalies))
    system.monitor.acknowledge(anomaly.id, "ann")
    engine.disarm("ann", "lunch")
    await system.stop()
    acts = [(record["act"], record["who"]) for record in records(path)]
    expected = [
        ("program_started", "operator"),
        ("limits_changed", "operator"),
        ("arm", "ann"),
        ("strategy_started", "operator"),
        ("strategy_parameters", "ann"),
        ("halt", "ann"),
        ("panic", "ann"),
        ("rearm", "ann"),
        ("anomaly_acknowledged", "ann"),
        ("disarm", "ann"),
    ]
    grant = next(record for record in records(path) if record["act"] == "arm")
    assert grant["details"]["hand_s"] == "600"
    missing = [act for act in expected if act not in acts]
    assert not missing, acts
    assert [acts.index(act) for act in expected] == sorted(acts.index(act) for act in expected)
    count = verify(path).seq

    system = await begin(tmp_path)
    await system.stop()
    assert [record["act"] for record in records(path)[count:]] == ["program_started"], "the limits are as they were"
    assert (await findings(tmp_path))["audit"].ok

    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"who":"ann"', '"who":"bob"')
    path.write_text("".join(lines))
    found = (await findings(tmp_path))["audit"]
    assert found.ok is False and f"{path}, line 3" in found.detail
    # That check was a start of its own: the damaged file is aside now, and the next edit is of the new chain.
    path.write_text(path.read_text().replace("chain_begun", "chain_begum"))
    system = await begin(tmp_path)
    await until(lambda: any(one.kind == "audit" and one.severity is Severity.CRIT for one in system.monitor.anomalies))
    text = next(one.text for one in system.monitor.anomalies if one.kind == "audit" and "line 1" in one.text)
    assert f"{path}, line 1" in text and "audit.log.broken.1" in text
    await system.stop()
    assert (path.with_name(path.name + ".broken")).read_text() == "".join(lines)
    verify(path)


async def test_x15_check_sees_records_that_were_cut_off_at_the_end(tmp_path: Path) -> None:
    await (await begin(tmp_path)).stop()
    path = tmp_path / "state" / "logs" / "paper_Account0_audit.log"
    assert (await findings(tmp_path))["audit"].ok
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    found = (await findings(tmp_path))["audit"]
    assert found.ok is False and f"line {len(lines)}" in found.detail and "missing" in found.detail


async def test_the_trial_order_goes_when_whoever_reads_the_check_is_gone(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    async with aclosing(check(find_target(chosen), chosen, True)) as found:
        async for finding in found:
            if finding.name == "order: place":
                break
    assert finding.ok, finding.detail
    system = await begin(tmp_path)
    try:
        assert not await system.driver.get_open_orders()
    finally:
        await system.stop()

"""Logs and reports: one record a line, masked, rotated, flushed in time; a full disk never disturbs trading."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from engine.io.files import read_checked
from engine.io.line_file import FLUSH_ROWS, FLUSH_S
from engine.io.logs import AccountLogs, iso_time
from engine.io.report_file import ReportFile
from engine.io.secrets import Redactor, Secret
from engine.io.writer import WriterThread
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import CtosError

START_NS = 1_723_075_200 * NS_PER_S  # 2024-08-08T00:00:00Z
DAY_S = 86_400


def fail(error: Exception) -> None:
    raise error


class Bench:
    def __init__(self, folder: Path, level: str = "info") -> None:
        self.folder = folder / "logs"
        self.clock = VirtualClock(START_NS)
        self.errors: list[CtosError] = []
        self.redactor = Redactor()
        writer = WriterThread(None, fail)
        self.logs = AccountLogs(
            self.folder, "paper", 0, self.clock, writer, self.redactor, level, self.errors.append
        )  # fmt: skip

    def read(self, name: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_operation_has_the_documented_fields_in_order(bench: Bench) -> None:
    bench.clock.advance(1.5)
    bench.logs.operation(
        "OrderPlaced", instance="g1", symbol="BTC-USDT-PERP", cid="AAAAg1", price=Decimal("0.10"), det="x"
    )
    bench.logs.operation("OrderAck", instance="g1", latency_ms=3.5)
    bench.logs.operation("OrderFilled", instance="manual")
    bench.logs.operation("Reconcile")
    bench.logs.flush()
    first, second = bench.read("paper_Account0_g1_operation_log.log")
    assert list(first) == ["ts", "seq", "op", "src", "actor", "account", "symbol", "cid", "det", "latency_ms"]
    assert first == {
        "ts": "2024-08-08T00:00:01.500Z", "seq": 1, "op": "OrderPlaced", "src": "g1", "actor": "strategy",
        "account": "paper:0", "symbol": "BTC-USDT-PERP", "cid": "AAAAg1", "det": {"price": "0.10", "text": "x"},
        "latency_ms": None,
    }  # fmt: skip
    assert (second["seq"], second["latency_ms"], second["det"]) == (2, 3.5, {})
    assert bench.read("paper_Account0_manual_operation_log.log")[0]["actor"] == "human"
    assert bench.read("paper_Account0_engine_operation_log.log")[0]["actor"] == "engine"


def test_lines_reach_the_disk_after_3_s_or_200_rows(bench: Bench) -> None:
    path = bench.folder / "paper_Account0_g1_operation_log.log"
    bench.logs.operation("A", instance="g1")
    bench.clock.advance(FLUSH_S - 0.1)
    assert not path.exists()
    bench.clock.advance(0.2)
    assert len(path.read_text().splitlines()) == 1
    for _ in range(FLUSH_ROWS - 1):
        bench.logs.operation("A", instance="g1")
    assert len(path.read_text().splitlines()) == 1
    bench.logs.operation("A", instance="g1")
    assert len(path.read_text().splitlines()) == 1 + FLUSH_ROWS


def test_the_operation_log_begins_anew_each_day_and_is_kept_90_days(bench: Bench) -> None:
    name = "paper_Account0_g1_operation_log.log"
    for _ in range(92):
        bench.logs.operation("A", instance="g1")
        bench.clock.advance(DAY_S)
    bench.logs.operation("B", instance="g1")
    bench.logs.close()
    assert [row["op"] for row in bench.read(name)] == ["B"]
    kept = sorted(path.name.removeprefix(f"{name}.") for path in bench.folder.glob(f"{name}.*"))
    assert (kept[0], kept[-1], len(kept)) == ("2024-08-10", "2024-11-07", 90)


def test_lines_of_two_days_in_one_flush_go_to_two_files(bench: Bench) -> None:
    bench.clock.advance(DAY_S - 1)
    bench.logs.operation("A", instance="g1")
    bench.clock.advance(2)
    bench.logs.operation("B", instance="g1")
    bench.logs.flush()
    name = "paper_Account0_g1_operation_log.log"
    assert [row["op"] for row in bench.read(f"{name}.2024-08-08")] == ["A"]
    assert [row["op"] for row in bench.read(name)] == ["B"]


def test_the_monitor_log_is_rotated_by_size(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.io.logs.MONITOR_LOG_BYTES", 2000)
    for number in range(400):
        bench.logs.line("warn", "monitor", f"line {number}", value=Decimal("1.50"))
    bench.logs.flush()
    name = "paper_Account0_monitor_system_monitor.log"
    files = sorted(path.name for path in bench.folder.iterdir())
    assert files == [name, *(f"{name}.{number}" for number in range(1, 5))]
    assert all((bench.folder / file).stat().st_size <= 2000 for file in files)
    rows = [row for file in reversed(files) for row in bench.read(file)]
    assert [row["text"] for row in rows] == [f"line {number}" for number in range(400 - len(rows), 400)]
    assert rows[0]["value"] == "1.50" and rows[0]["level"] == "warn"


def test_levels_below_the_configured_one_are_left_out(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "warn")
    bench.logs.line("info", "g1", "no")
    bench.logs.line("error", "g1", "yes")
    bench.logs.flush()
    assert [row["text"] for row in bench.read("paper_Account0_g1_system_monitor.log")] == ["yes"]


def test_secrets_are_masked_and_one_record_stays_one_line(bench: Bench) -> None:
    bench.redactor.add(Secret('canary"\\key'))
    evil = "a\nb\r\x1b]52;c;x\x07\u2028c\x9bd \u202e"
    bench.logs.operation("Error", instance="../../g\n1", det=evil, url="http://u:p@h", key='canary"\\key')
    bench.logs.line("error", "g1", evil + 'canary"\\key')
    bench.logs.flush()
    (path,) = bench.folder.glob("*operation_log.log")
    assert path.name == "paper_Account0_.._.._g_1_operation_log.log"
    for file in bench.folder.iterdir():
        text = file.read_text()
        assert text.count("\n") == 1 and len(text.splitlines()) == 1
        assert "canary" not in text and "u:p" not in text and "\x1b" not in text and "\x9b" not in text
        assert json.loads(text)
    assert json.loads(path.read_text())["det"]["text"] == evil


def test_a_full_disk_is_told_once_and_nothing_is_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        real(descriptor, content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    bench.logs.operation("A", instance="g1")
    bench.logs.flush()
    monkeypatch.setattr(os, "write", full)
    for _ in range(3):
        bench.logs.operation("B", instance="g1")
        bench.logs.flush()
    assert len(bench.errors) == 1 and "No space left" in str(bench.errors[0])
    monkeypatch.setattr(os, "write", real)
    bench.logs.operation("C", instance="g1")
    bench.logs.flush()
    ops = [row["op"] for row in bench.read("paper_Account0_g1_operation_log.log")]
    assert ops == ["A", "B", "B", "B", "C"]


def test_a_log_that_was_replaced_by_a_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    bench.folder.mkdir()
    (tmp_path / "victim").write_text("")
    (bench.folder / "paper_Account0_g1_operation_log.log").symlink_to(tmp_path / "victim")
    bench.logs.operation("A", instance="g1")
    bench.logs.flush()
    assert (tmp_path / "victim").read_text() == "" and len(bench.errors) == 1


def test_reports_are_checked_and_five_generations_deep(tmp_path: Path) -> None:
    errors: list[CtosError] = []
    report = ReportFile(tmp_path / "logs" / "a.json", WriterThread(None, fail), 5, errors.append)
    for number in range(7):
        report.write({"number": number, "equity": Decimal("10.50")})
    assert read_checked(report.path) == {"number": 6, "equity": "10.50"}
    assert read_checked(tmp_path / "logs" / "a.json.4") == {"number": 2, "equity": "10.50"}
    assert len(list((tmp_path / "logs").iterdir())) == 5 and errors == []


def test_times_are_utc_with_milliseconds() -> None:
    assert iso_time(START_NS + 1_999_999) == "2024-08-08T00:00:00.001Z"

"""The real commands as a user types them, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GRID = (
    "dyn_grid:btc:base_amount=200,max_inventory=1000,buy_grid_step=0.9995,sell_grid_step=1.0005,"
    "buy_move_step=0.9997,sell_move_step=1.0003"
)


def ctos(*arguments: str, stdin: bytes = b"", hash_seed: str = "0") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "ctos_tui", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120, check=False)


def lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_adds_up(summary: dict[str, object]) -> None:
    for line in summary["money"]:
        parts = sum(Decimal(line[name]) for name in ("deposits", "realised", "spot", "funding", "insurance"))
        assert parts - Decimal(line["fees"]) == Decimal(line["cash"])
        assert Decimal(line["cash"]) + Decimal(line["unrealised"]) == Decimal(line["equity"])
    for row in summary["positions"]:
        mark, entry = Decimal(row["mark_price"]), Decimal(row["entry_price"])
        assert abs(Decimal(row["quantity"]) * (mark - entry) - Decimal(row["unrealised"])) < Decimal("1e-9")
    assert summary["adds_up"] is True
    assert summary["ledgers_agree"] is True


def test_same_seed_prints_the_same_bytes_and_the_money_adds_up(tmp_path: Path) -> None:
    def run(folder: str, hash_seed: str) -> subprocess.CompletedProcess[bytes]:
        options = ["--market", "synthetic:3", "--speed", "max", "--seed", "7", "--for", "10m", "--strategy", GRID]
        return ctos("run", "--config", str(tmp_path / folder), *options, hash_seed=hash_seed)

    first, second = run("a", "1"), run("b", "2")
    events = lines(first)
    assert first.stdout == second.stdout
    assert any(event["type"] == "fill" for event in events)
    assert events[-1]["type"] == "summary"
    assert_adds_up(events[-1])


def test_the_grid_trades_against_a_recording(tmp_path: Path, shared_dir: Path) -> None:
    market = f"replay:{shared_dir}/captures/usdm_btcusdt_20240808.gz"
    options = ["--market", market, "--speed", "max", "--seed", "7", "--for", "300s", "--strategy", GRID]
    events = lines(ctos("run", "--config", str(tmp_path / "c"), *options))
    fills = [event for event in events if event["type"] == "fill"]
    assert fills
    assert {fill["symbol"] for fill in fills} == {"BTC-USDT-PERP"}
    assert all(1723161250000 < event["ts"] < 1723161560000 for event in events)
    assert_adds_up(events[-1])


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    options = ["--config", str(tmp_path), "--market", "synthetic:3", "--speed", "max", "--seed", "7"]
    before = lines(ctos("run", *options, "--for", "10m", "--strategy", GRID))[-1]
    after = lines(ctos("run", *options, "--for", "1s"))[-1]
    assert [row["instance"] for row in after["strategies"]] == ["dg1"]
    held = [(row["symbol"], row["quantity"]) for row in before["positions"]]
    assert [(row["symbol"], row["quantity"]) for row in after["positions"]] == held
    assert before["money"][1]["cash"] == after["money"][1]["cash"]


def test_call_prints_json_and_keeps_the_account(tmp_path: Path) -> None:
    config = ["--config", str(tmp_path)]
    book = lines(ctos("call", *config, "get_orderbook", "symbol=btc", "level=5"))[0]
    assert len(book["bids"]) == len(book["asks"]) == 5
    assert Decimal(book["bids"][0][0]) < Decimal(book["asks"][0][0])
    order = ["place_order", "symbol=btc", "side=buy", "order_type=limit", "size=0.01", "price=50000"]
    placed = lines(ctos("call", *config, *order))[0]
    assert placed["state"] == "open"
    open_orders = lines(ctos("call", *config, "get_open_orders"))[0]
    assert [row["client_id"] for row in open_orders] == [placed["client_id"]]
    revoked = lines(ctos("call", *config, "revoke_order", f"order_id={placed['client_id']}", "symbol=btc"))[0]
    assert revoked["state"] == "canceled"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["call", "get_orderbook", "symbol=nosuch"], 1, "UnknownSymbol"),
        (["call", "get_orderbook"], 2, "needs symbol="),
        (["call", "nosuch"], 2, "no syscall 'nosuch'"),
        (["call", "get_orderbook", "symbol=btc", "depth=5"], 2, "no argument 'depth'"),
        (
            ["call", "place_order", "symbol=btc", "side=buy", "order_type=limit", "size=0.5", "price=90000"],
            1,
            "RiskReject",
        ),
        (["call", "--account", "7", "get_position"], 2, "no account '7'"),
        (["call", "--exchange", "mtgox", "get_position"], 2, "UnknownVenue"),
        (["call", "--market", "nowhere", "get_position"], 2, "synthetic:SEED"),
        (["run", "--market", "replay:/no/such/file", "--speed", "max"], 2, "no such file"),
        (["run", "--speed", "fast"], 2, "--speed 'fast'"),
        (["run", "--speed", "max"], 2, "--for"),
        (["run", "--for", "soon"], 2, "not a duration"),
        (["run", "--strategy", "dyn_grid", "--speed", "max", "--for", "1s"], 2, "NAME:SYMBOL"),
        (["run", "--strategy", "nosuch:btc", "--speed", "max", "--for", "1s"], 2, "no strategy 'nosuch'"),
        (["run", "--strategy", "dyn_grid:btc:base=1", "--speed", "max", "--for", "1s"], 2, "no parameter 'base'"),
        (["decode", "nowhere"], 2, "no driver for venue 'nowhere'"),
        (["decode", "binance", "/no/such/file"], 2, "cannot read"),
        (["strategies", "nosuch"], 2, "no strategy 'nosuch'"),
        (["nosuch"], 2, "No such command"),
        (["--nosuch"], 2, "No such option"),
        (["--account", "0"], 2, "needs a terminal"),
    ],
)
def test_bad_usage_is_one_clear_message(tmp_path: Path, arguments: list[str], code: int, says: str) -> None:
    if arguments[0] in ("call", "run"):
        arguments = [arguments[0], "--config", str(tmp_path), *arguments[1:]]
    done = ctos(*arguments)
    text = done.stderr.decode()
    assert says in text
    assert "Traceback" not in text
    assert done.returncode == code


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("place_order symbol=btc side=buy order_type=limit size=1e999 price=50000", 1, "at most 1e+15"),
        ("place_order symbol=btc side=buy order_type=limit size=0.01 price=1e400000", 1, "at most 1e+15"),
        (
            "place_order symbol=btc side=buy order_type=post_only size=1 price=1 time_in_force=ioc",
            1,
            "ioc and post_only",
        ),
        ("place_order symbol=btc side=buy order_type=market size=true", 2, "must be a number"),
        ("amend_order order_id=#1 symbol=btc", 1, "nothing to amend"),
        ("close_all_positions price_offset=5", 1, "must be a fraction"),
        ("get_position symbol=btc symbol=eth", 2, "given twice"),
    ],
)
def test_odd_arguments_of_a_call_are_refused_in_words(tmp_path: Path, words: str, code: int, says: str) -> None:
    syscall, *arguments = words.split()
    done = ctos("call", "--config", str(tmp_path), syscall, *arguments)
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.returncode == code


def test_close_all_positions_goes_through_the_engine_and_ends_flat(tmp_path: Path) -> None:
    def call(syscall: str, *arguments: str) -> object:
        return lines(ctos("call", "--config", str(tmp_path), syscall, *arguments))[0]

    call("place_order", "symbol=btc", "side=buy", "order_type=market", "size=0.02")
    call("place_order", "symbol=btc", "side=sell", "order_type=limit", "size=0.01", "price=90000", "reduce_only=true")
    closed = call("close_all_positions")
    assert [(row["state"], row["filled"], row["client_id"][4:8]) for row in closed] == [("filled", "0.02", "manu")]
    assert call("get_position") == call("get_open_orders") == []
    assert [row["currency"] for row in call("fetch_balance", "currency=usdt")] == ["USDT"]


def test_decode_reports_rubbish_and_goes_on(shared_dir: Path) -> None:
    trade = (
        b'1 {"stream":"btcusdt@trade","data":{"e":"trade","E":2,"T":2,"s":"BTCUSDT","t":3,'
        b'"p":"61800.30","q":"0.006","X":"MARKET","m":false}}\n'
    )
    done = ctos("decode", "binance", stdin=trade + b"\xff\x00rubbish\n" + trade)
    assert [event["type"] for event in lines(done)] == ["trade", "unparsed", "trade"]
    assert lines(done)[0]["price"] == "61800.3"
    assert b'"unparsed": 1' in done.stderr
    by_an_editor = ctos("decode", "binance", stdin=b"\xef\xbb\xbf" + trade.replace(b"\n", b"\r\n"))
    assert [event["type"] for event in lines(by_an_editor)] == ["trade"]


def test_a_recording_plays_again(tmp_path: Path) -> None:
    config = ["--config", str(tmp_path / "c"), "--seed", "1", "--speed", "max"]
    folder = tmp_path / "recording"
    recorded = ctos("record", str(folder), *config, "--market", "synthetic:5", "--for", "90s", "--symbols", "btc+eth")
    assert recorded.returncode == 0, recorded.stderr.decode()
    assert b"events" in recorded.stderr
    played = lines(ctos("run", *config, "--market", f"replay:{folder}", "--strategy", GRID))
    assert played[-1]["strategies"][0]["state"] == "running"
    assert_adds_up(played[-1])


def test_init_writes_files_that_load_and_overwrites_nothing(tmp_path: Path) -> None:
    first = ctos("init", "--config", str(tmp_path))
    assert first.returncode == 0, first.stderr.decode()
    assert (tmp_path / "accounts.yaml").stat().st_mode & 0o777 == 0o600
    (tmp_path / "ctos.yaml").write_text("log_level: warn\n")
    assert b"exists" in ctos("init", "--config", str(tmp_path)).stdout
    assert (tmp_path / "ctos.yaml").read_text() == "log_level: warn\n"
    listed = ctos("strategies", "--config", str(tmp_path))
    assert b"dyn_grid" in listed.stdout
    assert not listed.stderr


def test_a_strategy_file_that_does_not_load_is_named(tmp_path: Path) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / "broken.py").write_text("import nosuchmodule\n")
    listed = ctos("strategies", "--config", str(tmp_path))
    assert listed.returncode == 0
    assert b"dyn_grid" in listed.stdout
    assert b"broken.py: does not load: ModuleNotFoundError" in listed.stderr


def test_a_signal_ends_a_run_at_full_speed_with_its_summary(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    options = ["--config", str(tmp_path), "--market", "synthetic:3", "--speed", "max", "--for", "240h"]
    command = [sys.executable, "-m", "ctos_tui", "run", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.terminate()
        out, errors = running.communicate(timeout=30)
    assert running.returncode == 0, errors.decode()
    assert_adds_up(json.loads(out.splitlines()[-1]))


def test_a_run_whose_reader_goes_away_ends_quietly(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    options = ["--config", str(tmp_path), "--market", "synthetic:3", "--speed", "max", "--for", "240h"]
    command = [sys.executable, "-m", "ctos_tui", "run", *options, "--strategy", GRID]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=30) == 1


def test_p10_two_processes_cannot_hold_one_state(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ctos_tui", "run", "--config", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as running:
        assert running.stdout is not None
        running.stdout.readline()
        second = ctos("run", "--config", str(tmp_path))
        through = ctos("call", "--config", str(tmp_path), "get_position")
        running.terminate()
        out, _ = running.communicate(timeout=30)
    assert second.returncode == 2
    assert str(running.pid) in second.stderr.decode()
    assert str(tmp_path / "state" / "ctos.lock") in second.stderr.decode()
    assert (through.returncode, through.stdout) == (0, b"[]\n"), "a call goes through the one that runs"
    assert running.returncode == 0
    assert json.loads(out.splitlines()[-1])["type"] == "summary"

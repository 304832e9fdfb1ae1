"""`record --raw`, `decode` and `--market replay:` are one circle."""

from __future__ import annotations

import gzip
import json
import resource
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctos_tui.__main__ import cli
from engine.boot import venues
from engine.io.event_lines import decimal_text
from engine.io.instruments_file import add_recording, read_instruments
from engine.io.raw_files import open_raw, raw_lines
from engine.io.raw_recorder import RawRecorder
from engine.io.writer import WriterThread
from engine.kernel.clock import VirtualClock
from engine.kernel.errors import ConfigError, CtosError, Unsupported, VenueUnavailable
from tests.boot import fake_venue
from tests.boot.fake_venue import Behaviour
from tests.paper.venue import instruments


def ctos(*arguments: str) -> list[dict[str, object]]:
    """Run a command in this process and return its lines of JSON."""
    done = CliRunner().invoke(cli, list(arguments), catch_exceptions=False, standalone_mode=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def only_fake(venue: Behaviour, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(venues, "PACKAGES", {"okx": fake_venue.__name__})
    yield


@pytest.mark.parametrize("name", ["market.jsonl", "market.jsonl.gz"])
def test_what_is_recorded_is_decoded_and_played(only_fake: None, home: Path, name: str) -> None:
    path = home / name
    ctos(
        "record", "--raw", str(path), "--config", str(home), "--exchange", "okx", "--symbols", "btc", "--for", "1500ms"
    )
    lines = (gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()).splitlines()
    assert len(lines) > 3
    received = [int(line.split(b" ", 1)[0]) for line in lines]
    assert received == sorted(received)
    decoded = ctos("decode", "okx", str(path))
    assert [line["type"] for line in decoded] == ["trade"] * len(lines)
    prices = [json.loads(line.split(b" ", 1)[1])["fake"] for line in lines]
    assert [line["price"] for line in decoded] == [decimal_text(price) for price in prices]
    [listed] = read_instruments(home / "instruments.yaml")
    assert (listed.instrument.symbol, listed.recordings) == ("BTC-USDT-PERP", (name,))
    *_, summary = ctos("run", "--market", f"replay:{path}", "--speed", "max", "--config", str(home / "replayed"))
    assert (summary["type"], summary["market"]) == ("summary", f"replay:{name}")


def test_nothing_is_overwritten_and_nothing_empty_is_left(only_fake: None, home: Path) -> None:
    taken, free = home / "taken.jsonl", home / "free.jsonl"
    taken.write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        ctos("record", "--raw", str(taken), "--config", str(home), "--exchange", "okx")
    assert taken.read_text() == "mine"
    with pytest.raises(Unsupported, match="needs --market live"):
        ctos("record", "--raw", str(free), "--config", str(home))
    fake_venue.behaviour.start_error = VenueUnavailable("away")
    with pytest.raises(CtosError, match="away"):
        ctos("record", "--raw", str(free), "--config", str(home), "--exchange", "okx")
    assert not free.exists()


@pytest.mark.parametrize("name", ["market.jsonl", "market.jsonl.gz"])
def test_a_full_disk_leaves_a_file_that_can_be_read(home: Path, name: str) -> None:
    path, failures, clock = home / name, list[CtosError](), VirtualClock()
    writer = WriterThread(None, failures.append)
    recorder = RawRecorder(path, clock, writer, lambda progress: None, failures.append)
    payload = b'{"text":"%s"}' % secrets.token_hex(2000).encode()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        for _ in range(9):
            recorder.take(payload)
            clock.advance(1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    recorder.close()
    writer.close()
    [failure] = failures
    assert name in str(failure) and "can be read" in str(failure)
    with open_raw(path) as source:
        lines = list(raw_lines(source, name))
    assert 1 < len(lines) < 9
    assert all(line.split(b" ", 1)[1].strip() == payload for line in lines)


def test_a_second_recording_in_a_folder_keeps_what_the_first_listed(home: Path) -> None:
    listing = home / "instruments.yaml"
    first, second = instruments()[:2]
    add_recording(listing, "a.gz", [first])
    add_recording(listing, "b.gz", [first, second])
    found = [(entry.instrument.symbol, entry.recordings) for entry in read_instruments(listing)]
    assert found == [(first.symbol, ("a.gz",)), (first.symbol, ("b.gz",)), (second.symbol, ("b.gz",))]
    assert [entry.is_in(home / "a.gz") for entry in read_instruments(listing)] == [True, False, False]

"""A fake venue in place of OKX, and folders to configure it in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.boot import venues
from tests.boot import fake_venue

LIVE = """okx:
  main:
    mode: live
    key: canary-key-4711
    secret: canary-secret-0815
    passphrase: canary pass+phrase/
"""


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_venue.Behaviour]:
    """The driver package `okx`, faked; the behaviour of its next drivers."""
    monkeypatch.setitem(venues.PACKAGES, "okx", fake_venue.__name__)
    monkeypatch.setattr(venues, "_keys", venues.KeyRing())
    monkeypatch.setattr(fake_venue, "behaviour", fake_venue.Behaviour())
    yield fake_venue.behaviour


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty configuration folder of the operator alone."""
    tmp_path.chmod(0o700)
    return tmp_path


def write_accounts(home: Path, text: str = LIVE) -> None:
    path = home / "accounts.yaml"
    path.write_text(text)
    path.chmod(0o600)

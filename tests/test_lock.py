"""Both lock files name exact versions with hashes, agree with each other and with the project file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", lock.read_text(), re.MULTILINE))


def test_locks_are_exact_hashed_and_agree():
    base, dev = pins(ROOT / "requirements.lock"), pins(ROOT / "requirements-dev.lock")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    tools = project["project"]["optional-dependencies"]["dev"]

    assert base.items() <= dev.items()
    assert {tuple(pin.lower().split("==")) for pin in wanted} <= set(base.items())
    assert {tuple(pin.lower().split("==")) for pin in tools} <= set(dev.items())
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        unhashed = re.compile(r"^(?!#|\s|$)(?![a-z0-9-]+==\S+ \\\n    --hash=sha256:).*", re.MULTILINE)
        assert unhashed.findall(text) == []
        assert not re.search(r"://| @ |--(extra-)?index|--find-links", text)

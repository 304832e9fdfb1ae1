"""A venue's description, its hosts with overrides, keys that do not show."""

from __future__ import annotations

import sys

import pytest

from drivers.transport.arch import Arch, load_arch, venue_features
from drivers.transport.setup import Credentials, MemoryStore, choose_hosts, join_ws
from engine.kernel.errors import ConfigError
from engine.kernel.secret import Secret

GOOD = """
venue: fake
hosts:
  live: {rest_url: https://api.fake.example, ws_public_url: "wss://ws.fake.example/ws/v5/public"}
features: {stops: false, dead_man: true, other: 1}
rate_buckets:
  - {name: orders, limit: 60, window_s: 2, scope: symbol}
fees: {perp: {maker: "0.0002", taker: "0.0005"}}
funding_period_h: 8
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package with an `arch.yaml` and returns its name."""
    made = []

    def make(text: str | None) -> str:
        name = f"fake_venue_{len(made)}"
        made.append(name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        if text is not None:
            (folder / "arch.yaml").write_text(text)
        return name

    monkeypatch.syspath_prepend(str(tmp_path))
    yield make
    load_arch.cache_clear()
    for name in made:
        sys.modules.pop(name, None)


def test_a_description_is_typed_and_keeps_what_only_its_venue_knows(package):
    name = package(GOOD)
    arch = load_arch(name)
    assert arch is load_arch(name)
    assert arch.rate_buckets[0].window_s == 2.0 and arch.rate_buckets[0].scope == "symbol"
    assert arch.extra == {"funding_period_h": 8}
    features = venue_features(arch)
    assert (features.stops, features.amends, features.dead_man) == (False, True, True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (None, "cannot be read"),
        ("venue: [", "cannot be read"),
        ("- 1", "must hold names and values"),
        ("venue: fake", "missing required field `hosts`"),
        (GOOD.replace("limit: 60", "limit: many"), r"\$.rate_buckets\[0\].limit"),
        (GOOD.replace("limit: 60", "limit: 0"), "limit and window_s must be positive"),
        (GOOD.replace("scope: symbol", "scope: planet"), "must be ip, account or symbol"),
        (GOOD.replace("window_s: 2", "window: 2"), "window"),
    ],
)
def test_a_wrong_description_names_file_and_entry(package, wrong, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_arch(package(wrong))
    assert "arch.yaml" in str(caught.value)


def test_a_feature_must_be_true_or_false(package):
    with pytest.raises(ConfigError, match="features"):
        venue_features(load_arch(package(GOOD.replace("stops: false", "stops: perhaps"))))


ARCH = Arch(
    venue="fake",
    hosts={
        "live": {
            "rest_url": "https://a",
            "spot_rest_url": "https://b",
            "ws_public_url": "wss://c/ws/v5/public",
            "ws_business_url": "wss://c/ws/v5/business",
            "ws_private_url": "wss://c/ws/v5/private",
            "spot_ws_public_url": "wss://d",
        }
    },
)


def test_what_belongs_to_an_overridden_address_follows_it():
    assert choose_hosts(ARCH, "live", {}) == ARCH.hosts["live"]
    hosts = choose_hosts(ARCH, "live", {"rest_url": "http://127.0.0.1:1/", "ws_public_url": "ws://127.0.0.1:1"})
    assert hosts["spot_rest_url"] == hosts["rest_url"] == "http://127.0.0.1:1"
    assert hosts["ws_business_url"] == hosts["spot_ws_public_url"] == "ws://127.0.0.1:1"
    assert hosts["ws_private_url"] == "wss://c/ws/v5/private"
    proxied = choose_hosts(ARCH, "live", {"ws_public_url": "wss://proxy/okx/public", "spot_ws_public_url": "wss://own"})
    assert proxied["ws_business_url"] == "wss://proxy/okx/business"
    assert proxied["spot_ws_public_url"] == "wss://own"
    assert choose_hosts(ARCH, "live", {"rest_url": ""}) == ARCH.hosts["live"]
    with pytest.raises(ConfigError, match=r"venues\.fake\.environment: 'demo' does not exist; fake has live"):
        choose_hosts(ARCH, "demo", {})


def test_a_socket_address_keeps_its_own_path():
    assert join_ws("ws://127.0.0.1:1", "/ws/v5/public") == "ws://127.0.0.1:1/ws/v5/public"
    assert join_ws("ws://127.0.0.1:1/", "/ws") == "ws://127.0.0.1:1/ws"
    assert join_ws("wss://proxy/okx/public", "/ws/v5/public") == "wss://proxy/okx/public"


def test_keys_do_not_show():
    keys = Credentials(Secret("key-1"), Secret("secret-1"), Secret("phrase-1"))
    for shown in (repr(keys), str(keys), f"{keys}"):
        assert "-1" not in shown


def test_a_forgetful_store_keeps_and_tells():
    store, told = MemoryStore(), []
    assert store.load("ban") is None
    store.save("ban", b"x", lambda: told.append(1))
    assert store.load("ban") == b"x" and told == [1]

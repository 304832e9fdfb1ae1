"""Which address each part has, in every environment and with overrides."""

from __future__ import annotations

import pytest

from drivers.binance.hosts import endpoints
from drivers.binance.symbols import arch
from drivers.transport.setup import choose_hosts


def test_the_live_addresses():
    found = endpoints(choose_hosts(arch(), "live", {}))
    assert found.perp_rest == "https://fapi.binance.com"
    assert found.spot_rest == "https://api.binance.com"
    assert found.perp_public == "wss://fstream.binance.com/public/stream"
    assert found.perp_market == "wss://fstream.binance.com/market/stream"
    assert found.perp_private == "wss://fstream.binance.com/private/stream"
    assert found.perp_trade == "wss://ws-fapi.binance.com/ws-fapi/v1"
    assert found.spot_public == "wss://stream.binance.com:9443/stream"
    assert found.spot_private == found.spot_trade == "wss://ws-api.binance.com:443/ws-api/v3"


@pytest.mark.parametrize("environment", ["live", "demo", "testnet"])
def test_every_environment_is_complete_and_encrypted(environment: str):
    found = endpoints(choose_hosts(arch(), environment, {}))
    assert all(getattr(found, name).startswith(("https://", "wss://")) for name in found.__slots__)


def test_one_override_goes_for_both_interfaces():
    overrides = {
        "rest_url": "http://127.0.0.1:9/",
        "ws_public_url": "ws://127.0.0.1:9",
        "ws_private_url": "ws://127.0.0.1:9",
        "ws_trade_url": "ws://127.0.0.1:9",
    }
    found = endpoints(choose_hosts(arch(), "live", overrides))
    assert found.perp_rest == found.spot_rest == "http://127.0.0.1:9"
    assert found.spot_public == "ws://127.0.0.1:9/stream"
    assert found.spot_private == found.spot_trade == "ws://127.0.0.1:9/ws-api/v3"
    assert all("binance" not in getattr(found, name) for name in found.__slots__)


def test_spot_can_be_overridden_apart_and_a_path_is_kept():
    overrides = {
        "rest_url": "http://a",
        "spot_rest_url": "http://b",
        "ws_public_url": "ws://proxy/binance",
        "ws_trade_url": "ws://proxy/orders",
    }
    found = endpoints(choose_hosts(arch(), "live", overrides))
    assert (found.perp_rest, found.spot_rest) == ("http://a", "http://b")
    assert found.perp_market == "ws://proxy/binance/market/stream"
    assert found.perp_trade == found.spot_trade == "ws://proxy/orders"

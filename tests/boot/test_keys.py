"""What belongs to a venue's key."""

import pytest

from engine.boot.venues import credentials_of
from engine.io.config import AccountEntry
from engine.io.settings import RiskConfig
from engine.kernel.errors import ConfigError
from engine.kernel.secret import Secret


@pytest.mark.parametrize(
    ("venue", "written", "text"),
    [
        ("okx", ("key", "secret"), "passphrase missing; okx needs key: and secret: and passphrase:"),
        ("okx", ("passphrase",), "key and secret missing"),
        ("binance", ("key",), "secret missing; binance needs key: and secret:$"),
    ],
)
def test_an_incomplete_key_says_what_is_missing(venue: str, written: tuple[str, ...], text: str):
    secrets = {name: Secret("x") for name in written}
    entry = AccountEntry(0, "main", venue, "live", "USDT", "perp", RiskConfig(), secrets, "accounts.yaml: main")
    with pytest.raises(ConfigError, match=text):
        credentials_of(entry)

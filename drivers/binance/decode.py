"""What `decode` and recordings read: public messages and account messages, mixed as they come."""

from __future__ import annotations

from typing import Any

from drivers.binance.account_messages import is_account_message, news, read
from drivers.binance.market_messages import MarketMessages
from drivers.transport.line_decoder import LineDecoder


def make_decoder() -> LineDecoder:
    """Return a decoder of raw lines from this venue's sockets; public messages are tried first."""
    return LineDecoder(MarketMessages(otherwise=_account_news))


def _account_news(payload: bytes) -> tuple[str, list[Any]] | None:
    """Return the name and the events of an account message, None for what is none.

    Raises:
        Undecodable: It is one with a field that is not as it should be.
        UnknownSymbol: It names what is neither a perpetual nor a spot pair.
    """
    if not is_account_message(payload):
        return None
    name, message = read(payload)
    return name, [] if message is None else [*news(message)]

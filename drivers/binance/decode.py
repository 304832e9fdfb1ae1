"""What `decode` and recordings read: public messages and account messages, mixed as they come."""

from __future__ import annotations

from typing import Any

from drivers.binance.account_messages import is_account_message, news, read
from drivers.binance.market_messages import MarketMessages
from drivers.transport.line_decoder import Undecodable


class RecordedMessages:
    """Turns any message of this venue's sockets into events; public ones are tried first."""

    def __init__(self) -> None:
        self._market = MarketMessages()

    def take(self, payload: bytes, received_ms: int | None) -> tuple[str, list[Any]]:
        """Return a message's name and the events it leads to.

        Raises:
            Undecodable: It is no message of this venue.
            UnknownSymbol: It names what is neither a perpetual nor a spot pair.
        """
        try:
            return self._market.take(payload, received_ms)
        except Undecodable:
            if not is_account_message(payload):
                raise
        name, message = read(payload)
        return name, [] if message is None else [*news(message)]

    def symbol_of(self, native: str) -> str | None:
        """Return the canonical symbol of a native name met before, None when there is not exactly one."""
        return self._market.symbol_of(native)

    def state(self) -> dict[str, Any]:
        """Return each book's state, `synced`, `invalid` or `no snapshot`, and what was left out."""
        return self._market.state()

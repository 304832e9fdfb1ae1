"""How each venue's requests and channels are named, for scripted faults, and its words for common trouble."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from engine.kernel.instruments import Instrument
from tests.venues.emulators.backpack_auth import key_pair

Switch = Callable[[Any], object]
"""Changes something about the account of an emulator."""


@dataclass(frozen=True)
class Trouble:
    """A scripted answer."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wire:
    """What the faults of one emulator are called.

    Attributes:
        place, cancel, amend: Requests about a perpetual's order; amend is empty where the venue has none.
        balance: A private read that `fetch_balance` makes.
        book: Channel pattern of one instrument's book.
        snapshot: Request of a book's snapshot; empty where it comes over the socket.
        market: Socket that carries public books.
        account: Socket that carries the private stream.
        account_channels: Channels of private order events.
        unknown: Answers that leave open whether an order was taken.
        busy: The answer to too many requests, to be tried again in 2 s.
        wrong_key: Another key and secret of the right form.
        hedge: Puts the account into hedge mode; None where the venue has net positions only.
        no_trading: Takes the right to trade from the key or account.
        bans: Whether the venue has words for a banned address.
        late_cancels: Lets the venue only accept cancels, and carry them out a moment later.
        late_refusals: Lets the venue take orders that cannot work and end them at once, instead of refusing them.
        lend: Lends a part of the account's quote money out, so that it is no longer in the wallet.
    """

    place: str
    cancel: str
    amend: str
    balance: str
    book: Callable[[Instrument], str]
    snapshot: str
    market: str
    account: str
    account_channels: str
    unknown: tuple[Trouble, ...]
    busy: Trouble
    wrong_key: tuple[str, str]
    hedge: Switch | None
    no_trading: Switch
    bans: bool = False
    late_cancels: Switch | None = None
    late_refusals: Switch | None = None
    lend: Switch | None = None


_GATEWAY = Trouble(502, "<html><body>Bad gateway</body></html>", {"Content-Type": "text/html"})
_EMPTY = Trouble(200, "")

WIRES: dict[str, Wire] = {
    "okx": Wire(
        place="POST /api/v5/trade/order",
        cancel="POST /api/v5/trade/cancel-order",
        amend="POST /api/v5/trade/amend-order",
        balance="GET /api/v5/account/balance",
        book=lambda i: f"books*:*{i.native}*",
        snapshot="",
        market="public",
        account="private",
        account_channels="orders",
        unknown=(
            Trouble(400, '{"code":"50004","msg":"API endpoint request timeout","data":[]}'),
            _GATEWAY,
            _EMPTY,
        ),
        busy=Trouble(429, '{"code":"50011","msg":"Too Many Requests","data":[]}', {"Retry-After": "2"}),
        wrong_key=("okx-key-0001", "another-secret"),
        hedge=lambda emulator: setattr(emulator, "pos_mode", "long_short_mode"),
        no_trading=lambda emulator: setattr(emulator, "perm", "read_only"),
    ),
    "binance": Wire(
        place="POST /fapi/v1/order",
        cancel="DELETE /fapi/v1/order",
        amend="PUT /fapi/v1/order",
        balance="GET /fapi/v3/balance",
        book=lambda i: f"depth:*:{i.native.lower()}@*",
        snapshot="GET /fapi/v1/depth",
        market="public",
        account="private",
        account_channels="user",
        unknown=(
            Trouble(
                503,
                '{"code":-1000,"msg":"Unknown error, please check your request or try again later."}',
            ),
            Trouble(400, '{"code":-1007,"msg":"Timeout waiting for response from backend server."}'),
            _GATEWAY,
            _EMPTY,
        ),
        busy=Trouble(429, '{"code":-1003,"msg":"Too many requests."}', {"Retry-After": "2"}),
        wrong_key=("a" * 64, "b" * 64),
        hedge=lambda emulator: setattr(emulator.account, "dual_side", True),
        no_trading=lambda emulator: setattr(emulator.account, "can_trade", False),
        bans=True,
    ),
    "backpack": Wire(
        place="POST /api/v1/order",
        cancel="DELETE /api/v1/order",
        amend="",
        balance="GET /api/v1/capital",
        book=lambda i: f"depth*.{i.native}",
        snapshot="GET /api/v1/depth",
        market="public",
        account="public",
        account_channels="account.*",
        unknown=(
            Trouble(503, '{"code":"TIMEOUT","message":"Request timed out"}'),
            Trouble(202, ""),
            _GATEWAY,
            _EMPTY,
        ),
        busy=Trouble(429, '{"code":"TOO_MANY_REQUESTS","message":"Too many requests"}', {"Retry-After": "2"}),
        wrong_key=key_pair(bytes(32)),
        hedge=None,
        no_trading=lambda emulator: setattr(emulator, "deactivated", True),
        late_cancels=lambda emulator: setattr(emulator, "slow_cancels", True),
        late_refusals=lambda emulator: setattr(emulator, "late_refusals", True),
        lend=lambda emulator: emulator.lent.update(USDC=Decimal(40_000)),
    ),
}
"""By venue; requests as EXCHANGES.md names them, channels as the emulators name them."""

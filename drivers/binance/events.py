"""The events of Binance's account streams, typed. Field names are the venue's own; money is `Decimal`.

Facts: EXCHANGES 2.6, 3.6.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Raw, Struct

ZERO = Decimal(0)


class FuturesOrder(Struct):
    """The order inside ORDER_TRADE_UPDATE."""

    s: str
    c: str
    S: str
    o: str
    f: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741 - the venue's name for the last filled quantity
    z: Decimal
    L: Decimal
    T: int
    t: int = 0
    ap: Decimal = ZERO
    sp: Decimal = ZERO
    n: Decimal = ZERO
    N: str = ""
    m: bool = False
    R: bool = False
    ot: str = ""


class OrderTradeUpdate(Struct, tag_field="e", tag="ORDER_TRADE_UPDATE"):
    """News of a futures order."""

    E: int
    T: int
    o: FuturesOrder
    st: int | None = None


class WalletChange(Struct):
    """An asset that changed in ACCOUNT_UPDATE."""

    a: str
    wb: Decimal
    cw: Decimal = ZERO


class PositionChange(Struct):
    """A position that changed in ACCOUNT_UPDATE."""

    s: str
    pa: Decimal
    ep: Decimal
    up: Decimal = ZERO
    ps: str = "BOTH"


class AccountChanges(Struct):
    """What changed, and why (`ORDER`, `FUNDING_FEE`, ...)."""

    m: str = ""
    B: list[WalletChange] = []
    P: list[PositionChange] = []


class AccountUpdate(Struct, tag_field="e", tag="ACCOUNT_UPDATE"):
    """News of the futures account: changed items only."""

    E: int
    T: int
    a: AccountChanges
    st: int | None = None


class LeverageChange(Struct):
    """The leverage of a symbol."""

    s: str
    l: Decimal  # noqa: E741 - the venue's name


class AccountConfigUpdate(Struct, tag_field="e", tag="ACCOUNT_CONFIG_UPDATE"):
    """News of the futures account's settings."""

    E: int
    ac: LeverageChange | None = None


class ListenKeyExpired(Struct, tag_field="e", tag="listenKeyExpired"):
    """The futures stream is over."""

    E: int = 0


class ExecutionReport(Struct, tag_field="e", tag="executionReport"):
    """News of a spot order. Of a cancelled order `c` names the cancel, `C` the order."""

    E: int
    s: str
    c: str
    S: str
    o: str
    f: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741 - the venue's name for the last filled quantity
    z: Decimal
    L: Decimal
    T: int
    P: Decimal = ZERO
    C: str = ""
    r: str = ""
    eR: int = 0
    n: Decimal = ZERO
    N: str | None = None
    t: int = -1
    m: bool = False
    Z: Decimal = ZERO


class SpotWalletChange(Struct):
    """A coin that changed."""

    a: str
    f: Decimal
    l: Decimal  # noqa: E741 - the venue's name for the locked part


class OutboundAccountPosition(Struct, tag_field="e", tag="outboundAccountPosition"):
    """News of the spot wallet: changed coins."""

    E: int
    B: list[SpotWalletChange]


class StreamTerminated(Struct, tag_field="e", tag="eventStreamTerminated"):
    """The spot account's stream is over; the socket stays."""

    E: int = 0


class ServerShutdown(Struct, tag_field="e", tag="serverShutdown"):
    """The server behind this socket goes away soon."""

    E: int = 0


AccountMessage = (
    OrderTradeUpdate
    | AccountUpdate
    | AccountConfigUpdate
    | ListenKeyExpired
    | ExecutionReport
    | OutboundAccountPosition
    | StreamTerminated
    | ServerShutdown
)


class Envelope(Struct):
    """What is around an account's event, and what tells the kinds of messages apart."""

    e: str = ""
    id: str | int | None = None
    status: int | None = None
    stream: str | None = None
    subscriptionId: int | None = None
    data: Raw = Raw()
    event: Raw = Raw()

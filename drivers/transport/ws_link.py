"""One connection of a lasting socket: how it is opened, what is known of it, how it ends."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException

from engine.kernel.errors import VenueUnavailable

_CLOSE_S = 2.0


def _always() -> bool:
    return True


def _none(payload: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class WsPolicy:
    """How a venue's socket is kept alive.

    Attributes:
        ping_text: Text message that the venue answers with `pong` (OKX: `ping`); None for ping frames.
        ping_every_s: Time between pings.
        transport_silence_s: Longest time without any frame, pongs included.
        content_silence_s: Longest time without a message (pongs are none); None where silence is normal.
        expects_data: Whether messages can be expected now, e.g. because something is subscribed.
        max_age_s: A new connection takes over before this one is so old; None where the venue sets no end.
        from_one: Whether a message is taken from one connection only, as numbered changes must be: from the old one
            until the new one is ready. Others are handed on from both.
        max_message_bytes: A longer message breaks the connection.
        open_timeout_s: Longest time for connecting, and again for `on_open`.
    """

    ping_text: str | None = None
    ping_every_s: float = 4.0
    transport_silence_s: float = 9.0
    content_silence_s: float | None = None
    expects_data: Callable[[], bool] = _always
    max_age_s: float | None = None
    from_one: Callable[[bytes], bool] = _none
    max_message_bytes: int = 16 << 20
    open_timeout_s: float = 10.0


class Link:
    """One connection and its reader.

    Attributes:
        heard: Whether its messages are handed on.
        waits: Whether it is to replace another that is still in use.
        opened_ns, frame_ns, content_ns, ping_sent_ns: Engine time at which it was opened, at which a frame and a
            message came last, and at which it was last pinged.
        lost: Done when it is lost, with the reason.
    """

    __slots__ = ("content_ns", "frame_ns", "heard", "lost", "opened_ns", "ping_sent_ns", "reader", "socket", "waits")

    def __init__(self, socket: ClientConnection, now_ns: int, waits: bool = False) -> None:
        self.socket = socket
        self.waits = waits
        self.reader: asyncio.Task[None] | None = None
        self.heard = True
        self.opened_ns = self.frame_ns = self.content_ns = self.ping_sent_ns = now_ns
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def lose(self, reason: str) -> None:
        """Take down why the connection is lost; the first reason counts."""
        if not self.lost.done():
            self.lost.set_result(reason)


async def open_socket(url: str, policy: WsPolicy, ssl: tls.SSLContext | None) -> ClientConnection:
    """Open a connection, past its handshake.

    Raises:
        VenueUnavailable: That failed; the message says why. It is `unsent` when the venue cannot have heard of it.
    """
    try:
        return await connect(
            url,
            ssl=(ssl or _system_trust()) if url.startswith("wss:") else None,
            compression=None,
            proxy=None,
            user_agent_header=None,
            open_timeout=policy.open_timeout_s,
            ping_interval=None,
            close_timeout=_CLOSE_S,
            max_size=policy.max_message_bytes,
            max_queue=1024,
        )
    except tls.SSLCertVerificationError as error:
        raise VenueUnavailable(f"the certificate of {_host(url)} is not trusted: {error.verify_message}") from error
    except InvalidURI as error:
        shown = f"{url.partition('://')[0]}://{_host(url)}"  # the rest may hold a listen key
        raise VenueUnavailable(f"{shown} is not a WebSocket address: write wss://HOST/PATH") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        heard = isinstance(error, TimeoutError | ConnectionResetError | tls.SSLError | WebSocketException)
        text = f"no connection to {_host(url)}: {str(error) or type(error).__name__}"
        raise VenueUnavailable(text, unsent=not heard) from error


async def shut(link: Link) -> None:
    """Close a connection and wait for its reader."""
    await link.socket.close()
    if link.reader is not None:
        await asyncio.wait([link.reader])


def close_words(closed: ConnectionClosed) -> str:
    """Return who ended a connection, and why."""
    if closed.rcvd is not None and (closed.sent is None or closed.rcvd_then_sent):
        return f"the venue closed it: {closed.rcvd.code} {closed.rcvd.reason}".rstrip()
    if closed.sent is not None:
        return f"closed by us: {closed.sent.code} {closed.sent.reason}".rstrip()
    return "the connection broke"


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0]


@cache
def _system_trust() -> tls.SSLContext:
    return tls.create_default_context()

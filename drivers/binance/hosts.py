"""Where Binance's parts are: the addresses of one environment with the paths that belong to them.

Facts: EXCHANGES 2.1 and 3.1. Since 2026-04 futures streams are split by path, and one asked for on the wrong path is
silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.transport.setup import join_ws


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses ready to be used.

    Attributes:
        perp_rest: Before `/fapi/...`.
        spot_rest: Before `/api/...` and `/sapi/...`.
        perp_public: Combined stream of books and quotes of futures.
        perp_market: Combined stream of their trades, mark prices, candles and tickers.
        perp_private: Combined stream of the futures account, before `?listenKey=`.
        perp_trade: The futures' request socket.
        spot_public: Combined stream of spot.
        spot_private: Spot's request socket, which carries the account's events.
        spot_trade: Spot's request socket for orders.
    """

    perp_rest: str
    spot_rest: str
    perp_public: str
    perp_market: str
    perp_private: str
    perp_trade: str
    spot_public: str
    spot_private: str
    spot_trade: str


def endpoints(hosts: Mapping[str, str]) -> Endpoints:
    """Return the addresses for a complete set of hosts (see `choose_hosts`).

    A path in a stream host stays in front of the venue's own; one in a request host replaces it.
    """
    streams = {name: url.rstrip("/") for name, url in hosts.items()}
    return Endpoints(
        perp_rest=streams["rest_url"],
        spot_rest=streams["spot_rest_url"],
        perp_public=streams["ws_public_url"] + "/public/stream",
        perp_market=streams["ws_public_url"] + "/market/stream",
        perp_private=streams["ws_private_url"] + "/private/stream",
        perp_trade=join_ws(streams["ws_trade_url"], "/ws-fapi/v1"),
        spot_public=streams["spot_ws_public_url"] + "/stream",
        spot_private=join_ws(streams["spot_ws_private_url"], "/ws-api/v3"),
        spot_trade=join_ws(streams["spot_ws_trade_url"], "/ws-api/v3"),
    )

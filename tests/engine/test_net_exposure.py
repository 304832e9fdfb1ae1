"""Positions of one coin over instruments, accounts and venues."""

from __future__ import annotations

from pathlib import Path

from engine.kernel.orders import OrderType
from engine.runtime.net_exposure import net_exposure
from tests.engine.floor import BUY, PERP, SELL, SPOT, Floor, d

MARKET = OrderType.MARKET


def test_spot_against_a_perpetual_and_one_venue_against_another_are_netted_by_coin(tmp_path: Path):
    floors = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        floor = Floor(tmp_path / name)
        for symbol in (PERP, SPOT):
            floor.print(100.0, symbol=symbol)
        floors.append(floor)
    first, second = floors
    first.order(BUY, 5, type=MARKET, symbol=SPOT)
    first.order(SELL, 3, type=MARKET)
    second.order(SELL, 4, type=MARKET)
    (coin,) = net_exposure([("okx", first.engine.portfolio)])
    assert (coin.coin, coin.long, coin.short, coin.net, coin.gross) == ("TST", 500, 300, 200, 800)
    assert coin.is_hedged and coin.venues == (("okx", d(200)),)
    (both,) = net_exposure([("okx", first.engine.portfolio), ("binance", second.engine.portfolio)])
    assert (both.long, both.short, both.net, both.gross) == (500, 700, -200, 1200)
    assert both.venues == (("binance", d(-400)), ("okx", d(200)))
    first.print(110.0, symbol=SPOT)
    (later,) = net_exposure([("okx", first.engine.portfolio)])
    assert later.long == 550, "at present prices"
    assert net_exposure([]) == []

"""What is traded against another currency than the dollar: priced where a market prices it, told where none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.io.settings import MonitorConfig
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.instruments import Instrument, InstrumentStatus
from engine.kernel.orders import Fill, OrderType
from engine.runtime.monitor import SystemMonitor
from engine.runtime.shell import ImmediateShell
from engine.runtime.trading_state import TradingMode
from tests.engine.floor import BUY, PERP, SELL, SPOT, Floor, d
from tests.paper.venue import instruments

LIRA, BITCOIN = "TST-TRY", "TST-BTC"
DAY_NS = 86_400_000_000_000


def listed(*symbols: str) -> list[Instrument]:
    """Return the usual instruments and spot markets of these names."""
    spot = next(instrument for instrument in instruments() if instrument.symbol == SPOT)
    more = []
    for symbol in symbols:
        base, _, quote = symbol.partition("-")
        more.append(replace(spot, symbol=symbol, base=base, quote=quote, settle=quote))
    return [*instruments(), *more]


class Elsewhere(Floor):
    """A floor on which a person trades at the venue itself."""

    def __init__(self, directory: Path, *symbols: str, **options: object) -> None:
        super().__init__(directory, listed=listed(*symbols), **options)  # type: ignore[arg-type]
        self.monitor = SystemMonitor(self.engine, MonitorConfig(), self.writer, directory)
        self.monitor.start_position_monitoring()
        self._trades = 0

    def trade(self, side: object, quantity: object, price: object, symbol: str) -> None:
        """Book an execution of no order of ours."""
        self._trades += 1
        quote = symbol.rpartition("-")[2]
        at_ms = self.clock.now_ms()
        fill = Fill(f"x{self._trades}", symbol, "", "", side, d(price), d(quantity), d(0), quote, False, at_ms)  # type: ignore[arg-type]
        self.engine.booking.on_fill(fill)

    def told(self) -> dict[str, str]:
        """Return what is active of what could not be valued, by symbol."""
        return {each.symbol: each.text for each in self.monitor.anomalies.active() if each.kind == "unpriced"}


def test_a_trade_in_a_currency_that_nothing_prices_disables_nothing(tmp_path: Path) -> None:
    floor = Elsewhere(tmp_path, LIRA)
    floor.hold(1)
    floor.trade(BUY, 1, 3000, LIRA)
    floor.trade(SELL, 1, 3500, LIRA)
    for _ in range(40):
        floor.print(101.0)
        floor.run(5.0)
    engine = floor.engine
    assert engine.trading.mode is TradingMode.ARMED and not engine.risk.losses.is_blind
    assert engine.portfolio.profit() == 1 and engine.portfolio.equity() == 100_001
    assert engine.portfolio.unrealised() == 1 and engine.portfolio.instance_profit("manual") == 1
    assert floor.told() == {
        LIRA: f"{LIRA}: what it is worth in USD is not known: the venue has no market of TRY in dollars; "
        "what it earned counts as nothing"
    }
    assert engine.risk.usage()


def test_what_is_held_in_a_currency_that_nothing_prices_halts_in_time_and_raises_nothing(tmp_path: Path) -> None:
    floor = Elsewhere(tmp_path, LIRA)
    floor.print(100.0)
    floor.print(3000.0, symbol=LIRA)
    floor.trade(BUY, 1, 3000, LIRA)
    floor.run(20.0)
    engine, book = floor.engine, floor.engine.portfolio
    assert book.profit() is None and book.gross_notional() == book.net_notional() == 0 and book.coin_values()
    assert engine.risk.usage() and book.instance_profit("manual") == 0 and not book.is_priced("manual")
    assert list(floor.told()) == [LIRA] and engine.risk.losses.is_blind
    floor.run(110.0)
    assert engine.trading.mode is TradingMode.HALTED and "could not be computed" in engine.trading.status.reason
    summary = floor.monitor.get_position_summary()
    assert (summary.count, summary.gross, summary.unrealised, summary.realised) == (1, 0, None, 0)
    with pytest.raises(CtosError, match="profit and loss of what is held cannot be computed: a price lacks"):
        engine.rearm("ann", "seen")
    floor.trade(SELL, 1, 3000, LIRA)
    floor.run(2.0)
    engine.rearm("ann", "sold at the venue")
    floor.run(5.0)
    assert engine.trading.mode is TradingMode.ARMED


def test_an_order_against_a_currency_that_nothing_prices_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    floor = Floor(tmp_path, listed=listed(LIRA))
    floor.print(3000.0, symbol=LIRA)
    with pytest.raises(RiskReject, match="no price of TRY in USD is known: the venue has no market of TRY in dollars"):
        floor.order(BUY, 1, type=OrderType.MARKET, symbol=LIRA)
    assert floor.engine.tracker.working() == [] and floor.venue_orders() == []


def test_the_dollars_own_market_prices_a_currency_and_is_watched_without_being_asked_for(tmp_path: Path) -> None:
    floor = Elsewhere(tmp_path, LIRA, "USDT-TRY", BITCOIN, "BTC-USD", "ETH-USD", started=False, armed=False)
    ImmediateShell().run(floor.engine.start(), lambda _: None, lambda error: pytest.fail(str(error)))
    floor.engine.arm("test")
    floor.print(40.0, symbol="USDT-TRY")
    floor.print(50_000.0, symbol="BTC-USD")
    for symbol, price in ((LIRA, 4000), (BITCOIN, "0.002")):
        floor.trade(BUY, 1, price, symbol)
        floor.trade(SELL, 1, d(price) * 2, symbol)
    assert floor.engine.portfolio.profit() is None
    floor.run(6.0)
    floor.print(40.0, symbol="USDT-TRY")
    floor.print(50_000.0, symbol="BTC-USD")
    assert {"USDT-TRY", "BTC-USD"} <= set(floor.engine.market.watched)
    assert "ETH-USD" not in floor.engine.market.watched
    assert floor.engine.portfolio.profit() == 200
    floor.run(20.0)
    assert floor.told() == {}


def test_the_first_start_of_a_day_waits_until_a_trade_of_another_currency_can_be_valued(tmp_path: Path) -> None:
    floor = Elsewhere(tmp_path, BITCOIN, "BTC-USD")
    floor.trade(BUY, 1, "0.002", BITCOIN)
    floor.trade(SELL, 1, "0.004", BITCOIN)
    floor.monitor.stop_position_monitoring()
    start_ns = floor.clock.now_ns() + DAY_NS
    floor = floor.restart(tmp_path, listed=listed(BITCOIN, "BTC-USD"), start_ns=start_ns)  # type: ignore[assignment]
    assert floor.engine.portfolio.day_profit() is None or floor.engine.portfolio.anchor is not None
    floor.print(50_000.0, symbol="BTC-USD")
    floor.run(2.0)
    assert floor.engine.portfolio.day_profit() == 0 and floor.engine.portfolio.anchor.profit == 100  # type: ignore[union-attr]


def test_a_market_that_does_not_trade_and_has_no_price_is_not_waited_for(tmp_path: Path) -> None:
    floor = Elsewhere(tmp_path, LIRA, "TRY-USD")
    known = floor.engine.instruments
    known["TRY-USD"] = replace(known["TRY-USD"], status=InstrumentStatus.SUSPENDED)
    floor.trade(BUY, 1, 3000, LIRA)
    floor.trade(SELL, 1, 3500, LIRA)
    assert floor.engine.portfolio.profit() == 0
    floor.hold(1, 100.0)
    assert floor.engine.portfolio.quantity(PERP) == 1

"""Live market data as the exact values that the prompt and the guards work with."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from ctos_tui.command.desk import Market
from ctos_tui.port import Port
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Order, OrderState
from engine.runtime.portfolio import PositionRow

ZERO: Final = Decimal(0)
DEPTH_LEVELS: Final = 20
_USUAL_LEAST: Final = 5
_USUAL_MOST: Final = 50


class LiveMarkets(Mapping[str, Market]):
    """Every market of the account at one moment; each is made when it is first asked for."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._made: dict[str, Market] = {}
        self._positions = {row.symbol: row for row in port.positions()}
        self._orders = port.recent_orders()

    def __getitem__(self, symbol: str) -> Market:
        market = self._made.get(symbol)
        if market is None:
            instrument = self._port.instruments[symbol]
            own = [order for order in self._orders if order.symbol == symbol]
            market = self._made[symbol] = make_market(self._port, instrument, self._positions.get(symbol), own)
        return market

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._port.instruments

    def __iter__(self) -> Iterator[str]:
        return iter(self._port.instruments)

    def __len__(self) -> int:
        return len(self._port.instruments)


def make_market(port: Port, instrument: Instrument, held: PositionRow | None, own: list[Order]) -> Market:
    """Return one market as it stands now."""
    symbol = instrument.symbol
    book = port.book(symbol)
    quote = port.quote(symbol)
    bid = book.best_bid if book.valid else quote.bid if quote is not None else None
    ask = book.best_ask if book.valid else quote.ask if quote is not None else None
    ticker = port.ticker(symbol)
    return Market(
        instrument,
        bid=_price(instrument, bid),
        ask=_price(instrument, ask),
        last=_price(instrument, port.last(symbol)),
        mark=_price(instrument, port.mark(symbol)),
        bid_depth=_depth(instrument, [size for _, size in book.top_bids(DEPTH_LEVELS)]) if book.valid else None,
        ask_depth=_depth(instrument, [size for _, size in book.top_asks(DEPTH_LEVELS)]) if book.valid else None,
        age_ms=port.age_ms(symbol) if bid is not None and ask is not None else None,
        position=held.quantity if held is not None else ZERO,
        entry=held.entry_price if held is not None and held.quantity else None,
        leverage=(port.leverage(symbol) if instrument.is_perp else None) or Decimal(1),
        usual_quantity=_usual(own),
        unknown_order=any(order.state is OrderState.UNKNOWN for order in own),
        turnover=ticker.quote_volume_24h if ticker is not None else 0.0,
        listed=port.is_listed(symbol),
    )


def _price(instrument: Instrument, price: float | None) -> Decimal | None:
    return None if price is None else instrument.price_from_float(price)


def _depth(instrument: Instrument, sizes: list[float]) -> Decimal:
    return instrument.quantity_from_float(sum(sizes))


def _usual(orders: list[Order]) -> Decimal | None:
    """Return the median quantity of the operator's recent orders, None while too few are known."""
    manual = [order.quantity for order in orders if order.instance == "manual"][-_USUAL_MOST:]
    return statistics.median(manual) if len(manual) >= _USUAL_LEAST else None

"""The rules for orders that increase exposure, one function each; every refusal names rule, limit and value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from engine.kernel.errors import RiskReject
from engine.kernel.instruments import Instrument, InstrumentStatus
from engine.kernel.market import Quote
from engine.kernel.orders import Order, OrderRequest, OrderState, OrderType, Side
from engine.runtime.risk.exposure import LedgerExposure, LedgerKey, gross_notional
from engine.runtime.risk.limits import BP, number, usd
from engine.runtime.risk.view import RiskView

ZERO, ONE = Decimal(0), Decimal(1)
STALE_MS = 10_000
INSTRUMENTS_S = 86_400
"""How old what is known of an instrument's steps and status may be."""
MARK_BAND_BP = Decimal(200)
STOP_BAND_BP = Decimal(1000)


def check_market(instrument: Instrument, view: RiskView) -> Quote:
    """Refuse while the instrument does not trade or its data is missing, old or broken; return the touch."""
    symbol = instrument.symbol
    age_s = view.instruments_age_s()
    if age_s > INSTRUMENTS_S:
        raise RiskReject(
            "stale_instrument",
            f"{INSTRUMENTS_S // 3600} h",
            f"{age_s / 3600:.1f} h since {symbol} was read from the venue",
            hint="it is asked for again",
        )
    if instrument.status is not InstrumentStatus.TRADING:
        raise RiskReject("instrument_status", "", f"{symbol} is {instrument.status.value}")
    quote, age_ms = view.quote(symbol), view.age_ms(symbol)
    if quote is None or age_ms is None or not (quote.bid > 0 and quote.ask > 0):
        raise RiskReject("market_data", "", f"no bid and ask of {symbol} yet")
    if age_ms > STALE_MS:
        raise RiskReject("stale_data", f"{STALE_MS // 1000} s", f"{age_ms / 1000:.1f} s without data of {symbol}")
    if view.is_book_broken(symbol):
        raise RiskReject("stale_data", "", f"the book of {symbol} has a gap and waits for a new snapshot")
    return quote


def check_price(request: OrderRequest, instrument: Instrument, quote: Quote, mark: float | None, band: Decimal) -> None:
    """Refuse a price too far beyond the touch, or beyond the mark price, on the side that takes."""
    if request.price is None:
        return
    buys = request.side is Side.BUY
    _check_band("price_band_bp", request, instrument, quote.ask if buys else quote.bid, "ask" if buys else "bid", band)
    if mark is not None and mark > 0:
        _check_band("mark_band_bp", request, instrument, mark, "mark price", MARK_BAND_BP)


def check_trigger(request: OrderRequest, mark: float | None, quote: Quote | None) -> None:
    """Refuse a stop whose trigger is met already by more than the band: it would trade far from where it was meant."""
    price = mark if mark is not None else quote.mid if quote is not None and quote.is_whole else None
    if request.trigger_price is None or price is None or price <= 0:
        return
    # A sell stop is met when the price is at or below its trigger.
    beyond = -request.side.sign * (float(request.trigger_price) / price - 1) * float(BP)
    if beyond > STOP_BAND_BP:
        raise RiskReject(
            "stop_band_bp",
            f"{number(STOP_BAND_BP)} bp",
            f"{beyond:.0f} bp past the price {price:g}, so that it would trade at once",
        )


def _check_band(
    rule: str, request: OrderRequest, instrument: Instrument, market: float, name: str, band: Decimal
) -> None:
    price, sign = request.price, request.side.sign
    assert price is not None
    if (float(price) - market) * sign <= 0:
        return  # Not beyond it: the usual case, told apart without exact arithmetic.
    reference = instrument.price_from_float(market)
    beyond = (price / reference - 1) * BP * sign
    if beyond > band:
        edge = instrument.round_price(request.side, reference * (1 + sign * band / BP))
        word = "up to" if sign > 0 else "down to"
        raise RiskReject(
            rule,
            f"{number(band)} bp",
            f"{number(beyond.quantize(Decimal('0.1')))} bp beyond the {name} {number(reference)}",
            hint=f"a {request.side.value} {word} {number(edge)} would pass",
        )


def check_conflicts(request: OrderRequest, orders: Iterable[Order], replacing: str) -> None:
    """Refuse while an order of the same instance and side is unknown, or when it would trade with an own order.

    Args:
        request: The order.
        orders: Working orders.
        replacing: Client id of the working order whose place it takes.
    """
    for order in orders:
        if order.symbol != request.symbol or order.client_id == replacing:
            continue
        if order.side is request.side:
            if order.state is OrderState.UNKNOWN and order.instance == request.instance:
                raise RiskReject(
                    "unknown_order", "", f"what became of #{order.label} ({order.side.value}) is not known yet"
                )
        elif order.type is not OrderType.STOP and _meets(request, order):
            raise RiskReject(
                "self_cross",
                "",
                f"it would trade with the own {order.side.value} #{order.label} at {number(order.price or ZERO)}",
            )


def _meets(request: OrderRequest, resting: Order) -> bool:
    if resting.price is None or request.type is OrderType.POST_ONLY:
        return False
    return request.price is None or (request.price - resting.price) * request.side.sign >= 0


def check_size(request: OrderRequest, instrument: Instrument, price_usd: Decimal, limit: Decimal) -> None:
    """Refuse an order whose notional is above a limit."""
    value = request.quantity * price_usd
    if value > limit:
        largest = coins(limit / price_usd, instrument)
        raise RiskReject("max_order_usd", usd(limit), usd(value), largest=largest)


@dataclass(slots=True, frozen=True)
class ExposureChange:
    """An order and what it does to exposure.

    Attributes:
        price_usd: Price of the order.
        before: Exposures as they are.
        without: Exposures without the order that it replaces.
    """

    request: OrderRequest
    instrument: Instrument
    price_usd: Decimal
    before: Mapping[LedgerKey, LedgerExposure]
    without: Mapping[LedgerKey, LedgerExposure]
    _worst: dict[str | None, Decimal] = field(default_factory=dict)

    def worst(self, instance: str | None) -> Decimal:
        """Return the worst case with the order, of an instance or (None) of the account, USD."""
        known = self._worst.get(instance)
        if known is None:
            known = self._worst[instance] = gross_notional(self.after(self.request.quantity), instance)
        return known

    def excess(self, instance: str | None, limit: Decimal) -> Decimal | None:
        """Return the worst case with the order, if the order raises it above a limit; for the account when None."""
        value = self.worst(instance)
        return value if value > limit and value > gross_notional(self.before, instance) else None

    def after(self, quantity: Decimal) -> Mapping[LedgerKey, LedgerExposure]:
        """Return the exposures with an order of this side and price, but another quantity."""
        key = (self.request.instance, self.request.symbol)
        return {**self.without, key: self.without[key].with_order(self.request.side, quantity, self.price_usd)}

    def largest(self, instance: str | None, limit: Decimal) -> str:
        """Return the largest order of this side and price that would pass, found by halving."""
        lot = self.instrument.lot_size
        most = max(limit, gross_notional(self.before, instance))
        passes, fails = 0, int(self.request.quantity / lot)
        while fails - passes > 1:
            tried = (passes + fails) // 2
            if gross_notional(self.after(tried * lot), instance) <= most:
                passes = tried
            else:
                fails = tried
        return coins(passes * lot, self.instrument)


def check_notional(change: ExposureChange, instance: str | None, limit: Decimal) -> None:
    """Refuse an order that raises the worst-case notional of an instance (None: of the account) above a limit."""
    value = change.excess(instance, limit)
    if value is not None:
        raise RiskReject("max_notional_usd", usd(limit), usd(value), largest=change.largest(instance, limit))


def check_leverage(change: ExposureChange, equity: Decimal | None, leverage: Decimal) -> None:
    """Refuse an order that raises the account's worst-case notional above a multiple of its equity."""
    if equity is None:
        raise RiskReject("max_leverage", "", "the account's equity is not known")
    limit = leverage * max(ZERO, equity)
    value = change.excess(None, limit)
    if value is not None:
        words = f"{number(leverage)}x of {usd(equity)} equity"
        raise RiskReject("max_leverage", words, usd(value), largest=change.largest(None, limit))


def check_margin(increase: Decimal, price_usd: Decimal, side: Side, instrument: Instrument, view: RiskView) -> None:
    """Refuse an order that needs more money than is free.

    A perpetual needs its notional over the leverage, out of all wallets together, because every venue's account counts
    them as collateral in its own way; spot needs the very coin that is paid.

    Args:
        increase: Base coins that are new.
        price_usd: Price of the order.
        side: Its direction.
        instrument: What is traded.
        view: Wallets and leverage.
    """
    if instrument.is_perp:
        leverage = view.leverage(instrument.symbol) or ONE
        need, free = increase * price_usd / leverage, view.free_usd(None)
        words = f"{usd(need)} of margin at {number(leverage)}x"
    elif side is Side.BUY:
        need, free = increase * price_usd, view.free_usd(instrument.quote)
        words = f"{usd(need)} of {instrument.quote}"
    else:
        need, free = increase * view.fx(instrument.base), view.free_usd(instrument.base)
        words = f"{usd(need)} of {instrument.base}"
    if free is None:
        raise RiskReject("margin", "", "what is free is not known: the venue has not told the balances yet")
    if need > free:
        raise RiskReject("margin", f"{usd(free)} free", words)


def coins(quantity: Decimal, instrument: Instrument) -> str:
    """Return a quantity rounded down to the lot, such as `0.012 BTC`."""
    return f"{number(instrument.floor_quantity(max(ZERO, quantity)))} {instrument.base}"

"""Backpack's stream messages: the `data` of each event (EXCHANGES.md §5.6). Event times are microseconds."""

from __future__ import annotations

from typing import Any

from engine.kernel.account import Balance, Position
from engine.kernel.market import TIMEFRAME_MS, Bar, FundingRate, Levels, Quote, Ticker, Trade
from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate, Side
from tests.venues.emulators.backpack_listings import Listing, naive_utc, plain
from tests.venues.emulators.backpack_orders import SIDE_NAMES, Ticket, expiry_reason, trade_number


def levels(listing: Listing, side: Levels) -> list[list[str]]:
    """Return price levels as the venue writes them."""
    return [[listing.price(price), listing.size(size)] for price, size in side]


def depth(
    listing: Listing, bids: Levels, asks: Levels, numbers: tuple[int, int], event_us: int, engine_us: int
) -> dict[str, Any]:
    """Return a depth event; `numbers` are its first and last (U, u)."""
    return {
        "e": "depth",
        "E": event_us,
        "s": listing.native,
        "a": levels(listing, asks),
        "b": levels(listing, bids),
        "U": numbers[0],
        "u": numbers[1],
        "T": engine_us,
    }


def book_ticker(listing: Listing, quote: Quote, number: int, event_us: int) -> dict[str, Any]:
    """Return a bookTicker event."""
    return {
        "e": "bookTicker",
        "E": event_us,
        "s": listing.native,
        "a": listing.price(quote.ask),
        "A": listing.size(quote.ask_size),
        "b": listing.price(quote.bid),
        "B": listing.size(quote.bid_size),
        "u": str(number),
        "T": quote.ts * 1000,
    }


def trade(listing: Listing, event: Trade, number: int, event_us: int) -> dict[str, Any]:
    """Return a trade event; the buyer rested when a seller took."""
    return {
        "e": "trade",
        "E": event_us,
        "s": listing.native,
        "p": listing.price(event.price),
        "q": listing.size(event.size),
        "b": str(6_000_000 + 2 * number),
        "a": str(6_000_001 + 2 * number),
        "t": number,
        "T": event.ts * 1000,
        "m": event.side is Side.SELL,
    }


def kline(listing: Listing, bar: Bar, trades: int, event_us: int) -> dict[str, Any]:
    """Return a kline event."""
    return {
        "e": "kline",
        "E": event_us,
        "s": listing.native,
        "t": naive_utc(bar.open_time),
        "T": naive_utc(bar.open_time + TIMEFRAME_MS[bar.timeframe]),
        "o": listing.price(bar.open),
        "c": listing.price(bar.close),
        "h": listing.price(bar.high),
        "l": listing.price(bar.low),
        "v": listing.size(bar.base_volume),
        "n": trades,
        "X": bar.closed,
    }


def mark_price(listing: Listing, mark: float, index: float, funding: FundingRate, event_us: int) -> dict[str, Any]:
    """Return a markPrice event; `n` is in ms."""
    return {
        "e": "markPrice",
        "E": event_us,
        "s": listing.native,
        "p": listing.price(mark),
        "f": plain(funding.rate),
        "i": listing.price(index),
        "n": funding.next_time,
    }


def ticker(listing: Listing, event: Ticker, trades: int, event_us: int) -> dict[str, Any]:
    """Return a ticker event."""
    return {
        "e": "ticker",
        "E": event_us,
        "s": listing.native,
        "o": listing.price(event.open_24h),
        "c": listing.price(event.last),
        "h": listing.price(event.high_24h),
        "l": listing.price(event.low_24h),
        "v": listing.size(event.quote_volume_24h / event.last),
        "V": plain(event.quote_volume_24h),
        "n": trades,
    }


def _order(ticket: Ticket, name: str, status: str, event_us: int, engine_us: int) -> dict[str, Any]:
    listing, stop = ticket.listing, ticket.kind is OrderType.STOP
    data: dict[str, Any] = {
        "e": name,
        "E": event_us,
        "s": listing.native,
        "S": SIDE_NAMES[ticket.side],
        "o": "MARKET" if ticket.is_market else "LIMIT",
        "f": ticket.force,
        "X": status,
        "i": ticket.id,
        "z": listing.size(ticket.executed),
        "Z": plain(ticket.quote),
        "V": ticket.prevention,
        "T": engine_us,
        "O": ticket.origin,
        "r": ticket.reduce_only,
        "y": ticket.kind is OrderType.POST_ONLY,
    }
    if ticket.client_id is not None:
        data["c"] = ticket.client_id
    if ticket.price is not None:
        data["p"] = listing.price(ticket.price)
    if stop and ticket.trigger is not None:
        data["P"] = listing.price(ticket.trigger)
        data["B"] = "LastPrice"
        data["Y"] = listing.size(ticket.quantity)
    else:
        data["q"] = listing.size(ticket.quantity)
    return data


def order_update(ticket: Ticket, update: OrderUpdate, event_us: int) -> dict[str, Any] | None:
    """Return the orderUpdate event of a changed order; None where an orderFill says it all."""
    engine_us, stop = update.ts * 1000 + 7, ticket.kind is OrderType.STOP
    if not stop:
        ticket.quantity = update.quantity
    if update.state is OrderState.CANCELED:
        return _order(ticket, "orderCancelled", "Cancelled", event_us, engine_us)
    if update.state is OrderState.EXPIRED:
        data = _order(ticket, "orderExpired", "Expired", event_us, engine_us)
        data["R"] = expiry_reason(ticket, update.reason)
        return data
    if update.state is OrderState.OPEN and not ticket.accepted:
        ticket.accepted = True
        if stop:
            return _order(ticket, "triggerPlaced", "TriggerPending", event_us, engine_us)
        return _order(ticket, "orderAccepted", "New", event_us, engine_us)
    if update.state is OrderState.OPEN:
        return _order(ticket, "orderModified", "TriggerPending" if stop else "New", event_us, engine_us)
    return None


def refused_order(ticket: Ticket, event_us: int) -> dict[str, Any]:
    """Return the orderExpired event of an order that never reached the book."""
    data = _order(ticket, "orderExpired", "Expired", event_us, event_us)
    data["R"] = ticket.refused
    return data


def order_fill(ticket: Ticket, fill: Fill, event_us: int) -> dict[str, Any]:
    """Return the orderFill event of an execution."""
    ticket.executed += fill.quantity
    ticket.quote += fill.notional
    status = "Filled" if ticket.executed >= ticket.quantity else "PartiallyFilled"
    listing = ticket.listing
    if fill.liquidation:
        ticket.origin = "LIQUIDATION_AUTOCLOSE"
    data = _order(ticket, "orderFill", status, event_us, fill.ts * 1000 + 11)
    data |= {
        "t": trade_number(fill),
        "l": listing.size(fill.quantity),
        "L": listing.price(fill.price),
        "m": fill.maker,
        "n": plain(fill.fee),
        "N": fill.fee_currency,
    }
    return data


def position(listing: Listing, held: Position, name: str | None, event_us: int) -> dict[str, Any]:
    """Return a positionUpdate; the snapshot after subscribing has no `e`."""
    quantity, instrument = held.quantity, listing.instrument
    data: dict[str, Any] = {
        "E": event_us,
        "s": listing.native,
        "b": listing.price(held.entry_price),
        "B": listing.price(held.entry_price),
        "l": listing.price(held.liquidation_price) if held.liquidation_price is not None else "0",
        "f": plain(1 / held.leverage),
        "M": listing.price(held.mark_price),
        "m": plain(instrument.maintenance_margin_rate),
        "q": listing.size(quantity),
        "Q": listing.size(abs(quantity)),
        "n": plain(abs(quantity) * held.mark_price),
        "i": position_id(listing),
        "p": plain(held.realised),
        "P": plain(held.unrealised),
        "T": event_us,
    }
    return data if name is None else {"e": name, **data}


def position_id(listing: Listing) -> int:
    """Return the venue's number of a market's position."""
    return 5_400_000_000 + sum(ord(letter) * 31**place for place, letter in enumerate(listing.native[:5]))


def balance(held: Balance, event_us: int) -> dict[str, Any]:
    """Return a balanceUpdate: absolute amounts."""
    return {
        "e": "balanceUpdate",
        "E": event_us,
        "a": held.currency,
        "A": plain(held.free),
        "L": plain(held.locked),
        "S": "0",
        "T": event_us,
    }

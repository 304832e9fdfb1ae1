"""The account's events in Binance's shape and order, and who may listen to them (EXCHANGES §2.6, §3.6).

Futures events go to sockets on /private that name the listen key; spot events go to WS API sockets that subscribed with
a signature, wrapped in {"subscriptionId", "event"}. What one operation brought about is told in one go: the order's
events, then the account's with the changed items only.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.orders import Fill, OrderState, OrderUpdate
from engine.kernel.syscalls import AccountEvent
from tests.venues.emulators.binance_listing import FUTURES_WALLET, asset_of
from tests.venues.emulators.binance_orders import Ticket, trade_number
from tests.venues.emulators.binance_wire import BinanceError, Product, fixed
from tests.venues.emulators.wire import Socket

if TYPE_CHECKING:
    from tests.venues.emulators.binance import BinanceEmulator

FUTURES_CHANNEL = "user:fapi"
SPOT_CHANNEL = "user:api"
_KEY_LIFE_MS = 60 * 60_000
ZERO = Decimal(0)


class ListenKeys:
    """The one listen key of the futures account.

    Args:
        venue: The emulator.
    """

    def __init__(self, venue: BinanceEmulator) -> None:
        self._venue = venue
        self._numbers = count(1)
        self.key = ""
        self.expires_ms = 0

    def create(self) -> str:
        """Return the present key, prolonged, or a new one."""
        if not self.is_valid(self.key):
            self.key = f"pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sd{next(self._numbers):010d}"
        self.expires_ms = self._venue.clock.now_ms() + _KEY_LIFE_MS
        return self.key

    def keep_alive(self) -> str:
        """Prolong the key.

        Raises:
            BinanceError: -1125 when there is none any more.
        """
        if not self.is_valid(self.key):
            raise BinanceError(-1125, "This listenKey does not exist.")
        return self.create()

    def close(self) -> None:
        """End the key and with it its streams."""
        self.key = ""

    def is_valid(self, key: str) -> bool:
        return bool(key) and key == self.key and self._venue.clock.now_ms() < self.expires_ms

    def expire(self) -> None:
        """Let the key run out now, as `on_second` does after an hour: its streams hear of it and of nothing after."""
        key, self.key = self.key, ""
        if key:
            now_ms = self._venue.clock.now_ms()
            event = {"e": "listenKeyExpired", "E": now_ms, "listenKey": key}
            self._venue.user.to_futures(event, key)

    def on_second(self) -> None:
        if self.key and self._venue.clock.now_ms() >= self.expires_ms:
            self.expire()


class UserData:
    """Collects the paper venue's account events and tells them as Binance does.

    Args:
        venue: The emulator.
    """

    def __init__(self, venue: BinanceEmulator) -> None:
        self._venue = venue
        self._executions = count(1)
        self._fill: Fill | None = None
        self._reports: list[tuple[Product, dict[str, object]]] = []
        self._positions: dict[str, Position] = {}
        self._balances: dict[str, Balance] = {}
        self._payments: list[FundingPayment] = []
        self.payments: list[FundingPayment] = []
        self._wallets = {balance.currency: balance.total for balance in venue.exchange.balances()}
        self._known: dict[str, tuple[Decimal, Decimal]] = {}
        self._due = False

    def take(self, event: AccountEvent) -> None:
        """Take one event of the paper account."""
        if isinstance(event, Fill):
            self._fill = event
        elif isinstance(event, OrderUpdate):
            self._order(event)
        elif isinstance(event, Position):
            self._positions[event.symbol] = event
        elif isinstance(event, Balance):
            self._balances[event.currency] = event
        elif isinstance(event, FundingPayment):
            self._payments.append(event)
            self.payments.append(event)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _order(self, update: OrderUpdate) -> None:
        venue = self._venue
        find = venue.exchange.registry.find
        ticket = venue.orders.of(update.venue_order_id, lambda: find(update.venue_order_id, update.symbol))
        ticket.updated_ms = update.ts
        fill, terms = self._fill, (update.price, update.quantity)
        self._fill = None
        if fill is not None and fill.venue_order_id == update.venue_order_id:
            venue.orders.book_fill(ticket, fill)
            execution = "CALCULATED" if ticket.forced else "TRADE"
        elif update.state is OrderState.CANCELED:
            execution = "CANCELED"
        elif update.state is OrderState.EXPIRED:
            execution = "EXPIRED"
        elif ticket.seen is None:
            execution = "NEW"
        elif ticket.seen == terms:
            return
        else:
            execution = "AMENDMENT" if ticket.listing.is_futures else "REPLACED"
        ticket.seen = terms
        make = self._futures_report if ticket.listing.is_futures else self._spot_report
        if execution == "TRADE" and fill is not None and ticket.listing.is_futures:
            self._reports.append((Product.FUTURES, self._lite(ticket, fill)))
        taken = fill if execution in ("TRADE", "CALCULATED") else None
        self._reports.append((ticket.listing.product, make(ticket, update, execution, taken)))

    def flush(self) -> None:
        """Tell everything that was taken so far."""
        self._due = False
        reports, self._reports = self._reports, []
        for product, event in reports:
            event["E"] = self._venue.clock.now_ms()
            if product is Product.FUTURES:
                self.to_futures(event)
            else:
                self.to_spot(event)
        payments, self._payments = self._payments, []
        positions, self._positions = self._positions, {}
        balances, self._balances = self._balances, {}
        for payment in payments:
            self._account_update("FUNDING_FEE", {payment.currency: payment.amount}, [])
        wallets = [b for b in balances.values() if b.currency.endswith(FUTURES_WALLET)]
        changed = {b.currency: ZERO for b in wallets if b.total != self._wallets.get(b.currency, ZERO)}
        moved = [
            p for p in positions.values() if self._known.get(p.symbol, (ZERO, ZERO)) != (p.quantity, p.entry_price)
        ]
        if changed or moved:
            self._account_update("ORDER", changed, moved)
        spot = [b for b in balances.values() if not b.currency.endswith(FUTURES_WALLET)]
        if spot:
            self._spot_position(spot)

    def _account_update(self, reason: str, changes: dict[str, Decimal], positions: list[Position]) -> None:
        venue = self._venue
        now_ms = venue.clock.now_ms()
        items = []
        for currency, change in changes.items():
            total = venue.exchange.account.cash(currency)
            self._wallets[currency] = total
            text = fixed(total, 8)
            items.append({"a": asset_of(currency), "wb": text, "cw": text, "bc": fixed(change, 8)})
        rows = []
        for position in positions:
            self._known[position.symbol] = (position.quantity, position.entry_price)
            listing = venue.catalogue.by_symbol[position.symbol]
            entry = listing.mark_text(position.entry_price)
            rows.append(
                {
                    "s": listing.native,
                    "pa": listing.qty_text(position.quantity),
                    "ep": entry,
                    "bep": entry,
                    "cr": fixed(position.realised, 8),
                    "up": fixed(position.unrealised, 8),
                    "mt": "cross",
                    "iw": "0",
                    "ps": "BOTH",
                    "ma": listing.quote_asset,
                }
            )
        update = {"m": reason, "B": items, "P": rows}
        self.to_futures({"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": update})

    def leverage_changed(self, native: str, leverage: int) -> None:
        """Tell of another leverage."""
        now_ms = self._venue.clock.now_ms()
        change = {"s": native, "l": leverage}
        self.to_futures({"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": change})

    def _spot_position(self, balances: list[Balance]) -> None:
        now_ms = self._venue.clock.now_ms()
        items = [{"a": b.currency, "f": fixed(b.free, 8), "l": fixed(b.locked, 8)} for b in balances]
        self.to_spot({"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": items})

    def _lite(self, ticket: Ticket, fill: Fill) -> dict[str, object]:
        listing, order = ticket.listing, ticket.order
        return {
            "e": "TRADE_LITE", "E": 0, "T": fill.ts, "s": listing.native, "q": listing.qty_text(order.quantity),
            "p": listing.price_text(order.price), "m": fill.maker, "c": ticket.client_id, "S": ticket.side,
            "L": listing.price_text(fill.price), "l": listing.qty_text(fill.quantity),
            "t": trade_number(listing, fill.trade_id), "i": ticket.number,
        }  # fmt: skip

    def _futures_report(
        self, ticket: Ticket, update: OrderUpdate, execution: str, fill: Fill | None
    ) -> dict[str, object]:
        listing = ticket.listing
        kind = "LIQUIDATION" if ticket.forced else ticket.type
        order: dict[str, object] = {
            "s": listing.native,
            "c": ticket.client_id,
            "S": ticket.side,
            "o": kind,
            "f": ticket.force,
            "q": listing.qty_text(update.quantity),
            "p": listing.price_text(update.price),
            "ap": listing.mark_text(update.average_price),
            "sp": "0",
            "x": execution,
            "X": _status(update),
            "i": ticket.number,
            "l": listing.qty_text(fill.quantity if fill is not None else ZERO),
            "z": listing.qty_text(update.filled),
            "L": listing.price_text(fill.price if fill is not None else None),
            "T": fill.ts if fill is not None else update.ts,
            "t": trade_number(listing, fill.trade_id) if fill is not None else 0,
            "b": "0",
            "a": "0",
            "m": fill.maker if fill is not None else False,
            "R": update.reduce_only,
            "wt": "CONTRACT_PRICE",
            "ot": kind,
            "ps": "BOTH",
            "cp": False,
            "rp": fixed(self._venue.orders.realised[fill.trade_id] if fill is not None else ZERO, 8),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": ticket.good_till,
            "er": "0",
        }
        if fill is not None:
            order |= {"N": asset_of(fill.fee_currency), "n": fixed(fill.fee, 8)}
        return {"e": "ORDER_TRADE_UPDATE", "E": 0, "T": update.ts, "o": order}

    def _spot_report(self, ticket: Ticket, update: OrderUpdate, execution: str, fill: Fill | None) -> dict[str, object]:
        listing = ticket.listing
        client_id, original = ticket.client_id, ""
        if execution == "CANCELED":
            client_id, original = ticket.cancel_id or f"x-cancel{ticket.number}", ticket.client_id
        elif execution == "REPLACED":
            original = ticket.cancel_id
        notional = (update.average_price or ZERO) * update.filled
        last = fill.notional if fill is not None else ZERO
        return {
            "e": "executionReport",
            "E": 0,
            "s": listing.native,
            "c": client_id,
            "S": ticket.side,
            "o": ticket.type,
            "f": ticket.force,
            "q": listing.qty_text(update.quantity),
            "p": listing.price_text(update.price),
            "P": listing.price_text(None),
            "F": listing.qty_text(ZERO),
            "g": -1,
            "C": original,
            "x": execution,
            "X": _status(update),
            "r": "NONE",
            "i": ticket.number,
            "l": listing.qty_text(fill.quantity if fill is not None else ZERO),
            "z": listing.qty_text(update.filled),
            "L": listing.price_text(fill.price if fill is not None else None),
            "n": fixed(fill.fee, 8) if fill is not None else "0",
            "N": asset_of(fill.fee_currency) if fill is not None else None,
            "T": fill.ts if fill is not None else update.ts,
            "t": trade_number(listing, fill.trade_id) if fill is not None else -1,
            "I": next(self._executions),
            "w": update.state in (OrderState.OPEN, OrderState.PARTIAL),
            "m": fill.maker if fill is not None else False,
            "M": fill is not None,
            "O": ticket.placed_ms,
            "Z": fixed(notional, 8),
            "Y": fixed(last, 8),
            "Q": fixed(ZERO, 8),
            "W": ticket.placed_ms,
            "V": "EXPIRE_MAKER",
        }

    def to_futures(self, event: dict[str, object], key: str = "") -> None:
        """Send an event to the listen key's sockets, and to those only that want this kind."""
        key = key or self._venue.listen_keys.key
        listening = [
            socket
            for socket in self._venue.sockets
            if socket.kind == "private:futures" and key and key in socket.topics and _wants(socket, str(event["e"]))
        ]
        if not listening:
            return
        for text in self._venue.faults.stream(FUTURES_CHANNEL, msgspec.json.encode(event).decode()):
            for socket in listening:
                wrapped = socket.path.endswith("/stream")
                socket.send(f'{{"stream":"{key}","data":{text}}}' if wrapped else text)

    def to_spot(self, event: dict[str, object]) -> None:
        """Send an event to every WS API socket that subscribed."""
        listening = [socket for socket in self._venue.sockets if SPOT_CHANNEL in socket.topics]
        if not listening:
            return
        for text in self._venue.faults.stream(SPOT_CHANNEL, msgspec.json.encode(event).decode()):
            for socket in listening:
                number = socket.topics[SPOT_CHANNEL]
                socket.send(f'{{"subscriptionId":{number},"event":{text}}}')


def _status(update: OrderUpdate) -> str:
    return {OrderState.OPEN: "NEW", OrderState.PARTIAL: "PARTIALLY_FILLED"}.get(
        update.state, update.state.value.upper()
    )


def _wants(socket: Socket, event: str) -> bool:
    """Return whether a private socket's `events=` lets an event through."""
    wanted = parse_qs(socket.query).get("events")
    return not wanted or event in wanted[0].split("/") or event == "listenKeyExpired"

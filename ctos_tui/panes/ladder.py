"""The ladder: prices, sizes, own orders, and order entry at the price cursor."""

from __future__ import annotations

from collections.abc import Hashable
from decimal import Decimal

from ctos_tui.command.intents import CancelOrders, CancelScope, MoveOrder, PlaceOrder
from ctos_tui.command.terms import AbsolutePrice, Flags, Ref, ReferencePrice
from ctos_tui.numbers import UNKNOWN, age, by_step
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Span
from ctos_tui.panes.describe import short_symbol
from ctos_tui.panes.ladder_rows import (
    CURSOR_FILLS,
    LadderPicture,
    LadderWindow,
    OwnMark,
    centre,
    choose_step,
    follow,
    ladder_rows,
)
from ctos_tui.session import read_size
from engine.kernel.instruments import Instrument
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Order, Side


class Ladder(Pane):
    """Prices around the touch; the cursor stands on a price, not on a row."""

    TITLE = "LADDER"
    EMPTY = "waiting for the book …"
    CONTEXT = "ladder"
    HZ = 10
    SELECTS = False

    def __init__(self, *, id: str, second: bool = False) -> None:
        super().__init__(id=id)
        self._second = second
        self._window = LadderWindow()
        self._symbol = ""

    @property
    def symbol(self) -> str:
        """Return the market that this ladder shows."""
        return self.session.second if self._second else self.session.focus

    def on_focus(self) -> None:
        """Mark the title; the cursor shows where it was."""
        self.view.focused = True
        self.pull()

    def pull(self) -> None:
        """Draw the book of now."""
        symbol = self.symbol
        instrument = self.host.port.instruments.get(symbol)
        if instrument is None:
            self.set_rows((), ((self.session.port.market_label, "dim"),))
            return
        book = self.host.port.book(symbol)
        if symbol != self._symbol:
            self._symbol, self._window = symbol, LadderWindow()
        bid, ask = book.best_bid, book.best_ask
        rows = max(1, self.view.body - 1)
        if bid is None or ask is None or not book.valid:
            self.set_rows((), self._info(instrument, stale=True))
            return
        if self.view.body < 2:
            return
        if self._window.top is None:
            self._window.step = choose_step(instrument.tick_size, bid, ask, rows)
        follow(self._window, bid, ask, rows)
        if self._window.cursor is None and self.view.focused:
            self._window.cursor = instrument.price_from_float(bid)
        stale = self.host.port.is_stale(symbol)
        picture = LadderPicture(
            instrument,
            book,
            self._window,
            marks=self._marks(instrument),
            last=self.host.port.last(symbol),
            stale=stale,
            focused=self.view.focused,
        )
        drawn = ladder_rows(picture, self.row_width, self.view.body)
        self.view.key = next((row.key for row in drawn if row.fill in CURSOR_FILLS), None)
        self.set_rows(drawn, self._info(instrument, stale))

    def _info(self, instrument: Instrument, stale: bool) -> tuple[Span, ...]:
        spans: list[Span] = [(short_symbol(instrument.symbol, self.host.port.account.default_quote), "bright")]
        if stale:
            age_ms = self.host.port.age_ms(instrument.symbol)
            spans.append((f"stale {age(None if age_ms is None else age_ms / 1000)}", "warn"))
        elif self._window.top is not None:
            spans.append((f"×{by_step(self._window.step, instrument.tick_size)}", "dim"))
        spans.append((str(self.session.size), "own_order"))
        return tuple(spans)

    def _orders(self) -> list[Order]:
        orders = self.host.port.working_orders()
        return [order for order in orders if order.symbol == self.symbol and order.price is not None]

    def _marks(self, instrument: Instrument) -> list[OwnMark]:
        marks = []
        for order in self._orders():
            if order.price is None:
                continue
            queue = self.host.feed.queue.ahead(order)
            place = "" if queue is None else f" q{_short(queue, instrument)}"
            number = f"◂#{order.label}"
            text = f"{number} {_short(order.remaining, instrument)}{place}"
            marks.append(OwnMark(order.side, order.price, text, short=number + place))
        row = next((row for row in self.host.port.positions() if row.symbol == self.symbol and row.quantity), None)
        if row is not None:
            side = Side.BUY if row.quantity > 0 else Side.SELL
            marks.append(OwnMark(side, row.entry_price, "entry", "overlay_2"))
        ticket = self.host.ticket
        intent = ticket.intent if ticket is not None else None
        price = ticket.price if ticket is not None else None
        if isinstance(intent, PlaceOrder) and price is not None and intent.symbol in (None, self.symbol):
            role = "bid" if intent.side is Side.BUY else "ask"
            marks.insert(0, OwnMark(intent.side, price, f"▸{intent.side.value.upper()} {intent.size}", role))
        return marks

    def actions(self) -> Actions:
        """Return what the ladder does."""
        return {
            "ladder.up": lambda: self._move(1),
            "ladder.down": lambda: self._move(-1),
            "ladder.page_up": lambda: self._move(10),
            "ladder.page_down": lambda: self._move(-10),
            "ladder.buy": lambda: self._stage_here(Side.BUY),
            "ladder.sell": lambda: self._stage_here(Side.SELL),
            "ladder.join_bid": lambda: self._join(Side.BUY),
            "ladder.join_ask": lambda: self._join(Side.SELL),
            "ladder.size_up": lambda: self._size_by(1),
            "ladder.size_down": lambda: self._size_by(-1),
            "ladder.size": self._ask_size,
            "ladder.cancel": self._cancel_here,
            "ladder.move": self._pick_up,
            "ladder.center": self._centre,
            "ladder.best": self._to_best,
            "orders.cancel_market": self._cancel_market,
        }

    def copy_text(self) -> str:
        """Return the market and the price under the cursor."""
        return f"{self.symbol} {self._window.cursor or UNKNOWN}"

    def select(self, key: Hashable) -> bool:
        """Put the cursor on a clicked row."""
        if not isinstance(key, int):
            return False
        self._window.cursor = self._window.price_of(key)
        self.pull()
        return True

    def _book(self) -> OrderBook | None:
        if self.symbol not in self.host.port.instruments:
            return None
        book = self.host.port.book(self.symbol)
        return book if book.valid and book.best_bid is not None and book.best_ask is not None else None

    def _cursor(self) -> Decimal | None:
        """Return the cursor's price; says why there is none."""
        if self._window.cursor is None:
            self._to_best()
        if self._window.cursor is None:
            self.session.say("no book yet: there is no price to stand on", "warn", log=False)
        return self._window.cursor

    def _move(self, rows: int) -> None:
        book = self._book()
        if book is None or self._window.top is None:
            return
        step = self._window.step
        if self._window.cursor is None:
            self._to_best()
            return
        moved = self._window.cursor + step * rows
        # From a price between two rows the first move goes to the row's own price.
        aligned = (moved / step).to_integral_value() * step
        if aligned <= 0:
            return
        self._window.cursor = aligned
        self._bring_into_view(aligned)
        ticket = self.host.ticket
        if ticket is not None and ticket.price is not None:
            ticket.at_price(aligned)
        self.pull()

    def _bring_into_view(self, price: Decimal) -> None:
        window = self._window
        if window.top is None:
            return
        row = window.row_of(price, Side.BUY)
        grid = max(1, self.view.body - 1)
        if row > window.top:
            window.top, window.held = row, True
        elif row < window.top - grid + 1:
            window.top, window.held = row + grid - 1, True

    def _stage_here(self, side: Side) -> None:
        price = self._cursor()
        if price is not None:
            self.host.stage(PlaceOrder(side, self.session.size, AbsolutePrice(price), self.symbol))

    def _join(self, side: Side) -> None:
        flags = Flags(post=True)
        self.host.stage(PlaceOrder(side, self.session.size, ReferencePrice(Ref.BEST), self.symbol, flags))

    def _size_by(self, step: int) -> None:
        self.session.choose_size(step)
        self._use_size()

    def _use_size(self) -> None:
        if self.host.ticket is not None:
            self.host.ticket.with_size(self.session.size)
        self.pull()

    def _ask_size(self) -> None:
        self.host.ask("size (0.5, 500$, 25%bal)", self._take_size)

    def _take_size(self, text: str) -> None:
        size = read_size(text)
        if size is None:
            self.session.say(f"{text!r} is not a size: write 0.5, 500$ or 25%bal", "danger", log=False)
            return
        self.session.set_size(size)
        self._use_size()

    def _own_here(self) -> list[Order]:
        cursor = self._window.cursor
        if cursor is None:
            return []
        window = self._window
        found = []
        for order in self._orders():
            if order.price is None:
                continue
            row = window.row_of(order.price, order.side)
            if order.price == cursor or row == window.row_of(cursor, order.side):
                found.append(order)
        return found

    def _cancel_here(self) -> None:
        orders = self._own_here()
        if not orders:
            self.session.say("no own order at the cursor's price", "warn", log=False)
            return
        self.host.cancel_now(CancelOrders(tuple(str(order.label) for order in orders)))

    def _cancel_market(self) -> None:
        self.host.cancel_now(CancelOrders(scope=CancelScope.MARKET, symbol=self.symbol))

    def _pick_up(self) -> None:
        orders = self._own_here()
        if not orders:
            self.session.say("no own order at the cursor's price to move", "warn", log=False)
            return
        order = orders[0]
        if order.price is not None:
            self._window.cursor = order.price
            self.host.stage(MoveOrder(str(order.label), price=AbsolutePrice(order.price)))

    def _centre(self) -> None:
        book = self._book()
        if book is not None and book.best_bid is not None and book.best_ask is not None:
            centre(self._window, book.best_bid, book.best_ask, max(1, self.view.body - 1))
            self.pull()

    def _to_best(self) -> None:
        book = self._book()
        instrument = self.host.port.instruments.get(self.symbol)
        if book is not None and book.best_bid is not None and instrument is not None:
            self._window.cursor = instrument.price_from_float(book.best_bid)
            self._centre()


def _short(quantity: Decimal, instrument: Instrument) -> str:
    return f"{quantity.normalize():f}"

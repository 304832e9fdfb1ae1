"""The ladder as data: price rows of a fixed step, sizes with bars, own orders, the line between the sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ctos_tui.numbers import by_step, compact, fixed, places
from ctos_tui.panes.cells import Row, Span, Spans, fit, spans_width
from ctos_tui.text import width as cells_of
from engine.kernel.instruments import Instrument
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Side

_NICE = (1, 2, 5)
_EPS = 1e-9
_SIZE_CELLS = 7
_SPREAD_ROW = "spread"
CURSOR_FILLS = ("selection", "cursor")
"""Fills of the cursor's row, with and without the keyboard."""


class OwnMark(msgspec.Struct, frozen=True):
    """An own order, the staged order or the entry price beside the ladder; `short` stands where `text` is too long."""

    side: Side
    price: Decimal
    text: str
    role: str = "own_order"
    short: str = ""


class LadderWindow(msgspec.Struct):
    """Which prices the ladder shows.

    Attributes:
        step: Price distance of two rows.
        top: Row number (price / step) of the first row; None before there is a book.
        held: The operator scrolled away: the ladder does not follow the market until it is centred.
        cursor: The price cursor; it keeps its price.
    """

    step: Decimal = Decimal(1)
    top: int | None = None
    held: bool = False
    cursor: Decimal | None = None

    def row_of(self, price: Decimal, side: Side) -> int:
        """Return the row number of a price: bids go to the row at or below, asks to the one at or above."""
        return bucket(float(price), float(self.step), side)

    def price_of(self, row: int) -> Decimal:
        """Return the price of a row number."""
        return self.step * row


def bucket(price: float, step: float, side: Side) -> int:
    """Return the row number that a price falls into."""
    share = price / step
    return math.floor(share + _EPS) if side is Side.BUY else math.ceil(share - _EPS)


def choose_step(tick: Decimal, bid: float, ask: float, rows: int) -> Decimal:
    """Return a round multiple of the tick at which the ladder spans about 6 basis points, and the spread few rows."""
    wanted = max(bid * 0.0006 / max(rows, 1), (ask - bid) / 3, float(tick))
    multiple = wanted / float(tick)
    power = 10 ** math.floor(math.log10(max(multiple, 1)) + _EPS)
    nice = next((factor * power for factor in (*_NICE, 10) if factor * power >= multiple * 0.75), 10 * power)
    return tick * nice


def centre(window: LadderWindow, bid: float, ask: float, rows: int) -> None:
    """Put the touch in the middle of so many rows."""
    middle = bucket((bid + ask) / 2, float(window.step), Side.BUY)
    window.top = middle + rows // 2
    window.held = False


def follow(window: LadderWindow, bid: float, ask: float, rows: int) -> None:
    """Keep the touch away from the edges, unless the operator holds the ladder."""
    if window.top is None:
        centre(window, bid, ask, rows)
        return
    if window.held:
        return
    near = max(1, rows // 5)
    at = window.top - bucket((bid + ask) / 2, float(window.step), Side.BUY)
    if not near <= at < rows - near:
        centre(window, bid, ask, rows)


class LadderPicture(msgspec.Struct):
    """What the rows are made of.

    Attributes:
        marks: Own orders and other marks.
        last: Price of the last trade.
        stale: The book cannot be trusted: everything is dimmed.
        focused: The pane has the keyboard.
    """

    instrument: Instrument
    book: OrderBook
    window: LadderWindow
    marks: Sequence[OwnMark] = ()
    last: float | None = None
    stale: bool = False
    focused: bool = False
    bids: dict[int, float] = msgspec.field(default_factory=dict)
    asks: dict[int, float] = msgspec.field(default_factory=dict)


def gather(levels: dict[float, float], step: float, side: Side, low: int, high: int) -> dict[int, float]:
    """Add up the sizes of a side's levels by row, between two row numbers."""
    rows: dict[int, float] = {}
    least, most = (low - 1) * step, (high + 1) * step
    for price, size in levels.items():
        if least < price < most:
            row = bucket(price, step, side)
            rows[row] = rows.get(row, 0.0) + size
    return rows


def ladder_rows(picture: LadderPicture, width: int, height: int) -> list[Row]:
    """Draw the ladder's rows from the highest price down."""
    window = picture.window
    if window.top is None or height <= 0:
        return []
    grid = max(1, height - 1)
    low, high = window.top - grid + 1, window.top
    step = float(window.step)
    picture.bids = gather(picture.book.bids, step, Side.BUY, low, high)
    picture.asks = gather(picture.book.asks, step, Side.SELL, low, high)
    sheet = _Sheet.fit(picture, width)
    bid, ask = picture.book.best_bid, picture.book.best_ask
    first_bid = bucket(bid, step, Side.BUY) if bid is not None else None
    cursor = _cursor_row(window, first_bid, low, high)
    rows: list[Row] = []
    parted = first_bid is None or bid is None or ask is None
    for row in range(high, low - 1, -1):
        if not parted and first_bid is not None and row <= first_bid:
            rows.append(Row(_SPREAD_ROW, _spread_line(picture, width), ""))
            parted = True
        rows.append(sheet.row(row, row == cursor))
    if not parted:
        rows.append(Row(_SPREAD_ROW, _spread_line(picture, width), ""))
    return rows[:height]


def _cursor_row(window: LadderWindow, first_bid: int | None, low: int, high: int) -> int | None:
    """Return the row of the cursor; it sticks to the edge when its price is out of the window."""
    if window.cursor is None:
        return None
    share = float(window.cursor) / float(window.step)
    is_bid = first_bid is None or share < first_bid + 1 - _EPS
    row = bucket(float(window.cursor), float(window.step), Side.BUY if is_bid else Side.SELL)
    return min(max(row, low), high)


def _spread_line(picture: LadderPicture, width: int) -> Spans:
    """Draw the line between asks and bids: spread, last price, imbalance of the shown sides."""
    bid, ask = picture.book.best_bid, picture.book.best_ask
    tick = picture.instrument.tick_size
    spread = by_step(Decimal(repr(ask)) - Decimal(repr(bid)), tick) if bid is not None and ask is not None else "—"
    last = by_step(None if picture.last is None else Decimal(repr(picture.last)), tick)
    bought, sold = sum(picture.bids.values()), sum(picture.asks.values())
    share = bought / (bought + sold) if bought + sold else None
    balance = "" if share is None else f"{share * 100:.0f}% bid"
    parts: list[Span] = [("── ", "grid"), (spread, "label"), (" ── ", "grid"), (last, "last"), (" ── ", "grid")]
    parts.append((balance, "label"))
    left = width - spans_width(parts)
    return fit((*parts, (" " + "─" * max(0, left - 1), "grid")), width)


class _Sheet(msgspec.Struct):
    """Columns of the ladder at one width."""

    picture: LadderPicture
    width: int
    price_cells: int
    left: int
    right: int
    digits: int
    most: float
    last_row: int | None
    marks: dict[int, list[OwnMark]]

    @classmethod
    def fit(cls, picture: LadderPicture, width: int) -> _Sheet:
        window, instrument = picture.window, picture.instrument
        price_cells = cells_of(by_step(window.price_of(window.top or 0), instrument.tick_size))
        side = max(0, (width - price_cells - 2) // 2)
        sizes = [*picture.bids.values(), *picture.asks.values()]
        most = max(sizes, default=0.0)
        digits = min(places(instrument.lot_size), 3, max(0, 5 - len(str(int(most)))))
        marks: dict[int, list[OwnMark]] = {}
        for mark in picture.marks:
            marks.setdefault(window.row_of(mark.price, mark.side), []).append(mark)
        last_row = None
        if picture.last is not None:
            near = picture.book.best_bid
            from_bid = near is not None and picture.last <= near
            last_row = bucket(picture.last, float(window.step), Side.BUY if from_bid else Side.SELL)
        right = max(0, width - price_cells - 2 - side)
        return cls(picture, width, price_cells, side, right, digits, most, last_row, marks)

    def row(self, number: int, is_cursor: bool) -> Row:
        """Draw one price row."""
        window = self.picture.window
        bid, ask = self.picture.bids.get(number), self.picture.asks.get(number)
        marks = self.marks.get(number, [])
        price = by_step(window.price_of(number), self.picture.instrument.tick_size).rjust(self.price_cells)
        note: Span = ("", "dim")
        if is_cursor:
            exact = window.cursor if window.cursor is not None else window.price_of(number)
            if exact != window.price_of(number):
                note = (by_step(exact, self.picture.instrument.tick_size), "accent")
            else:
                note = (self._depth_to(number), "dim")
        beside = _beside(marks, note, min(self.left, self.right))
        if bid is not None or (ask is None and self._below(number)):
            left = self._bid_cell(bid)
            right: Spans = fit((*beside,), self.right)
        else:
            left = _right_aligned(fit((*beside,), self.left), self.left)
            right = self._ask_cell(ask)
        role = self._price_role(number, bid, ask)
        spans = (*left, (" ", "text"), (price, role), (" ", "text"), *right)
        fill = ""
        if is_cursor:
            fill = CURSOR_FILLS[0] if self.picture.focused else CURSOR_FILLS[1]
        elif any(mark.role == "own_order" for mark in marks):
            fill = "own_row"
        if self.picture.stale:
            spans = tuple((text, "stale" if role not in ("own_order", "accent") else role) for text, role in spans)
        return Row(number, spans, fill)

    def _below(self, number: int) -> bool:
        best = self.picture.book.best_bid
        return best is not None and number <= bucket(best, float(self.picture.window.step), Side.BUY)

    def _price_role(self, number: int, bid: float | None, ask: float | None) -> str:
        if number == self.last_row:
            return "last"
        if bid is None and ask is None:
            return "dim"
        return "bid" if bid is not None else "ask"

    def _size(self, size: float) -> str:
        text = fixed(size, self.digits, group=False)
        return text if len(text) <= _SIZE_CELLS else compact(size)

    def _bid_cell(self, size: float | None) -> Spans:
        if size is None:
            return ((" " * self.left, "text"),)
        text = self._size(size)
        room = max(0, self.left - _SIZE_CELLS - 1)
        bar = bar_left(size / self.most if self.most else 0, room)
        lead = self.left - len(bar) - len(text) - (1 if room else 0)
        blank = " " * max(0, self.left - room - (1 if room else 0) - len(text))
        gap = " " * max(0, lead - len(blank) + (1 if room else 0))
        return ((blank, "text"), (text, "bright"), (gap, "text"), (bar, "bid_bar"))

    def _ask_cell(self, size: float | None) -> Spans:
        if size is None:
            return ((" " * self.right, "text"),)
        text = self._size(size)
        room = max(0, min(self.left, self.right) - _SIZE_CELLS - 1)
        bar = bar_right(size / self.most if self.most else 0, room)
        gap = " " * max(0, room - len(bar) + (1 if room else 0) + _SIZE_CELLS - len(text))
        return ((bar, "ask_bar"), (gap, "text"), (text, "bright"))

    def _depth_to(self, number: int) -> str:
        """Return the size between the touch and a row, itself included."""
        bid, ask = self.picture.bids, self.picture.asks
        if number in bid or self._below(number):
            total = sum(size for row, size in bid.items() if row >= number)
        else:
            total = sum(size for row, size in ask.items() if row <= number)
        return f"Σ {compact(total)}" if total else ""


def _beside(marks: Sequence[OwnMark], note: Span, cells: int) -> list[Span]:
    """Return the marks of a row in full or short, as there is room; the note only where nothing is cut for it."""
    found: list[Span] = [(mark.text, mark.role) for mark in marks]
    spans = _spaced([*found, note] if note[0] else found)
    if spans_width(spans) <= cells or not marks:
        return spans
    if spans_width(_spaced(found)) <= cells:
        return _spaced(found)
    return _spaced([(mark.short or mark.text, mark.role) for mark in marks])


def _spaced(spans: Sequence[Span]) -> list[Span]:
    spaced: list[Span] = []
    for span in spans:
        spaced += [(" ", "text"), span] if spaced else [span]
    return spaced


def _right_aligned(spans: Spans, cells: int) -> Spans:
    return ((" " * max(0, cells - spans_width(spans)), "text"), *spans)


def bar_right(share: float, cells: int) -> str:
    """Draw a bar that grows to the right, in half cells; anything above nothing shows at least a thin mark."""
    halves = round(min(1.0, share) * cells * 2)
    if halves == 0:
        return "▏" if share > 0 and cells else ""
    return "█" * (halves // 2) + ("▌" if halves % 2 else "")


def bar_left(share: float, cells: int) -> str:
    """Draw a bar that grows to the left, in half cells."""
    halves = round(min(1.0, share) * cells * 2)
    if halves == 0:
        return "▕" if share > 0 and cells else ""
    return ("▐" if halves % 2 else "") + "█" * (halves // 2)

"""Random orders, prints, books, funding and restarts: the rules that hold at every step."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from drivers.paper.config import MemoryStore, QueueModel
from engine.kernel.account import FundingPayment
from engine.kernel.errors import CtosError
from engine.kernel.orders import Fill, OrderType, OrderUpdate, Side
from tests.paper.venue import BUY, OTHER, PERP, SELL, SPOT, Venue, kept, kept_in

SYMBOLS = (PERP, OTHER, SPOT)
FEES = {
    "perp_maker": Decimal("0.0002"),
    "perp_taker": Decimal("0.0005"),
    "spot_maker": Decimal("0.001"),
    "spot_taker": Decimal("0.001"),
}
symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from([BUY, SELL])
ticks = st.integers(9_000, 11_000)
quantities = st.integers(1, 40_000).map(lambda lots: Decimal(lots) / 1000)
sizes = st.integers(1, 20_000).map(lambda lots: lots / 1000)


class PaperMachine(RuleBasedStateMachine):
    """Keeps its own books from what the venue reports, and compares."""

    queue = QueueModel.FIFO

    @initialize(leverage=st.sampled_from([1, 5, 50]))
    def begin(self, leverage):
        self.config = {
            "queue": self.queue,
            "leverage": Decimal(leverage),
            "money": {"USD": Decimal(2_000), "TST": Decimal(5)},
        }
        self.venue = Venue(**self.config, **FEES)
        self.sent: list[str] = []
        self.symbol_of: dict[str, str] = {}
        self.expected_replies: dict[str, int] = {}
        self.reducing: set[str] = set()
        self.flow = {"USD": Decimal(2_000), "TST": Decimal(5)}
        self.held = {PERP: Decimal(0), OTHER: Decimal(0)}
        self.paid_in = Decimal(0)
        self.seen = 0
        for symbol in SYMBOLS:
            self.reprice(symbol, 10_000, 2, 3.0, 5.0)

    @rule(symbol=symbols, tick=ticks, spread=st.integers(1, 60), near=sizes, far=sizes)
    def reprice(self, symbol, tick, spread, near, far):
        bids = [(round((tick - spread - i) / 100, 2), size) for i, size in enumerate((near, far))]
        asks = [(round((tick + spread + i) / 100, 2), size) for i, size in enumerate((far, near))]
        self.played(lambda: self.venue.book(bids, asks, symbol))
        if symbol != SPOT:
            self.played(lambda: self.venue.mark(tick / 100, symbol))

    @rule(symbol=symbols, tick=ticks, size=sizes, side=sides)
    def trade(self, symbol, tick, size, side):
        self.played(lambda: self.venue.print(tick / 100, size, side, symbol))

    @rule(symbol=symbols, side=sides, level=st.integers(0, 1), size=st.one_of(st.just(0.0), sizes))
    def resize(self, symbol, side, level, size):
        book = self.venue.driver.book(symbol)
        levels = book.top_bids(2) if side is BUY else book.top_asks(2)
        if self.queue is QueueModel.TOUCH or len(levels) < 2:
            return
        change = [(levels[level][0], size)]
        self.played(lambda: self.venue.book(*((change, []) if side is BUY else ([], change)), symbol, snapshot=False))

    @rule(
        symbol=symbols,
        side=sides,
        kind=st.sampled_from(list(OrderType)),
        quantity=quantities,
        tick=ticks,
        reduce=st.booleans(),
    )
    def place(self, symbol, side, kind, quantity, tick, reduce):
        price = Decimal(tick) / 100
        flags = {"trigger": price} if kind is OrderType.STOP else {}
        client_id = self.venue.send(
            side, kind, quantity, price if kind.has_price else None, symbol=symbol, reduce_only=reduce,
            id=f"c{len(self.sent)}", **flags,
        )  # fmt: skip
        self.sent.append(client_id)
        self.symbol_of[client_id] = symbol
        self.expected_replies[client_id] = 1
        if reduce or kind is OrderType.STOP:
            self.reducing.add(client_id)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), tick=st.one_of(st.none(), ticks), quantity=st.one_of(st.none(), quantities))
    def amend(self, data, tick, quantity):
        client_id = data.draw(st.sampled_from(self.sent[-8:]))
        self.expected_replies[client_id] += 1
        price = None if tick is None else Decimal(tick) / 100
        reply = self.venue.replies[client_id].append
        self.venue.driver.gateway.amend(client_id, self.symbol_of[client_id], price, quantity, reply)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def cancel(self, data):
        client_id = data.draw(st.sampled_from(self.sent[-8:]))
        self.expected_replies[client_id] += 1
        self.venue.driver.gateway.cancel(client_id, self.symbol_of[client_id], self.venue.replies[client_id].append)

    @rule(ms=st.integers(1, 12))
    def wait(self, ms):
        self.played(lambda: self.venue.wait(ms))

    @rule(symbol=st.sampled_from([PERP, OTHER]), rate=st.integers(-300, 300))
    def funding(self, symbol, rate):
        self.played(lambda: self.venue.funding(rate / 100_000, self.venue.clock.now_ms() + 1_000, symbol))
        self.played(lambda: self.venue.wait(2_000))

    @rule()
    def restart(self):
        self.played(lambda: self.venue.wait(10))
        before = self.venue
        if before.store.state is None:
            return
        books = {symbol: before.exchange.markets[symbol] for symbol in SYMBOLS}
        self.venue = Venue(store=MemoryStore(before.store.state), start_ns=before.clock.now_ns(), **self.config, **FEES)
        assert kept(self.venue) == kept(before)
        self.venue.replies = before.replies
        self.seen = 0
        for symbol, market in books.items():
            if market.book.bids and market.book.asks:
                bids, asks = market.book.top_bids(5), market.book.top_asks(5)
                self.played(lambda bids=bids, asks=asks, symbol=symbol: self.venue.book(bids, asks, symbol))
            if symbol != SPOT and market.mark is not None:
                self.played(lambda mark=market.mark, symbol=symbol: self.venue.mark(mark, symbol))

    def played(self, action):
        """Carry out one action and follow what the venue reported, event by event."""
        working = self.working()
        action()
        for event in self.venue.events[self.seen :]:
            if isinstance(event, OrderUpdate):
                if event.state.is_final:
                    working.pop(event.venue_order_id, None)
                elif event.type is not OrderType.STOP:
                    working[event.venue_order_id] = event
            elif isinstance(event, FundingPayment):
                self.flow["USD"] += event.amount
            elif isinstance(event, Fill):
                self.follow_fill(event, working)
        self.seen = len(self.venue.events)

    def follow_fill(self, fill: Fill, working: dict[str, OrderUpdate]):
        sign = fill.side.sign
        if fill.symbol == SPOT:
            self.flow["USD"] -= sign * fill.notional
            self.flow["TST"] += sign * fill.quantity
        else:
            before = self.held[fill.symbol]
            self.held[fill.symbol] += sign * fill.quantity
            self.flow["USD"] -= sign * fill.notional
            if fill.client_id in self.reducing or fill.liquidation:
                assert abs(self.held[fill.symbol]) < abs(before), f"a reducing order increased the position: {fill}"
        self.flow["USD"] -= fill.fee
        if fill.maker:
            self.check_priority(fill, working)

    def check_priority(self, fill: Fill, working: dict[str, OrderUpdate]):
        """An order trades only when none of ours of a better price stands before it."""
        mine = working[fill.venue_order_id]
        for other in working.values():
            if other.symbol != mine.symbol or other.side is not mine.side or other.type is OrderType.STOP:
                continue
            better = (other.price - mine.price) * mine.side.sign > 0
            assert not better, f"{mine} traded before {other}"

    def working(self) -> dict[str, OrderUpdate]:
        updates = self.venue.exchange.open_orders()
        return {update.venue_order_id: update for update in updates if update.type is not OrderType.STOP}

    @invariant()
    def money_is_whole(self):
        if not hasattr(self, "venue"):
            return
        self.venue.check_money()
        exchange = self.venue.exchange
        insurance = exchange.account.money.insurance.get("USD", Decimal(0))
        marks = {symbol: exchange.markets[symbol].mark_price() for symbol in self.held}
        worth = self.flow["USD"] + insurance
        for symbol, quantity in self.held.items():
            if quantity:
                mark = marks[symbol]
                worth += exchange.account.ledgers[symbol].cost if mark is None else quantity * mark
        assert exchange.account.cash("USD") + exchange.margin.unrealised("USD") == worth
        assert exchange.account.cash("TST") == self.flow["TST"]
        assert {s: self.venue.held(s) for s in self.held} == self.held

    @invariant()
    def the_state_that_is_kept_is_the_state_that_is(self):
        if hasattr(self, "venue") and self.venue.store.state is not None:
            assert kept(self.venue) == kept_in(self.venue.store.state)

    @invariant()
    def resting_orders_make_sense(self):
        if not hasattr(self, "venue"):
            return
        for market in self.venue.exchange.markets.values():
            for own, sign in ((market.buys, -1), (market.sells, 1)):
                keys = [(resting.price * sign, resting.order.priority) for resting in own.orders]
                assert keys == sorted(keys)
                assert all(resting.order.remaining > 0 and resting.ahead >= 0 for resting in own.orders)
            if market.buys.orders and market.sells.orders:
                assert market.buys.best < market.sells.best, "the account trades with itself"
            if market.touch is not None and market.touch.ask_size and self.queue is QueueModel.FIFO:
                assert market.buys.best < market.touch.ask

    def teardown(self):
        if hasattr(self, "venue"):
            self.played(lambda: self.venue.wait(50))
            for client_id, expected in self.expected_replies.items():
                assert len(self.venue.replies[client_id]) == expected, "one reply for each request"
                assert all(isinstance(answer, OrderUpdate | CtosError) for answer in self.venue.replies[client_id])


class TouchMachine(PaperMachine):
    queue = QueueModel.TOUCH

    @rule(symbol=symbols, tick=ticks)
    def start_printing(self, symbol, tick):
        self.played(lambda: self.venue.print(tick / 100, 1.0, Side.BUY, symbol))


TestPaper = PaperMachine.TestCase
TestTouch = TouchMachine.TestCase
TestPaper.settings = settings(stateful_step_count=60)
TestTouch.settings = settings(stateful_step_count=40)

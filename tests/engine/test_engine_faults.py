"""Random trading under random faults: whatever happens, in the end the engine and the venue agree.

Nothing is sent twice, no fill is lost or counted twice, positions are the sum of their fills, states only move
forward.
"""

from __future__ import annotations

import tempfile
from decimal import Decimal
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from drivers.paper.config import QueueModel
from engine.kernel.errors import CtosError, RateLimited, VenueUnavailable
from engine.kernel.market import BookUpdate
from engine.kernel.orders import Order, OrderState, OrderType
from engine.runtime.trading_state import TradingMode
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, PERP, SELL, Floor, d

TYPES = (
    *(OrderType.LIMIT,) * 4,
    OrderType.POST_ONLY,
    OrderType.MARKET,
    OrderType.IOC,
    OrderType.STOP,
)
PRICES = st.integers(9_970, 10_030).map(lambda ticks: Decimal(ticks) / 100)
"""Around what is quoted: most orders rest where the market gets."""
QUANTITIES = st.integers(100, 3_000).map(lambda lots: Decimal(lots) / 1000)
INSTANCES = st.sampled_from(["manual", "grid", "trend"])
FINAL = [state for state in OrderState if state.is_final]


class Trading(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.floor = Floor(self.path, driver_of=FaultyDriver, queue=QueueModel.FIFO)
        self.sent: list[str] = []
        self.final: dict[str, OrderState] = {}
        self.delivered: list[tuple[str, str]] = []

    @initialize()
    def open(self) -> None:
        self.floor.admit("grid", "trend", max_open_orders=100)
        self.trade(10_000, 0.5)

    @rule(
        side=st.sampled_from([BUY, SELL]),
        type=st.sampled_from(TYPES),
        quantity=QUANTITIES,
        price=PRICES,
        instance=INSTANCES,
        reduce_only=st.sampled_from([False, False, False, True]),
    )
    def submit(self, side, type, quantity, price, instance, reduce_only) -> None:
        trigger = price if type is OrderType.STOP else None
        limit = price if type.has_price else None
        try:
            self.floor.submit(side, quantity, limit, type, instance, trigger=trigger, reduce_only=reduce_only)
        except CtosError:
            return

    @rule(side=st.sampled_from([BUY, SELL]), quantity=QUANTITIES, price=PRICES, instance=INSTANCES)
    def rest(self, side, quantity, price, instance) -> None:
        self.submit(side, OrderType.LIMIT, quantity, price, instance, False)

    @rule(pick=st.integers(0, 99))
    def cancel(self, pick: int) -> None:
        order = self.pick(pick)
        if order is not None:
            self.floor.engine.cancel(order.client_id)

    @rule(pick=st.integers(0, 99), price=st.none() | PRICES, quantity=st.none() | QUANTITIES)
    def amend(self, pick: int, price, quantity) -> None:
        order = self.pick(pick)
        if order is not None:
            try:
                self.floor.engine.amend(order.client_id, price, quantity)
            except CtosError:
                return

    @rule(price=st.integers(9_975, 10_025), size=st.sampled_from([0.25, 0.5, 3.0]))
    def trade(self, price: int, size: float) -> None:
        """Trade at a price, and quote on both sides of it: less than most orders ask for, which fill in parts."""
        self.floor.print(price / 100, size)
        bids, asks = [((price - 1) / 100, size)], [((price + 1) / 100, size)]
        self.floor.play(BookUpdate(PERP, self.floor.clock.now_ms(), bids, asks, True))
        self.floor.run()

    @rule(seconds=st.sampled_from([0.001, 0.006, 0.02, 1.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.floor.run(seconds)

    @rule(fault=st.sampled_from(["lose_requests", "lose_answers", "hide", "cancel", "query", "repeat", "lists"]))
    def fail(self, fault: str) -> None:
        """Have something go wrong soon; one rule for all, so that there is more trading than trouble."""
        driver = self.floor.driver
        if fault == "cancel":
            driver.gateway.refuse_cancels.append(RateLimited("slow down"))
        elif fault == "query":
            driver.gateway.refuse_queries.append(VenueUnavailable("not now"))
        elif fault == "repeat":
            driver.scramble = lambda event: (event, event)
        elif fault == "lists":
            error = VenueUnavailable("maintenance")
            driver.broken = {"get_open_orders": error, "get_fills": error}
        else:
            setattr(driver.gateway, fault, 1)

    @rule(deaf=st.booleans())
    def deafen(self, deaf: bool) -> None:
        self.floor.driver.deaf = deaf

    @rule()
    def panic(self) -> None:
        """Halt; or, when it is halted, release it if nothing stands against that."""
        engine = self.floor.engine
        if engine.trading.mode is not TradingMode.HALTED:
            engine.panic("test")
            return
        try:
            engine.rearm("test", "looked at it")
            engine.arm("test")
        except CtosError:
            return

    @rule()
    def crash(self) -> None:
        self.remember()
        self.floor = self.floor.restart(self.path, driver_of=FaultyDriver, armed=False, queue=QueueModel.FIFO)
        if self.floor.engine.trading.mode is not TradingMode.HALTED:
            self.floor.engine.arm("test")
        self.floor.admit("grid", "trend", max_open_orders=100)
        self.trade(10_000, 0.5)

    def pick(self, number: int) -> Order | None:
        working = self.floor.engine.tracker.working()
        return working[number % len(working)] if working else None

    def remember(self) -> None:
        self.sent += [request.client_id for request in self.floor.driver.gateway.placed]
        self.delivered += [(event.fill.symbol, event.fill.trade_id) for event in self.floor.fills()]

    def check_states(self) -> None:
        for order in self.floor.engine.tracker.recent():
            known = self.final.get(order.client_id)
            absent = (OrderState.NEVER_ACCEPTED, OrderState.REJECTED, OrderState.NEVER_SENT)
            assert known is None or known is order.state or known in absent
            if order.state.is_final:
                self.final[order.client_id] = order.state
            assert order.filled <= order.quantity or order.state in FINAL

    def check_profit(self) -> None:
        """What was paid and what is held make the profit, in whatever order fills were booked.

        The venue's wallet depends on that order while something is held: it says what closing fills brought in.
        """
        portfolio = self.floor.engine.portfolio
        paid = sum((-b.fill.signed_quantity * b.fill.price for b in portfolio.fills.recent()), d(0))
        held, mark = portfolio.quantity(PERP), portfolio.mark(PERP)
        if held and mark is not None:
            assert portfolio.profit() == paid + held * mark
        elif not held and portfolio.equity() is not None:
            assert portfolio.equity() == 100_000 + paid
            assert portfolio.profit() == paid

    def teardown(self) -> None:
        floor = self.floor
        self.check_states()
        floor.driver.deaf = False
        floor.driver.broken = {}
        gateway = floor.driver.gateway
        gateway.lose_requests = gateway.lose_answers = gateway.hide = 0
        gateway.refuse_cancels.clear()
        gateway.refuse_queries.clear()
        for _ in range(5):
            floor.run(20)
        self.remember()
        self.check_states()
        floor.check_books()
        assert len(self.sent) == len(set(self.sent))
        assert len(self.delivered) == len(set(self.delivered))
        assert floor.engine.portfolio.quantity(PERP) == sum(
            (b.fill.signed_quantity for b in floor.engine.portfolio.fills.recent()), d(0)
        )
        self.check_profit()
        self.floor.journal.close()
        self.folder.cleanup()


Trading.TestCase.settings = settings(max_examples=40, stateful_step_count=40)
TestTradingUnderFaults = Trading.TestCase

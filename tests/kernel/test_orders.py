"""The order state machine: states only move forward, whatever arrives in whatever order."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from engine.kernel.orders import Fill, Order, OrderRequest, OrderState, OrderType, Pending, Side

S = OrderState
ABSENT = {S.REJECTED, S.NEVER_SENT, S.NEVER_ACCEPTED}
RANK = {S.INTENT: 0, S.SENT: 1, S.UNKNOWN: 2, S.OPEN: 3, S.PARTIAL: 4}
FINAL = 5


def rank(state: OrderState) -> int:
    return RANK.get(state, FINAL)


def new_order(quantity: str = "1") -> Order:
    request = OrderRequest("c1", "g1", "BTC-USDT-PERP", Side.BUY, OrderType.LIMIT, Decimal(quantity), Decimal(100))
    return Order.from_request(request, 5, label=3)


def fill(quantity: object, price: object = 100, fee: object = 0) -> Fill:
    return Fill(
        "t",
        "BTC-USDT-PERP",
        "c1",
        "v1",
        Side.BUY,
        Decimal(str(price)),
        Decimal(str(quantity)),
        Decimal(str(fee)),
        "USDT",
        True,
        0,
    )


def test_an_order_begins_as_an_intent():
    order = new_order()
    assert (order.state, order.label, order.created_ns, order.remaining) == (S.INTENT, 3, 5, 1)
    assert order.is_open and order.average_price is None and order.working_quantity == 1


@given(st.lists(st.sampled_from(list(S)), max_size=12))
def test_no_sequence_of_statuses_moves_an_order_back(states: list[OrderState]):
    order = new_order()
    for number, state in enumerate(states):
        before = order.state
        changed = order.advance(state, number, "why")
        assert changed == (order.state is not before)
        if before in ABSENT:
            assert order.state is before or (order.state not in ABSENT and rank(order.state) >= RANK[S.OPEN])
        elif rank(before) == FINAL:
            assert order.state is before
        else:
            assert rank(order.state) >= rank(before)


@pytest.mark.parametrize(
    "late", [S.INTENT, S.SENT, S.UNKNOWN, S.OPEN, S.PARTIAL, S.CANCELED, S.REJECTED, S.NEVER_ACCEPTED]
)
def test_a_filled_order_stays_filled(late: OrderState):
    order = new_order()
    order.advance(S.FILLED, 1)
    assert not order.advance(late, 2) and order.state is S.FILLED


@pytest.mark.parametrize("absent", sorted(ABSENT))
def test_an_order_thought_absent_comes_back_when_the_venue_worked_it(absent: OrderState):
    order = new_order()
    order.advance(absent, 1)
    assert not order.advance(S.SENT, 2) and not order.advance(S.UNKNOWN, 2)
    assert order.advance(S.OPEN, 3) and order.is_open


def test_an_order_that_vanished_can_be_filled():
    order = new_order()
    order.advance(S.NEVER_ACCEPTED, 1)
    order.book_fill(fill("0.4"), 2)
    assert order.state is S.PARTIAL and order.filled == Decimal("0.4")


def test_a_cancelled_order_accepts_fills_but_no_other_status():
    order = new_order()
    order.advance(S.CANCELED, 1)
    order.book_fill(fill("0.4"), 2)
    assert order.state is S.CANCELED and order.filled == Decimal("0.4")


def test_a_final_state_ends_what_was_pending():
    order = new_order()
    order.advance(S.OPEN, 1)
    order.pending = Pending.CANCEL
    order.advance(S.PARTIAL, 2)
    assert order.pending is Pending.CANCEL
    order.advance(S.CANCELED, 3)
    assert order.pending is Pending.NONE


def test_unknown_orders_keep_their_whole_exposure():
    order = new_order()
    order.advance(S.UNKNOWN, 1)
    assert order.working_quantity == 1
    order.reported_filled = Decimal("0.6")
    assert order.remaining == Decimal("0.4")


def test_sides_and_types():
    assert (Side.BUY.sign, Side.SELL.sign, Side.BUY.opposite, Side.SELL.opposite) == (1, -1, Side.SELL, Side.BUY)
    assert {one for one in OrderType if one.rests} == {OrderType.LIMIT, OrderType.POST_ONLY, OrderType.STOP}
    assert {one for one in OrderType if not one.has_price} == {OrderType.MARKET, OrderType.STOP}
    assert {one for one in S if one.is_final} == set(S) - set(RANK)
    assert all(one.is_final != one.is_working for one in S)


quantities = st.integers(1, 400).map(lambda number: Decimal(number) / 1000)


class OrderMachine(RuleBasedStateMachine):
    """Statuses and fills in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.order = new_order()
        self.booked: list[Fill] = []
        self.seen = [self.order.state]
        self.clock = 10

    @rule(state=st.sampled_from(list(S)))
    def status(self, state: OrderState) -> None:
        self.clock += 1
        self.order.advance(state, self.clock)
        self.seen.append(self.order.state)

    @rule(quantity=quantities, price=st.integers(90, 110), fee=st.integers(0, 5))
    def execution(self, quantity: Decimal, price: int, fee: int) -> None:
        self.clock += 1
        self.booked.append(fill(quantity, price, fee))
        self.order.book_fill(self.booked[-1], self.clock)
        self.seen.append(self.order.state)

    @rule(reported=quantities)
    def report(self, reported: Decimal) -> None:
        self.order.reported_filled = max(self.order.reported_filled, reported)

    @invariant()
    def sums_are_exact(self) -> None:
        order = self.order
        assert order.filled == sum(one.quantity for one in self.booked)
        assert order.filled_notional == sum(one.notional for one in self.booked)
        assert order.fees == sum(one.fee for one in self.booked)
        assert order.reported_filled >= order.filled

    @invariant()
    def exposure_is_never_negative_nor_too_large(self) -> None:
        order = self.order
        assert 0 <= order.working_quantity <= order.remaining <= order.quantity
        assert order.working_quantity == 0 or order.is_open

    @invariant()
    def the_state_never_moved_back(self) -> None:
        for before, after in zip(self.seen, self.seen[1:], strict=False):
            if before not in ABSENT:
                assert rank(after) >= rank(before)
                assert rank(before) < FINAL or after is before

    @invariant()
    def a_fully_filled_order_is_final(self) -> None:
        if self.order.filled >= self.order.quantity:
            assert self.order.state.is_final


TestOrderMachine = OrderMachine.TestCase

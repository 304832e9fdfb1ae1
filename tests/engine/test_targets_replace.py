"""Amendment by replacement."""

from __future__ import annotations

import pytest

from engine.kernel.errors import CtosError, InsufficientFunds, InvalidOrder, RiskReject
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.kernel.strategy import DoneStatus, Purpose
from tests.engine.scripted_desk import SYMBOL, ScriptedDesk, d


def resting(filled: str = "0") -> tuple[ScriptedDesk, Order]:
    desk = ScriptedDesk()
    desk.amends = False
    desk.market("100.00", "100.02")
    desk.submit("grid", SYMBOL, Side.BUY, OrderType.POST_ONLY, d(1), d("99.50"), purpose=Purpose.HEDGE)
    desk.run()
    order = desk.last
    if d(filled):
        desk.fill(order, filled)
    return desk, order


def test_the_rest_of_the_new_total_is_placed_after_the_final_fills() -> None:
    desk, old = resting("0.4")
    desk.book.replace("r1", old.client_id, d("99.60"), d("0.7"))
    assert len(desk.orders) == 1
    desk.run()
    new = desk.last
    assert (new.quantity, new.price, new.type, new.instance) == (d("0.3"), d("99.60"), OrderType.POST_ONLY, "grid")
    assert new.client_id[9] == "h" and old.state is OrderState.CANCELED
    assert (desk.done.kind, desk.done.status) == ("amend", DoneStatus.FILLED)
    assert desk.done.children == (old.client_id, new.client_id) and not desk.saved


def test_a_fill_during_the_cancellation_counts() -> None:
    desk, old = resting("0.4")
    desk.book.replace("r1", old.client_id, None, d("0.7"))
    old.reported_filled = d("0.6")
    desk.run()
    assert old.state is OrderState.CANCELED and len(desk.orders) == 1, "a reported fill is not booked yet"
    desk.fill(old, "0.2")
    desk.run()
    assert desk.last.quantity == d("0.1") and desk.last.price == d("99.50")


def test_filled_meanwhile_places_nothing() -> None:
    desk, old = resting()
    desk.book.replace("r1", old.client_id, d("99.60"), None)
    desk.fill(old, 1)
    desk.run()
    assert (desk.done.status, len(desk.orders)) == (DoneStatus.FILLED, 1)


def test_a_total_that_is_filled_already_cancels_the_rest() -> None:
    desk, old = resting("0.4")
    desk.refusals = [RiskReject("never", "", "asked")]
    desk.book.replace("r1", old.client_id, None, d("0.3"))
    desk.run()
    assert (desk.done.status, old.state, len(desk.orders)) == (DoneStatus.CANCELED, OrderState.CANCELED, 1)


def test_terms_that_are_refused_leave_the_order_alone() -> None:
    desk, old = resting()
    desk.refusals = [RiskReject("max_order_usd", "100 USD", "995 USD")]
    with pytest.raises(RiskReject):
        desk.book.replace("r1", old.client_id, None, d(10))
    desk.run()
    assert old.state is OrderState.OPEN and not desk.saved and not desk.dones


@pytest.mark.parametrize("by", ["engine", "venue"])
def test_a_rejected_replacement_is_told_with_what_is_missing(by: str) -> None:
    desk, old = resting("0.4")
    desk.book.replace("r1", old.client_id, None, d("0.7"))
    error = InsufficientFunds("no margin", code="51008")
    if by == "engine":
        desk.refusals = [error]
    else:
        desk.rejects = [error]
    desk.run()
    assert desk.done.status is DoneStatus.FAILED
    assert desk.done.reason == "REPLACE_FAILED(0.3): InsufficientFunds: no margin [51008]"


def test_what_is_not_working_or_already_being_replaced_is_refused() -> None:
    desk, old = resting()
    with pytest.raises(CtosError, match="order nobody is not known"):
        desk.book.replace("r1", "nobody", None, d(1))
    desk.book.replace("r2", old.client_id, None, d("0.7"))
    with pytest.raises(CtosError, match="is being amended already"):
        desk.book.replace("r3", old.client_id, None, d("0.8"))
    desk.run()
    with pytest.raises(InvalidOrder, match="is not working"):
        desk.book.replace("r4", old.client_id, None, d("0.8"))


@pytest.mark.parametrize("at", ["asked", "cancelled", "sent"])
def test_it_goes_on_after_a_restart(at: str) -> None:
    desk, old = resting("0.4")
    desk.book.replace("r1", old.client_id, d("99.60"), d("0.7"))
    if at == "cancelled":
        desk.book.on_order = lambda order: None  # type: ignore[method-assign]
    if at != "asked":
        desk.run(0.015)
    desk.restart()
    desk.run()
    assert (desk.done.status, len(desk.orders), desk.last.quantity) == (DoneStatus.FILLED, 2, d("0.3"))
    assert not desk.saved


def test_a_replacement_that_was_filled_before_the_crash_is_not_sent_again() -> None:
    desk, old = resting("0.4")
    desk.book.replace("r1", old.client_id, d("99.60"), d("0.7"))
    desk.run(0.015)
    saved, replacement = dict(desk.saved), desk.last
    desk.book.on_order = lambda order: None  # type: ignore[method-assign]
    desk.fill(replacement, "0.3")
    assert desk.saved == saved and replacement.state is OrderState.FILLED
    desk.restart()
    desk.run()
    assert len(desk.orders) == 2 and desk.done.status is DoneStatus.FILLED


def test_ending_it_lets_the_cancellation_stand() -> None:
    desk, old = resting()
    desk.book.replace("r1", old.client_id, d("99.60"), None)
    desk.book.end("r1")
    desk.run()
    assert (desk.done.status, old.state, len(desk.orders)) == (DoneStatus.CANCELED, OrderState.CANCELED, 1)

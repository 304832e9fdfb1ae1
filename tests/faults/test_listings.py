"""What a venue says about orders and instruments is checked against sense: lists that lie, terms that change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from engine.kernel.errors import CtosError
from engine.kernel.instruments import InstrumentStatus
from engine.kernel.orders import OrderState
from tests.faults.desk import Desk, each_venue, play

OPEN_ORDERS = {
    "okx": "/api/v5/trade/orders-pending",
    "binance": "/fapi/v1/openOrders",
    "backpack": "/api/v1/orders",
}
LIES = {
    "empty": {"okx": '{"code":"0","msg":"","data":[]}', "binance": "[]", "backpack": "[]"},
    "cut": {"okx": '{"code":"0","msg":"","data":[', "binance": "[", "backpack": "["},
    "null": {"okx": '{"code":"0","msg":"","data":null}', "binance": "null", "backpack": "null"},
    "no list": {"okx": '{"code":"0","msg":""}', "binance": "{}", "backpack": "{}"},
    "error": {
        "okx": '{"code":"50001","msg":"Service temporarily unavailable","data":[]}',
        "binance": '{"code":-1001,"msg":"Internal error"}',
        "backpack": '{"code":"SERVICE_UNAVAILABLE","message":"Try again"}',
    },
    "page": {"okx": "<html>maintenance</html>", "binance": "<html></html>", "backpack": "<html></html>"},
    "nothing": {"okx": "", "binance": "", "backpack": ""},
}


@each_venue
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("restarted", [False, True], ids=["running", "starting"])
def test_e12_a_list_of_open_orders_that_lies_makes_no_order_disappear(
    venue: str, lie: str, restarted: bool, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        kept = [await desk.rest(price) for price in ("59000", "59100", "59200")]
        fault = desk.emulator.faults.answer(
            lambda method, path, body: method == "GET" and path == OPEN_ORDERS[venue], 200, LIES[lie][venue], times=None
        )
        if restarted:
            await desk.end()
            if lie == "empty":
                await desk.begin(arm=False)
            else:
                with pytest.raises(CtosError):
                    await desk.begin()
        await desk.wait(90)
        assert fault.seen >= 1
        if not restarted or lie == "empty":
            assert [desk.order(each).state for each in kept] == [OrderState.OPEN] * 3
            assert all(desk.order(each).is_open for each in kept)
        if not restarted and lie != "empty":
            assert any("could not be asked" in text for text in desk.alarms), "that the list failed is told"
        fault.stop()
        if restarted and lie != "empty":
            await desk.begin()
        await desk.agrees()
        assert [desk.order(each).state for each in kept] == [OrderState.OPEN] * 3
        assert desk.taken() == len(desk.placements()) == 3

    play(venue, tmp_path, story)


@each_venue
def test_e12_orders_that_a_cut_list_leaves_out_stay(venue: str, tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        kept = [await desk.rest(str(59_000 + number)) for number in range(4)]
        listed = desk.emulator.exchange.registry.open
        hidden = list(listed)[:3]

        def answering(method: str, path: str, body: bytes) -> bool:
            """Leave three of four orders out of the list, and of nothing else."""
            if method == "GET" and path == OPEN_ORDERS[venue]:
                orders = {name: listed.pop(name) for name in hidden if name in listed}
                desk.loop.call_later(0.001, restore, orders)
            return False

        def restore(orders: dict[str, Any]) -> None:
            rest = dict(listed)
            listed.clear()
            listed.update(orders)
            listed.update(rest)

        desk.emulator.faults.answer(answering, 200, "", times=None)
        await desk.wait(60)
        assert [desk.order(each).state for each in kept] == [OrderState.OPEN] * 4
        desk.emulator.faults.clear()
        await desk.agrees()
        assert desk.taken() == len(desk.placements()) == 4

    play(venue, tmp_path, story)


def relist(desk: Desk, **changes: Any) -> None:
    """Let the venue change the terms of the perpetual."""
    emulator: Any = desk.emulator
    exchange, symbol = emulator.exchange, desk.perp
    new = replace(exchange.instruments[symbol], **changes)
    exchange.instruments[symbol] = exchange.market(symbol).instrument = new
    emulator.instruments[symbol] = replace(emulator.instruments[symbol], **changes)
    if desk.venue == "okx":
        units = emulator.units[new.native]
        units.instrument = new
        units.lot, units.minimum = new.lot_size / units.contract, new.min_quantity / units.contract
        if new.status is not InstrumentStatus.TRADING:
            emulator.public.states[new.native] = "suspend"
    elif desk.venue == "binance":
        old = emulator.catalogue.by_symbol[symbol]
        terms = {"tick": new.tick_size, "step": new.lot_size, "min_qty": new.min_quantity}
        terms["min_notional"] = new.min_notional
        known = {field.name for field in fields(old)}
        listing = replace(old, instrument=new, **{name: value for name, value in terms.items() if name in known})
        emulator.catalogue.by_symbol[symbol] = listing
        emulator.catalogue._native[listing.product, listing.native] = listing
    else:
        state = "Open" if new.status is InstrumentStatus.TRADING else "Closed"
        emulator.listings.change(new.native, instrument=new, book_state=state)


CHANGES: dict[str, tuple[dict[str, Any], str, str, Callable[[Any], object]]] = {
    "tick": ({"tick_size": Decimal(10)}, "59005", "0.02", lambda known: known.tick_size == 10),
    "lot": ({"lot_size": Decimal("0.01")}, "59000", "0.025", lambda known: known.lot_size == Decimal("0.01")),
    "minimum": (
        {"min_quantity": Decimal("0.05")},
        "59000",
        "0.02",
        lambda known: known.min_quantity == Decimal("0.05"),
    ),
    "delisted": (
        {"status": InstrumentStatus.SUSPENDED},
        "59000",
        "0.02",
        lambda known: known.status is not InstrumentStatus.TRADING,
    ),
}
"""The change, price and quantity that were right before it, and how it is known again."""


@each_venue
@pytest.mark.parametrize("what", CHANGES)
def test_e20_terms_that_the_venue_changed_are_learned_from_the_first_refusal(
    venue: str, what: str, tmp_path: Path
) -> None:
    async def story(desk: Desk) -> None:
        changes, price, quantity, is_known = CHANGES[what]
        await desk.rest("58000", "0.06")
        relist(desk, **changes)
        wrong = desk.give(quantity=quantity, price=price)
        await desk.until(lambda: desk.order(wrong).state.is_final, 10)
        assert desk.order(wrong).state is OrderState.REJECTED, desk.order(wrong)
        await desk.until(lambda: is_known(desk.engine.instrument(desk.perp)), 8)
        sent = len(desk.placements())
        for _ in range(3):
            with pytest.raises(CtosError):
                desk.give(quantity=quantity, price=price)
            await desk.wait(2)
        assert len(desk.placements()) == sent == 2, "what the venue refuses for its terms is not sent again"
        if what != "delisted":
            await desk.rest("59010", "0.06")
        other = desk.give(symbol=desk.other, price="2900", quantity="1")
        await desk.ends(other, OrderState.OPEN)

    play(venue, tmp_path, story)

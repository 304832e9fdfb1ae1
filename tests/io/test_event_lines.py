"""Account events as JSON lines: every field by name, decimals exact, times of the line where the venue gives none."""

from __future__ import annotations

from decimal import Decimal

from engine.io.event_lines import EventLines
from engine.kernel.account import AccountStream, Balance, FundingPayment, Position
from engine.kernel.market import Quote
from engine.kernel.orders import Fill, OrderState, OrderType, OrderUpdate, Side

D = Decimal


def test_each_account_event_has_a_line() -> None:
    order = OrderUpdate(
        client_id="abc",
        venue_order_id="77",
        symbol="BTC-USDT-PERP",
        side=Side.BUY,
        type=OrderType.POST_ONLY,
        state=OrderState.PARTIAL,
        quantity=D("1.50"),
        price=D("1E-8"),
        filled=D("0"),
        ts=5,
        reduce_only=True,
    )
    fill = Fill("t1", "BTC-USDT-PERP", "abc", "77", Side.SELL, D(100), D("0.010"), D("-0.5"), "USDT", True, 6, True)
    position = Position("BTC-USDT-PERP", D(-2), D(100), D(101), D(-2), D(3))
    balance = Balance("USDT", D(10), D("9.5"), D("0.5"))
    paid = FundingPayment("BTC-USDT-PERP", 7, D("-0.1"), "USDT", D("0.0001"), "f1")
    events = [order, fill, position, balance, paid, AccountStream(False, "closed")]
    lines = list(EventLines().lines(events, ts_ns=9_000_000))
    assert lines == [
        {
            "type": "order",
            "symbol": "BTC-USDT-PERP",
            "ts": 5,
            "client_id": "abc",
            "venue_order_id": "77",
            "state": "partial",
            "side": "buy",
            "order_type": "post_only",
            "quantity": "1.5",
            "price": "0.00000001",
            "trigger_price": None,
            "filled": "0",
            "average_price": None,
            "reduce_only": True,
            "reason": "",
        },
        {
            "type": "fill",
            "symbol": "BTC-USDT-PERP",
            "ts": 6,
            "client_id": "abc",
            "venue_order_id": "77",
            "trade_id": "t1",
            "side": "sell",
            "price": "100",
            "quantity": "0.01",
            "fee": "-0.5",
            "fee_currency": "USDT",
            "maker": True,
            "liquidation": True,
        },
        {
            "type": "position",
            "symbol": "BTC-USDT-PERP",
            "ts": 9,
            "quantity": "-2",
            "entry_price": "100",
            "mark_price": "101",
            "unrealised": "-2",
            "leverage": "3",
            "liquidation_price": None,
        },
        {
            "type": "balance",
            "symbol": None,
            "ts": 9,
            "currency": "USDT",
            "total": "10",
            "free": "9.5",
            "locked": "0.5",
        },
        {
            "type": "funding_payment",
            "symbol": "BTC-USDT-PERP",
            "ts": 7,
            "currency": "USDT",
            "amount": "-0.1",
            "rate": "0.0001",
            "id": "f1",
        },
        {"type": "account_stream", "symbol": None, "ts": 9, "live": False, "reason": "closed"},
    ]


def test_without_any_time_it_is_null() -> None:
    [line] = EventLines().lines([Balance("USDT", D(1), D(1))])
    assert line["ts"] is None


def test_what_is_not_there_or_not_known_is_null() -> None:
    quote = Quote("BTC-USDT", 5, 100.5, 2.0, 0.0, 0.0)
    position = Position("BTC-USDT-PERP", D(1), D(100), D(101), D(1), leverage=D(0))
    quoted, held = EventLines().lines([quote, position])
    head = {"type": "quote", "symbol": "BTC-USDT", "ts": 5}
    assert quoted == head | {"bid": "100.5", "bid_size": "2", "ask": None, "ask_size": None}
    assert held["leverage"] is None

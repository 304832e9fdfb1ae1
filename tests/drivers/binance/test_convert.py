"""Orders to the wire and back: steps, bundled coins, types, the venue's traps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.binance.account_messages import news, read
from drivers.binance.convert import order_params, order_update, plain, trade_fill
from drivers.binance.listing import instruments
from drivers.binance.wire import FuturesTradeRow, OrderRow, SymbolRow
from engine.kernel.account import Balance, Position
from engine.kernel.errors import InvalidOrder, Unsupported
from engine.kernel.instruments import Instrument, InstrumentKind, InstrumentStatus
from engine.kernel.orders import Fill, OrderRequest, OrderState, OrderType, OrderUpdate, Side

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT


def symbol_row(native: str, tick: str, lot: str, **more: Any) -> SymbolRow:
    fields = {
        "symbol": native,
        "status": "TRADING",
        "baseAsset": native.removesuffix("USDT"),
        "quoteAsset": "USDT",
        "contractType": "PERPETUAL",
        "marginAsset": "USDT",
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": tick},
            {"filterType": "LOT_SIZE", "stepSize": lot, "minQty": lot},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
        ],
    }
    return msgspec.convert(fields | more, SymbolRow, strict=False)


def listed(native: str = "BTCUSDT", tick: str = "0.10", lot: str = "0.001", kind: InstrumentKind = PERP) -> Instrument:
    (found,) = instruments([symbol_row(native, tick, lot)], kind, {})
    return found


PEPE = listed("1000PEPEUSDT", "0.0000001", "1")
BTC, BTC_SPOT = listed(), listed("BTCUSDT", "0.01", "0.00001", SPOT)


def request(instrument: Instrument, kind: OrderType = OrderType.LIMIT, **fields: Any) -> OrderRequest:
    given_fields = {"quantity": instrument.lot_size * 7, "price": instrument.tick_size * 12345} | fields
    return OrderRequest("ab1zclient00000001", "manual", instrument.symbol, Side.BUY, kind, **given_fields)


def test_a_thousand_coin_listing_is_priced_and_sized_in_coins():
    assert (PEPE.symbol, PEPE.native, PEPE.base) == ("PEPE-USDT-PERP", "1000PEPEUSDT", "PEPE")
    assert (PEPE.tick_size, PEPE.lot_size, PEPE.min_quantity) == (Decimal("1e-10"), Decimal(1000), Decimal(1000))
    params = order_params(PEPE, request(PEPE, quantity=Decimal(250_000), price=Decimal("0.0000083241")))
    assert (params["symbol"], params["quantity"], params["price"]) == ("1000PEPEUSDT", "250", "0.0083241")


@pytest.mark.parametrize(
    ("instrument", "kind", "wanted"),
    [
        (BTC, OrderType.LIMIT, {"type": "LIMIT", "timeInForce": "GTC"}),
        (BTC, OrderType.POST_ONLY, {"type": "LIMIT", "timeInForce": "GTX"}),
        (BTC, OrderType.IOC, {"type": "LIMIT", "timeInForce": "IOC"}),
        (BTC, OrderType.FOK, {"type": "LIMIT", "timeInForce": "FOK"}),
        (BTC, OrderType.MARKET, {"type": "MARKET"}),
        (BTC_SPOT, OrderType.POST_ONLY, {"type": "LIMIT_MAKER"}),
        (BTC_SPOT, OrderType.MARKET, {"type": "MARKET"}),
    ],
)
def test_order_types_as_the_venue_spells_them(instrument: Instrument, kind: OrderType, wanted: dict[str, str]):
    params = order_params(instrument, request(instrument, kind))
    assert {name: params[name] for name in ("type", "timeInForce") if name in params} == wanted
    assert ("price" in params) is (kind is not OrderType.MARKET)
    assert params["newOrderRespType"] == "RESULT" and "reduceOnly" not in params


def test_reduce_only_is_a_word_of_futures_alone():
    assert order_params(BTC, request(BTC, reduce_only=True))["reduceOnly"] == "true"
    assert "reduceOnly" not in order_params(BTC_SPOT, request(BTC_SPOT, reduce_only=True))


def test_what_cannot_be_sent_is_refused_here():
    with pytest.raises(InvalidOrder):
        order_params(BTC, request(BTC, price=None))
    with pytest.raises(Unsupported):
        order_params(BTC, request(BTC, OrderType.STOP, price=None, trigger_price=Decimal(5)))


@given(
    st.sampled_from([BTC, BTC_SPOT, PEPE]),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.sampled_from([kind for kind in OrderType if kind.has_price]),
    st.sampled_from(list(Side)),
)
def test_an_order_comes_back_as_it_was_sent(instrument: Instrument, lots: int, ticks: int, kind: OrderType, side: Side):
    quantity, price = instrument.lot_size * lots, instrument.tick_size * ticks
    sent = OrderRequest("c1", "m", instrument.symbol, side, kind, quantity, price)
    params = order_params(instrument, sent)
    assert all("e" not in str(params[name]).lower() for name in ("quantity", "price"))
    fields = {
        "symbol": params["symbol"],
        "orderId": 7,
        "clientOrderId": params["newClientOrderId"],
        "status": "NEW",
        "side": params["side"],
        "type": params["type"],
        "timeInForce": params.get("timeInForce", "GTC"),
        "price": params["price"],
        "origQty": params["quantity"],
        "executedQty": "0",
        "updateTime": 5,
    }
    found = order_update(instrument, msgspec.convert(fields, OrderRow, strict=False))
    assert (found.quantity, found.price, found.side, found.type) == (quantity, price, side, kind)
    assert (found.state, found.client_id, found.venue_order_id, found.ts) == (OrderState.OPEN, "c1", "7", 5)


@given(st.decimals(min_value="1e-12", max_value="1e12", places=12))
def test_numbers_are_written_plainly(value: Decimal):
    text = plain(value)
    assert Decimal(text) == value
    assert "e" not in text.lower() and not (("." in text) and text.endswith("0"))


def test_spots_reply_to_a_cancel_names_the_order_by_its_original_id():
    row = OrderRow(
        symbol="BTCUSDT",
        orderId=9,
        clientOrderId="name-of-the-cancel",
        origClientOrderId="ours",
        status="CANCELED",
        side="SELL",
        type="LIMIT_MAKER",
        price=Decimal(5),
        origQty=Decimal(1),
    )
    found = order_update(BTC_SPOT, row)
    assert (found.client_id, found.state, found.type) == ("ours", OrderState.CANCELED, OrderType.POST_ONLY)


def spot_report(**fields: Any) -> bytes:
    usual = {
        "e": "executionReport", "E": 2, "s": "BTCUSDT", "c": "ours", "S": "BUY", "o": "LIMIT", "f": "GTC", "q": "2",
        "p": "100", "P": "0", "C": "", "x": "NEW", "X": "NEW", "r": "NONE", "i": 11, "l": "0", "z": "0", "L": "0",
        "n": "0", "N": None, "T": 3, "t": -1, "m": False, "Z": "0", "W": 1, "V": "NONE",
    }  # fmt: skip
    return msgspec.json.encode({"subscriptionId": 0, "event": usual | fields})


def told(payload: bytes) -> list[Any]:
    message = read(payload)[1]
    assert message is not None
    return news(message)


def test_a_spot_cancel_on_the_stream_names_the_order_in_the_other_field():
    (update,) = told(spot_report(x="CANCELED", X="CANCELED", c="the-cancel", C="ours"))
    assert isinstance(update, OrderUpdate)
    assert (update.client_id, update.state) == ("ours", OrderState.CANCELED)


def test_a_spot_execution_is_a_state_and_a_fill():
    update, fill = told(
        spot_report(
            x="TRADE", X="PARTIALLY_FILLED", l="0.5", z="0.5", L="99", n="0.01", N="BNB", t=77, m=True, Z="49.5"
        )
    )
    assert (update.state, update.filled, update.average_price) == (OrderState.PARTIAL, Decimal("0.5"), Decimal(99))
    assert fill == Fill("77", "BTC-USDT", "ours", "11", Side.BUY, Decimal(99), Decimal("0.5"), Decimal("0.01"), "BNB",
                        True, 3)  # fmt: skip


def futures_report(**fields: Any) -> bytes:
    order = {
        "s": "1000PEPEUSDT", "c": "ours", "S": "SELL", "o": "LIMIT", "f": "GTX", "q": "250", "p": "0.0083241",
        "ap": "0", "sp": "0", "x": "NEW", "X": "NEW", "i": 5, "l": "0", "z": "0", "L": "0", "T": 8, "t": 0, "m": False,
        "R": True, "ps": "BOTH", "rp": "0", "ot": "LIMIT",
    }  # fmt: skip
    st = fields.pop("st", 1)
    message = {"e": "ORDER_TRADE_UPDATE", "E": 9, "T": 8, "st": st, "o": order | fields}
    return msgspec.json.encode({"stream": "listenkey", "data": message})


def test_futures_news_of_a_bundled_coin():
    update, fill = told(
        futures_report(x="TRADE", X="FILLED", l="250", z="250", L="0.0083", ap="0.0083", n="0.4", N="USDT", t=3, m=True)
    )
    assert (update.symbol, update.quantity, update.price) == ("PEPE-USDT-PERP", 250_000, Decimal("0.0000083241"))
    assert (update.type, update.reduce_only, update.filled) == (OrderType.POST_ONLY, True, 250_000)
    assert (fill.price, fill.quantity, fill.fee) == (Decimal("0.0000083"), 250_000, Decimal("0.4"))
    assert not fill.liquidation


def test_forced_trades_and_events_of_coin_margined_futures():
    _, fill = told(futures_report(c="autoclose-1", x="CALCULATED", X="FILLED", l="250", z="250", L="0.0083", t=4))
    assert fill.liquidation and (fill.fee, fill.fee_currency) == (0, "USDT")
    assert told(futures_report(st=2)) == []
    unnumbered = told(futures_report(c="autoclose-1", x="CALCULATED", X="FILLED", l="250", z="250", L="0.0083", t=0))
    assert [type(event) for event in unnumbered] == [OrderUpdate], "the trade list has its number"


def test_a_post_only_order_that_expired_at_once_says_why():
    (update,) = told(futures_report(x="EXPIRED", X="EXPIRED"))
    assert (update.state, update.error) == (OrderState.EXPIRED, "PostOnlyWouldTake")


def test_only_what_changed_is_told_of_the_futures_account():
    message = {
        "e": "ACCOUNT_UPDATE", "E": 2, "T": 1,
        "a": {"m": "ORDER", "B": [{"a": "USDT", "wb": "990", "cw": "990", "bc": "0"}],
              "P": [{"s": "BTCUSDT", "pa": "-0.5", "ep": "100", "bep": "100", "up": "5", "mt": "cross", "ps": "BOTH"}]},
    }  # fmt: skip
    balance, position = told(msgspec.json.encode(message))
    assert balance == Balance("USDT", Decimal(990), Decimal(990))
    assert isinstance(position, Position)
    assert (position.quantity, position.entry_price, position.mark_price) == (Decimal("-0.5"), 100, 90)


def test_both_lists_of_executions_agree_with_the_stream():
    row = FuturesTradeRow("BTCUSDT", 3, 5, "SELL", Decimal(100), Decimal(1), 8, True, Decimal("0.02"), "USDT")
    fill = trade_fill(BTC, row, "ours")
    assert (fill.trade_id, fill.side, fill.fee, fill.maker) == ("3", Side.SELL, Decimal("0.02"), True)


def test_listings_that_cannot_be_traded_here_are_left_out_or_marked():
    rows = [
        symbol_row("BTCUSDT", "0.1", "0.001"),
        symbol_row("BTCUSDT_261225", "0.1", "0.001", contractType="CURRENT_QUARTER"),
        symbol_row("ETHUSDT", "0.01", "0.001", status="SETTLING"),
        symbol_row("SOLUSDT", "0.01", "1", status="PENDING_TRADING"),
        symbol_row("币安人生USDT", "0.01", "1"),
        symbol_row("1000PEPEUSDT", "0.0000001", "1"),
        symbol_row("PEPEUSDT", "0.0000001", "1", status="CLOSE"),
    ]
    found = {each.symbol: each for each in instruments(rows, PERP, {"BTCUSDT": 4})}
    assert sorted(found) == ["BTC-USDT-PERP", "ETH-USDT-PERP", "PEPE-USDT-PERP", "SOL-USDT-PERP"]
    assert found["BTC-USDT-PERP"].funding_period_h == 4 and found["SOL-USDT-PERP"].funding_period_h == 8
    assert found["ETH-USDT-PERP"].status is InstrumentStatus.DELISTED
    assert found["SOL-USDT-PERP"].status is InstrumentStatus.SUSPENDED
    assert found["PEPE-USDT-PERP"].native == "1000PEPEUSDT"

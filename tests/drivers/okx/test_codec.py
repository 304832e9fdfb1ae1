"""Contracts and coins, order terms, states, signs."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.okx import codec
from drivers.okx.symbols import Contract, Contracts, native_symbol, parse_native, read_instrument
from drivers.okx.wire import (
    AccountRow,
    BalanceRow,
    BookRow,
    FillRow,
    FundingRow,
    InstrumentRow,
    Level,
    OrderRow,
    PositionRow,
)
from drivers.transport.line_decoder import Undecodable
from engine.kernel.errors import InvalidOrder, UnknownSymbol, Unsupported
from engine.kernel.instruments import InstrumentKind, InstrumentStatus
from engine.kernel.orders import OrderRequest, OrderState, OrderType, Side

D = Decimal
BTC = Contract("BTC-USDT-SWAP", "BTC-USDT-PERP", InstrumentKind.PERP, D("0.01"))
SPOT = Contract("BTC-USDT", "BTC-USDT", InstrumentKind.SPOT, D(1))
PEPE = Contract("PEPE-USDT-SWAP", "PEPE-USDT-PERP", InstrumentKind.PERP, D(10_000_000))
CT_VALS = st.sampled_from([D("0.0001"), D("0.001"), D("0.01"), D("0.1"), D(1), D(10), D(100), D(1000), D(10_000_000)])
LOTS = st.sampled_from([D("0.01"), D("0.1"), D(1), D(5)])


def order_row(**changes: str) -> OrderRow:
    fields = {
        "instId": "BTC-USDT-SWAP", "ordId": "77", "clOrdId": "c1", "side": "sell", "ordType": "limit", "sz": "12.5",
        "px": "50000.1", "state": "live", "accFillSz": "0", "avgPx": "", "uTime": "1700", "cTime": "1600",
    }  # fmt: skip
    return msgspec.convert({**fields, **changes}, OrderRow)


def request(kind: OrderType, quantity: str, price: str | None = None, **changes: object) -> OrderRequest:
    exact = D(price) if price is not None else None
    return OrderRequest("c1", "grid", "any", Side.BUY, kind, D(quantity), exact, **changes)  # type: ignore[arg-type]


@given(ct_val=CT_VALS, lot=LOTS, lots=st.integers(1, 10**9))
def test_contracts_and_coins_round_trip_exactly(ct_val: Decimal, lot: Decimal, lots: int):
    contract = Contract("X-USDT-SWAP", "X-USDT-PERP", InstrumentKind.PERP, ct_val)
    coins = lot * lots * ct_val
    text = codec.to_contracts(coins, contract)
    assert "e" not in text.lower() and D(text) * ct_val == coins
    assert codec.order_update(order_row(sz=text, accFillSz=text), contract).filled == coins


@given(ct_val=CT_VALS, size=st.integers(1, 10**9), places=st.integers(0, 4))
def test_market_sizes_are_exact_to_fifteen_digits(ct_val: Decimal, size: int, places: int):
    contract = Contract("X-USDT-SWAP", "X-USDT-PERP", InstrumentKind.PERP, ct_val)
    contracts = D(size).scaleb(-places)
    assert codec.coins_of(float(contracts), contract) == float(contracts * ct_val)


@given(ticks=st.integers(1, 10**12))
def test_prices_of_eight_places_are_written_out(ticks: int):
    price = D(ticks).scaleb(-8)
    body = codec.order_body(request(OrderType.LIMIT, "10000000", str(price)), PEPE, "cash")
    assert D(str(body["px"])) == price and "e" not in str(body["px"]).lower()
    assert body["sz"] == "1"


def test_a_quantity_between_contracts_is_refused():
    third = Contract("X-USDT-SWAP", "X-USDT-PERP", InstrumentKind.PERP, D(3))
    with pytest.raises(InvalidOrder, match="no multiple"):
        codec.to_contracts(D(10), third)


def test_terms_of_orders():
    limit = codec.order_body(request(OrderType.POST_ONLY, "0.125", "50000.10", reduce_only=True), BTC, "cash")
    assert limit == {
        "instId": "BTC-USDT-SWAP", "tdMode": "cross", "clOrdId": "c1", "side": "buy", "ordType": "post_only",
        "sz": "12.5", "px": "50000.1", "posSide": "net", "reduceOnly": True,
    }  # fmt: skip
    market = codec.order_body(request(OrderType.MARKET, "0.5"), SPOT, "cash")
    assert market == {
        "instId": "BTC-USDT", "tdMode": "cash", "clOrdId": "c1", "side": "buy", "ordType": "market", "sz": "0.5",
        "tgtCcy": "base_ccy",
    }  # fmt: skip
    assert "reduceOnly" not in codec.order_body(request(OrderType.IOC, "1", "5", reduce_only=True), SPOT, "cash")
    assert codec.order_body(request(OrderType.FOK, "1", "5"), SPOT, "cross")["tdMode"] == "cross"
    with pytest.raises(Unsupported, match="held by the engine"):
        codec.order_body(request(OrderType.STOP, "1", trigger_price=D(5)), BTC, "cash")


@pytest.mark.parametrize(
    ("fields", "state", "reason", "error"),
    [
        ({"state": "live"}, OrderState.OPEN, "", ""),
        ({"state": "live", "accFillSz": "1"}, OrderState.PARTIAL, "", ""),
        ({"state": "partially_filled", "accFillSz": "1"}, OrderState.PARTIAL, "", ""),
        ({"state": "filled", "accFillSz": "12.5"}, OrderState.FILLED, "", ""),
        ({"state": "canceled", "cancelSource": "1"}, OrderState.CANCELED, "", ""),
        ({"state": "canceled", "cancelSource": "13"}, OrderState.EXPIRED, "not enough size", ""),
        ({"state": "canceled", "cancelSource": "14"}, OrderState.EXPIRED, "no more size", ""),
        ({"state": "canceled", "cancelSource": "20"}, OrderState.CANCELED, "dead-man", ""),
        ({"state": "canceled", "cancelSource": "31"}, OrderState.REJECTED, "post-only", "PostOnlyWouldTake"),
        (
            {"state": "canceled", "cancelSource": "31", "accFillSz": "1"},
            OrderState.CANCELED,
            "post-only",
            "",
        ),
        ({"state": "mmp_canceled"}, OrderState.CANCELED, "", ""),
    ],
)
def test_states_and_their_reasons(fields: dict[str, str], state: OrderState, reason: str, error: str):
    update = codec.order_update(order_row(**fields), BTC)
    assert update.state is state and update.error == error
    assert (reason in update.reason) if reason else update.reason == ""


def test_an_order_in_coins():
    update = codec.order_update(
        order_row(accFillSz="2.5", avgPx="50000.2", state="partially_filled", reduceOnly="true"), BTC
    )
    assert (update.quantity, update.filled, update.price) == (D("0.125"), D("0.025"), D("50000.1"))
    assert (update.average_price, update.reduce_only, update.ts, update.side) == (D("50000.2"), True, 1700, Side.SELL)
    amount = order_row(instId="BTC-USDT", ordType="market", px="", sz="100", tgtCcy="quote_ccy", accFillSz="0.002",
                       state="filled", avgPx="50000")  # fmt: skip
    bought = codec.order_update(amount, SPOT)
    assert (bought.quantity, bought.filled, bought.price, bought.type) == (
        D("0.002"),
        D("0.002"),
        None,
        OrderType.MARKET,
    )


def test_stream_and_query_tell_the_same_fill():
    told = {"tradeId": "9", "fillPx": "50000.1", "fillSz": "2.5", "fillTime": "1699", "fillFee": "-0.625",
            "fillFeeCcy": "USDT", "execType": "M", "category": "full_liquidation"}  # fmt: skip
    streamed = codec.stream_fill(order_row(**told), BTC)
    queried = codec.fill(
        FillRow(
            "BTC-USDT-SWAP",
            "9",
            "77",
            "sell",
            "50000.1",
            "2.5",
            "555",
            "c1",
            "105",
            "-0.6250",
            "USDT",
            "M",
            "1699",
            "1701",
        ),
        BTC,
    )
    assert streamed == queried and streamed is not None
    assert (streamed.quantity, streamed.fee, streamed.maker, streamed.liquidation) == (
        D("0.025"),
        D("0.625"),
        True,
        True,
    )
    assert codec.stream_fill(order_row(), BTC) is None
    assert codec.stream_fill(order_row(tradeId="9", fillSz="0"), BTC) is None
    assert codec.stream_fill(order_row(**{**told, "tradeId": "0"}), BTC) is None, "the query's row has the number"
    rebate = codec.stream_fill(order_row(**{**told, "fillFee": "0.1", "category": "normal"}), BTC)
    assert rebate is not None and rebate.fee == D("-0.1") and not rebate.liquidation


@pytest.mark.parametrize(
    ("pos", "side", "coins"),
    [
        ("-3", "net", "-0.03"),
        ("3", "", "0.03"),
        ("3", "short", "-0.03"),
        ("3", "long", "0.03"),
        ("0", "net", "0"),
        ("", "net", "0"),
    ],
)
def test_positions_are_signed_coins(pos: str, side: str, coins: str):
    row = PositionRow("BTC-USDT-SWAP", pos, posSide=side, avgPx="50000", fee="-1.5", fundingFee="-0.2", lever="10")
    position = codec.position(row, BTC)
    assert position.quantity == D(coins)
    assert (position.fees, position.funding, position.leverage) == (D("1.5"), D("-0.2"), D(10))


def test_balances_add_up():
    rows = AccountRow([
        BalanceRow("USDT", cashBal="1000.5", eq="1010", availBal="900.25"),
        BalanceRow("BTC", cashBal="-0.1", availBal="0", eq="-0.1"),
        BalanceRow("ETH", cashBal="2", availBal="3"),
    ])  # fmt: skip
    told = [(b.currency, b.total, b.free, b.locked) for b in codec.balances(rows)]
    assert told == [
        ("USDT", D("1000.5"), D("900.25"), D("100.25")),
        ("BTC", D("-0.1"), D("-0.1"), D(0)),
        ("ETH", D(2), D(2), D(0)),
    ]


def test_the_funding_period_is_what_lies_between_the_payments():
    hour = 3_600_000
    row = FundingRow("BTC-USDT-SWAP", "0.0001", str(16 * hour), str(20 * hour), "5")
    told = codec.funding(row, BTC, 8)
    assert (told.rate, told.period_h, told.next_time, told.ts) == (0.0001, 4, 16 * hour, 5)
    assert codec.funding(FundingRow("BTC-USDT-SWAP", "0", str(hour), "", "5"), BTC, 8).period_h == 8
    with pytest.raises(Undecodable, match="out of range"):
        codec.funding(FundingRow("BTC-USDT-SWAP", "12", str(hour), "", "5"), BTC, 8)


def test_volumes_of_candles_and_tickers_depend_on_the_kind():
    row = (60_000, 1.0, 4.0, 0.5, 2.0, 300.0, 3.0, 6.0, "1")
    assert (codec.bar(row, "1m", BTC).base_volume, codec.bar(row, "1m", SPOT).base_volume) == (3.0, 300.0)
    assert codec.bar(row, "1m", BTC).quote_volume == 6.0 and codec.bar(row, "1m", BTC).closed


def test_an_empty_side_has_no_size():
    told = codec.quote(BookRow(asks=[], bids=[Level(5.0, 3.0)], ts=9), BTC)
    assert (told.bid, told.bid_size, told.ask, told.ask_size) == (5.0, 0.03, 0.0, 0.0)


@pytest.mark.parametrize("text", ["abc", "NaN", "Infinity", "1e", "--1"])
def test_what_is_no_number_is_refused(text: str):
    with pytest.raises(Undecodable):
        codec.order_update(order_row(sz=text), BTC)


@pytest.mark.parametrize("symbol", ["BTC-USDT-PERP", "BTC-USDT", "1INCH-USDC-PERP", "ETH-BTC"])
def test_symbols_round_trip(symbol: str):
    assert parse_native(native_symbol(symbol)).symbol == symbol


@pytest.mark.parametrize(
    "native", ["BTC-USD-SWAP", "BTC-USDT-240927", "BTC-USD-240927-50000-C", "btc-usdt", "BTC", "BTC-USD_UM-SWAP", ""]
)
def test_what_is_no_swap_or_spot_pair_has_no_symbol(native: str):
    with pytest.raises(UnknownSymbol):
        parse_native(native)


def test_an_instrument_is_told_in_coins():
    row = InstrumentRow(
        "ETH-USDT-SWAP", "SWAP", tickSz="0.01", lotSz="0.01", minSz="0.01", ctVal="0.1", ctMult="1", ctValCcy="ETH",
        ctType="linear", settleCcy="USDT", lever="100", state="live", instIdCode=7,
    )  # fmt: skip
    instrument, contract = read_instrument(row)
    assert (instrument.lot_size, instrument.min_quantity, instrument.contract_size) == (
        D("0.001"),
        D("0.001"),
        D("0.1"),
    )
    assert (instrument.max_leverage, instrument.native, contract.code) == (100, "ETH-USDT-SWAP", 7)
    row.state = "suspend"
    assert read_instrument(row)[0].status is InstrumentStatus.SUSPENDED
    row.ctType = "inverse"
    with pytest.raises(UnknownSymbol):
        read_instrument(row)


def test_a_swap_without_contract_size_is_not_guessed():
    contracts = Contracts()
    assert contracts.get("NEW-USDT").coins == 1
    with pytest.raises(UnknownSymbol, match="contract size of NEW-USDT-SWAP is not known"):
        contracts.get("NEW-USDT-SWAP")


def test_e14_a_fill_without_a_trade_id_has_one_of_its_own_values():
    def told(size: str) -> str:
        row = FillRow("BTC-USDT-SWAP", "", "77", "sell", "50000.1", size, feeCcy="USDT", fillTime="1699", ts="1701")
        return codec.fill(row, BTC).trade_id

    assert told("2.5") == told("2.5") == "77/1699/50000.1/2.5" != told("1.5")

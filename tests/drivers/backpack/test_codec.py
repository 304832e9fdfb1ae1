"""Orders, fills, positions, balances, candles and instruments between the wire and the kernel."""

from __future__ import annotations

import time
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.backpack.bars import bar_of
from drivers.backpack.codec import (
    balance_of,
    event_fill,
    event_position,
    event_update,
    fill_of,
    funding_payment,
    order_body,
    order_update,
    position_of,
)
from drivers.backpack.listing import fees_of, instrument_of
from drivers.backpack.rest_wire import (
    Market,
    RestAccount,
    RestBalance,
    RestFill,
    RestFunding,
    RestOrder,
    RestPosition,
)
from drivers.backpack.symbols import default_instruments, parse_native
from drivers.backpack.values import ms_of, plain
from drivers.backpack.wire import OrderEvent, PositionEvent
from drivers.transport.line_decoder import Undecodable
from drivers.transport.thousands import coins
from engine.kernel.errors import InvalidOrder, Unsupported
from engine.kernel.instruments import InstrumentKind, InstrumentStatus
from engine.kernel.orders import OrderRequest, OrderState, OrderType, Side

D = Decimal
INSTRUMENTS = {instrument.symbol: instrument for instrument in default_instruments()}
OURS = {7: "abcd00000000000001"}
TIME = 1_753_142_400_123


def ours(number: int | None) -> str:
    return OURS.get(number or 0, "")


def wire(shape, **fields):
    return msgspec.json.decode(msgspec.json.encode(fields), type=shape, strict=False)


def rest_order(**changes) -> RestOrder:
    fields = {
        "id": "111063114377265150",
        "clientId": 7,
        "symbol": "SOL_USDC_PERP",
        "side": "Bid",
        "orderType": "Limit",
        "timeInForce": "GTC",
        "status": "New",
        "quantity": "2.5",
        "executedQuantity": "0",
        "executedQuoteQuantity": "0",
        "price": "150.25",
        "createdAt": TIME,
        "postOnly": False,
        "reduceOnly": None,
        "selfTradePrevention": "RejectTaker",
    }
    return wire(RestOrder, **{**fields, **changes})


def order_event(**changes) -> OrderEvent:
    fields = {
        "e": "orderFill",
        "E": TIME * 1000 + 9,
        "s": "SOL_USDC_PERP",
        "c": 7,
        "S": "Ask",
        "o": "LIMIT",
        "f": "GTC",
        "q": "2",
        "p": "150",
        "X": "PartiallyFilled",
        "i": "222",
        "t": 99,
        "l": "0.5",
        "z": "1.5",
        "Z": "226.5",
        "L": "151",
        "m": True,
        "n": "-0.01",
        "N": "USDC",
        "V": "RejectTaker",
        "T": TIME * 1000,
        "O": "USER",
    }
    return wire(OrderEvent, **{**fields, **changes})


def request(symbol: str, kind: OrderType = OrderType.LIMIT, price: str | None = "1", **changes) -> OrderRequest:
    fields = {"side": Side.BUY, "quantity": D(1), "price": None if price is None else D(price), **changes}
    return OrderRequest("abcd00000000000001", "", symbol, type=kind, **fields)


@given(
    instrument=st.sampled_from(sorted(INSTRUMENTS.values(), key=lambda each: each.symbol)),
    lots=st.integers(1, 10**12),
    ticks=st.integers(1, 10**12),
    side=st.sampled_from(Side),
    kind=st.sampled_from([OrderType.LIMIT, OrderType.POST_ONLY, OrderType.IOC, OrderType.FOK]),
)
def test_an_order_comes_back_as_it_was_sent(instrument, lots, ticks, side, kind):
    sent = OrderRequest(
        "abcd00000000000001",
        "",
        instrument.symbol,
        side,
        kind,
        instrument.lot_size * lots,
        instrument.tick_size * ticks,
        reduce_only=instrument.is_perp,
    )
    body = order_body(sent, instrument)
    for field in ("price", "quantity"):
        assert "E" not in body[field] and not body[field].endswith("0" if "." in body[field] else ".")
    row = rest_order(
        **{name: value for name, value in body.items() if name not in ("autoLendRedeem",)}, executedQuantity="0"
    )
    back = order_update(row, ours)
    assert (back.symbol, back.side, back.type) == (sent.symbol, sent.side, sent.type)
    assert (back.quantity, back.price, back.reduce_only) == (sent.quantity, sent.price, sent.reduce_only)
    assert (back.client_id, back.state) == (sent.client_id, OrderState.OPEN)


@pytest.mark.parametrize("step", ["1e-8", "1e-5", "0.01", "1", "100"])
@given(number=st.integers(1, 10**15))
def test_numbers_are_written_plainly_and_exactly(step, number):
    value = D(step) * number
    assert D(plain(value)) == value
    assert set(plain(value)) <= set("0123456789.")


def test_the_smallest_step_of_a_market_in_thousands():
    pepe = INSTRUMENTS["PEPE-USDC-PERP"]
    body = order_body(request(pepe.symbol, price="0.000006541", quantity=D(25000)), pepe)
    assert (body["symbol"], body["price"], body["quantity"]) == ("kPEPE_USDC_PERP", "0.006541", "25")


def test_each_type_is_spelled_as_the_venue_wants_it():
    sol, spot = INSTRUMENTS["SOL-USDC-PERP"], INSTRUMENTS["SOL-USDC"]
    post = order_body(request(sol.symbol, OrderType.POST_ONLY, reduce_only=True), sol)
    assert (post["orderType"], post["postOnly"], post["timeInForce"], post["reduceOnly"]) == (
        "Limit",
        True,
        "GTC",
        True,
    )
    market = order_body(request(sol.symbol, OrderType.MARKET, None), sol)
    assert market["orderType"] == "Market" and not market.keys() & {"price", "timeInForce", "postOnly", "reduceOnly"}
    assert order_body(request(sol.symbol, OrderType.IOC), sol)["timeInForce"] == "IOC"
    assert order_body(request(sol.symbol, OrderType.FOK), sol)["timeInForce"] == "FOK"
    on_spot = order_body(request(spot.symbol, reduce_only=True, side=Side.SELL), spot)
    assert (on_spot["side"], on_spot["autoLendRedeem"]) == ("Ask", True)
    assert not on_spot.keys() & {"reduceOnly", "autoBorrow"}
    with pytest.raises(InvalidOrder):
        order_body(request(sol.symbol, price=None), sol)
    with pytest.raises(Unsupported):
        order_body(request(sol.symbol, OrderType.STOP, None), sol)


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("New", "0", OrderState.OPEN),
        ("New", "1", OrderState.PARTIAL),
        ("PartiallyFilled", "1", OrderState.PARTIAL),
        ("Filled", "2.5", OrderState.FILLED),
        ("Cancelled", "1", OrderState.CANCELED),
        ("Expired", "1", OrderState.EXPIRED),
        ("TriggerPending", "0", OrderState.OPEN),
        ("TriggerFailed", "0", OrderState.REJECTED),
    ],
)
def test_every_status_has_a_state(status, filled, state):
    update = order_update(rest_order(status=status, executedQuantity=filled, executedQuoteQuantity="300.5"), ours)
    assert (update.state, update.filled) == (state, D(filled))
    assert update.average_price == (D("300.5") / D(filled) if D(filled) else None)


def test_a_row_of_the_history_names_its_time_without_zone_and_why_it_expired():
    row = rest_order(createdAt="2025-07-22T00:00:00.123", status="Expired", expiryReason="PostOnlyTaker", postOnly=True)
    update = order_update(row, ours)
    assert (update.ts, update.reason, update.error) == (TIME, "PostOnlyTaker", "PostOnlyWouldTake")
    assert update.type is OrderType.POST_ONLY
    reverse = rest_order(orderType="Market", quantity=None, quoteQuantity="100", executedQuantity="0.7", price=None)
    assert order_update(reverse, ours).quantity == D("0.7")
    other = order_update(rest_order(clientId=8), ours)
    assert other.client_id == "", "an order of another program"


@pytest.mark.parametrize("changes", [{"status": "Odd"}, {"side": "Up"}, {"createdAt": "soon"}])
def test_a_value_that_is_none_of_the_venues_is_said(changes):
    with pytest.raises(Undecodable):
        order_update(rest_order(**changes), ours)


def test_a_message_of_the_stream_is_a_status_and_an_execution():
    event = order_event()
    update, fill = event_update(event, ours), event_fill(event, ours)
    assert (update.state, update.filled, update.quantity, update.ts) == (OrderState.PARTIAL, D("1.5"), D(2), TIME)
    assert update.average_price == D(151)
    assert (fill.trade_id, fill.quantity, fill.price, fill.side) == ("99", D("0.5"), D(151), Side.SELL)
    assert (fill.fee, fill.fee_currency, fill.maker, fill.client_id) == (D("-0.01"), "USDC", True, OURS[7])
    assert not fill.liquidation
    assert event_fill(order_event(e="orderAccepted", t=None, l=None, L=None, m=None, n=None, N=None), ours) is None
    with pytest.raises(Undecodable):
        event_fill(order_event(L=None), ours)


@pytest.mark.parametrize(
    ("origin", "system", "forced"),
    [
        ("LIQUIDATION_AUTOCLOSE", "LiquidatePositionOnBook", True),
        ("ADL_AUTOCLOSE", "LiquidatePositionOnAdl", True),
        ("BACKSTOP_LIQUIDITY_PROVIDER", "LiquidatePositionOnBackstop", True),
        ("COLLATERAL_CONVERSION", "CollateralConversion", False),
        ("SETTLEMENT_AUTOCLOSE", "FutureExpiry", False),
    ],
)
def test_what_the_venue_does_by_itself_is_never_ours_and_marked_when_forced(origin, system, forced):
    event = order_event(O=origin)
    streamed, update = event_fill(event, ours), event_update(event, ours)
    row = wire(
        RestFill,
        symbol="SOL_USDC_PERP",
        orderId="222",
        side="Ask",
        price="151",
        quantity="0.5",
        fee="-0.01",
        feeSymbol="USDC",
        isMaker=True,
        timestamp="2025-07-22T00:00:00.123",
        tradeId=99,
        clientId="7",
        systemOrderType=system,
    )
    assert streamed.liquidation is forced and streamed.client_id == update.client_id == ""
    assert fill_of(row, ours) == streamed, "the stream and the history tell the same execution"


def test_an_execution_without_a_number_has_the_same_id_in_stream_and_history():
    row = RestFill(
        "kPEPE_USDC_PERP", "222", "Bid", D("0.0065"), D(25), D(0), "USDC", True, "2025-07-22T00:00:00.123456"
    )
    event = order_event(s="kPEPE_USDC_PERP", S="Bid", t=None, L="0.0065", l="25", n="0", c=None, T=TIME * 1000 + 456)
    streamed, told = event_fill(event, ours), fill_of(row, ours)
    assert streamed == told
    assert (told.price, told.quantity) == (D("0.0000065"), D(25000))


def test_positions_are_signed_and_in_coins():
    row = wire(
        RestPosition,
        symbol="kPEPE_USDC_PERP",
        netQuantity="-25",
        entryPrice="0.0065",
        markPrice="0.0066",
        pnlUnrealized="-0.0025",
        pnlRealized="1",
        cumulativeFundingPayment="0.5",
        estLiquidationPrice="0.01",
    )
    position = position_of(row, D(10))
    assert (position.symbol, position.quantity) == ("PEPE-USDC-PERP", D(-25000))
    assert (position.entry_price, position.liquidation_price) == (D("0.0000065"), D("0.00001"))
    # The stream tells numbers bare, and its first message has no `e`.
    event = wire(PositionEvent, s="SOL_USDC_PERP", q=-5.5, B=149.25, M=150, P="-4.125", p="0", b=149.5, E=1, T=1)
    streamed = event_position(event, D(10))
    assert (streamed.quantity, streamed.entry_price, streamed.unrealised) == (D("-5.5"), D("149.25"), D("-4.125"))


@given(*(st.decimals(0, 10**9, places=6) for _ in range(3)), st.decimals(-(10**9), 10**9, places=6))
def test_a_balance_adds_up_with_what_is_lent_or_borrowed(available, locked, staked, lent):
    balance = balance_of("USDC", RestBalance(available, locked, staked), lent)
    assert balance.total == balance.free + balance.locked == available + locked + staked + lent
    assert balance.locked == locked + staked


def test_a_funding_payment_is_known_again_by_its_id():
    row = RestFunding("SOL_USDC_PERP", D("-0.25"), D("0.0001"), "2025-07-22T00:00:00")
    payment = funding_payment(row)
    assert (payment.symbol, payment.amount, payment.currency) == ("SOL-USDC-PERP", D("-0.25"), "USDC")
    assert payment.ts == TIME - 123 and payment.id == funding_payment(row).id


def market(**changes) -> Market:
    fields = {
        "symbol": "kBONK_USDC_PERP",
        "baseSymbol": "kBONK",
        "quoteSymbol": "USDC",
        "marketType": "PERP",
        "filters": {
            "price": {"minPrice": "0.000001", "maxPrice": None, "tickSize": "0.000001"},
            "quantity": {"minQuantity": "100", "maxQuantity": None, "stepSize": "10"},
        },
        "imfFunction": {"type": "sqrt", "base": "0.02", "factor": "0.0001"},
        "mmfFunction": {"type": "sqrt", "base": "0.0125", "factor": "0.00006"},
        "fundingInterval": 3_600_000,
        "orderBookState": "Open",
        "visible": True,
    }
    return wire(Market, **{**fields, **changes})


def test_an_instrument_has_exact_steps_in_coins_and_the_accounts_fees():
    account = wire(RestAccount, leverageLimit="10", futuresMakerFee="-0.5", futuresTakerFee="4", spotMakerFee="8")
    instrument = instrument_of(market(), account)
    assert (instrument.symbol, instrument.tick_size) == ("BONK-USDC-PERP", D("1e-9"))
    assert (instrument.lot_size, instrument.min_quantity, instrument.multiplier) == (D(10_000), D(100_000), D(1000))
    assert (instrument.maker_fee, instrument.taker_fee) == (D("-0.00005"), D("0.0004"))
    assert (str(instrument.max_leverage), instrument.maintenance_margin_rate) == ("50", D("0.0125"))
    assert (instrument.funding_period_h, instrument.native) == (1, "kBONK_USDC_PERP")
    assert instrument_of(market(fundingInterval=28_800_000), None).funding_period_h == 8
    assert fees_of(InstrumentKind.SPOT, account) == (D("0.0008"), D("0.001")), "what is not told is the usual fee"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("Open", InstrumentStatus.TRADING),
        ("LimitOnly", InstrumentStatus.TRADING),
        ("Closed", InstrumentStatus.SUSPENDED),
        ("CancelOnly", InstrumentStatus.SUSPENDED),
        ("SomethingNew", InstrumentStatus.SUSPENDED),
    ],
)
def test_a_market_that_takes_no_orders_is_suspended(state, status):
    assert instrument_of(market(orderBookState=state), None).status is status


@pytest.mark.parametrize(
    "text",
    ["2025-07-22 00:00:00.123", "2025-07-22T00:00:00.123", "2025-07-22T00:00:00.123Z", "2025-07-22T02:00:00.123+02:00"],
)
def test_a_time_without_zone_is_utc_wherever_we_are(text, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert ms_of(text) == TIME
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.integers(1, 10**9), st.integers(0, 6))
def test_market_data_in_thousands_keeps_its_decimal_digits(number, places):
    text = plain(D(number) / 10**places)
    price, size = coins(float(text), float(text), D(1000))
    assert D(repr(price)) == D(text) / 1000
    assert D(repr(size)) == D(text) * 1000


def test_a_candle_in_which_nothing_was_traded_is_flat_and_marked():
    listing = parse_native("SOL_USDC")
    nothing = (None, None, None, None)
    assert bar_of(listing, "1m", 0, nothing, (0.0, 0.0), True, 0, None) is None
    bar = bar_of(listing, "1m", 60_000, nothing, (0.0, 0.0), True, 0, 151.0)
    assert (bar.open, bar.close, bar.missing, bar.base_volume) == (151.0, 151.0, True, 0.0)
    full = bar_of(listing, "1m", 60_000, (1.0, 4.0, 1.0, 4.0), (2.0, None), False, 5, None)
    assert (full.quote_volume, full.missing, full.closed) == (6.0, False, False)

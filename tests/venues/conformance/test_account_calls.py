"""Account calls: balances, positions, leverage, rights; always the venue's truth."""

from __future__ import annotations

from decimal import Decimal

import pytest

from engine.kernel.account import Balance, FundingPayment, Position
from engine.kernel.errors import CtosError, InvalidOrder, Unsupported
from engine.kernel.orders import OrderType, Side
from tests.venues.conformance.rig import Rig

BUY, SELL = Side.BUY, Side.SELL


async def _open_two(rig: Rig) -> None:
    await rig.placed(BUY, "0.5", None, OrderType.MARKET)
    await rig.placed(SELL, "2", None, OrderType.MARKET, symbol=rig.other)
    await rig.until(lambda: len(rig.exchange.positions()) == 2)


def _rounded(value: Decimal) -> Decimal:
    return round(value, 6)


async def test_balances_are_the_venues(rig: Rig):
    truth = {b.currency: b.total for b in rig.balances() if b.total}
    told = {b.currency: b for b in await rig.patiently(rig.driver.fetch_balance()) if b.total}
    assert {currency: balance.total for currency, balance in told.items()} == truth
    for balance in told.values():
        assert balance.total == balance.free + balance.locked and balance.free >= 0 and balance.locked >= 0
    assert [b.currency for b in await rig.patiently(rig.driver.fetch_balance(rig.quote))] == [rig.quote]


async def test_money_that_is_lent_out_is_still_the_accounts(wired: Rig):
    assert wired.wire is not None
    if wired.wire.lend is None:
        pytest.skip("the venue does not lend a wallet's money out")
    wired.wire.lend(wired.emulator)
    [balance] = await wired.patiently(wired.driver.fetch_balance(wired.quote))
    assert balance.total == next(b.total for b in wired.balances() if b.currency == wired.quote)
    assert balance.free <= balance.total


async def test_positions_are_signed_coins(rig: Rig):
    assert await rig.patiently(rig.driver.get_position()) == []
    await _open_two(rig)
    rig.stage.mark(rig.perp, 60100.0)
    told = {p.symbol: p for p in await rig.patiently(rig.driver.get_position())}
    truth = {p.symbol: p for p in rig.exchange.positions()}
    assert told.keys() == truth.keys()
    for symbol, position in told.items():
        wanted = truth[symbol]
        assert (position.quantity, position.entry_price) == (wanted.quantity, wanted.entry_price)
        assert position.mark_price == wanted.mark_price
        assert _rounded(position.unrealised) == _rounded(wanted.unrealised)
    assert told[rig.other].quantity == -2
    assert [p.symbol for p in await rig.patiently(rig.driver.get_position(rig.perp))] == [rig.perp]


async def test_positions_and_balances_are_streamed(rig: Rig):
    await rig.placed(BUY, "0.5", None, OrderType.MARKET)
    await rig.until(lambda: [e for e in rig.events if isinstance(e, Position) and e.quantity == Decimal("0.5")])
    await rig.placed(SELL, "0.5", None, OrderType.MARKET, reduce_only=True)
    await rig.until(lambda: [e for e in rig.events if isinstance(e, Position)][-1].quantity == 0)
    truth = next(b.total for b in rig.balances() if b.currency == rig.quote)

    def newest() -> Decimal | None:
        told = [e.total for e in rig.events if isinstance(e, Balance) and e.currency == rig.quote]
        return told[-1] if told else None

    await rig.until(lambda: newest() == truth)


async def test_positions_are_closed_by_market(rig: Rig):
    await _open_two(rig)
    closed = await rig.patiently(rig.driver.close_all_positions(side=SELL))
    assert [update.symbol for update in closed] == [rig.other]
    await rig.until(lambda: [p.symbol for p in rig.exchange.positions()] == [rig.perp])
    await rig.patiently(rig.driver.close_all_positions())
    await rig.until(lambda: rig.exchange.positions() == [])


async def test_positions_are_closed_by_limits_beside_the_mark(rig: Rig):
    await _open_two(rig)
    closed = await rig.patiently(rig.driver.close_all_positions(rig.perp, "limit", Decimal("0.01")))
    assert [(update.symbol, update.side, update.quantity) for update in closed] == [(rig.perp, SELL, Decimal("0.5"))]
    order = next(order for order in rig.orders() if order.is_open)
    assert order.reduce_only and order.price == Decimal("60605.1")
    with pytest.raises(InvalidOrder, match="mode"):
        await rig.driver.close_all_positions(mode="gently")


async def test_leverage_is_set_and_known(rig: Rig):
    assert rig.driver.leverage(rig.spot) == 1
    if not rig.driver.features.leverage:
        pytest.skip("the venue's leverage is the account's")
    assert rig.driver.leverage(rig.perp) == rig.config.leverage
    assert await rig.patiently(rig.driver.set_leverage(rig.perp, Decimal(7))) == 7
    assert rig.driver.leverage(rig.perp) == 7
    assert rig.exchange.margin.leverage(rig.exchange.instruments[rig.perp]) == 7
    with pytest.raises(CtosError):
        await rig.patiently(rig.driver.set_leverage(rig.perp, Decimal(5000)))
    assert rig.driver.leverage(rig.perp) == 7


async def test_a_healthy_account_may_trade(rig: Rig):
    assert await rig.patiently(rig.driver.check_account()) == []
    rights = await rig.patiently(rig.driver.key_rights())
    assert rights.trade is not False and rights.withdraw is not True


async def test_the_dead_mans_timer_cancels_what_is_not_renewed(rig: Rig):
    if not rig.driver.features.dead_man:
        with pytest.raises(Unsupported):
            await rig.patiently(rig.driver.cancel_all_after(30))
        return
    await rig.placed(BUY, "0.02", "59000")
    await rig.patiently(rig.driver.cancel_all_after(30))
    await rig.wind(20)
    await rig.patiently(rig.driver.cancel_all_after(30))
    await rig.wind(20)
    assert len(rig.exchange.open_orders()) == 1, "renewed in time"
    await rig.wind(15)
    await rig.until(lambda: rig.exchange.open_orders() == [])
    await rig.placed(BUY, "0.02", "59000")
    await rig.patiently(rig.driver.cancel_all_after(30))
    await rig.patiently(rig.driver.cancel_all_after(0))
    await rig.wind(40)
    assert len(rig.exchange.open_orders()) == 1, "switched off"


async def test_e13_many_fills_are_paged_to_the_end(rig: Rig):
    client_id = await rig.placed(BUY, "1.3", "60005")
    await rig.until(lambda: rig.told(client_id))
    for _ in range(130):
        rig.stage.print(rig.perp, 60005.0, 0.01)
    truth = rig.executions()
    assert len(truth) == 130
    asked = await rig.patiently(rig.driver.get_fills(rig.perp, rig.clock.now_ms() - 600_000))
    assert len({fill.trade_id for fill in asked}) == len(asked) == 130
    assert sum(fill.quantity for fill in asked) == Decimal("1.3")
    assert sum(fill.fee for fill in asked) == sum(fill.fee for fill in truth)
    await rig.until(lambda: len(rig.fills()) == 130)
    later = await rig.patiently(rig.driver.get_fills(None, rig.clock.now_ms() + 60_000))
    assert later == []


async def test_funding_is_told_where_the_stream_has_it(rig: Rig):
    await rig.placed(BUY, "0.5", None, OrderType.MARKET)
    await rig.until(lambda: rig.exchange.positions())
    due = rig.clock.now_ms() + 5_000
    rig.stage.funding(rig.perp, 0.0001, due, rig.listed[rig.perp].funding_period_h)
    await rig.wind(10)
    truth = rig.exchange.account.ledgers[rig.perp].funding
    assert truth < 0
    payments = [event for event in rig.events if isinstance(event, FundingPayment)]
    assert all(payment.amount == truth for payment in payments)
    history = getattr(rig.driver, "_funding", None)
    if history is None:
        assert payments, "a venue without a history of payments streams them"
    else:
        listed = await rig.patiently(history._ask(due - 1))
        assert [(payment.symbol, payment.amount) for payment in listed] == [(rig.perp, truth)]
        assert listed == await rig.patiently(history._ask(due - 1)), "asked again it has the same id"
    balances = {b.currency: b.total for b in await rig.patiently(rig.driver.fetch_balance())}
    assert balances[rig.quote] == next(b.total for b in rig.balances() if b.currency == rig.quote)

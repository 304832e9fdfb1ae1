"""What lasts between runs, and what a reset clears."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from drivers.paper.config import MemoryStore
from drivers.paper.state import decode, encode
from engine.kernel.account import Balance, Position
from engine.kernel.errors import ConfigError, DuplicateClientOrderId, VenueUnavailable
from engine.kernel.orders import OrderState, OrderType, OrderUpdate
from tests.paper.venue import BUY, OTHER, PERP, SELL, SPOT, Venue, instruments, kept, opened

MARKET, LIMIT, STOP = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP


def busy() -> Venue:
    """Return a venue with fills, positions, spot coins, resting orders and a stop."""
    venue = opened(perp_taker=Decimal("0.0005"), spot_taker=Decimal("0.001"))
    venue.order(BUY, MARKET, "1.5", id="first")
    venue.order(SELL, MARKET, "0.4")
    venue.order(SELL, MARKET, "1", symbol=OTHER)
    venue.order(BUY, MARKET, "0.5", symbol=SPOT)
    venue.order(BUY, LIMIT, "2", "99.8", id="resting")
    venue.order(SELL, STOP, "1", trigger="98", id="stop", reduce_only=True)
    canceled = venue.order(BUY, LIMIT, "1", "99")
    venue.cancel(canceled)
    return venue


def restarted(venue: Venue, **config) -> Venue:
    """Return a venue of a later program on the same store."""
    return Venue(store=MemoryStore(venue.store.state), start_ns=venue.clock.now_ns() + 3_600_000_000_000, **config)


def test_everything_is_saved_before_anybody_hears_of_it():
    venue = opened()
    seen: list[bytes] = []
    venue.driver.subscribe_account(lambda event: seen.append(encode(venue.exchange.state()) == venue.store.state))
    venue.order(BUY, MARKET, "1")
    venue.order(BUY, LIMIT, "1", "99.9")
    venue.print(99, 1)
    assert len(seen) > 8 and all(seen)


def test_restart_finds_the_same_account():
    venue = busy()
    after = restarted(venue)
    assert kept(after) == kept(venue)
    assert [u.client_id for u in after.exchange.open_orders()] == ["resting", "stop"]
    for symbol in (PERP, OTHER, SPOT):
        assert after.held(symbol) == venue.held(symbol)
    assert list(after.exchange.registry.fills) == list(venue.exchange.registry.fills)
    assert after.query("first").state is OrderState.FILLED
    after.book([(99.9, 1.0)], [(100.1, 1.0)])
    with pytest.raises(DuplicateClientOrderId):
        after.order(BUY, MARKET, "1", id="first")
    after.order(BUY, MARKET, "1", id="new")
    ids = [fill.trade_id for fill in after.exchange.registry.fills]
    assert len(ids) == len(set(ids)), "ids go on"


def test_resting_orders_meet_the_market_again():
    venue = busy()
    after = restarted(venue)
    after.book([(99.0, 1.0)], [(99.5, 1.0)])
    fills = after.fills("resting")
    assert [(fill.price, fill.quantity, fill.maker) for fill in fills] == [(Decimal("99.8"), 2, True)]
    after.print(97)
    assert after.query("stop").state is OrderState.EXPIRED or after.fills("stop")
    after.check_money()


def test_before_the_market_is_back_orders_can_be_canceled_but_not_changed():
    after = restarted(busy())
    with pytest.raises(VenueUnavailable, match="no market yet"):
        after.amend("stop", price="97")
    assert after.cancel("resting").state is OrderState.CANCELED


def test_hedged_positions_are_not_liquidated_while_one_of_them_has_no_price_yet():
    venue = opened(leverage=Decimal(100))
    for symbol in (PERP, OTHER):
        venue.book([(99.9, 900.0)], [(100.1, 900.0)], symbol)
    venue.order(BUY, MARKET, "100")
    venue.order(SELL, MARKET, "100", symbol=OTHER)
    after = restarted(venue)
    for symbol in (PERP, OTHER):
        after.book([(79.9, 900.0)], [(80.1, 900.0)], symbol)
        after.mark(80, symbol)
        assert (after.held(), after.held(OTHER)) == (100, -100)


def test_a_loss_is_paid_from_an_open_profit_whose_market_is_not_back_yet():
    venue = opened(leverage=Decimal(100))
    for symbol in (PERP, OTHER):
        venue.book([(99.9, 900.0)], [(100.1, 900.0)], symbol)
    venue.order(BUY, MARKET, "100")
    venue.order(SELL, MARKET, "100", symbol=OTHER)
    for symbol in (OTHER, PERP):
        venue.book([(79.9, 900.0)], [(80.1, 900.0)], symbol)
        venue.mark(80, symbol)
    venue.order(BUY, LIMIT, "1", "70")
    after = restarted(venue)
    after.book([(79.9, 900.0)], [(80.1, 900.0)])
    after.order(SELL, MARKET, "100", id="later")
    assert (after.held(), after.held(OTHER)) == (0, -100)
    assert after.exchange.account.money.insurance == {}
    after.check_money()


def test_a_first_start_deposits_and_a_reset_begins_again():
    venue = busy()
    used = {fill.trade_id for fill in venue.exchange.registry.fills}
    venue.events.clear()
    venue.driver.reset()
    assert {u.client_id: u.state for u in venue.of(OrderUpdate)} == {
        "resting": OrderState.CANCELED,
        "stop": OrderState.CANCELED,
    }
    assert {p.symbol: p.quantity for p in venue.of(Position)} == {PERP: 0, OTHER: 0}
    assert {b.currency: b.total for b in venue.of(Balance)} == {"USD": 1000, "TST": 0}
    venue.check_money()
    order = venue.order(BUY, MARKET, "1")
    assert venue.fills(order)[0].trade_id not in used
    assert kept(restarted(venue)) == kept(venue)


def test_accounts_of_different_markets_never_share_ids():
    ids = set()
    for start_ns in (1_700_000_000_000_000_000, 1_700_000_001_000_000_000):
        venue = Venue(start_ns=start_ns)
        venue.book([(99.9, 1.0)], [(100.1, 1.0)])
        venue.order(BUY, MARKET, "1")
        ids.add(venue.fills()[0].trade_id)
    assert len(ids) == 2


@pytest.mark.parametrize(
    "state", [b"", b"{", b"\xff\xfe", b'{"version":1}', b'{"version":99}', b"[]", b'{"version":"x"}']
)
def test_a_damaged_state_is_refused_with_the_remedy(state):
    with pytest.raises(ConfigError, match="reset the paper account"):
        decode(state)
    with pytest.raises(ConfigError, match="reset the paper account"):
        Venue(store=MemoryStore(state))


def test_a_state_of_another_market_is_refused():
    venue = busy()
    listed = [replace(instrument) for instrument in instruments() if instrument.symbol != OTHER]
    with pytest.raises(ConfigError, match=OTHER):
        restarted(venue, listed=listed)

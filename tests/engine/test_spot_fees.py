"""A venue that takes the fee of a spot buy from the coins: ledgers hold what the wallet has, the rest is dust."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.paper.config import QueueModel
from engine.kernel.account import Ledger
from engine.kernel.errors import UnknownStrategy, VenueUnavailable
from engine.kernel.links import LinkState, LinkStatus
from engine.kernel.market import BookUpdate
from engine.kernel.orders import Fill, OrderState, OrderType
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Done, DoneStatus, Params, StopPolicy, Strategy
from engine.kernel.syscalls import VenueFeatures
from engine.runtime.events import LogLine, WorkDone
from engine.runtime.ledgers import LedgerBook
from engine.runtime.records import Execution, decode, journalled
from engine.runtime.state_digest import replay, state_digest
from tests.engine.faults import FaultyDriver
from tests.engine.floor import BUY, MANUAL, SELL, SPOT, Floor, d
from tests.engine.monitor_desk import Desk
from tests.rig import Rig

CHARGED = {"coin_fees": True, "spot_taker": d("0.001"), "spot_maker": d("0.001")}


class Buyer(Strategy[Params]):
    """Buys at the start, and notes what it holds."""

    name = "buyer"
    params_model = Params
    held: Any = None

    def on_start(self, reason: str) -> None:
        self.ctx.buy(SPOT, quantity=d("1.5"), type=OrderType.MARKET)

    def on_fill(self, fill: Fill) -> None:
        self.held = self.ctx.position(SPOT)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    opened = Floor(tmp_path, features=VenueFeatures(stops=False), **CHARGED)
    opened.admit("grid")
    opened.print(100.0, symbol=SPOT)
    return opened


def bought(floor: Floor, quantity: str, instance: str = MANUAL) -> None:
    floor.order(BUY, quantity, type=OrderType.MARKET, instance=instance, symbol=SPOT)


def refused(floor: Floor) -> list[str]:
    orders = floor.engine.tracker.recent() + floor.engine.tracker.working()
    return [order.reason for order in orders if order.state is OrderState.REJECTED]


def dones(floor: Floor) -> list[Done]:
    return [event.done for event in floor.events if isinstance(event, WorkDone)]


def test_a_buy_leaves_the_ledger_with_what_reaches_the_wallet_and_no_cent_of_profit_is_lost(floor: Floor):
    bought(floor, "1.5", "grid")
    floor.print(120.0, symbol=SPOT)
    bought(floor, "0.5")
    portfolio = floor.engine.portfolio
    held, by_hand = portfolio.ledger("grid", SPOT), portfolio.ledger(MANUAL, SPOT)
    assert (held.quantity, held.entry_price, held.fees, held.traded) == (d("1.4985"), 100, d("0.15"), 150)
    assert (by_hand.quantity, by_hand.entry_price, by_hand.fees, by_hand.realised) == (d("0.4995"), 120, d("0.06"), 0)
    assert portfolio.quantity(SPOT) == floor.venue_quantity(SPOT) == d("1.998")
    for price in (120.0, 90.0):
        floor.print(price, symbol=SPOT)
        assert portfolio.equity() == 100_000 + portfolio.profit()
    floor.order(SELL, "1.498", type=OrderType.MARKET, instance="grid", symbol=SPOT)
    assert held.quantity == d("0.0005") and held.realised == d("-14.98")
    assert portfolio.equity() == 100_000 + portfolio.profit()
    assert portfolio.fees_paid() == {"TST": d("0.002"), "USD": d("0.13482")}


def test_the_journal_leads_to_the_same_ledgers_and_what_older_ones_say_stays_as_it_was(tmp_path: Path):
    floor = Floor(tmp_path, **CHARGED)
    floor.print(100.0, symbol=SPOT)
    bought(floor, "1.5")
    floor.order(SELL, "0.5", type=OrderType.MARKET, symbol=SPOT)
    digest = state_digest(floor.engine.core.state)
    assert replay(floor.journal, floor.account.key, floor.clock).digest == digest
    after = floor.restart(tmp_path, **CHARGED)
    assert after.ledger(symbol=SPOT) == d("0.9985") == after.venue_quantity(SPOT)
    record = Execution(floor.fills()[0].fill, MANUAL, d("0.15"), d("0.0015"))
    body = journalled(record)
    assert isinstance(body, dict) and decode("FILL", body) == record
    del body["fee_coins"]
    books = LedgerBook()
    books.apply(decode("FILL", body))
    assert books.totals[SPOT].quantity == d("1.5") and books.totals[SPOT].fees == d("0.15")


def test_a_fee_on_a_sale_is_taken_from_what_is_left_and_never_turns_a_ledger_short(floor: Floor):
    bought(floor, "2", "grid")
    fill = floor.fills()[0].fill
    books = LedgerBook()
    books.apply(Execution(fill, "grid", d("0.2"), d("0.002")))
    for trade, quantity, left in (("a", "1", "0.997"), ("b", "0.997", "0")):
        sale = replace(fill, side=SELL, trade_id=trade, quantity=d(quantity), fee=d("0.001"))
        books.apply(Execution(sale, "grid", d("0.1"), d("0.001")))
        ledger = books.by_instance["grid"][SPOT]
        assert ledger.quantity == d(left) == books.totals[SPOT].quantity
    assert ledger.cost == 0 and ledger.realised == 0 and ledger.fees == d("0.4")


def test_a_close_sells_whole_lots_and_what_is_over_is_dust(floor: Floor):
    bought(floor, "1.5", "grid")
    floor.engine.close("grid", SPOT, soft=False)
    floor.run(1)
    floor.engine.close("grid", SPOT, soft=False)
    floor.engine.set_coin_position("grid", SPOT, d(0), soft=False)
    floor.run(1)
    assert [done.status for done in dones(floor)] == [DoneStatus.FILLED, DoneStatus.DUST, DoneStatus.DUST]
    assert not refused(floor) and floor.ledger("grid", SPOT) == d("0.0005") == floor.venue_quantity(SPOT)
    floor.engine.set_coin_position("grid", SPOT, d(100), soft=False)
    floor.run(1)
    assert dones(floor)[-1].status is DoneStatus.FILLED
    assert floor.ledger("grid", SPOT) == d("0.0005") + d("0.999") * d("0.999")


def test_a_stop_that_is_held_here_fires_with_what_there_is_to_sell(floor: Floor):
    bought(floor, "1.5", "grid")
    stop = floor.order(SELL, "1.5", type=OrderType.STOP, instance="grid", symbol=SPOT, trigger="95", reduce_only=True)
    assert stop.quantity == d("1.498"), "of what is held, whole lots"
    floor.order(SELL, "0.7", type=OrderType.MARKET, instance="grid", symbol=SPOT)
    assert stop.quantity == d("0.798")
    floor.print(94.0, symbol=SPOT)
    floor.run(1)
    assert stop.state is OrderState.FILLED and not refused(floor)
    assert floor.ledger("grid", SPOT) == d("0.0005")


def test_everything_that_is_closed_by_hand_leaves_dust_without_an_alarm(floor: Floor):
    bought(floor, "1.5", "grid")
    bought(floor, "0.25")
    lines: list[str] = []
    floor.bus.subscribe(LogLine, lambda line: lines.append(line.text))
    floor.engine.panic("operator")
    floor.engine.flatten_all("operator")
    floor.run(10)
    assert not refused(floor) and "flatten" not in floor.alarms()
    assert floor.venue_quantity(SPOT) == floor.engine.portfolio.quantity(SPOT) == d("0.00025")
    assert any("flatten: nothing is left" in line for line in lines)


def test_a_strategy_that_is_stopped_by_flatten_ends_and_sees_no_dust(tmp_path: Path):
    rig = Rig(tmp_path, classes=[Buyer], first_price=None, **CHARGED)
    rig.print(100.0, symbol=SPOT)
    instance = rig.launch("buyer", SPOT, "b1")
    rig.run(1)
    held: Ledger = instance.strategy.held
    assert (held.quantity, held.entry_price) == (d("1.498"), 100)
    assert rig.ledger_of("b1", SPOT).quantity == d("1.4985")
    rig.manager.stop("b1", StopPolicy.FLATTEN)
    rig.run(30)
    assert instance.life.state is InstanceState.STOPPED and not rig.anomalies
    assert rig.ledger_of("b1", SPOT).quantity == d("0.0005") and not refused(rig)


def test_what_is_over_after_a_close_is_nothing_that_the_correction_of_positions_proposes_to_sell(tmp_path: Path):
    desk = Desk(tmp_path, correction="dry_run", floor=CHARGED)
    floor = desk.floor
    floor.print(100.0, symbol=SPOT)
    bought(floor, "1.5", "g1")
    floor.engine.close("g1", SPOT, soft=False)
    floor.run(1)
    assert floor.ledger("g1", SPOT) == d("0.0005") and desk.monitor.corrector.excess(SPOT) == 0


class Troubled(FaultyDriver):
    """A venue whose connections a test sets."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self.connections: list[LinkStatus] = []

    def links(self) -> list[LinkStatus]:
        return self.connections


@pytest.mark.parametrize("sold", ["1.497", "1.498"])
def test_dust_is_no_exposure_to_a_venue_that_falls_silent(tmp_path: Path, sold: str):
    floor = Floor(tmp_path, driver_of=Troubled, features=VenueFeatures(stops=False), **CHARGED)
    floor.print(100.0, symbol=SPOT)
    bought(floor, "1.5")
    floor.order(SELL, sold, type=OrderType.MARKET, symbol=SPOT)
    floor.driver.connections = [LinkStatus("market", LinkState.DOWN, 0)]
    for name in ("get_open_orders", "get_fills", "get_position", "fetch_balance"):
        floor.driver.broken[name] = VenueUnavailable("maintenance")
    for _ in range(200):
        floor.print(100.0)
        floor.run(0.98)
    causes = floor.engine.trading.describe()
    if sold == "1.497":
        assert floor.engine.risk.is_halted, "a lot is left, which can be sold"
        return
    assert floor.ledger(symbol=SPOT) == d("0.0005")
    assert not floor.engine.risk.is_halted and "the venue does not answer" in causes and "no prices" not in causes


def test_dust_of_what_was_not_restored_is_given_up_by_a_stop(tmp_path: Path):
    rig = Rig(tmp_path, classes=[Buyer], first_price=None, **CHARGED)
    rig.print(100.0, symbol=SPOT)
    rig.launch("buyer", SPOT, "b1")
    rig.run(1)
    rig.engine.close("b1", SPOT, soft=False)
    rig.run(1)
    after = rig.restart(classes=[])
    assert after.ledger_of("b1", SPOT).quantity == d("0.0005")
    after.manager.stop("b1")
    with pytest.raises(UnknownStrategy, match="no strategy instance"):
        after.manager.stop("b1")


class CoinPaid(FaultyDriver):
    """Pays the fee of every sale in coins too, as Binance takes BNB, as long as there is one that no order locks."""

    def subscribe_account(self, handler: Callable[[Any], None]) -> Any:
        return self._driver.subscribe_account(lambda event: handler(_paid_in_coins(event)))

    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        return [_paid_in_coins(fill) for fill in await self._driver.get_fills(symbol, since)]


def _paid_in_coins(event: Any) -> Any:
    if not isinstance(event, Fill) or event.side is not SELL:
        return event
    return replace(event, fee=event.quantity * d("0.00075"), fee_currency="TST")


@pytest.fixture
def coin_paid(tmp_path: Path) -> Floor:
    """A floor on which an instance holds 200, bought without a fee, before a book with 100 on each level."""
    floor = Floor(tmp_path, driver_of=CoinPaid, queue=QueueModel.FIFO, features=VenueFeatures(stops=False))
    floor.admit("grid")
    show(floor, 100.0)
    bought(floor, "200", "grid")
    assert floor.ledger("grid", SPOT) == 200
    return floor


def show(floor: Floor, middle: float) -> None:
    bids = [(round(middle - 0.01 * step - 0.01, 2), 100.0) for step in range(5)]
    asks = [(round(middle + 0.01 * step + 0.01, 2), 100.0) for step in range(5)]
    floor.play(BookUpdate(SPOT, floor.clock.now_ms(), bids, asks, True))
    floor.print(middle, 0.001, SPOT)


def test_a_sale_of_everything_in_two_trades_leaves_nothing_and_nothing_is_bought_back(coin_paid: Floor):
    floor = coin_paid
    floor.order(SELL, 200, type=OrderType.MARKET, instance="grid", symbol=SPOT)
    sales = [booked.fill for booked in floor.fills() if booked.fill.side is SELL]
    assert [(fill.quantity, fill.fee_currency) for fill in sales] == [(100, "TST"), (100, "TST")]
    assert floor.ledger("grid", SPOT) == 0 == floor.engine.portfolio.quantity(SPOT)
    show(floor, 100.0)
    floor.engine.set_coin_position("grid", SPOT, d(0), soft=False)
    floor.run(5)
    assert dones(floor)[-1].status is DoneStatus.SKIPPED and floor.fills()[-1].fill.side is SELL
    digest = state_digest(floor.engine.core.state)
    assert replay(floor.journal, floor.account.key, floor.clock).digest == digest


@pytest.mark.parametrize(("resting", "left", "at_the_end"), [(100, "100", "0"), (90, "99.925", "9.8575")])
def test_a_fee_takes_only_coins_that_no_sale_at_the_venue_has_locked(
    coin_paid: Floor, resting: int, left: str, at_the_end: str
):
    floor = coin_paid
    order = floor.order(SELL, resting, 105, instance="grid", symbol=SPOT)
    floor.order(SELL, 100, type=OrderType.MARKET, instance="grid", symbol=SPOT)
    assert floor.ledger("grid", SPOT) == d(left)
    show(floor, 110.0)
    floor.run(1)
    assert order.state is OrderState.FILLED and floor.ledger("grid", SPOT) == d(at_the_end)

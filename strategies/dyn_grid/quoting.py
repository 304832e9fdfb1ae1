"""Which order each side of a grid should have now: prices, sizes, limits. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from engine.kernel.instruments import Instrument
from engine.kernel.market import FundingRate, Quote
from engine.kernel.orders import Side
from strategies.dyn_grid.params import DynGridParams
from strategies.dyn_grid.state import Grid

ZERO = Decimal(0)
ONE = Decimal(1)
FUNDING_WINDOW_MS = 60_000
FUNDING_RATE = 0.0005
MAX_SKIPS = 10_000


@dataclass(slots=True, frozen=True)
class Wanted:
    """The order that a side should have."""

    price: Decimal
    quantity: Decimal
    reduce_only: bool


@dataclass(slots=True, frozen=True)
class Scene:
    """What decides about the orders of one symbol.

    Attributes:
        held: Signed base coins of the ledger.
        working: Signed base coins of orders that chase skipped steps.
        fx: USD per unit of the quote currency.
        funding: Predicted funding, None unless it matters.
    """

    params: DynGridParams
    instrument: Instrument
    quote: Quote
    held: Decimal
    working: Decimal
    mark: Decimal
    fx: Decimal
    now_ms: int
    funding: FundingRate | None = None

    @property
    def shorts(self) -> bool:
        """Return whether the ledger may go below zero."""
        allowed = self.params.allow_short
        return self.instrument.is_perp and allowed is not False


def grid_price(scene: Scene, baseline: Decimal, side: Side) -> Decimal:
    """Return a side's price around a baseline, rounded away from the market."""
    step = scene.params.buy_grid_step if side is Side.BUY else scene.params.sell_grid_step
    return scene.instrument.round_price(side, baseline * step)


def order_quantity(scene: Scene, price: Decimal) -> Decimal:
    """Return the full size of an order at a price."""
    if scene.params.base_qty:
        return scene.instrument.floor_quantity(scene.params.base_qty)
    return scene.instrument.quantity_for(scene.params.base_amount / scene.fx, price)


def wanted(scene: Scene, grid: Grid, side: Side, at: Decimal | None = None) -> Wanted | str:
    """Return the order that a side should have, or why it must have none.

    Args:
        scene: Market and ledger.
        grid: Baseline and last entry.
        side: Which side.
        at: Price instead of the grid's own.
    """
    if _pays_funding(scene, side):
        return "it would pay funding within a minute"
    price = grid_price(scene, grid.baseline, side) if at is None else at
    quantity = order_quantity(scene, price)
    held = scene.held + scene.working if at is not None else scene.held
    if held * side.sign < ZERO and abs(held) * 2 >= quantity:
        price = _no_worse_than_entry(scene, grid, side, price)
        return Wanted(price, min(order_quantity(scene, price), abs(held)), scene.instrument.is_perp)
    if side is Side.SELL and not scene.shorts:
        quantity = min(quantity, max(ZERO, held))
        if not quantity:
            return "nothing is held and selling short is off"
        return Wanted(price, quantity, scene.instrument.is_perp)
    if _notional_after(scene, held, side, quantity, price) > scene.params.max_inventory:
        return f"one more would exceed max_inventory {scene.params.max_inventory:f} USD"
    return Wanted(price, quantity, False)


def crosses(scene: Scene, side: Side, price: Decimal) -> bool:
    """Return whether a limit would take; at a locked touch the own side's price is passive."""
    value, quote = float(price), scene.quote
    if side is Side.BUY:
        return value >= quote.ask and value > quote.bid
    return value <= quote.bid and value < quote.ask


def at_touch(scene: Scene, side: Side) -> Decimal:
    """Return the best price of the own side."""
    return scene.instrument.price_from_float(scene.quote.bid if side is Side.BUY else scene.quote.ask)


def skipped(scene: Scene, grid: Grid, side: Side) -> tuple[Decimal, list[Decimal]]:
    """Return the baseline from which a side is passive, and the prices of the steps skipped on the way there."""
    move = scene.params.buy_move_step if side is Side.BUY else scene.params.sell_move_step
    baseline, prices = grid.baseline, list[Decimal]()
    if move == ONE:
        return baseline, prices
    low, high = grid.init * scene.params.guard_low, grid.init * scene.params.guard_high
    while len(prices) < MAX_SKIPS and low <= baseline <= high:
        price = grid_price(scene, baseline, side)
        if not crosses(scene, side, price):
            break
        prices.append(price)
        baseline *= move
    return baseline, prices


def _no_worse_than_entry(scene: Scene, grid: Grid, side: Side, price: Decimal) -> Decimal:
    """Return a reducing order's price, so that a round trip never loses to its own last entry."""
    if not grid.last_increase_price:
        return price
    fees = 2 * scene.instrument.maker_fee
    if side is Side.BUY:
        return min(price, scene.instrument.round_price(side, grid.last_increase_price * (ONE - fees)))
    return max(price, scene.instrument.round_price(side, grid.last_increase_price * (ONE + fees)))


def _notional_after(scene: Scene, held: Decimal, side: Side, quantity: Decimal, price: Decimal) -> Decimal:
    """Return the position's notional in USD if the order filled."""
    if held * side.sign >= ZERO:
        return (abs(held) * scene.mark + quantity * price) * scene.fx
    return abs(held + side.sign * quantity) * scene.mark * scene.fx


def _pays_funding(scene: Scene, side: Side) -> bool:
    """Return whether an order of this side would open what pays high funding within a minute."""
    funding = scene.funding
    if funding is None or not 0 <= funding.next_time - scene.now_ms <= FUNDING_WINDOW_MS:
        return False
    return funding.rate * side.sign > FUNDING_RATE and scene.held * side.sign >= ZERO

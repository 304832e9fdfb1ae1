"""The dynamic grid: one resting buy and one resting sell per symbol around a baseline that every fill moves."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from engine.kernel.errors import BelowMinimum, ConfigError, CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.orders import Fill, Order, OrderState, Pending, Side
from engine.kernel.strategy import Context, Done, DoneStatus, RiskParams, Strategy
from strategies.dyn_grid.params import DynGridParams
from strategies.dyn_grid.quoter import CONFIRMED, SIDES, Quoter
from strategies.dyn_grid.quoting import order_quantity
from strategies.dyn_grid.refusals import after_cancellation, after_refusal
from strategies.dyn_grid.state import Grid, Phase, Slot

ZERO = Decimal(0)
ONE = Decimal(1)
MAX_SYMBOLS = 50
_LOOK_S = 1.0
_REFUSED = (OrderState.REJECTED, OrderState.EXPIRED, OrderState.NEVER_SENT, OrderState.NEVER_ACCEPTED)


class DynGrid(Strategy[DynGridParams]):
    """Earns swings with one resting buy and one resting sell per symbol.

    The buy rests at baseline x buy_grid_step, the sell at baseline x sell_grid_step, both post-only. Each fill moves
    the baseline by the move step of its side, and both orders are placed anew around it, so the spacing after the
    first fill is narrower than the first gap. The position per symbol and direction is capped by max_inventory. An
    order that reduces the position is never priced worse than the last entry plus fees.

    When the price or the baseline leaves the guard band around the starting price, the symbol freezes: its orders are
    taken back, and nothing happens until you give the action `rebase`, which starts it anew at the present price.
    Orders that somebody cancels are placed again after 30 s, three times in 10 minutes; then the symbol pauses.
    """

    name = "dyn_grid"
    title = "two-order grid around a moving baseline"
    params_model = DynGridParams

    def __init__(self, ctx: Context, params: DynGridParams) -> None:
        super().__init__(ctx, params)
        saved = ctx.state.get("grids", {})
        self._grids: dict[str, Grid] = {symbol: Grid.from_dict(data) for symbol, data in saved.items()}
        self._quoter = Quoter(ctx, params)

    @classmethod
    def limits(cls, params: DynGridParams, n_symbols: int) -> RiskParams:
        """Return the limits: max_inventory for each symbol, and room for its orders."""
        orders = 2 * n_symbols
        if params.catch_up == "chase" and not params.base_qty:
            orders += n_symbols * int(params.max_inventory / params.base_amount)
        changes: dict[str, object] = {}
        if params.risk.max_notional_usd is None:
            changes["max_notional_usd"] = params.max_inventory * n_symbols
        if orders > params.risk.max_open_orders:
            changes["max_open_orders"] = orders
        return params.risk.model_copy(update=changes)

    @classmethod
    def check(cls, params: DynGridParams, instruments: Sequence[Instrument]) -> None:
        """Refuse steps whose round trip would not pay its fees, and what the instruments cannot do.

        Raises:
            ConfigError: Names the parameter and what would work.
        """
        if len(instruments) > MAX_SYMBOLS:
            raise ConfigError(f"dyn_grid: {len(instruments)} symbols; one instance takes up to {MAX_SYMBOLS}")
        for instrument in instruments:
            if params.allow_short and not instrument.is_perp:
                raise ConfigError(f"allow_short: {instrument.symbol} is spot and cannot be sold short")
            least = ONE + 2 * instrument.maker_fee
            if params.round_trip <= least:
                raise ConfigError(
                    f"dyn_grid on {instrument.symbol}: a round trip earns x{params.round_trip:.6f}, fees need more "
                    f"than x{least}; widen buy_grid_step and sell_grid_step or bring the move steps nearer to 1"
                )

    def on_start(self, reason: str) -> None:
        """Set baselines for new symbols, go on from what is remembered, and quote."""
        for symbol in [name for name in self._grids if name not in self.symbols]:
            self._quoter.cancel_both(symbol, self._grids.pop(symbol))
        for symbol in self.symbols:
            grid = self._grids.get(symbol)
            if grid is None or reason == "new":
                self._begin(symbol)
            else:
                self._catch_up(grid, reason)
            self._adopt(symbol)
            self._quote(symbol)
        self.ctx.timer.every("look", _LOOK_S)
        self._save()

    def on_params(self, old: DynGridParams, new: DynGridParams) -> None:
        """Quote anew with the amended parameters; symbols dropped for their size get another chance."""
        self._quoter.params = new
        for symbol in self.symbols:
            grid = self._grids.get(symbol)
            if grid is not None and grid.phase is Phase.DROPPED:
                self._begin(symbol)
            self._quote(symbol)
        self._save()

    def on_timer(self, name: str, payload: object) -> None:
        """Quote what is due."""
        if name == "look":
            changed = [symbol for symbol in self.symbols if self._look(symbol)]
            if changed:
                self._save(*changed)
            return
        if name.startswith("quote:"):
            symbol = name.removeprefix("quote:")
            self._quote(symbol)
            self._save(symbol)
            return
        if name == "armed":
            for symbol, grid in self._grids.items():
                for slot in (grid.buy, grid.sell):
                    if slot.blocked:
                        slot.blocked, slot.wait_until_ms = False, 0
                self._quote(symbol)
        self._save()

    def on_fill(self, fill: Fill) -> None:
        """Remember the price at which the position last grew."""
        grid = self._grids.get(fill.symbol)
        if grid is None:
            return
        held = self.ctx.position(fill.symbol).quantity
        if held and (held > ZERO) == (fill.side is Side.BUY):
            grid.last_increase_price = fill.price
        self._save(fill.symbol)

    def on_order(self, order: Order) -> None:
        """Move the baseline when an order is done, and mend what was refused or cancelled."""
        grid = self._grids.get(order.symbol)
        if grid is None:
            return
        slot = grid.slot(order.side)
        if order.client_id in grid.chasing:
            if order.state.is_final:
                grid.chasing.remove(order.client_id)
        elif slot.client_id and slot.client_id in (order.client_id, order.replaces):
            slot.client_id = order.client_id
            self._follow(order, grid)
        self._save(order.symbol)

    def on_done(self, done: Done) -> None:
        """Note that the close at the guard has ended; the next look tries again if something is left."""
        grid = self._grids.get(done.symbol)
        if grid is not None and done.handle == grid.flattening:
            grid.flattening = ""
            if done.status not in (DoneStatus.FILLED, DoneStatus.SKIPPED):
                self.ctx.log(f"{done.symbol}: close ended {done.status.value} {done.reason}".rstrip(), "warn")
            self._save(done.symbol)

    def action(self, name: str, **arguments: str) -> str:
        """Carry out `rebase [symbol=...]`: begin anew at the present price, out of a freeze or pause."""
        if name != "rebase":
            raise CtosError(f"dyn_grid has no action {name!r}; it has rebase")
        chosen = self._named(arguments["symbol"]) if "symbol" in arguments else list(self.symbols)
        for symbol in chosen:
            if self.ctx.price(symbol) is None:
                raise CtosError(f"rebase: there is no price of {symbol} now")
        for symbol in chosen:
            self._begin(symbol)
            self._quote(symbol)
        self._save()
        return ", ".join(f"{symbol} rebased at {self._grids[symbol].init:f}" for symbol in chosen)

    def _named(self, typed: str) -> list[str]:
        name = typed.upper()
        found = [symbol for symbol in self.symbols if name in (symbol, symbol.split("-")[0])]
        if not found:
            raise CtosError(f"rebase: {self.ctx.instance} does not trade {typed}, it trades {', '.join(self.symbols)}")
        return found

    def _save(self, *symbols: str) -> None:
        """Remember some symbols, or all, and say why orders are missing."""
        if symbols:
            self.ctx.state.setdefault("grids", {}).update(
                {name: self._grids[name].to_dict() for name in symbols if name in self._grids}
            )
        else:
            self.ctx.state["grids"] = {name: grid.to_dict() for name, grid in self._grids.items()}
        self.ctx.why("; ".join(note for symbol in self.symbols if (note := self._why(symbol))))

    def _why(self, symbol: str) -> str:
        """Return why a symbol lacks an order, empty when it has both."""
        grid = self._grids.get(symbol)
        if grid is None:
            return f"{symbol}: no price yet"
        if not grid.is_quoted:
            return f"{symbol} {grid.phase.value}: {grid.note}"
        notes = [f"{side.value}: {slot.note}" for side in SIDES if (slot := grid.slot(side)).note]
        return f"{symbol} {', '.join(notes)}" if notes else ""

    def _begin(self, symbol: str) -> None:
        """Start a symbol at the present middle; orders and the last entry of an earlier start stay known."""
        mid = self.ctx.price(symbol)
        if mid is None:
            return
        grid = Grid(init=mid, baseline=mid)
        old = self._grids.get(symbol)
        if old is not None:
            grid.last_increase_price, grid.buy, grid.sell, grid.chasing = (
                old.last_increase_price, old.buy, old.sell, old.chasing
            )  # fmt: skip
            grid.buy.reset()
            grid.sell.reset()
        self._grids[symbol] = grid
        self._drop_if_too_small(symbol, grid)

    def _drop_if_too_small(self, symbol: str, grid: Grid) -> None:
        scene = self._quoter.scene(symbol, grid)
        if scene is None:
            return
        instrument = scene.instrument
        for step in (self.params.buy_grid_step, self.params.sell_grid_step):
            price = grid.baseline * step
            minimum = instrument.minimum_order_quantity(price)
            if order_quantity(scene, price) < minimum:
                asked = self.params.base_qty * price or self.params.base_amount / scene.fx
                error = BelowMinimum(round(asked, 2), round(minimum * price, 2), instrument.quote)
                grid.phase, grid.note = Phase.DROPPED, str(error)
                self.ctx.log(f"{symbol} dropped: {error}", "warn")
                self._quoter.cancel_both(symbol, grid)
                return

    def _catch_up(self, grid: Grid, reason: str) -> None:
        """Take in what became of the remembered orders, and leave a pause when a person resumes."""
        for side in SIDES:
            slot = grid.slot(side)
            order = self.ctx.order(slot.client_id) if slot.client_id else None
            if order is None:
                slot.free()
            elif order.state.is_final:
                self._follow(order, grid)
            else:
                slot.check_ms = self.ctx.now_ms()
        grid.chasing = [name for name in grid.chasing if (chase := self.ctx.order(name)) is not None and chase.is_open]
        if not self.ctx.active(grid.flattening):
            grid.flattening = ""
        if reason == "resume":
            grid.buy.reset()
            grid.sell.reset()
            if grid.phase in (Phase.PAUSED, Phase.BACKOFF):
                grid.phase, grid.note = Phase.ACTIVE, ""

    def _adopt(self, symbol: str) -> None:
        """Take orders of this instance that no slot knows: into an empty slot, or back."""
        grid = self._grids.get(symbol)
        if grid is None:
            return
        known = {grid.buy.client_id, grid.sell.client_id, *grid.chasing}
        for order in self.ctx.orders(symbol):
            if order.client_id in known or order.parent:
                continue
            slot = grid.slot(order.side)
            if slot.client_id or not grid.is_quoted or order.price is None:
                self.ctx.cancel(order.client_id)
            else:
                slot.client_id = order.client_id

    def _look(self, symbol: str) -> bool:
        """Once a second: watch the guard, and quote what waited for its time; returns whether anything was done."""
        grid = self._grids.get(symbol)
        if grid is None:
            self._begin(symbol)
            self._quote(symbol)
            return symbol in self._grids
        if not grid.is_quoted:
            return self._quoter.flatten(symbol, grid)
        now = self.ctx.now_ms()
        due = any(0 < max(slot.wait_until_ms, slot.check_ms) <= now for slot in (grid.buy, grid.sell))
        if due or grid.chase or self.params.funding_guard or self._quoter.is_outside(symbol, grid):
            self._quote(symbol)
            return True
        return False

    def _follow(self, order: Order, grid: Grid) -> None:
        """React to a change of the order in a slot."""
        slot = grid.slot(order.side)
        reducible = order.reduce_only and self.ctx.position(order.symbol).quantity * order.side.sign < ZERO
        instrument = self.ctx.instrument(order.symbol)
        whole = order.state is OrderState.FILLED or (order.filled > ZERO and order.remaining < instrument.lot_size)
        if not order.state.is_final:
            self._accepted(order, grid, slot)
        elif order.replaced_by:
            slot.client_id = order.replaced_by
            successor = self.ctx.order(order.replaced_by)
            if successor is not None:
                self._follow(successor, grid)
        elif order.state is not OrderState.FILLED and self.ctx.active(order.asked_by):
            slot.check_ms = self.ctx.now_ms()  # the order that takes its place is on its way
        elif whole:
            slot.free()
            slot.rejects = 0
            grid.baseline *= self.params.buy_move_step if order.side is Side.BUY else self.params.sell_move_step
            self._quote_soon(order.symbol)
        elif slot.closing or (order.reduce_only and not reducible):
            slot.free()
            self._quote_soon(order.symbol)
        elif order.state in _REFUSED:
            slot.free()
            after_refusal(self.ctx, order, slot)
        else:
            slot.free()
            if self.ctx.entries_allowed and grid.is_quoted:
                after_cancellation(self.ctx, order, grid, slot)
        grid.follow_rejects()

    def _accepted(self, order: Order, grid: Grid, slot: Slot) -> None:
        if order.state in CONFIRMED and order.pending is Pending.NONE:
            slot.rejects = 0
            slot.blocked = False
            if slot.check_ms and not order.error:
                self._quote_soon(order.symbol)

    def _quote(self, symbol: str) -> None:
        grid = self._grids.get(symbol)
        if grid is not None:
            self._quoter.quote(symbol, grid)

    def _quote_soon(self, symbol: str) -> None:
        """Quote when everything that happened at the same time has been taken in."""
        self.ctx.timer.after(f"quote:{symbol}", 0)

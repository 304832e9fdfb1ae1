"""Dynamic two-order grid around a moving baseline."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from pydantic import Field, model_validator

from engine.kernel.account import Ledger
from engine.kernel.errors import BelowMinimum, ConfigError, CtosError, Paused, PostOnlyWouldTake
from engine.kernel.instruments import Instrument
from engine.kernel.market import Quote
from engine.kernel.orders import Fill, Order, OrderState, Pending, Side
from engine.kernel.strategy import Context, Params, Purpose, RiskParams, Strategy

ZERO = Decimal(0)
ONE = Decimal(1)
PRESETS: dict[str, tuple[Decimal, Decimal]] = {
    "388_long": (Decimal("0.9612"), Decimal("1.0188")),
    "388_short": (Decimal("0.9812"), Decimal("1.0388")),
    "wide": (Decimal("0.988"), Decimal("1.038")),
}
ACTIVE, FROZEN, BACKOFF, PAUSED, DROPPED = "ACTIVE", "FROZEN", "BACKOFF", "PAUSED", "DROPPED"
_BACKOFF_S = (5, 30, 120, 600)
_REPLACE_AFTER_S = 30
_REPLACE_LIMIT = (3, 600)
_POST_ONLY_GAP_S = 0.25
_POST_ONLY_LIMIT = (5, 10)
_FUNDING_WINDOW_MS = 60_000
_FUNDING_RATE = 0.0005
_MAX_SKIPS = 10_000


class DynGridParams(Params):
    """Parameters of the dynamic grid."""

    base_amount: Decimal = Field(Decimal("8.88"), ge=1, le=10000, description="size of each order, USD, 1-10000")
    base_qty: Decimal = Field(ZERO, ge=0, description="size in coins; above 0 it replaces base_amount")
    buy_grid_step: Decimal = Field(
        Decimal("0.966"), ge=Decimal("0.5"), le=Decimal("0.9999"), description="buy price, x baseline, 0.5-0.9999"
    )
    sell_grid_step: Decimal = Field(
        Decimal("1.018"), ge=Decimal("1.0001"), le=2, description="sell price, x baseline, 1.0001-2"
    )
    buy_move_step: Decimal = Field(
        Decimal("0.99"), gt=0, le=1, description="baseline after a buy, x baseline, buy_grid_step-1"
    )
    sell_move_step: Decimal = Field(
        Decimal("1.01"), ge=1, le=2, description="baseline after a sell, x baseline, 1-sell_grid_step"
    )
    preset: str = Field("none", description="none, 388_long, 388_short or wide: sets the two grid steps")
    guard_low: Decimal = Field(Decimal("0.8"), ge=0, le=1, description="freeze below this ratio to the start, 0-1")
    guard_high: Decimal = Field(Decimal(2), gt=1, description="freeze above this ratio to the start, > 1")
    guard_action: str = Field("freeze", pattern="^(freeze|flatten)$", description="at the guard: freeze or flatten")
    max_inventory: Decimal = Field(
        Decimal("88.8"), gt=0, description="largest position per symbol and direction, USD, >= base_amount"
    )
    allow_short: bool | None = Field(None, description="sell below zero; when not given: yes on perpetuals")
    catch_up: str = Field("skip", pattern="^(skip|chase)$", description="steps the price jumped over: skip or chase")
    funding_guard: bool = Field(False, description="no new exposure in the minute before paying > 0.05 % funding")

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: dict[str, Any]) -> dict[str, Any]:
        preset = values.get("preset", "none")
        if preset == "none":
            return values
        if preset not in PRESETS:
            raise ValueError(f"preset: must be none, {', '.join(PRESETS)}, got {preset!r}")
        filled = dict(values)
        for name, step in zip(("buy_grid_step", "sell_grid_step"), PRESETS[preset], strict=True):
            filled[name] = step
        return filled

    @model_validator(mode="after")
    def _check_steps(self) -> DynGridParams:
        if not self.buy_grid_step <= self.buy_move_step:
            raise ValueError(f"buy_move_step {self.buy_move_step} must lie between buy_grid_step and 1")
        if not self.sell_move_step <= self.sell_grid_step:
            raise ValueError(f"sell_move_step {self.sell_move_step} must lie between 1 and sell_grid_step")
        if self.max_inventory < self.base_amount and not self.base_qty:
            raise ValueError(f"max_inventory {self.max_inventory} must be at least base_amount {self.base_amount}")
        return self

    @property
    def round_trip(self) -> Decimal:
        """Return the smaller of the two price ratios that a full cycle earns."""
        after_buy = self.buy_move_step * self.sell_grid_step / self.buy_grid_step
        after_sell = self.sell_grid_step / (self.sell_move_step * self.buy_grid_step)
        return min(after_buy, after_sell)


@dataclass(slots=True)
class Slot:
    """One side of a symbol's grid: its order and why there may be none."""

    client_id: str = ""
    retry_ms: int = 0
    rejects: int = 0
    closing: str = ""
    replaced_ms: list[int] = field(default_factory=list)
    post_only_ms: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Grid:
    """The grid of one symbol; the unit of what is remembered over a restart."""

    init: Decimal
    baseline: Decimal
    phase: str = ACTIVE
    last_increase_price: Decimal = ZERO
    note: str = ""
    buy: Slot = field(default_factory=Slot)
    sell: Slot = field(default_factory=Slot)
    chasing: list[str] = field(default_factory=list)

    def slot(self, side: Side) -> Slot:
        """Return the slot of a side."""
        return self.buy if side is Side.BUY else self.sell

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        data = asdict(self)
        for name in ("init", "baseline", "last_increase_price"):
            data[name] = str(data[name])
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """Return the grid that `to_dict` described."""
        values = dict(data)
        for name in ("init", "baseline", "last_increase_price"):
            values[name] = Decimal(values[name])
        values["buy"], values["sell"] = Slot(**values["buy"]), Slot(**values["sell"])
        return cls(**values)


@dataclass(slots=True, frozen=True)
class Wanted:
    """The order that one side should have now."""

    price: Decimal
    quantity: Decimal
    reduce_only: bool


class DynGrid(Strategy[DynGridParams]):
    """Earns swings with one resting buy and one resting sell per symbol.

    The buy rests at baseline x buy_grid_step, the sell at baseline x sell_grid_step. Each fill moves the baseline by
    the move step of its side and both orders are placed anew around it, so that the spacing after the first fill is
    narrower than the first gap. Position per symbol and direction is capped by max_inventory; an order that reduces
    the position is never priced worse than the last entry plus fees. When price or baseline leave the guard band the
    grid freezes until the operator's action `rebase`.
    """

    name = "dyn_grid"
    title = "two-order grid around a moving baseline"
    params_model = DynGridParams

    def __init__(self, ctx: Context, params: DynGridParams) -> None:
        super().__init__(ctx, params)
        self._grids: dict[str, Grid] = {}
        self._guards: dict[str, tuple[float, float]] = {}

    @classmethod
    def limits(cls, params: DynGridParams, n_symbols: int) -> RiskParams:
        """Return the limits: inventory for each symbol, two orders a symbol."""
        risk = params.risk
        return risk.model_copy(
            update={
                "max_notional_usd": risk.max_notional_usd or params.max_inventory * n_symbols,
                "max_order_usd": risk.max_order_usd or params.max_inventory,
                "max_open_orders": max(risk.max_open_orders, 2 * n_symbols),
                "max_cmds_per_min": max(risk.max_cmds_per_min, 60 * n_symbols),
            }
        )

    @classmethod
    def check(cls, params: DynGridParams, instruments: list[Instrument]) -> None:  # type: ignore[override]
        """Refuse steps whose round trip would not pay its fees.

        Raises:
            ConfigError: Names the ratio and the least that would do.
        """
        for instrument in instruments:
            least = ONE + 2 * instrument.maker_fee
            if params.round_trip <= least:
                raise ConfigError(
                    f"dyn_grid on {instrument.symbol}: a round trip earns a ratio of {params.round_trip:.6f}, fees need "
                    f"more than {least}; widen buy_grid_step and sell_grid_step or narrow the move steps"
                )

    def on_start(self, reason: str) -> None:
        """Set baselines for new symbols, keep the saved ones, and quote."""
        self._load()
        for symbol in [name for name in self._grids if name not in self.symbols]:
            self._cancel_both(self._grids[symbol])
        for symbol in self.symbols:
            if symbol not in self._grids:
                self._begin(symbol)
            elif self._grids[symbol].phase in (BACKOFF, PAUSED):
                self._grids[symbol].phase = ACTIVE
            self._set_guard(symbol)
            self._quote(symbol)
        self.ctx.timer.every("look", 1)
        self._save()

    def on_params(self, old: DynGridParams, new: DynGridParams) -> None:
        """Quote anew with the amended parameters."""
        for symbol in self.symbols:
            if symbol in self._grids:
                self._set_guard(symbol)
                self._quote(symbol)
        self._save()

    def on_quote(self, quote: Quote) -> None:
        """Watch the guard band; costs two comparisons while the price is inside."""
        guard = self._guards.get(quote.symbol)
        if guard is None:
            return
        mid = (quote.bid + quote.ask) / 2
        if mid < guard[0] or mid > guard[1]:
            self._freeze(quote.symbol, mid)
            self._save()

    def on_timer(self, name: str, payload: object) -> None:
        """Quote what was put off."""
        if name == "look":
            now = self.ctx.now_ms()
            for symbol, grid in self._grids.items():
                if grid.phase in (ACTIVE, BACKOFF) and symbol in self.symbols and self._is_due(grid, now):
                    self._quote(symbol)
        elif name.startswith("quote:"):
            self._quote(name.removeprefix("quote:"))
        self._save()

    def on_fill(self, fill: Fill) -> None:
        """Remember the price at which the position last grew."""
        self._load()
        grid = self._grids.get(fill.symbol)
        if grid is None:
            return
        held = self.ctx.position(fill.symbol).quantity
        if held and (held > 0) == (fill.side is Side.BUY):
            grid.last_increase_price = fill.price
        self._save()

    def on_order(self, order: Order) -> None:
        """Move the baseline when an order is done, and mend what was refused or cancelled."""
        self._load()
        grid = self._grids.get(order.symbol)
        if grid is None:
            return
        slot = grid.slot(order.side)
        if order.client_id in grid.chasing:
            if order.state.is_final:
                grid.chasing.remove(order.client_id)
        elif order.client_id == slot.client_id:
            self._follow(order, grid, slot)
        self._save()

    def on_stop(self, reason: str) -> None:
        """Take the timer back; orders follow the stop policy."""
        self.ctx.timer.cancel("look")

    def action(self, name: str, **arguments: str) -> str:
        """`rebase`: leave FROZEN or PAUSED with start and baseline at the present middle."""
        if name != "rebase":
            return super().action(name, **arguments)
        wanted = [arguments["symbol"]] if "symbol" in arguments else list(self.symbols)
        for symbol in wanted:
            if symbol not in self.symbols:
                raise CtosError(f"rebase: {symbol} is not traded by {self.ctx.instance}")
            if self.ctx.price(symbol) is None:
                raise CtosError(f"rebase: there is no price of {symbol} now")
        for symbol in wanted:
            self._begin(symbol, self._grids.get(symbol))
            self._set_guard(symbol)
            self._quote(symbol)
        self._save()
        return f"rebased {', '.join(wanted)}"

    def _load(self) -> None:
        if not self._grids and self.ctx.state.get("grids"):
            self._grids = {symbol: Grid.from_dict(data) for symbol, data in self.ctx.state["grids"].items()}

    def _save(self) -> None:
        self.ctx.state["grids"] = {symbol: grid.to_dict() for symbol, grid in self._grids.items()}
        notes = [f"{symbol} {grid.phase}: {grid.note}" for symbol, grid in self._grids.items() if grid.note]
        self.ctx.why("; ".join(notes))

    def _begin(self, symbol: str, old: Grid | None = None) -> None:
        mid = self.ctx.price(symbol)
        if mid is None:
            raise CtosError(f"there is no price of {symbol} yet")
        grid = Grid(init=mid, baseline=mid)
        if old is not None:
            grid.last_increase_price, grid.buy, grid.sell = old.last_increase_price, old.buy, old.sell
        self._grids[symbol] = grid

    def _set_guard(self, symbol: str) -> None:
        grid = self._grids[symbol]
        if grid.phase in (FROZEN, DROPPED):
            self._guards.pop(symbol, None)
        else:
            low, high = grid.init * self.params.guard_low, grid.init * self.params.guard_high
            self._guards[symbol] = (float(low), float(high))

    def _follow(self, order: Order, grid: Grid, slot: Slot) -> None:
        """React to a change of the order that fills a slot."""
        if order.state is OrderState.FILLED:
            self._filled(order.symbol, order.side, grid, slot)
        elif order.state is OrderState.REJECTED or order.state is OrderState.EXPIRED:
            slot.client_id = ""
            self._refused(order, grid, slot)
        elif order.state.is_final:
            self._canceled(order, grid, slot)
        elif order.pending is Pending.NONE:
            slot.rejects = 0
            if order.reason:
                slot.retry_ms = self.ctx.now_ms() + 1000
            elif grid.phase == BACKOFF:
                grid.phase, grid.note = ACTIVE, ""

    def _filled(self, symbol: str, side: Side, grid: Grid, slot: Slot) -> None:
        grid.baseline *= self.params.buy_move_step if side is Side.BUY else self.params.sell_move_step
        slot.client_id = slot.closing = ""
        slot.rejects = 0
        self.ctx.timer.after(f"quote:{symbol}", 0)

    def _canceled(self, order: Order, grid: Grid, slot: Slot) -> None:
        wanted = slot.closing == order.client_id
        slot.client_id = slot.closing = ""
        if order.filled and order.remaining < self.ctx.instrument(order.symbol).lot_size:
            self._filled(order.symbol, order.side, grid, slot)
        elif wanted:
            self.ctx.timer.after(f"quote:{order.symbol}", 0)
        elif self.ctx.entries_allowed and grid.phase in (ACTIVE, BACKOFF):
            now = self.ctx.now_ms()
            limit, window_s = _REPLACE_LIMIT
            slot.replaced_ms = [when for when in slot.replaced_ms if when > now - window_s * 1000]
            if len(slot.replaced_ms) >= limit:
                grid.phase, grid.note = PAUSED, f"its {order.side} was cancelled from outside {limit} times"
                text = f"{order.symbol}: orders are cancelled from outside; resume the instance to quote again"
                self.ctx.anomaly("external_cancel", order.symbol, limit + 1, limit, text)
            else:
                slot.replaced_ms.append(now)
                slot.retry_ms = now + _REPLACE_AFTER_S * 1000

    def _refused(self, order: Order, grid: Grid, slot: Slot) -> None:
        now = self.ctx.now_ms()
        if order.error == PostOnlyWouldTake.__name__:
            limit, window_s = _POST_ONLY_LIMIT
            slot.post_only_ms = [when for when in slot.post_only_ms if when > now - window_s * 1000]
            if len(slot.post_only_ms) < limit:
                slot.post_only_ms.append(now)
                self.ctx.timer.after(f"quote:{order.symbol}", _POST_ONLY_GAP_S)
                return
        delay = _BACKOFF_S[min(slot.rejects, len(_BACKOFF_S) - 1)]
        slot.rejects += 1
        slot.retry_ms = now + delay * 1000
        grid.phase, grid.note = BACKOFF, f"{order.side} refused, again in {delay} s: {order.reason}"
        self.ctx.log(f"{order.symbol} {order.side} refused, again in {delay} s: {order.reason}", "warn")

    def _is_due(self, grid: Grid, now_ms: int) -> bool:
        """Return whether a side waits for its retry time or funding hour."""
        due = any(slot.retry_ms and slot.retry_ms <= now_ms for slot in (grid.buy, grid.sell))
        return due or (self.params.funding_guard and now_ms % 10_000 < 1000)

    def _freeze(self, symbol: str, mid: float) -> None:
        grid = self._grids[symbol]
        ratio = self.ctx.instrument(symbol).price_from_float(mid) / grid.init
        grid.phase, grid.note = FROZEN, f"price is {ratio:.4f} of the start {grid.init:f}; `rebase` starts anew"
        self._guards.pop(symbol, None)
        self._cancel_both(grid)
        bound = self.params.guard_low if ratio < 1 else self.params.guard_high
        self.ctx.anomaly("grid_guard", symbol, f"{ratio:.4f}", bound, f"{symbol}: grid frozen, {grid.note}")
        if self.params.guard_action == "flatten":
            self.ctx.close(symbol)

    def _cancel_both(self, grid: Grid) -> None:
        for client_id in (grid.buy.client_id, grid.sell.client_id, *grid.chasing):
            if client_id:
                self.ctx.cancel(client_id)
        for slot in (grid.buy, grid.sell):
            slot.closing = slot.client_id

    def _quote(self, symbol: str) -> None:
        """Bring both sides of a symbol to what they should be; does nothing where they are."""
        grid = self._grids.get(symbol)
        if grid is None or grid.phase not in (ACTIVE, BACKOFF) or not self.ctx.entries_allowed:
            return
        low, high = self.params.guard_low, self.params.guard_high
        if not low <= grid.baseline / grid.init <= high:
            self._freeze(symbol, float(grid.baseline))
            return
        quote = self.ctx.quote(symbol)
        if quote is None:
            grid.buy.retry_ms = self.ctx.now_ms() + 1000
            return
        instrument = self.ctx.instrument(symbol)
        self._become_passive(grid, instrument, quote)
        for side in (Side.BUY, Side.SELL):
            slot = grid.slot(side)
            if slot.retry_ms > self.ctx.now_ms():
                continue
            slot.retry_ms = 0
            self._bring(grid, slot, side, instrument, self._wanted(grid, side, instrument))

    def _become_passive(self, grid: Grid, instrument: Instrument, quote: Quote) -> None:
        """Move the baseline past steps that the price has jumped over."""
        for side in (Side.BUY, Side.SELL):
            if self.ctx.order(grid.slot(side).client_id) is not None and grid.slot(side).client_id:
                continue
            for _ in range(_MAX_SKIPS):
                price = self._grid_price(grid, side, instrument)
                if not _crosses(side, price, quote) or self._floor_price(grid, side, instrument) is not None:
                    break
                if self.params.catch_up == "chase":
                    self._chase(grid, side, instrument, quote)
                grid.baseline *= self.params.buy_move_step if side is Side.BUY else self.params.sell_move_step

    def _chase(self, grid: Grid, side: Side, instrument: Instrument, quote: Quote) -> None:
        price = instrument.price_from_float(quote.bid if side is Side.BUY else quote.ask)
        wanted = self._sized(grid, side, instrument, price)
        if wanted is not None:
            client_id = self._place(instrument.symbol, side, wanted, grid)
            if client_id:
                grid.chasing.append(client_id)

    def _grid_price(self, grid: Grid, side: Side, instrument: Instrument) -> Decimal:
        step = self.params.buy_grid_step if side is Side.BUY else self.params.sell_grid_step
        return instrument.round_price(side, grid.baseline * step)

    def _floor_price(self, grid: Grid, side: Side, instrument: Instrument) -> Decimal | None:
        """Return the worst price a reducing order may have, None when it is not bound and not reducing."""
        held = self.ctx.position(instrument.symbol).quantity
        if not grid.last_increase_price or held == 0 or (held > 0) == (side is Side.BUY):
            return None
        price = self._grid_price(grid, side, instrument)
        if abs(held) < self._order_quantity(instrument, price) / 2:
            return None
        fees = 2 * instrument.maker_fee
        return instrument.round_price(side, grid.last_increase_price * (ONE - fees if side is Side.BUY else ONE + fees))

    def _order_quantity(self, instrument: Instrument, price: Decimal) -> Decimal:
        if self.params.base_qty:
            return instrument.floor_quantity(self.params.base_qty)
        return instrument.quantity_for(self.params.base_amount / self.ctx.fx(instrument.quote), price)

    def _wanted(self, grid: Grid, side: Side, instrument: Instrument) -> Wanted | None:
        """Return the order a side should have, None when it must have none; the reason goes to the note."""
        if self._pays_funding(instrument.symbol, side):
            return None
        price = self._grid_price(grid, side, instrument)
        bound = self._floor_price(grid, side, instrument)
        if bound is not None:
            price = min(price, bound) if side is Side.BUY else max(price, bound)
        return self._sized(grid, side, instrument, price)

    def _sized(self, grid: Grid, side: Side, instrument: Instrument, price: Decimal) -> Wanted | None:
        ledger = self.ctx.position(instrument.symbol)
        quantity = self._order_quantity(instrument, price)
        held = ledger.quantity
        opposite = held != 0 and (held > 0) != (side is Side.BUY)
        if opposite and abs(held) >= quantity / 2:
            return Wanted(price, min(quantity, abs(held)), reduce_only=True)
        shorts = instrument.is_perp if self.params.allow_short is None else self.params.allow_short
        if side is Side.SELL and not shorts:
            quantity = min(quantity, max(ZERO, held))
            return Wanted(price, quantity, reduce_only=instrument.is_perp) if quantity else None
        if self._inventory_after(ledger, side, quantity, price, instrument) > self.params.max_inventory:
            return None
        return Wanted(price, quantity, reduce_only=False)

    def _inventory_after(
        self, ledger: Ledger, side: Side, quantity: Decimal, price: Decimal, instrument: Instrument
    ) -> Decimal:
        """Return the position's notional in USD if the order filled, when that enlarges it."""
        mark = self.ctx.mark(instrument.symbol) or price
        fx = self.ctx.fx(instrument.quote)
        if ledger.quantity * side.sign >= 0:
            return (abs(ledger.quantity) * mark + quantity * price) * fx
        return abs(ledger.quantity + side.sign * quantity) * mark * fx

    def _pays_funding(self, symbol: str, side: Side) -> bool:
        if not self.params.funding_guard:
            return False
        funding = self.ctx.funding(symbol)
        if funding is None or not 0 <= funding.next_time - self.ctx.now_ms() <= _FUNDING_WINDOW_MS:
            return False
        held = self.ctx.position(symbol).quantity
        return funding.rate * side.sign > _FUNDING_RATE and held * side.sign >= 0

    def _bring(self, grid: Grid, slot: Slot, side: Side, instrument: Instrument, wanted: Wanted | None) -> None:
        """Place, amend or cancel one side's order."""
        order = self.ctx.order(slot.client_id) if slot.client_id else None
        if order is None or order.state.is_final:
            if order is None and slot.client_id:
                return
            if wanted is not None:
                slot.client_id = self._place(instrument.symbol, side, wanted, grid)
                slot.closing = ""
        elif order.pending is not Pending.NONE:
            slot.retry_ms = self.ctx.now_ms() + 1000
        elif wanted is None or wanted.reduce_only != order.reduce_only:
            slot.closing = slot.client_id
            self.ctx.cancel(slot.client_id)
        elif order.price != wanted.price or order.remaining != wanted.quantity:
            self.ctx.amend(slot.client_id, price=wanted.price, quantity=order.filled + wanted.quantity)

    def _place(self, symbol: str, side: Side, wanted: Wanted, grid: Grid) -> str:
        send = self.ctx.buy if side is Side.BUY else self.ctx.sell
        purpose = Purpose.EXIT if wanted.reduce_only else Purpose.ENTRY
        try:
            client_id = send(
                symbol,
                quantity=wanted.quantity,
                price=wanted.price,
                reduce_only=wanted.reduce_only,
                purpose=purpose,
            )
        except BelowMinimum as error:
            grid.note = f"{side}: {error}"
            if not self.ctx.position(symbol).quantity:
                grid.phase = DROPPED
                self._cancel_both(grid)
                self._guards.pop(symbol, None)
                self.ctx.log(f"{symbol} dropped, {error}", "warn")
            return ""
        except Paused as error:
            grid.note = str(error)
            return ""
        if grid.phase == ACTIVE:
            grid.note = ""
        return client_id


def _crosses(side: Side, price: Decimal, quote: Quote) -> bool:
    """Return whether a limit at `price` would take liquidity; at a locked touch the own side's price is passive."""
    value = float(price)
    if side is Side.BUY:
        return value >= quote.ask and value > quote.bid
    return value <= quote.bid and value < quote.ask

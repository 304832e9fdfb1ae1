"""Brings a symbol's orders to what they should be: places, amends and cancels them, and freezes at the guard."""

from __future__ import annotations

from decimal import Decimal

from engine.kernel.errors import BelowMinimum, Paused
from engine.kernel.orders import OrderState, Pending, Side
from engine.kernel.strategy import Context, Purpose
from strategies.dyn_grid.params import DynGridParams
from strategies.dyn_grid.quoting import Scene, Wanted, at_touch, crosses, skipped, wanted
from strategies.dyn_grid.state import Grid, Phase, Slot

ZERO = Decimal(0)
ONE = Decimal(1)
SIDES = (Side.BUY, Side.SELL)
CONFIRMED = (OrderState.OPEN, OrderState.PARTIAL)
_CHECK_MS = 2000
_AGAIN_MS = 5000
_PENDING_MS = 1000
_LACKING_MS = 10_000
_CHASE_GAP_MS = 1100


class Quoter:
    """Acts for the grids of one instance.

    Args:
        ctx: The instance's context.
        params: Its present parameters.
    """

    def __init__(self, ctx: Context, params: DynGridParams) -> None:
        self._ctx = ctx
        self.params = params

    def scene(self, symbol: str, grid: Grid) -> Scene | None:
        """Return what decides about orders now, None without fresh market data."""
        quote, mark = self._ctx.quote(symbol), self._ctx.mark(symbol)
        if quote is None or mark is None or self._ctx.is_stale(symbol):
            return None
        instrument = self._ctx.instrument(symbol)
        chasing = [order for name in grid.chasing if (order := self._ctx.order(name)) is not None]
        return Scene(
            params=self.params,
            instrument=instrument,
            quote=quote,
            held=self._ctx.position(symbol).quantity,
            working=sum((order.working_quantity * order.side.sign for order in chasing), ZERO),
            mark=mark,
            fx=self._ctx.fx(instrument.quote),
            now_ms=self._ctx.now_ms(),
            funding=self._ctx.funding(symbol) if self.params.funding_guard else None,
        )

    def quote(self, symbol: str, grid: Grid) -> None:
        """Bring both sides of a symbol to what they should be; does nothing where they are."""
        if not grid.is_quoted:
            return
        if self.is_outside(symbol, grid):
            self._freeze(symbol, grid)
            return
        scene = self.scene(symbol, grid)
        if scene is None:
            for side in SIDES:
                slot = grid.slot(side)
                slot.check_ms = self._ctx.now_ms() + _PENDING_MS
                slot.note = "" if slot.client_id else "no fresh market data"
            return
        for side in SIDES:
            self._pass_steps(scene, grid, side)
        if self.is_outside(symbol, grid):
            self._freeze(symbol, grid)
            return
        self._chase(scene, grid)
        for side in SIDES:
            if grid.slot(side).wait_until_ms <= scene.now_ms:
                self._bring(scene, grid, side)

    def _pass_steps(self, scene: Scene, grid: Grid, side: Side) -> None:
        """Move the baseline past the steps that the price has jumped over, if this side is to get a new price."""
        slot = grid.slot(side)
        if slot.wait_until_ms > scene.now_ms:
            return
        aim = wanted(scene, grid, side)
        if isinstance(aim, str) or not crosses(scene, side, aim.price):
            return
        if not (self._ctx.entries_allowed or aim.reduce_only):
            return
        order = self._ctx.order(slot.client_id) if slot.client_id else None
        if order is not None and order.is_open and order.price == aim.price:
            return
        grid.baseline, prices = skipped(scene, grid, side)
        if self.params.catch_up == "chase":
            grid.chase += [(side, price) for price in prices]

    def _chase(self, scene: Scene, grid: Grid) -> None:
        """Place the next order for a skipped step at the touch, unless the price has come back behind the step."""
        while grid.chase and grid.chase_at_ms <= scene.now_ms:
            side, step = grid.chase.pop(0)
            price = at_touch(scene, side)
            aim = wanted(scene, grid, side, price)
            if (price - step) * side.sign > ZERO or isinstance(aim, str):
                continue
            client_id = self._place(scene.instrument.symbol, side, aim, grid.slot(side))
            if client_id:
                grid.chasing.append(client_id)
                grid.chase_at_ms = scene.now_ms + _CHASE_GAP_MS

    def _bring(self, scene: Scene, grid: Grid, side: Side) -> None:
        """Place, amend or cancel one side's order."""
        slot = grid.slot(side)
        slot.wait_until_ms = 0
        order = self._ctx.order(slot.client_id) if slot.client_id else None
        if slot.client_id and order is None and not 0 < slot.check_ms <= scene.now_ms:
            slot.check_ms = slot.check_ms or scene.now_ms + _CHECK_MS
            return
        aim = wanted(scene, grid, side)
        if order is not None and order.state.is_final and self._ctx.active(order.asked_by):
            slot.check_ms = scene.now_ms + _PENDING_MS  # the order that takes its place is on its way
        elif order is None or order.state.is_final:
            self._open(scene, slot, side, aim)
        elif order.state not in CONFIRMED or order.pending is not Pending.NONE:
            slot.check_ms = scene.now_ms + _PENDING_MS
        elif isinstance(aim, str) or aim.reduce_only != order.reduce_only:
            slot.closing, slot.check_ms = True, scene.now_ms + _CHECK_MS
            slot.note = aim if isinstance(aim, str) else ""
            self._ctx.cancel(slot.client_id)
        elif order.price != aim.price or order.remaining != aim.quantity:
            if self._ctx.entries_allowed or aim.reduce_only:
                self._amend(scene, slot, aim.price, order.filled + aim.quantity)
        else:
            slot.check_ms, slot.note = 0, ""

    def _amend(self, scene: Scene, slot: Slot, price: Decimal, total: Decimal) -> None:
        """Ask for other terms; for the same ones again only after a while.

        A venue takes them back at once where it keeps a reduction within the position of the whole account.
        """
        terms = f"{price} {total}"
        if slot.amended == terms and scene.now_ms < slot.amended_ms + _AGAIN_MS:
            slot.check_ms = slot.amended_ms + _AGAIN_MS
            return
        slot.amended, slot.amended_ms = terms, scene.now_ms
        slot.check_ms = scene.now_ms + _CHECK_MS
        self._ctx.amend(slot.client_id, price=price, quantity=total)

    def _open(self, scene: Scene, slot: Slot, side: Side, aim: Wanted | str) -> None:
        slot.free()
        if isinstance(aim, str):
            slot.note, slot.check_ms = aim, scene.now_ms + _LACKING_MS
            return
        if crosses(scene, side, aim.price):
            aim = Wanted(at_touch(scene, side), aim.quantity, aim.reduce_only)
        slot.client_id = self._place(scene.instrument.symbol, side, aim, slot)

    def _place(self, symbol: str, side: Side, aim: Wanted, slot: Slot) -> str:
        send = self._ctx.buy if side is Side.BUY else self._ctx.sell
        purpose = Purpose.EXIT if aim.reduce_only else Purpose.ENTRY
        try:
            client_id = send(
                symbol, quantity=aim.quantity, price=aim.price, reduce_only=aim.reduce_only, purpose=purpose
            )
        except (BelowMinimum, Paused) as error:
            slot.note, slot.check_ms = str(error), self._ctx.now_ms() + _LACKING_MS
            return ""
        slot.note = ""
        return client_id

    def is_outside(self, symbol: str, grid: Grid) -> bool:
        """Return whether baseline or mark price lies outside the guard band."""
        low, high = grid.init * self.params.guard_low, grid.init * self.params.guard_high
        mark = self._ctx.mark(symbol)
        return not low <= grid.baseline <= high or (mark is not None and not low <= mark <= high)

    def _freeze(self, symbol: str, grid: Grid) -> None:
        mark = self._ctx.mark(symbol) or grid.baseline
        params = self.params
        is_mark = not grid.init * params.guard_low <= mark <= grid.init * params.guard_high
        ratio = (mark if is_mark else grid.baseline) / grid.init
        what = "price" if is_mark else "baseline"
        grid.phase = Phase.FROZEN
        grid.note = f"{what} is at {ratio:.4f} of the start {grid.init:f}; the action rebase starts anew"
        grid.chase.clear()
        self.cancel_both(symbol, grid)
        bound = params.guard_low if ratio < ONE else params.guard_high
        self._ctx.anomaly("grid_guard", symbol, f"{ratio:.4f}", bound, f"{symbol} frozen: {grid.note}")
        self.flatten(symbol, grid)

    def flatten(self, symbol: str, grid: Grid) -> bool:
        """Close a frozen symbol's position when its parameters say so and its orders are gone."""
        if grid.phase is not Phase.FROZEN or self.params.guard_action != "flatten" or grid.flattening:
            return False
        if not self._ctx.position(symbol).quantity or self._ctx.orders(symbol):
            return False
        grid.flattening = self._ctx.close(symbol)
        return True

    def cancel_both(self, symbol: str, grid: Grid) -> None:
        """Take every order of a symbol back, and one that is cancelled to be replaced: nothing takes its place then."""
        found = [order.client_id for order in self._ctx.orders(symbol) if not order.parent]
        for slot in (grid.buy, grid.sell):
            slot.closing = bool(slot.client_id)
            if slot.client_id not in found and self._ctx.order(slot.client_id) is not None:
                found.append(slot.client_id)
        for client_id in found:
            self._ctx.cancel(client_id)

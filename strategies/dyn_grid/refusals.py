"""What the grid does about an order that was refused, or cancelled by somebody else."""

from __future__ import annotations

from engine.kernel.errors import PostOnlyWouldTake, TooManyCommands, TradingHalted
from engine.kernel.orders import Order
from engine.kernel.strategy import Context
from strategies.dyn_grid.state import Grid, Phase, Slot

BACKOFF_S = (5, 30, 120, 600)
REPLACE_AFTER_S = 30
REPLACE_LIMIT = (3, 600)
"""Cancellations from outside that are answered, in so many seconds."""

POST_ONLY_GAP_S = 0.25
POST_ONLY_LIMIT = (5, 10)
PACED_S = 5
BLOCKED_S = 60


def after_refusal(ctx: Context, order: Order, slot: Slot) -> None:
    """Decide when a refused side is quoted again.

    A post-only order that would have taken comes again a moment later at a passive price, a used-up budget is waited
    for, closed trading is waited for until it opens; anything else backs off, longer each time.
    """
    now = ctx.now_ms()
    side = order.side.value
    if order.error == PostOnlyWouldTake.__name__:
        limit, window_s = POST_ONLY_LIMIT
        slot.post_only_ms = [when for when in slot.post_only_ms if when > now - window_s * 1000]
        if len(slot.post_only_ms) < limit:
            slot.post_only_ms.append(now)
            slot.wait_until_ms = now + round(POST_ONLY_GAP_S * 1000)
            ctx.timer.after(f"quote:{order.symbol}", POST_ONLY_GAP_S)
        else:
            slot.wait_until_ms = slot.post_only_ms[0] + window_s * 1000
        return
    if order.error == TradingHalted.__name__:
        slot.blocked = True
        slot.wait_until_ms = now + BLOCKED_S * 1000
        slot.note = order.reason
        return
    if order.error == TooManyCommands.__name__:
        slot.wait_until_ms = now + PACED_S * 1000
        slot.note = order.reason
        return
    delay = BACKOFF_S[min(slot.rejects, len(BACKOFF_S) - 1)]
    slot.rejects += 1
    slot.wait_until_ms = now + delay * 1000
    slot.note = f"refused, again in {delay} s: {order.reason or order.state.value}"
    ctx.log(f"{order.symbol} {side} {slot.note}", "warn")


def after_cancellation(ctx: Context, order: Order, grid: Grid, slot: Slot) -> None:
    """Place an order that somebody cancelled again after a while, but never fight a person."""
    now = ctx.now_ms()
    limit, window_s = REPLACE_LIMIT
    slot.replaced_ms = [when for when in slot.replaced_ms if when > now - window_s * 1000]
    if len(slot.replaced_ms) < limit:
        slot.replaced_ms.append(now)
        slot.wait_until_ms = now + REPLACE_AFTER_S * 1000
        slot.note = f"cancelled from outside, again in {REPLACE_AFTER_S} s"
        return
    grid.phase = Phase.PAUSED
    grid.note = f"its {order.side.value} was cancelled from outside {limit + 1} times; pause and resume, or rebase"
    ctx.anomaly("external_cancel", order.symbol, limit + 1, limit, f"{order.symbol} pauses: {grid.note}")

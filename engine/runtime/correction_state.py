"""What auto-correction must not forget, and its limits: sizes, pace, locks. Plain functions over plain values."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from engine.kernel.instruments import Instrument
from engine.kernel.orders import Side

MOST_USD = Decimal(200)
MOST_SHARE = Decimal("0.1")
SYMBOL_GAP_MS = 15 * 60_000
ACCOUNT_WINDOW_MS = 60 * 60_000
MOST_IN_WINDOW = 3
HUMAN_LOCK_MS = 30 * 60_000
DIRECTION_LOCK_MS = 24 * 60 * 60_000
ZERO = Decimal(0)


class Claim(msgspec.Struct):
    """A quantity in a ledger that is proved to be our own and unwanted.

    Attributes:
        quantity: Signed base coins.
        held: What the ledger held when that was so, signed base coins.
        base: Size of the position that it is a part of, or was left of, base coins.
        why: What proves it, in words.
        since_ms: When it came up.
    """

    instance: str
    symbol: str
    quantity: Decimal
    held: Decimal
    base: Decimal
    why: str
    since_ms: int


class Running(msgspec.Struct):
    """A correction that was sent and has not ended; `excess` is what was unwanted before it, signed base coins."""

    handle: str
    instance: str
    symbol: str
    side: Side
    quantity: Decimal
    excess: Decimal


class Direction(msgspec.Struct):
    """The side of the last correction of a symbol, and when it was sent."""

    side: Side
    ms: int


class CorrectionState(msgspec.Struct):
    """Everything that outlives a restart.

    Attributes:
        claims: Unwanted quantities by `instance symbol`.
        overfilled: What is claimed already of each overfilled order, base coins by client id.
        human_ms: When a person last touched a symbol, or (as `@instance`) a strategy.
        sent: When which symbol was corrected, oldest first; those of the last hour.
        directions: The direction lock by symbol.
        disarmed: Why no more corrections are sent, by symbol; a person ends that.
        running: The correction that works now.
    """

    claims: dict[str, Claim] = msgspec.field(default_factory=dict)
    overfilled: dict[str, Decimal] = msgspec.field(default_factory=dict)
    human_ms: dict[str, int] = msgspec.field(default_factory=dict)
    sent: list[tuple[int, str]] = msgspec.field(default_factory=list)
    directions: dict[str, Direction] = msgspec.field(default_factory=dict)
    disarmed: dict[str, str] = msgspec.field(default_factory=dict)
    running: Running | None = None


def correction_size(excess: Decimal, base: Decimal, price_usd: Decimal, instrument: Instrument) -> Decimal:
    """Return how much of an excess one order may take away, base coins; 0 when no order is small enough.

    Args:
        excess: The unwanted quantity, unsigned.
        base: The position that it is measured against, unsigned.
        price_usd: USD a base coin.
        instrument: Steps and minimum.
    """
    wanted = min(excess, MOST_USD / price_usd, base * MOST_SHARE)
    least = instrument.minimum_order_quantity(price_usd)
    if wanted < least <= excess:
        wanted = least
    size = instrument.floor_quantity(wanted)
    return size if size >= instrument.min_quantity else ZERO


def refusal(state: CorrectionState, symbol: str, instance: str, side: Side, now_ms: int) -> str:
    """Return which lock or limit forbids a correction now, in words; empty when none does."""
    if symbol in state.disarmed:
        return f"corrections of {symbol} are disarmed: {state.disarmed[symbol]}"
    if state.running is not None:
        return f"a correction of {state.running.symbol} is at work"
    for key in (symbol, f"@{instance}"):
        since_ms = now_ms - state.human_ms.get(key, -HUMAN_LOCK_MS)
        if since_ms < HUMAN_LOCK_MS:
            return f"a person acted on {key.removeprefix('@')} {_ago(since_ms)} ago, it waits for 30 min"
    last = state.directions.get(symbol)
    if last is not None and last.side is not side and now_ms - last.ms < DIRECTION_LOCK_MS:
        return f"the last correction was a {last.side.value} {_ago(now_ms - last.ms)} ago: no {side.value} for 24 h"
    gaps = [now_ms - ms for ms, name in state.sent if name == symbol]
    if gaps and min(gaps) < SYMBOL_GAP_MS:
        return f"one a symbol in 15 min, the last was {_ago(min(gaps))} ago"
    if sum(1 for ms, _ in state.sent if now_ms - ms < ACCOUNT_WINDOW_MS) >= MOST_IN_WINDOW:
        return f"{MOST_IN_WINDOW} an account in 60 min, and they are used up"
    return ""


def note_sent(state: CorrectionState, symbol: str, side: Side, now_ms: int) -> None:
    """Count a correction and lock its direction."""
    state.sent = [(ms, name) for ms, name in state.sent if now_ms - ms < ACCOUNT_WINDOW_MS]
    state.sent.append((now_ms, symbol))
    state.directions[symbol] = Direction(side, now_ms)


def forget_old(state: CorrectionState, now_ms: int) -> None:
    """Drop locks that are over."""
    state.human_ms = {key: ms for key, ms in state.human_ms.items() if now_ms - ms < HUMAN_LOCK_MS}
    state.directions = {
        symbol: last for symbol, last in state.directions.items() if now_ms - last.ms < DIRECTION_LOCK_MS
    }


def _ago(ms: int) -> str:
    return f"{ms // 60_000} min" if ms >= 60_000 else "less than a minute"

"""Whose book is it? A REST snapshot in a recording does not name its symbol; its numbers and prices tell.

A snapshot belongs to a book that waits for one, among whose updates its number lies, and whose levels it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from engine.kernel.market import Levels


def agreement(bids: Levels, asks: Levels, updates: Iterable[tuple[Levels, Levels]]) -> int:
    """Return how many levels that updates left behind a snapshot shows as they are, less those it shows otherwise.

    Levels beyond the snapshot's last one do not count: it may have been cut there.

    Args:
        bids: The snapshot's bids.
        asks: The snapshot's asks.
        updates: Bids and asks of the updates that the snapshot includes, oldest first.
    """
    left_bids: dict[float, float] = {}
    left_asks: dict[float, float] = {}
    for changed_bids, changed_asks in updates:
        left_bids.update(changed_bids)
        left_asks.update(changed_asks)
    shown_bids, shown_asks = dict(bids), dict(asks)
    lowest, highest = min(shown_bids, default=inf), max(shown_asks, default=-inf)
    seen = [size == shown_bids.get(price, 0.0) for price, size in left_bids.items() if price >= lowest]
    seen += [size == shown_asks.get(price, 0.0) for price, size in left_asks.items() if price <= highest]
    return 2 * sum(seen) - len(seen)


def best_fit(scores: Sequence[tuple[int, int]]) -> int | None:
    """Return the position of the best score of (agreement, common prices); None when none fits or two fit alike."""
    ranked = sorted(((score, at) for at, score in enumerate(scores) if score[0] >= 0), reverse=True)
    if not ranked or (len(ranked) > 1 and ranked[0][0] == ranked[1][0]):
        return None
    return ranked[0][1]

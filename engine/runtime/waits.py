"""How long to wait before what failed in passing is asked for once more."""

from __future__ import annotations

from collections.abc import Sequence

WAITS_S = (0.25, 0.5, 1.0, 2.0, 5.0)


def wait_s(tries: int, waits_s: Sequence[float] = WAITS_S) -> float:
    """Return the seconds to wait after so many tries, 1 or more; the last of the waits is repeated."""
    return waits_s[min(tries, len(waits_s)) - 1]

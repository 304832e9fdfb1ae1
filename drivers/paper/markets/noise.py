"""Seeded noise as a pure function of time: value noise in octaves, for one moment or a whole series.

Each octave draws a hashed number in [-1, 1) at every multiple of its period (a power of two seconds) and runs
straight between them. With amplitudes that grow as the root of the period, the sum moves like a random walk on every
scale and still has a value at any time without any history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB
_UNIT = 2.0**-52


def key_of(*parts: object) -> int:
    """Return a 64-bit key that depends on all parts."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:8], "big")


def hashed(key: int, index: int) -> float:
    """Return a number in [-1, 1) for an index (the finaliser of SplitMix64)."""
    x = (key + index * _STEP) & _MASK
    x = ((x ^ (x >> 30)) * _MIX1) & _MASK
    x = ((x ^ (x >> 27)) * _MIX2) & _MASK
    return ((x ^ (x >> 31)) >> 11) * _UNIT - 1.0


def hashed_array(key: int, indices: Any) -> Any:
    """Return `hashed` of every index of a numpy integer array, to the same bit."""
    import numpy as np

    x = np.uint64(key) + indices.astype(np.uint64) * np.uint64(_STEP)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MIX1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MIX2)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * _UNIT - 1.0


class Octaves:
    """A sum of octaves.

    Args:
        key: Seed of the noise.
        octaves: (log2 of the period in seconds, amplitude) of each octave.
    """

    def __init__(self, key: int, octaves: Sequence[tuple[int, float]]) -> None:
        self._octaves = [
            (key_of(key, power), power, (1 << power) - 1, 1.0 / (1 << power), amplitude) for power, amplitude in octaves
        ]
        self._cells = [(-1, 0.0, 0.0)] * len(self._octaves)

    def at(self, second: int) -> float:
        """Return the value at a whole second; quick when the seconds asked for are near each other."""
        total = 0.0
        cells = self._cells
        for number, (key, power, mask, inverse, amplitude) in enumerate(self._octaves):
            index = second >> power
            cell = cells[number]
            if cell[0] != index:
                left = cell[2] if cell[0] == index - 1 else hashed(key, index)
                cell = cells[number] = (index, left, hashed(key, index + 1))
            total += amplitude * (cell[1] + (cell[2] - cell[1]) * ((second & mask) * inverse))
        return total

    def series(self, seconds: Any) -> Any:
        """Return the values at an ascending numpy array of whole seconds."""
        import numpy as np

        total = np.zeros(len(seconds))
        for key, power, mask, inverse, amplitude in self._octaves:
            index = seconds >> power
            first, last = int(index[0]), int(index[-1])
            if last - first + 2 <= len(seconds):
                knots = hashed_array(key, np.arange(first, last + 2))
                at = index - first
                left, right = knots[at], knots[at + 1]
            else:
                left, right = hashed_array(key, index), hashed_array(key, index + 1)
            total += amplitude * (left + (right - left) * ((seconds & mask) * inverse))
        return total


def walk(seconds_vol: float, powers: Sequence[int]) -> list[tuple[int, float]]:
    """Return octaves that move like a random walk with a standard deviation of `seconds_vol` in one second."""
    return [(power, seconds_vol / 2**0.5 * 2.0 ** (power / 2)) for power in powers]

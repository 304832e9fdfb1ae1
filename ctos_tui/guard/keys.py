"""The key guard: order keys that may not be what the operator means now are dropped, and the drop is said.

All times are nanoseconds of one clock; a key's own time is when the input thread read it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

NS_PER_MS: Final = 1_000_000


class KeyLimits(msgspec.Struct, frozen=True):
    """When an order key is dropped, milliseconds.

    Attributes:
        age_ms: Older than this when it is handled.
        burst_ms: Length of the window in which keys are counted.
        burst_keys: More keys than this in the window are a paste, not fingers.
        held_ms: The same key again within this time is a key held down.
        dialog_ms: Time after a dialog opened in which nothing is confirmed.
    """

    age_ms: int = 250
    burst_ms: int = 30
    burst_keys: int = 2
    held_ms: int = 90
    dialog_ms: int = 300


class KeyGuard(msgspec.Struct):
    """Remembers the last keys and says which order keys to drop."""

    limits: KeyLimits = msgspec.field(default_factory=KeyLimits)
    _times: deque[int] = msgspec.field(default_factory=deque)
    _last_key: str = ""
    _last_ns: int | None = None
    _dialog_ns: int | None = None

    def dialog_opened(self, now_ns: int) -> None:
        """Tell that a dialog opened."""
        self._dialog_ns = now_ns

    def check(self, key: str, key_ns: int, now_ns: int, *, guarded: bool, output_behind: bool = False) -> str:
        """Judge one key press; every press must be told, guarded or not, so that bursts are seen.

        Args:
            key: The chord.
            key_ns: When it was read from the terminal.
            now_ns: When it is handled.
            guarded: Whether it stages, sends or confirms an order.
            output_behind: Whether the screen shows something older than the engine knows.

        Returns:
            Why the key is dropped, for the note; empty when it may act.
        """
        held = (
            key == self._last_key
            and self._last_ns is not None
            and key_ns - self._last_ns < self.limits.held_ms * NS_PER_MS
        )
        self._last_key, self._last_ns = key, key_ns
        self._times.append(key_ns)
        while key_ns - self._times[0] > self.limits.burst_ms * NS_PER_MS:
            self._times.popleft()
        if not guarded:
            return ""
        age_ms = (now_ns - key_ns) // NS_PER_MS
        if age_ms > self.limits.age_ms:
            return f"key dropped: it is {age_ms} ms old"
        if len(self._times) > self.limits.burst_keys:
            return "key dropped: too many keys at once (a paste?)"
        if held:
            return "key dropped: it is held down"
        if self._dialog_ns is not None and key_ns - self._dialog_ns < self.limits.dialog_ms * NS_PER_MS:
            return "key dropped: the question has just appeared"
        if output_behind:
            return "key dropped: the screen is behind"
        return ""

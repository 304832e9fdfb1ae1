"""Instances of the last run that could not be made again: what they left is made safe, and a person is told."""

from __future__ import annotations

from collections.abc import Callable

from engine.runtime.execution import ExecutionEngine


class LeftOut:
    """Keeps why instances were not restored.

    Args:
        engine: Where their orders and ledgers are.
        cancel_entries: Takes back what would enlarge the position of the instance of that name.
        tell: Raises the anomaly, with the instance and the text.
    """

    def __init__(
        self, engine: ExecutionEngine, cancel_entries: Callable[[str], None], tell: Callable[[str, str], None]
    ) -> None:
        self._engine = engine
        self._cancel_entries = cancel_entries
        self._tell = tell
        self._reasons: dict[str, str] = {}

    def add(self, name: str, reason: str) -> None:
        """Note that an instance was not restored."""
        self._reasons[name] = reason
        self._engine.say(f"strategy {name} was not restored: {reason}", "error")

    def make_safe(self) -> None:
        """Take back their entries, which have no limits and no owner, when the engine agrees with the venue."""
        for name in self._reasons:
            self._cancel_entries(name)
            self._tell(name, self.refusal(name))

    def forget(self, name: str) -> None:
        """An instance of that name runs again."""
        self._reasons.pop(name, None)

    def knows(self, name: str) -> bool:
        """Return whether an instance of that name was not restored."""
        return name in self._reasons

    def is_over(self, name: str) -> bool:
        """Return whether an instance was left out and has nothing left, neither orders nor a position."""
        return name in self._reasons and not (self._held(name) or self._engine.tracker.working(instance=name))

    def refusal(self, name: str) -> str:
        """Return why no instance of that name runs and what it has left, in words; empty when it was not left out."""
        reason = self._reasons.get(name)
        if reason is None:
            return ""
        if self.is_over(name):
            return f"{name} was not restored: {reason}; it holds nothing; mend it and start again, or stop it for good"
        held = ", ".join(self._held(name)) or "orders"
        remedy = f"only what reduces still rests; mend it and start again, or take it over with halt {name}"
        return f"{name} was not restored: {reason}; nobody looks after {held}; {remedy}"

    def _held(self, name: str) -> list[str]:
        holdings = self._engine.portfolio.holdings()
        return [f"{quantity.normalize():f} {symbol}" for owner, symbol, quantity in holdings if owner == name]

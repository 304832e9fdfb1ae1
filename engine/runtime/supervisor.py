"""Who looks after strategy instances, as an instance sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from engine.runtime.instance import StrategyInstance


class Supervisor(Protocol):
    """Who looks after an instance."""

    def faulted(self, instance: StrategyInstance, reason: str) -> None:
        """A handler raised; what it commanded was dropped."""

    def handled(self, instance: StrategyInstance) -> None:
        """The instance has handled everything that came, and its memory may have changed."""

    def anomaly(
        self, kind: str, symbol: str, instance: str, value: object, threshold: object, text: str, severity: str
    ) -> None:
        """Tell the monitor of an anomaly."""

"""Evaluates whether everything that the account holds or has earned can be valued in dollars."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from engine.kernel.anomaly import AnomalyKind, Severity
from engine.kernel.clock import NS_PER_S
from engine.runtime.anomalies import Reading
from engine.runtime.execution import ExecutionEngine

GRACE_S = 10
"""How long a price may lack before that is told: after a start the first one is on its way."""


class UnpricedWatch:
    """Tells each symbol whose worth is not known.

    Args:
        engine: The account's ledgers and prices.
    """

    def __init__(self, engine: ExecutionEngine) -> None:
        self._engine = engine
        self._since_ns: dict[str, int] = {}

    def evaluate(self) -> Iterable[Reading]:
        """Return a reading of every symbol that has lacked a price for a while."""
        now_ns = self._engine.clock.now_ns()
        lacks = self._engine.portfolio.unpriced()
        self._since_ns = {symbol: self._since_ns.get(symbol, now_ns) for symbol in lacks}
        for symbol, lack in lacks.items():
            seconds = Decimal((now_ns - self._since_ns[symbol]) // NS_PER_S)
            severity = Severity.WARN if seconds >= GRACE_S else None
            text = f"{symbol}: what it is worth in USD is not known: {lack}"
            grace = Decimal(GRACE_S)
            yield Reading(AnomalyKind.UNPRICED, seconds, severity, False, grace, grace, text, symbol)

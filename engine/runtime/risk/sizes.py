"""The guard against an order far larger than those before it: a wrong unit, a lost point."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from engine.kernel.errors import RiskReject
from engine.kernel.orders import OrderRequest
from engine.runtime.accounts import AccountLimits
from engine.runtime.risk.limits import number, usd

JUMP = 10
"""How many times as large as the largest of the last orders an order may be."""
REMEMBERED = 20
FEWEST = 5
"""Orders after which the usual size is known."""
SMALL_SHARE = Decimal("0.1")
"""Orders below this share of the account's largest are never too large a step."""


class SizeGuard:
    """Remembers the sizes of a strategy's last orders of each instrument.

    Args:
        limits: Limits of the account.
    """

    def __init__(self, limits: AccountLimits) -> None:
        self._small = limits.max_order_usd * SMALL_SHARE
        self._sizes: dict[tuple[str, str], deque[Decimal]] = {}

    def check(self, request: OrderRequest, value: Decimal) -> None:
        """Refuse an order, of a notional in USD, that is far larger than the strategy's last ones.

        Raises:
            RiskReject: Rule `size_jump`.
        """
        known = self._sizes.get((request.instance, request.symbol))
        if value <= self._small or known is None or len(known) < FEWEST:
            return
        limit = max(self._small, JUMP * max(known))
        if value > limit:
            raise RiskReject(
                "size_jump", f"{usd(limit)}, {number(Decimal(JUMP))} times the largest of the last orders", usd(value)
            )

    def remember(self, request: OrderRequest, value: Decimal) -> None:
        """Remember the size of an order that passed."""
        key = (request.instance, request.symbol)
        self._sizes.setdefault(key, deque(maxlen=REMEMBERED)).append(value)

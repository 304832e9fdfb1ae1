"""Quantities that change hands between ledgers without a trade: journalled, logged, never silent."""

from __future__ import annotations

from decimal import Decimal

from engine.kernel.orders import Fill
from engine.runtime.accounts import MANUAL
from engine.runtime.core import EngineCore
from engine.runtime.events import PositionChanged
from engine.runtime.records import Transfer


class Transfers:
    """Moves what strategies hold to the operator's ledger.

    Args:
        core: The engine's shared parts.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core

    def take_over(self, reason: str) -> None:
        """Move everything that has a price, at its mark."""
        for instance, symbol, quantity in self._core.portfolio.ledgers():
            price = self._core.portfolio.mark(symbol)
            if instance != MANUAL and price is not None:
                self._move(instance, symbol, quantity, price, reason)

    def take_liquidated(self, fill: Fill) -> None:
        """Take what the venue closed by force out of the ledgers that held it, the largest first.

        The forced trade itself is in the operator's ledger, as nobody ordered it. When it leaves the account flat,
        every ledger of the symbol ends flat.
        """
        text = f"{fill.symbol}: the venue liquidated {fill.quantity} at {fill.price}"
        self._core.alarm("liquidation", text, fill.symbol, severity="CRIT")
        left = fill.quantity
        for instance, held in self._core.portfolio.holders(fill.symbol):
            if instance != MANUAL and held * fill.side.sign < 0 and left > 0:
                moved = min(left, abs(held))
                self._move(instance, fill.symbol, moved if held > 0 else -moved, fill.price, "liquidated")
                left -= moved
        if not self._core.account_quantity(fill.symbol):
            for instance, held in self._core.portfolio.holders(fill.symbol):
                if instance != MANUAL:
                    self._move(instance, fill.symbol, held, fill.price, "liquidated")

    def take_from(self, instance: str, reason: str) -> list[tuple[str, Decimal]]:
        """Move everything that one instance holds, at its mark, without one at its cost; return what it was."""
        portfolio = self._core.portfolio
        held = [(symbol, quantity) for owner, symbol, quantity in portfolio.ledgers() if owner == instance]
        for symbol, quantity in held:
            mark = portfolio.mark(symbol)
            price = portfolio.ledger(instance, symbol).entry_price if mark is None else mark
            self._move(instance, symbol, quantity, price, reason)
        return held

    def _move(self, instance: str, symbol: str, quantity: Decimal, price: Decimal, reason: str) -> None:
        core = self._core
        core.write(Transfer(instance, MANUAL, symbol, quantity, price, reason))
        core.oplog("LedgerTransfer", instance=instance, symbol=symbol, qty=str(quantity), price=str(price), det=reason)
        core.say(f"{symbol}: {quantity} moved from {instance} to {MANUAL} at {price}: {reason}", "warn")
        core.bus.publish(PositionChanged(symbol))

"""Commands that take more than one order: soft and incremental orders, position targets, closing."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from engine.kernel.instruments import Instrument, resolve_symbol
from engine.kernel.orders import Side
from engine.kernel.strategy import DeadlinePolicy, Purpose
from engine.runtime.accounts import MANUAL
from engine.runtime.client_ids import ClientIds
from engine.runtime.core import EngineCore
from engine.runtime.work.book import WorkBook, WorkItem
from engine.runtime.work.incremental import IncrementalPlan
from engine.runtime.work.targets import Basis, TargetPlan
from engine.runtime.work.ticket import Ticket

DEADLINE_S = 10_800.0


class WorkCommands:
    """Starts and ends work.

    Args:
        core: The engine's shared parts.
        works: All work in progress.
        ids: Makes handles.
    """

    def __init__(self, core: EngineCore, works: WorkBook, ids: ClientIds) -> None:
        self._core = core
        self._works = works
        self._ids = ids

    def resolve(self, typed: str) -> Instrument:
        """Return the instrument that a person means; raises `UnknownSymbol`."""
        account = self._core.account
        return resolve_symbol(typed, self._core.market.instruments, account.default_quote, account.default_kind)

    def soft(
        self,
        instance: str,
        symbol: str,
        side: Side,
        quantity: Decimal,
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        reduce_only: bool = False,
        purpose: Purpose = Purpose.ENTRY,
        handle: str | None = None,
    ) -> str:
        """Work a quantity by a pegged post-only order; return a handle, ends with `WorkDone`."""
        if not reduce_only:
            self._core.risk.check_hand(instance)
        handle = handle or self._ids.new_handle(instance)
        ticket = Ticket(handle, instance, symbol, side, quantity, reduce_only, purpose)
        return self._works.soft(ticket, deadline_s, policy)

    def place_incremental_orders(
        self,
        instance: str,
        amount: Decimal,
        coin: str,
        side: Side,
        soft: bool = True,
        n_children: int = 1,
        max_child: Decimal | None = None,
        interval_s: float = 0,
        deadline_s: float = DEADLINE_S,
        handle: str | None = None,
    ) -> str:
        """Work a quote amount in child orders; return a handle, ends with `WorkDone`."""
        self._core.risk.check_hand(instance)
        symbol = self.resolve(coin).symbol
        plan = IncrementalPlan(instance, symbol, side, amount, soft, n_children, max_child, interval_s, deadline_s)
        return self._works.incremental(handle or self._ids.new_handle(instance), plan)

    def set_coin_position(
        self,
        instance: str,
        coin: str,
        usdt_amount: Decimal,
        soft: bool = True,
        basis: str = "ledger",
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handle: str | None = None,
    ) -> str:
        """Move a ledger (basis `account`: the account's position) to a signed notional; return a handle."""
        if usdt_amount:
            self._core.risk.check_hand(instance)
        symbol = self.resolve(coin).symbol
        amount = self._in_quote(symbol, usdt_amount)
        plan = TargetPlan(instance, symbol, amount, soft=soft, basis=Basis(basis), deadline_s=deadline_s, policy=policy)
        return self._works.target(handle or self._ids.new_handle(instance), plan)

    def set_positions(
        self,
        instance: str,
        targets: Mapping[str, Decimal],
        soft: bool = True,
        basis: str = "ledger",
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handles: Mapping[str, str] | None = None,
    ) -> dict[str, str]:
        """Move several ledgers, all reductions first; return a handle by the name that was given for each."""
        if any(targets.values()):
            self._core.risk.check_hand(instance)
        group = self._ids.new_handle(instance)
        named = {coin: (handles or {}).get(coin) or self._ids.new_handle(instance) for coin in targets}
        plans = {}
        for coin, usd in targets.items():
            symbol = self.resolve(coin).symbol
            amount = self._in_quote(symbol, usd)
            plans[named[coin]] = TargetPlan(
                instance,
                symbol,
                amount,
                soft=soft,
                basis=Basis(basis),
                deadline_s=deadline_s,
                policy=policy,
                group=group,
            )
        self._works.targets(plans)
        return named

    def close(
        self,
        instance: str,
        symbol: str,
        fraction: Decimal = Decimal(1),
        soft: bool = False,
        deadline_s: float = DEADLINE_S,
        policy: DeadlinePolicy = DeadlinePolicy.CANCEL,
        handle: str | None = None,
    ) -> str:
        """Close a fraction of a ledger (by hand: of the account's position), reduce-only; return a handle."""
        basis = Basis.ACCOUNT if instance == MANUAL else Basis.LEDGER
        plan = TargetPlan(
            instance, symbol, fraction=fraction, soft=soft, basis=basis, deadline_s=deadline_s, policy=policy
        )
        return self._works.target(handle or self._ids.new_handle(instance), plan)

    def end(self, handle: str) -> bool:
        """End a piece of work; return whether there was such work."""
        return self._works.end(handle)

    def _in_quote(self, symbol: str, usd: Decimal) -> Decimal:
        """Return an amount in a symbol's quote currency; nothing is nothing, also where the currency has no price."""
        return usd / self._core.portfolio.fx(self._core.instrument(symbol).quote) if usd else usd

    def work_of(self, instance: str | None = None) -> list[str]:
        """Return the handles of work in progress, oldest first."""
        return [item.handle for item in self._works.active(instance)]

    def active_work(self, instance: str | None = None) -> list[WorkItem]:
        """Return the work in progress, oldest first."""
        return self._works.active(instance)

"""The watcher: one call that lets an order pass or refuses it.

It fails closed: what cannot be computed is refused. An order that can only reduce is never held up by notional,
leverage, price band, missing or stale data; counts and rates keep a reserve for it. A plain order reduces when its
ledger covers it and it leaves the worst case of the account as it is: what covers it may be sold by another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from engine.kernel.clock import Clock
from engine.kernel.errors import RiskReject, TradingHalted
from engine.kernel.orders import Order, OrderRequest, OrderType, Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL, AccountLimits
from engine.runtime.risk.checks import (
    check_conflicts,
    check_leverage,
    check_margin,
    check_market,
    check_notional,
    check_price,
    check_size,
    check_trigger,
)
from engine.runtime.risk.exposure import gross_notional
from engine.runtime.risk.limits import InstanceLimits, instance_limits, operator_limits
from engine.runtime.risk.losses import LossGuard
from engine.runtime.risk.rates import STORM, CommandRates, DuplicateGuard, StormGuard
from engine.runtime.risk.sizes import SizeGuard
from engine.runtime.risk.view import LimitUse, RiskView
from engine.runtime.risk.worst_case import WorstCase
from engine.runtime.trading_state import TradingMode, TradingState

ZERO = Decimal(0)
HAND_LOCKED = "orders by hand are locked: arm the account again to send one; strategies go on, reductions pass"
RESERVE = 2
"""Reductions may use this many times the count and rate limits."""


class RiskWatcher:
    """Checks orders and watches losses for one account.

    Args:
        clock: The engine's clock.
        limits: Limits of the account.
        view: The engine's orders, ledgers and prices.
        state: The trading state, which this gate obeys.
        on_account_halt: Called with the reason when a limit is to halt the account at once.
        on_change: Called when `to_dict` has something new worth keeping.
    """

    def __init__(
        self,
        clock: Clock,
        limits: AccountLimits,
        view: RiskView,
        state: TradingState,
        on_account_halt: Callable[[str], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self.state = state
        self.losses = LossGuard(clock, limits, view, state, on_account_halt, on_change)
        self._view = view
        self._instances: dict[str, InstanceLimits] = {MANUAL: operator_limits(limits)}
        self._rates = CommandRates(clock)
        self._duplicates = DuplicateGuard(clock, view.order)
        self._sizes = SizeGuard(limits)
        self._storms = StormGuard(clock)
        self._worst_case = WorstCase(view)
        self.check_entry: Callable[[str, str], None] = lambda instance, symbol: None
        """Called with (instance, symbol) of every increase; raises to refuse it. The monitor stands here."""
        self.notice: Callable[[], None] = lambda: None
        """Called before the trading state is read, to notice first what changes it."""

    @property
    def is_halted(self) -> bool:
        """Return whether the account is halted."""
        return self.state.mode is TradingMode.HALTED

    @property
    def on_instance_halt(self) -> Callable[[str, str], None]:
        """Called with (instance, reason) when a loss limit halts an instance."""
        return self.losses.on_instance_halt

    @on_instance_halt.setter
    def on_instance_halt(self, handler: Callable[[str, str], None]) -> None:
        self.losses.on_instance_halt = handler

    def start(self) -> None:
        """Begin to watch losses, once a second."""
        self.losses.start()

    def stop(self) -> None:
        """Stop watching losses."""
        self.losses.stop()

    def admit(self, instance: str, params: RiskParams, capital: Decimal) -> InstanceLimits:
        """Put the limits of an instance in force; required before its first order.

        Raises:
            RiskConfigConflict: It needs more than the account allows.
        """
        limits = instance_limits(instance, params, self.limits)
        self._instances[instance] = limits
        self.losses.admit(instance, limits, capital)
        return limits

    def dismiss(self, instance: str) -> None:
        """Forget the limits and losses of a stopped instance; its further orders are refused."""
        if instance != MANUAL:
            self._instances.pop(instance, None)
            self.losses.dismiss(instance)

    def release_instance(self, instance: str) -> None:
        """Measure the losses of a halted instance anew, when a person resumes it."""
        self.losses.release(instance)

    def limits_of(self, instance: str) -> InstanceLimits:
        """Return the limits in force for an instance.

        Raises:
            RiskReject: It was not admitted.
        """
        limits = self._instances.get(instance)
        if limits is None:
            raise RiskReject("instance", "", f"{instance} has no limits in force")
        return limits

    def reduces(self, request: OrderRequest, replacing: str = "") -> bool:
        """Return whether an order can only reduce its instance's ledger (by hand: the account's position).

        One that is not reduce-only has also to leave the worst case of the account as it is.

        Args:
            request: The order.
            replacing: Client id of the working order whose place it takes.
        """
        if request.type is OrderType.STOP:
            return True
        view, symbol, side = self._view, request.symbol, request.side
        by_hand = request.instance == MANUAL
        if request.reduce_only:
            replaced = view.order(replacing) if replacing else None
            own = ZERO if replaced is None else max(ZERO, replaced.reported_filled - replaced.filled)
            reducible = view.reducible(request.instance, symbol, side)
            return reducible + own >= request.quantity and reducible + own > ZERO
        held = view.account_quantity(symbol) if by_hand else view.ledger_quantity(request.instance, symbol)
        if held * side.sign >= ZERO:
            return False
        left = abs(held) - request.quantity
        for order in view.working(symbol=symbol, instance=request.instance):
            if order.side is side and order.type is not OrderType.STOP and order.client_id != replacing:
                left -= self._worst_case.extent(order)[0]
        return left >= ZERO and not self._worst_case.is_raised_by(request, replacing)

    def check(self, request: OrderRequest, *, parent: str = "", replacing: str = "", dry: bool = False) -> None:
        """Let an order pass or refuse it. An order that passes is counted, unless `dry`.

        Args:
            request: The order, exact in tick and lot; a market order carries its cap price.
            parent: The piece of work it belongs to: its orders are one decision, so they may repeat.
            replacing: Client id of the working order whose place it takes.
            dry: Only ask.

        Raises:
            TradingHalted: The trading state does not accept it.
            RiskReject: A limit refused it.
        """
        limits = self.limits_of(request.instance)
        self.notice()
        reduces = self.reduces(request, replacing)
        self._check_gate(request.instance, reduces, parent)
        orders = self._view.working()
        is_decision = not (parent or replacing or reduces)
        if not reduces:
            self.check_entry(request.instance, request.symbol)
            value = self._check_increase(request, limits, replacing, orders)
            if is_decision and request.instance != MANUAL:
                self._sizes.check(request, value)
        elif request.type is OrderType.STOP:
            check_trigger(request, self._view.mark(request.symbol), self._view.quote(request.symbol))
        reserve = RESERVE if reduces else 1
        if request.type.rests and not replacing:
            self._check_open_orders(request.instance, limits.max_open_orders * reserve, reserve, orders)
        if is_decision:
            self._duplicates.check(request)
        self._rates.check(request.instance, limits.max_cmds_per_min * reserve, self.limits.max_orders_per_min * reserve)
        if not dry:
            self._rates.count(request.instance)
            if is_decision:
                self._duplicates.remember(request)
                if request.instance != MANUAL:
                    self._sizes.remember(request, value)

    def check_gate(self, order: Order) -> None:
        """Let an order that is about to leave pass, or refuse it because the trading state has changed since.

        Raises:
            TradingHalted: The trading state does not accept it.
        """
        if order.type is OrderType.STOP:
            return  # It protects a position, whatever else is stopped.
        self.notice()
        if self.state.mode is not TradingMode.ARMED or self.losses.halted(order.instance):
            request = OrderRequest(
                client_id=order.client_id,
                instance=order.instance,
                symbol=order.symbol,
                side=order.side,
                type=order.type,
                quantity=order.remaining,
                reduce_only=order.reduce_only,
            )
            self._check_gate(order.instance, self.reduces(request, order.client_id), order.parent or order.replaces)

    def check_hand(self, instance: str) -> None:
        """Refuse to begin work by hand while orders by hand are locked.

        Raises:
            TradingHalted: They are.
        """
        if instance == MANUAL and self.state.mode is TradingMode.ARMED and not self.state.is_hand_open:
            raise TradingHalted(HAND_LOCKED)

    def check_amend(self, order: Order, price: Decimal | None, quantity: Decimal | None, *, dry: bool = False) -> None:
        """Let an amendment pass or refuse it; `quantity` is the new total. It counts as a command, unless `dry`.

        Raises:
            TradingHalted: The trading state does not accept it.
            RiskReject: A limit refused it.
        """
        total = order.quantity if quantity is None else quantity
        request = OrderRequest(
            client_id=order.client_id,
            instance=order.instance,
            symbol=order.symbol,
            side=order.side,
            type=order.type,
            quantity=max(ZERO, total - order.filled),
            price=order.price if price is None else price,
            trigger_price=order.trigger_price,
            reduce_only=order.reduce_only,
        )
        self.check(request, parent=order.parent, replacing=order.client_id, dry=dry)
        if not dry:
            self._worst_case.remember_amendment(order.client_id, request.quantity, request.price)

    def count_cancel(self, instance: str) -> None:
        """Count a cancel; it is never refused."""
        self._rates.count(instance)

    def count_refusal(self, instance: str) -> None:
        """Count a command of a strategy that was refused; one that goes on and on is halted."""
        if instance != MANUAL and self._storms.count(instance):
            self.losses.halt(instance, f"order storm: {STORM} commands were refused within a second")

    def usage(self) -> list[LimitUse]:
        """Return how far the limits are used, the account's first; what cannot be computed is left out."""
        orders, exposures = self._view.working(), self._worst_case.known()
        found = self._account_usage(None if exposures is None else gross_notional(exposures), len(orders))
        for name, limits in self._instances.items():
            if name != MANUAL:
                notional = None if exposures is None else gross_notional(exposures, name)
                count = sum(1 for order in orders if order.instance == name)
                found += self._instance_usage(name, limits, notional, count)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what must outlive a restart, as JSON values."""
        peak = self.losses.peak
        return {
            "state": self.state.to_dict(),
            "losses": self.losses.to_dict(),
            "peak": None if peak is None else str(peak),
        }

    def restore(self, body: dict[str, Any]) -> None:
        """Take over what `to_dict` saved; call before `admit`."""
        self.state.restore(body["state"])
        self.losses.restore(body["losses"], body.get("peak"))

    def _check_gate(self, instance: str, reduces: bool, parent: str) -> None:
        mode = self.state.mode
        if mode is TradingMode.ARMED:
            halted = "" if reduces else self.losses.halted(instance)
            if halted:
                raise TradingHalted(f"{instance} is halted ({halted}); resume it to trade again")
            if not (reduces or parent):
                self.check_hand(instance)
            return
        if reduces and (instance == MANUAL or mode is TradingMode.REDUCE_ONLY):
            return
        allowed = "only reductions pass" if mode is TradingMode.REDUCE_ONLY else "only reductions by hand pass"
        remedy = "; arm it to trade" if mode is TradingMode.DISARMED else "; rearm it with a reason"
        raise TradingHalted(f"{self.state.describe()}; {allowed}{'' if self.state.status.lifts else remedy}")

    def _check_increase(
        self, request: OrderRequest, limits: InstanceLimits, replacing: str, orders: Sequence[Order]
    ) -> Decimal:
        """Hold an increase against every limit; return its notional, USD."""
        view, account = self._view, self.limits
        instrument = view.instrument(request.symbol)
        quote = check_market(instrument, view)
        band = min(limits.price_band_bp, account.price_band_bp)
        check_price(request, instrument, quote, view.mark(request.symbol), band)
        check_conflicts(request, orders, replacing)
        price = request.price
        if price is None:
            price = instrument.price_from_float(quote.ask if request.side is Side.BUY else quote.bid)
        price_usd = price * view.fx(instrument.quote)
        check_size(request, instrument, price_usd, min(limits.max_order_usd, account.max_order_usd))
        change = self._worst_case.change(request, price_usd, replacing, orders)
        if request.instance != MANUAL:
            check_notional(change, request.instance, limits.max_notional_usd)
        check_notional(change, None, account.max_notional_usd)
        check_leverage(change, view.equity(), account.max_leverage)
        replaced = next((self._worst_case.extent(order)[0] for order in orders if order.client_id == replacing), ZERO)
        check_margin(max(ZERO, request.quantity - replaced), price_usd, request.side, instrument, view)
        return request.quantity * price_usd

    def _check_open_orders(self, instance: str, limit: int, reserve: int, orders: Sequence[Order]) -> None:
        own = sum(1 for order in orders if order.instance == instance)
        for count, most in ((own, limit), (len(orders), self.limits.max_open_orders * reserve)):
            if count >= most:
                raise RiskReject("max_open_orders", f"{most} orders", f"{count + 1} orders")

    def _account_usage(self, gross: Decimal | None, orders: int) -> list[LimitUse]:
        limits, equity = self.limits, self._view.equity()
        found = []
        if gross is not None:
            found.append(LimitUse("account", "max_notional_usd", gross, limits.max_notional_usd, "USD"))
            if equity is not None and equity > ZERO:
                found.append(LimitUse("account", "max_leverage", gross / equity, limits.max_leverage, "x"))
        found.append(_count_use("account", "max_open_orders", orders, limits.max_open_orders, "orders"))
        found.append(
            _count_use("account", "max_orders_per_min", self._rates.used(), limits.max_orders_per_min, "1/min")
        )
        return found + self.losses.account_usage()

    def _instance_usage(
        self, name: str, limits: InstanceLimits, notional: Decimal | None, orders: int
    ) -> list[LimitUse]:
        found = []
        if notional is not None:
            found.append(LimitUse(name, "max_notional_usd", notional, limits.max_notional_usd, "USD"))
        found.append(_count_use(name, "max_open_orders", orders, limits.max_open_orders, "orders"))
        found.append(_count_use(name, "max_cmds_per_min", self._rates.used(name), limits.max_cmds_per_min, "1/min"))
        return found + self.losses.instance_usage(name)


def _count_use(scope: str, rule: str, used: int, limit: int, unit: str) -> LimitUse:
    return LimitUse(scope, rule, Decimal(used), Decimal(limit), unit)

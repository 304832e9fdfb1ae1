"""How instances stop and halt: what becomes of their orders and positions."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.kernel.clock import TimerHandle
from engine.kernel.errors import CtosError
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import DoneStatus, StopPolicy
from engine.runtime.events import WorkDone
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance
from engine.runtime.panic import is_protective
from engine.runtime.supervisor import Supervisor
from engine.runtime.work.book import WorkItem
from engine.runtime.work.replace import Replacement
from engine.runtime.work.targets import Target

FLATTEN_RETRY_S = 5.0
REPORT_EVERY = 12
"""A position that is not flat is reported at the second try and then at every twelfth."""


class Stopping:
    """Carries out stop policies and halts.

    Args:
        engine: Where orders are.
        supervisor: Told of anomalies.
        on_change: Called when an instance's state changed.
        on_stopped: Called when an instance is STOPPED.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        supervisor: Supervisor,
        on_change: Callable[[StrategyInstance], None],
        on_stopped: Callable[[StrategyInstance], None],
    ) -> None:
        self._engine = engine
        self._supervisor = supervisor
        self._on_change = on_change
        self._on_stopped = on_stopped
        self._tries: dict[str, int] = {}
        self._timers: dict[str, TimerHandle] = {}
        self._dust: dict[tuple[str, str], Decimal] = {}
        engine.bus.subscribe(WorkDone, self._on_done)

    def stop(self, instance: StrategyInstance, policy: StopPolicy, reason: str) -> None:
        """Stop an instance.

        `keep` leaves orders and position, `cancel` takes back all but the stops of a position, `flatten` takes back
        everything and closes the position. Soft orders, incremental orders and targets end with every policy.
        """
        life = instance.life
        if life.state is not InstanceState.STOPPING:
            life.move(InstanceState.STOPPING)
            instance.stopping(reason)
        life.reason = f"{policy.value}, {reason}"
        instance.context.timer.cancel_all()
        instance.to_flatten = policy is StopPolicy.FLATTEN
        self._engine.oplog("StrategyExit", instance=instance.name, policy=policy.value, reason=reason)
        self._on_change(instance)
        self.end_work(instance.name)
        if policy is StopPolicy.KEEP:
            self._finish(instance)
            return
        self._engine.cancel_all(
            instance=instance.name,
            keep_protective=policy is StopPolicy.CANCEL and self.holds(instance),
            by=f"stop of {instance.name}: {reason}",
        )
        self.progress(instance)

    def halt(self, instance: StrategyInstance, reason: str, flatten: bool) -> None:
        """Halt an instance: cancel all but protective stops, then close its position or hold it."""
        instance.life.move(InstanceState.HALTED, reason)
        instance.context.timer.cancel_all()
        instance.to_flatten = flatten
        self._on_change(instance)
        self.end_work(instance.name)
        self._engine.cancel_all(instance=instance.name, keep_protective=True, by=f"halt of {instance.name}: {reason}")
        self.progress(instance)

    def flatten(self, instance: StrategyInstance) -> None:
        """Close what a halted instance holds, too; while the account is halted it waits."""
        instance.to_flatten = True
        self._on_change(instance)
        self.progress(instance)

    def progress(self, instance: StrategyInstance) -> None:
        """Take the next step of a stop or halt, as soon as nothing stands in its way."""
        state = instance.life.state
        if state not in (InstanceState.STOPPING, InstanceState.HALTED) or instance.is_asleep:
            return
        holds = self.holds(instance)
        working = self._engine.tracker.working(instance=instance.name)
        if not holds:
            for order in filter(is_protective, working):
                self._engine.cancel(order.client_id, f"{instance.name} holds nothing any more")
        if any(not (holds and is_protective(order)) for order in working):
            return
        if instance.to_flatten:
            if self._closable(instance):
                self._flatten(instance)
                return
            self._tell_unlisted(instance)
        self._forget(instance)
        if state is InstanceState.STOPPING:
            self._finish(instance)

    def end_work(self, name: str, keep_exits: bool = False) -> None:
        """End soft orders, incremental orders and targets, but not those that only reduce when `keep_exits`."""
        for item in self._engine.active_work(name):
            if not (keep_exits and self._is_exit(item)):
                self._engine.end(item.handle)

    def cancel_entries(self, name: str) -> None:
        """Take back everything that would enlarge the position of an instance."""
        self.end_work(name, keep_exits=True)
        for order in self._engine.tracker.working(instance=name):
            if not order.reduce_only and not order.parent:
                self._engine.cancel(order.client_id, f"entries of {name} are taken back")

    def holds(self, instance: StrategyInstance) -> bool:
        """Return whether an instance holds anything that can be closed; less than a lot of a coin cannot."""
        return bool(self._held(instance))

    def _held(self, instance: StrategyInstance) -> list[str]:
        return [symbol for owner, symbol, _ in self._engine.portfolio.holdings() if owner == instance.name]

    def _closable(self, instance: StrategyInstance) -> list[str]:
        """Return what is held and not known to be too small; no order closes what the venue does not list any more."""
        listed = self._engine.market.is_listed
        return [
            symbol for symbol in self._held(instance) if listed(symbol) and not self._is_dust(instance.name, symbol)
        ]

    def _tell_unlisted(self, instance: StrategyInstance) -> None:
        """Tell what the end of a flatten leaves because the venue does not list it any more."""
        for symbol in self._held(instance):
            if not self._engine.market.is_listed(symbol):
                held = self._engine.portfolio.ledger(instance.name, symbol).quantity
                text = f"{instance.name}: {held:f} {symbol} is left: the venue does not list it any more, look there"
                instance.say(text, "error")
                self._supervisor.anomaly("strategy_fault", symbol, instance.name, held, 0, text, "WARN")

    def _on_done(self, event: WorkDone) -> None:
        """Remember what the venue does not close because it is too small: it ends a flatten."""
        name, done = event.instance, event.done
        if done.status is DoneStatus.DUST and name in self._tries:
            self._dust[name, done.symbol] = self._engine.portfolio.ledger(name, done.symbol).quantity
            self._engine.say(f"{name} {done.symbol}: {done.reason}; it is left", "warn")

    def _is_dust(self, name: str, symbol: str) -> bool:
        """Return whether what is held was found too small to be closed."""
        return self._dust.get((name, symbol)) == self._engine.portfolio.ledger(name, symbol).quantity

    def _is_exit(self, item: WorkItem) -> bool:
        if isinstance(item, Target):
            return item.plan.fraction is not None or not item.plan.amount
        if isinstance(item, Replacement):
            replaced = self._engine.tracker.get(item.old)
            return replaced is not None and replaced.reduce_only
        orders = [order for order in self._engine.tracker.children(item.handle) if order.is_open]
        return bool(orders) and all(order.reduce_only for order in orders)

    def _flatten(self, instance: StrategyInstance) -> None:
        """Close the instance's ledgers; tried again after a while, and reported when it does not succeed."""
        name = instance.name
        if name in self._timers or self._engine.work_of(name):
            return
        if self._engine.risk.is_halted:  # No reduction of a strategy passes before a person has released the account.
            self._timers[name] = self._engine.clock.call_later(FLATTEN_RETRY_S, self._look_again, instance)
            return
        tries = self._tries[name] = self._tries.get(name, 0) + 1
        if tries % REPORT_EVERY == 2:
            text = f"{name}: the position is not flat yet, try {tries}"
            self._supervisor.anomaly("strategy_fault", "", name, tries, 1, text, "WARN")
        self._timers[name] = self._engine.clock.call_later(FLATTEN_RETRY_S, self._look_again, instance)
        for symbol in self._closable(instance):
            try:
                self._engine.close(name, symbol, Decimal(1), soft=False)
            except CtosError as error:
                instance.say(f"cannot close {symbol}: {error}", "error")

    def _look_again(self, instance: StrategyInstance) -> None:
        self._timers.pop(instance.name, None)
        self.progress(instance)

    def _forget(self, instance: StrategyInstance) -> None:
        timer = self._timers.pop(instance.name, None)
        if timer is not None:
            timer.cancel()
        self._tries.pop(instance.name, None)
        for key in [key for key in self._dust if key[0] == instance.name]:
            del self._dust[key]
        if instance.to_flatten:
            instance.to_flatten = False
            self._on_change(instance)

    def _finish(self, instance: StrategyInstance) -> None:
        instance.life.move(InstanceState.STOPPED, instance.life.reason)
        self._on_change(instance)
        self._on_stopped(instance)

"""Takes an instance out of the market after an exception, and lets it restart by itself a few times."""

from __future__ import annotations

from collections.abc import Callable

from engine.kernel.errors import CtosError
from engine.kernel.scheduler import InstanceState
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance
from engine.runtime.stopping import Stopping


class Restarts:
    """What becomes of faulted instances.

    Args:
        engine: Its clock counts the pauses before a restart.
        stopping: Takes back the entries of what has faulted.
        tell: Raises the anomaly, with the instance and the text.
        on_change: Called when an instance's state changed.
        begin: Starts an instance with a reason, as soon as it can.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        stopping: Stopping,
        tell: Callable[[str, str], None],
        on_change: Callable[[StrategyInstance], None],
        begin: Callable[[StrategyInstance, str], None],
    ) -> None:
        self._engine = engine
        self._stopping = stopping
        self._tell = tell
        self._on_change = on_change
        self._begin = begin

    def faulted(self, instance: StrategyInstance, reason: str) -> None:
        """Take an instance out of the market after an exception, and let it restart after a while."""
        life = instance.life
        if life.state in (InstanceState.STOPPED, InstanceState.STOPPING, InstanceState.HALTED):
            what = "halted" if life.state is InstanceState.HALTED else "stopping"
            instance.say(f"error while {what}: {reason}", "error")
            return
        self.call_off(instance)
        if life.state is not InstanceState.FAULTED:
            is_paused = life.state is InstanceState.PAUSED
            instance.pause_reason = (life.reason or "paused") if is_paused else ""
        delay = life.fault(self._engine.clock.now_ns(), reason)
        instance.context.timer.cancel_all()
        instance.say(f"FAULTED: {reason}", "error")
        if delay is not None:
            instance.restart_timer = self._engine.clock.call_later(delay, self._restart, instance)
        instance.set_why("too many faults; resume it by hand" if delay is None else f"restarts in {delay:g} s")
        self._engine.oplog("StrategyException", instance=instance.name, error=reason, restart_s=delay)
        self._tell(instance.name, f"{instance.name}: {reason}")
        self._on_change(instance)
        self._stopping.cancel_entries(instance.name)

    def call_off(self, instance: StrategyInstance) -> None:
        """Let an instance not restart by itself."""
        if instance.restart_timer is not None:
            instance.restart_timer.cancel()
            instance.restart_timer = None

    @staticmethod
    def go_back(instance: StrategyInstance) -> None:
        """Put an instance where it was before the fault: one that a person has paused stays paused."""
        instance.life.move(InstanceState.WARMUP)
        if instance.pause_reason:
            instance.life.move(InstanceState.PAUSED, instance.pause_reason)
            instance.pause_reason = ""

    def _restart(self, instance: StrategyInstance) -> None:
        if instance.is_asleep:
            return  # it restarts at the next start of the program
        instance.restart_timer = None
        try:
            instance.renew()
        except CtosError as error:
            self.faulted(instance, str(error))
            return
        self.go_back(instance)
        self._begin(instance, "restart" if instance.was_started else "new")

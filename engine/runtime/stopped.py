"""Instances that were stopped and left something: their loss limits stay in force, over a restart too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.kernel.errors import CtosError
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import StopPolicy, Strategy
from engine.runtime.execution import ExecutionEngine
from engine.runtime.handover import Handover
from engine.runtime.launching import limits_of
from engine.runtime.left_out import LeftOut
from engine.runtime.memory import SavedInstance
from engine.runtime.params import parse_params


class Stopped:
    """Looks after what stopped instances left.

    Args:
        engine: Where orders, ledgers and limits are.
        shelf: Instances of the last run that are not in this one.
        left_out: Told of those whose limits cannot be put in force.
        handover: Takes over what they left.
        cancel_entries: Takes back what would enlarge the position of the instance of that name.
        tell: Raises the anomaly, with the instance and the text.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        shelf: Mapping[str, SavedInstance],
        left_out: LeftOut,
        handover: Handover,
        cancel_entries: Callable[[str], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._engine = engine
        self._shelf = shelf
        self._left_out = left_out
        self._handover = handover
        self._cancel_entries = cancel_entries
        self._tell = tell

    def is_shelved(self, name: str) -> bool:
        """Return whether the last run stopped an instance of that name and something about it is kept."""
        return name in self._shelf and self._shelf[name].state == InstanceState.STOPPED

    def admit_all(self, strategy_class: Callable[[str], type[Strategy[Any]]]) -> None:
        """Put the limits of those that the last run stopped in force again, where something is left of them.

        Args:
            strategy_class: Returns the class of a name.
        """
        for name, saved in self._shelf.items():
            if not self.is_shelved(name) or self._left_out.knows(name) or not self._handover.left(name):
                continue
            try:
                self._admit(name, saved, strategy_class(saved.strategy))
            except CtosError as error:
                self._left_out.add(name, str(error))

    def keep_halted(self, name: str) -> None:
        """Take the entries back that are left of an instance which a limit has halted."""
        if self._engine.risk.losses.halted(name):
            self._cancel_entries(name)

    def halt(self, name: str, state: InstanceState, reason: str) -> None:
        """Take back the entries that a stopped or stopping instance has, and leave what it holds to a person."""
        self._engine.oplog("RiskHalt", instance=name, reason=reason, flatten=False)
        text = f"{name} is {state.value}; what it left reached a limit: {reason}; its entries go"
        text = f"{text}, halt {name} flat closes the rest"
        self._engine.core.say(text, "error", name)
        self._tell(name, text)
        self._cancel_entries(name)

    def close(self, name: str, policy: StopPolicy | None, reason: str) -> None:
        """Close what a stopped instance left, when it is stopped once more by flatten.

        Raises:
            CtosError: It left nothing, or is to keep it.
        """
        left = ", ".join(self._handover.left(name))
        if not left or policy is not StopPolicy.FLATTEN:
            remedy = f"; it left {left}: halt {name} flat closes it" if left else ""
            raise CtosError(f"{name} is stopped already{remedy}")
        self._handover.begin(name, reason, close=True)

    def _admit(self, name: str, saved: SavedInstance, strategy_class: type[Strategy[Any]]) -> None:
        params = parse_params(strategy_class, saved.params)
        self._engine.register_instance(name, saved.code)
        self._engine.risk.admit(name, limits_of(strategy_class, params, len(saved.symbols)), params.capital_usd)
        self.keep_halted(name)

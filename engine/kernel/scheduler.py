"""The life cycle of a strategy instance, as a pure state machine.

`CREATED -> WARMUP -> RUNNING <-> PAUSED -> STOPPING -> STOPPED`, plus FAULTED after an exception and HALTED
by a risk limit. The strategy manager asks this module what is allowed and when a faulted instance may start
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError


class InstanceState(StrEnum):
    """Where a strategy instance is in its life."""

    CREATED = "created"
    WARMUP = "warmup"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAULTED = "faulted"
    HALTED = "halted"

    @property
    def is_alive(self) -> bool:
        """Return whether the instance still receives its own order events."""
        return self is not InstanceState.STOPPED


_NEXT: dict[InstanceState, frozenset[InstanceState]] = {
    InstanceState.CREATED: frozenset(
        {
            InstanceState.WARMUP,
            InstanceState.RUNNING,
            InstanceState.STOPPING,
            InstanceState.FAULTED,
            InstanceState.HALTED,
        }
    ),
    InstanceState.WARMUP: frozenset(
        {
            InstanceState.RUNNING,
            InstanceState.PAUSED,
            InstanceState.STOPPING,
            InstanceState.FAULTED,
            InstanceState.HALTED,
        }
    ),
    InstanceState.RUNNING: frozenset(
        {
            InstanceState.PAUSED,
            InstanceState.STOPPING,
            InstanceState.FAULTED,
            InstanceState.HALTED,
        }
    ),
    InstanceState.PAUSED: frozenset(
        {
            InstanceState.WARMUP,
            InstanceState.RUNNING,
            InstanceState.STOPPING,
            InstanceState.FAULTED,
            InstanceState.HALTED,
        }
    ),
    InstanceState.FAULTED: frozenset(
        {
            InstanceState.WARMUP,
            InstanceState.RUNNING,
            InstanceState.STOPPING,
            InstanceState.HALTED,
        }
    ),
    InstanceState.HALTED: frozenset({InstanceState.RUNNING, InstanceState.WARMUP, InstanceState.STOPPING}),
    InstanceState.STOPPING: frozenset({InstanceState.STOPPED, InstanceState.FAULTED}),
    InstanceState.STOPPED: frozenset({InstanceState.WARMUP, InstanceState.RUNNING}),
}

RESTART_DELAYS_S = (5.0, 30.0, 120.0)
RESTART_WINDOW_S = 600.0


class IllegalStep(CtosError):
    """A life-cycle step that is not allowed from the present state."""


@dataclass(slots=True)
class LifeCycle:
    """State of one instance and the history of its faults.

    Attributes:
        state: The present state.
        reason: Why it is in this state, for people.
        fault_times_ns: Times of the faults inside the restart window.
    """

    state: InstanceState = InstanceState.CREATED
    reason: str = ""
    fault_times_ns: list[int] = field(default_factory=list)

    def move(self, state: InstanceState, reason: str = "") -> None:
        """Step to another state.

        Raises:
            IllegalStep: The step is not allowed.
        """
        if state is not self.state and state not in _NEXT[self.state]:
            raise IllegalStep(f"cannot go from {self.state.value} to {state.value}")
        self.state = state
        self.reason = reason

    def fault(self, now_ns: int, reason: str) -> float | None:
        """Record a fault and step to FAULTED.

        Returns:
            Seconds until the automatic restart, or None when it must wait for a person.
        """
        window_start = now_ns - int(RESTART_WINDOW_S * NS_PER_S)
        self.fault_times_ns = [when for when in self.fault_times_ns if when > window_start]
        attempt = len(self.fault_times_ns)
        self.fault_times_ns.append(now_ns)
        self.move(InstanceState.FAULTED, reason)
        return RESTART_DELAYS_S[attempt] if attempt < len(RESTART_DELAYS_S) else None

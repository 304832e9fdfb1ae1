"""What is kept of strategy instances over a restart, in the journal's store and in order with its records."""

from __future__ import annotations

from typing import Any

import msgspec

from engine.io.journal import Journal
from engine.kernel.errors import ConfigError
from engine.kernel.strategy import PauseMode
from engine.runtime.instance import StrategyInstance
from engine.runtime.params import dump_params

STATE_TABLE = "strategy_state"


class SavedInstance(msgspec.Struct):
    """One instance as it was saved.

    Attributes:
        strategy: Name of its class.
        code: Five characters that begin its orders' numbers.
        params: The parameters that were given; the others have their defaults.
        symbols: Resolved symbols.
        state: Value of its life-cycle state.
        reason: Why it was in that state.
        why: Why it was not trading.
        pause_mode: What it saw while it was paused.
        was_started: Whether `on_start` was ever called.
        restarts: Whether it was about to restart by itself after a fault.
        to_flatten: Whether its position was being closed.
        event_seq: Number of the newest journal record about its orders that the memory knows of.
        memory: `Context.state`.
        pause_reason: Why it was paused when it faulted; empty when it was not.
    """

    strategy: str
    code: str
    params: dict[str, Any]
    symbols: list[str]
    state: str
    reason: str
    why: str
    pause_mode: str
    was_started: bool
    restarts: bool
    to_flatten: bool
    event_seq: int
    memory: dict[str, Any]
    pause_reason: str = ""

    def apply_to(self, instance: StrategyInstance) -> None:
        """Give a new instance what is not an argument of its making."""
        instance.why = self.why
        instance.pause_mode = PauseMode(self.pause_mode)
        instance.was_started = self.was_started
        instance.to_flatten = self.to_flatten
        instance.event_seq = self.event_seq
        instance.pause_reason = self.pause_reason


class _Record(msgspec.Struct):
    """A `SavedInstance` whose memory is encoded already."""

    strategy: str
    code: str
    params: dict[str, Any]
    symbols: tuple[str, ...]
    state: str
    reason: str
    why: str
    pause_mode: str
    was_started: bool
    restarts: bool
    to_flatten: bool
    event_seq: int
    memory: msgspec.Raw
    pause_reason: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SavedInstance).decode


class InstanceStore:
    """Saves and loads the instances of one account.

    Args:
        journal: Where the store is.
        account: Name of the account in the journal.
    """

    def __init__(self, journal: Journal, account: str) -> None:
        self._journal = journal
        self._prefix = f"{account}/"
        self._saved: dict[str, bytes] = {}

    def load(self) -> dict[str, SavedInstance | ConfigError]:
        """Return every saved instance by name, or why it cannot be read. Waits for the disk."""
        found: dict[str, SavedInstance | ConfigError] = {}
        for key, raw in self._journal.items(STATE_TABLE):
            if not key.startswith(self._prefix):
                continue
            name = key.removeprefix(self._prefix)
            try:
                found[name] = _decode(raw)
            except msgspec.DecodeError as error:
                found[name] = ConfigError(f"the memory of strategy instance {name} cannot be read: {error}")
        return found

    def saved(self, name: str) -> SavedInstance | None:
        """Return what was saved of an instance in this run, None when nothing was."""
        raw = self._saved.get(name)
        return None if raw is None else _decode(raw)

    def forget(self, name: str) -> None:
        """Remove an instance that has left nothing behind."""
        self._saved.pop(name, None)
        self._journal.delete(STATE_TABLE, f"{self._prefix}{name}")

    def save(self, instance: StrategyInstance) -> None:
        """Save an instance if anything about it has changed."""
        record = _Record(
            strategy=instance.strategy_class.name,
            code=instance.code,
            params=dump_params(instance.params),
            symbols=instance.symbols,
            state=instance.life.state.value,
            reason=instance.life.reason,
            why=instance.why,
            pause_mode=instance.pause_mode.value,
            was_started=instance.was_started,
            restarts=instance.restart_timer is not None,
            to_flatten=instance.to_flatten,
            event_seq=instance.event_seq,
            memory=msgspec.Raw(instance.memory),
            pause_reason=instance.pause_reason,
        )
        raw = _encode(record)
        if self._saved.get(instance.name) != raw:
            self._saved[instance.name] = raw
            self._journal.put(STATE_TABLE, f"{self._prefix}{instance.name}", raw)

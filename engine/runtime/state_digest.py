"""One number for the whole state of an engine, and the proof that its journal leads to that state.

Two states with the same digest agree in every order, ledger, fill, piece of work and limit, to the last digit and in
the order in which they are kept.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from engine.io.database import JournalDamaged
from engine.kernel.clock import Clock
from engine.runtime.state import Checkpoint, EngineState, JournalLog, checkpoint_of


class Replay(msgspec.Struct, frozen=True):
    """What a replay of an account's records led to.

    Attributes:
        records: How many records were applied.
        digest: The state after the last one.
        compared: Whether the state that the running engine stored last was met on the way.
    """

    records: int
    digest: str
    compared: bool


def digest_of(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of a stored state as hexadecimal text."""
    return hashlib.sha256(msgspec.json.encode(checkpoint)).hexdigest()


def state_digest(state: EngineState) -> str:
    """Return the SHA-256 of an engine's present state as hexadecimal text."""
    return digest_of(state.snapshot())


def replay(journal: JournalLog, account: str, clock: Clock) -> Replay:
    """Apply an account's records from the oldest state that is kept, and hold the result against the newest one.

    What the running engine stored came from its memory: a replay that meets it proves that nothing changed there
    without a record.

    Raises:
        JournalError: The journal cannot be read, or its records do not lead to what the engine stored.
    """
    state = EngineState(journal, account, clock)
    after_seq, newest, count, compared = 0, journal.load_checkpoint(account), 0, False
    base = journal.load_base(account)
    if base is not None:
        after_seq = base[0]
        state.restore(base[1])
    for entry in journal.records(account, after_seq):
        if newest is not None and not compared and entry.seq > newest[0]:
            compared = _compare(state, newest, account)
        state.take(entry)
        count += 1
    if newest is not None and not compared:
        compared = _compare(state, newest, account)
    return Replay(count, state_digest(state), compared)


def _compare(state: EngineState, stored: tuple[int, dict[str, Any]], account: str) -> bool:
    """Hold a replayed state against a stored one.

    Raises:
        JournalError: They differ.
    """
    seq, body = stored
    here, there = state_digest(state), digest_of(checkpoint_of(account, body))
    if here != there:
        raise JournalDamaged(
            f"the records of {account} up to number {seq} lead to state {here[:12]}, the engine stored {there[:12]}; "
            "keep the file, and begin a new one with: ctos-tui recover"
        )
    return True

"""Care for the state database while nothing runs on it: does it lead to the state it should, and how to begin anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from engine.boot.choosing import choose, find_entry
from engine.boot.options import SystemOptions
from engine.io.config import Paths
from engine.io.database import JournalDamaged
from engine.io.files import make_private_dir
from engine.io.journal import Journal
from engine.io.lock import StateLock
from engine.io.logs import iso_time
from engine.io.recovery import Recovery, begin_anew
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock, VirtualClock
from engine.kernel.errors import CtosError, StorageError
from engine.runtime.accounts import Mode
from engine.runtime.halt_mark import leave_mark
from engine.runtime.state_digest import Replay, replay

_WHO = "recover"
_WHY = "the journal was begun anew: compare positions and open orders with the venue's, then rearm"


class Recovered(msgspec.Struct, frozen=True):
    """What `recover` did.

    Attributes:
        trouble: Why the old file could not be used; empty when it was whole.
        recovery: Where it is now and what was carried over.
        has_paper: Whether the paper accounts went with it.
        halted: Whether the next start comes up halted, because an account trades real money.
    """

    trouble: str
    recovery: Recovery
    has_paper: bool
    halted: bool


def verify_journal(paths: Paths) -> dict[str, Replay]:
    """Replay the journal of every account and compare with the states that the running engine stored.

    Returns:
        What the replay led to, by account; nothing when there is no journal yet.

    Raises:
        JournalError: A page is damaged, a record cannot be read, or the records lead to another state.
        StateLocked: Another process works on it.
    """
    if not paths.database.exists():
        return {}
    with StateLock(paths.state):
        return _verify(paths)


def journal_note(paths: Paths, name: str) -> bytes | None:
    """Return a note of the journal; None when there is none.

    Raises:
        JournalError: The journal cannot be read.
        StateLocked: Another process works on it.
    """
    if not paths.database.exists():
        return None
    with StateLock(paths.state):
        writer = WriterThread(None, _raise)
        journal = Journal(paths.database, writer, on_error=_raise, ballast_bytes=0)
        try:
            return dict(journal.items("notes")).get(name)
        finally:
            journal.close()
            writer.close()


async def recover(options: SystemOptions, force: bool) -> Recovered:
    """Put a damaged journal aside and begin a new one.

    Args:
        options: Choose the configuration.
        force: Whether to begin anew although the file is whole.

    Raises:
        StorageError: The file is whole and `force` is not given, or it cannot be moved.
        CtosError: A configuration file is wrong, or another process works on the state.
    """
    now_ns = LoopClock(asyncio.get_running_loop()).now_ns()
    paths, _, entries, _ = find_entry(options)
    make_private_dir(paths.state)
    with StateLock(paths.state):
        trouble = _trouble(paths)
        if not trouble and not force:
            raise StorageError(
                f"{paths.database} is whole and leads to the state that was stored: nothing was changed; "
                "to begin anew all the same add --force"
            )
        live = [entry for entry in entries if entry.mode == Mode.LIVE]
        for entry in live:  # first of all: from here on none may come up without it
            account = choose(replace(options, exchange=entry.venue, account=entry.name)).account
            leave_mark(paths.state, _WHO, _WHY, account.key)
        recovery = begin_anew(paths.database, iso_time(now_ns).partition(".")[0].replace(":", "-"))
    return Recovered(trouble, recovery, "paper_state" not in recovery.unreadable, bool(live))


def _trouble(paths: Paths) -> str:
    """Return what is wrong with the journal, nothing when it is whole.

    Raises:
        StorageError: It is of a newer version or locked: beginning anew is no remedy.
    """
    if not paths.database.exists():
        raise StorageError(f"there is no journal at {paths.database}: nothing to recover")
    try:
        _verify(paths)
    except JournalDamaged as error:
        return error.message
    return ""


def _verify(paths: Paths) -> dict[str, Replay]:
    writer = WriterThread(None, _raise)
    journal = Journal(paths.database, writer, on_error=_raise, ballast_bytes=0)
    try:
        return {account: replay(journal, account, VirtualClock()) for account in journal.accounts()}
    finally:
        journal.close()
        writer.close()


def _raise(error: CtosError) -> None:
    raise error

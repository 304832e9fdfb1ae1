"""Makes a paper account begin anew."""

from __future__ import annotations

from dataclasses import replace

from engine.boot.choosing import find_entry
from engine.boot.markets import market_label, market_spec
from engine.boot.options import SystemOptions
from engine.io.files import make_private_dir
from engine.io.journal import Journal
from engine.io.lock import StateLock
from engine.io.writer import WriterThread
from engine.kernel.errors import ConfigError, CtosError
from engine.runtime.accounts import Account, Mode, account_of


def reset_account(options: SystemOptions) -> Account:
    """Make a paper account on one market begin anew and return it; works on a saved account that is damaged, too.

    Raises:
        CtosError: A file, flag or account is wrong, or another process holds the state.
    """
    paths, config, _, entry = find_entry(options)
    if Mode(options.mode or entry.mode) is Mode.LIVE:
        raise ConfigError(f"account {entry.name!r} is live: only paper accounts begin anew; add --mode paper")
    label = market_label(market_spec(options, config, entry.venue), config, entry.venue)
    account = replace(account_of(entry), mode=Mode.PAPER, market=label)
    make_private_dir(paths.state)
    with StateLock(paths.state):
        writer = WriterThread(None, _raise)
        journal = Journal(paths.database, writer, on_error=_raise)
        journal.forget(account.key)
        journal.close()
        writer.close()
    return account


def _raise(error: CtosError) -> None:
    raise error

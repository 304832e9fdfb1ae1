"""Which accounts an engine that is gone may have left orders of: those that the journal of a state folder knows."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from engine.boot.choosing import choose
from engine.boot.markets import is_paper_market
from engine.boot.options import SystemOptions
from engine.io.config import UnknownAccount, load_accounts, load_config
from engine.io.journal import recorded_accounts
from engine.io.paths import find_paths
from engine.kernel.errors import ConfigError, UnknownVenue
from engine.runtime.accounts import Mode


@dataclass(slots=True, frozen=True)
class LeftBehind:
    """The accounts that have traded from a state folder.

    Attributes:
        accounts: What chooses each: the one that traded last first, then every other that is live.
        nameless: Keys of live accounts that the files do not describe any more.
    """

    accounts: tuple[SystemOptions, ...]
    nameless: tuple[str, ...]


def left_behind(options: SystemOptions) -> LeftBehind:
    """Return the accounts that an engine may have left orders of.

    Others on paper than the last are left out: a folder may have seen many markets, and no money hangs on them.

    Args:
        options: Where the files are; account and venue are not looked at.

    Raises:
        CtosError: The files or the journal cannot be read.
    """
    paths = find_paths(options.config, os.environ)
    load_accounts(paths, load_config(paths))  # what is wrong with them is told before anything is looked for
    accounts: list[SystemOptions] = []
    nameless: list[str] = []
    for key in recorded_accounts(paths.database):
        meant = _meant(key, options)
        if meant is None:
            nameless += [] if is_paper_market(key.partition("@")[2]) else [key]
        elif not accounts or choose(meant).account.mode is Mode.LIVE:
            accounts.append(meant)
    return LeftBehind(tuple(accounts), tuple(nameless))


def _meant(key: str, options: SystemOptions) -> SystemOptions | None:
    """Return what chooses the account that is kept under a key; None when the files describe no such account."""
    account, _, market = key.partition("@")
    venue, _, name = account.partition(":")
    plain = replace(options, exchange=venue, account=name)
    for meant in (
        plain,
        replace(plain, market=market),
        replace(plain, mode=Mode.PAPER.value),
        replace(plain, mode=Mode.PAPER.value, market=market),
    ):
        try:
            if choose(meant).account.key == key:
                return meant
        except (ConfigError, UnknownAccount, UnknownVenue):
            continue  # these words mean nothing here; others may
    return None

"""Whether the process that runs on a state folder runs the account that a command means."""

from __future__ import annotations

import os

from engine.boot.choosing import find_entry
from engine.boot.markets import market_label, market_spec
from engine.boot.options import SystemOptions
from engine.io.config import load_accounts, load_config
from engine.io.control_wire import Hello
from engine.io.paths import find_paths
from engine.kernel.errors import ConfigError, CtosError


def require_account(hello: Hello, options: SystemOptions) -> None:
    """Let pass only what means the account, mode and market that runs.

    Raises:
        ConfigError: Another account runs, or another mode or market of it.
    """
    _, config, _, entry = find_entry(options)
    running, _, market = hello.account.partition("@")
    meant = f"{entry.venue}:{entry.name}"
    if running != meant:
        venue, _, name = running.partition(":")
        raise ConfigError(
            f"account {meant} does not run: {hello.text} holds the state; say --exchange {venue} --account {name} for "
            "that one, or choose another folder with --config"
        )
    if options.mode not in (None, hello.mode):
        raise ConfigError(f"--mode {options.mode}: {hello.text} is on {hello.mode}")
    if options.market is not None:
        asked = market_label(market_spec(options, config, entry.venue), config, entry.venue)
        if asked != market:
            raise ConfigError(f"--market {options.market}: {hello.text} is on another market")


def require_account_to_halt(hello: Hello, options: SystemOptions) -> CtosError | None:
    """Let pass what may mean the account that runs; return why the files do not tell which account is meant.

    Files that cannot be read keep nobody from halting: then a number as account means the one that runs.

    Raises:
        ConfigError: Another account is meant.
    """
    paths = find_paths(options.config, os.environ)
    try:
        load_accounts(paths, load_config(paths))
    except CtosError as unreadable:
        venue, _, name = hello.account.partition("@")[0].partition(":")
        if options.exchange in (None, venue) and (options.account.isdecimal() or options.account == name):
            return unreadable
        raise
    require_account(hello, options)
    return None

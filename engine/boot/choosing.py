"""Which account runs, in which mode and on which market: what the command line and the files mean together."""

from __future__ import annotations

import os
from dataclasses import replace

from engine.boot.markets import LIVE, MarketSource, market_spec, open_market, refuse_speed
from engine.boot.options import SystemOptions
from engine.boot.trading import Choice
from engine.boot.venues import PAPER, unknown_venue, venue_config, venue_names
from engine.io.config import (
    AccountEntry,
    Config,
    Paths,
    built_in_account,
    find_account,
    find_paths,
    load_accounts,
    load_config,
)
from engine.kernel.errors import ConfigError
from engine.runtime.accounts import Mode, account_of


def choose(options: SystemOptions) -> Choice:
    """Return what options and files mean.

    Raises:
        CtosError: A file, flag, venue or account is wrong.
    """
    paths, config, entries, entry = find_entry(options)
    if options.mode == Mode.LIVE and entry.mode != Mode.LIVE:
        raise ConfigError(
            f"--mode live: account {entry.name!r} is on paper, and --mode can only lower live to paper; "
            "write mode: live and its keys into accounts.yaml, or choose a live account with --account"
        )
    mode = Mode(options.mode or entry.mode)
    environment = venue_config(config, entry.venue).environment if entry.venue != PAPER else LIVE
    if mode is Mode.LIVE:
        if options.market is not None:
            raise ConfigError(f"--market is for paper, and account {entry.name!r} is live; add --mode paper")
        refuse_speed(options)
        source = MarketSource(None, environment, venue=entry.venue)
        kept_apart = "" if environment == LIVE else environment
    else:
        source = open_market(market_spec(options, config, entry.venue), options, config, entry.venue)
        kept_apart = source.label
    account = replace(account_of(entry), mode=mode, market=kept_apart, environment=environment)
    names = tuple(other.name for other in entries if other.venue == entry.venue)
    return Choice(account, entry, names, config, paths, source, options)


def find_entry(options: SystemOptions) -> tuple[Paths, Config, list[AccountEntry], AccountEntry]:
    """Return folders, settings, all accounts, and the one that is meant; a venue without any has one on paper.

    Raises:
        CtosError: A file, flag, venue or account is wrong.
    """
    paths = find_paths(options.config, os.environ)
    config = load_config(paths)
    entries = load_accounts(paths, config)
    venue = options.exchange or config.exchange
    if venue not in (PAPER, *venue_names()):
        raise unknown_venue(venue, (PAPER, *venue_names()))
    if not any(entry.venue == venue for entry in entries):
        entries.append(built_in_account(venue, config))
    return paths, config, entries, find_account(entries, options.account, venue)

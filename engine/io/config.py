"""Reading `ctos.yaml` and `accounts.yaml`.

Without files there is one account: `paper`, position 0 of the venue `paper`, with the default limits.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from engine.io.model_errors import FileModel, build, nearest, problem
from engine.io.notify_urls import needs_private_file
from engine.io.paths import Paths, find_paths
from engine.io.secrets import Secret, process_environment, resolve
from engine.io.settings import Config, MonitorConfig, RiskConfig
from engine.io.yaml_file import YamlDocument, read_private_yaml, read_yaml
from engine.kernel.errors import ConfigError, UnknownAccount

__all__ = [
    "AccountEntry",
    "Config",
    "Paths",
    "built_in_account",
    "find_account",
    "find_paths",
    "load_accounts",
    "load_config",
]

PAPER = "paper"
SECRETS = ("key", "secret", "passphrase")
USUAL_QUOTES = {"backpack": "USDC", "gmocoin": "JPY"}
"""Quote currency of most instruments of a venue, where it is not USDT."""

_VENUE = re.compile(r"^[a-z][a-z0-9]{1,15}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")
_SECRET: dict[str, Any] = {"secret": True}


class _AccountModel(FileModel):
    """One account as it stands in the file."""

    mode: Literal["paper", "live"] = Field("paper", description="paper or live")
    key: str | None = Field(None, min_length=1, json_schema_extra=_SECRET)
    secret: str | None = Field(None, min_length=1, json_schema_extra=_SECRET)
    passphrase: str | None = Field(None, min_length=1, json_schema_extra=_SECRET)
    default_quote: str | None = Field(None, pattern=r"^[A-Z0-9]{2,10}$", description="currency meant by a bare coin")
    default_kind: Literal["spot", "perp"] = Field("perp", description="spot or perp, meant by a bare coin")
    limits: dict[str, Any] = Field(default_factory=dict, description="risk limits that differ from ctos.yaml")
    monitor: dict[str, Any] = Field(default_factory=dict, description="monitor settings that differ from ctos.yaml")
    leverage: Decimal | None = Field(None, ge=1, le=125, description="leverage that every traded perpetual must have")
    withdraw_ok_until: date | None = Field(
        None, description="a date such as 2026-12-31: until then a key that may withdraw is accepted"
    )
    no_withdraw_confirmed: date | None = Field(
        None, description="the date on which you saw at the venue that the key may not withdraw, such as 2026-11-21"
    )


@dataclass(slots=True, frozen=True)
class AccountEntry:
    """One account of the file.

    Attributes:
        index: Position within its venue.
        name: Its name.
        venue: The driver that serves it.
        mode: `paper` or `live`.
        default_quote: Currency meant when a person types only a coin.
        default_kind: `spot` or `perp`, likewise.
        limits: Its risk limits, complete.
        monitor: Its monitor's settings, complete; None where the file's general ones hold.
        written: Configured secrets, as they are written.
        where: File and place, for messages.
        leverage: Leverage that traded perpetuals must have; None accepts what the venue has.
        withdraw_ok_until: Until then a key that may withdraw is accepted.
        no_withdraw_confirmed: When a person saw that the key may not withdraw; asked for where the venue does not say.
    """

    index: int
    name: str
    venue: str
    mode: str
    default_quote: str
    default_kind: str
    limits: RiskConfig
    written: Mapping[str, Secret] = field(default_factory=dict)
    where: str = "built in"
    leverage: Decimal | None = None
    withdraw_ok_until: date | None = None
    no_withdraw_confirmed: date | None = None
    monitor: MonitorConfig | None = None

    def secrets(self, environment: Mapping[str, str], password: Secret | None = None) -> dict[str, Secret]:
        """Return the account's secrets by name: key, secret, passphrase, as far as they are configured.

        Raises:
            ConfigError: A variable or key ring entry is missing, or an encrypted value cannot be opened.
        """
        return {
            name: resolve(value.reveal(), f"{self.where}.{name}", environment, password)
            for name, value in self.written.items()
        }


def load_config(paths: Paths) -> Config:
    """Return the settings of `ctos.yaml`, the defaults when there is no such file.

    Variables that hold addresses of notifications are taken out of the environment.

    Raises:
        ConfigError: Something in it is wrong; the message names file, line, field, value and remedy. Or an address with
            its token stands in it and others can read or change it.
    """
    if not os.path.lexists(paths.config_file):
        return Config()
    document = read_yaml(paths.config_file)
    config = build(Config, document, document.data)
    if needs_private_file(config.notifications):
        read_private_yaml(paths.config_file)
        _check_folder(paths.config, f"{paths.config_file.name} holds addresses with tokens")
    process_environment.take(target.url.reveal() for target in config.notifications)
    return config


def load_accounts(paths: Paths, config: Config) -> list[AccountEntry]:
    """Return the accounts of `accounts.yaml`, in the file's order, and the built-in paper account if it has none.

    The variables that hold their keys are taken out of the environment, whichever account is going to be used.

    Raises:
        ConfigError: Something in it is wrong, or others could read or change it.
    """
    accounts: list[AccountEntry] = []
    if os.path.lexists(paths.accounts_file):
        document = read_private_yaml(paths.accounts_file)
        for venue, names in _venues(document).items():
            for index, (name, fields) in enumerate(names.items()):
                accounts.append(_entry(document, config, venue, index, name, fields))
        if any(account.written for account in accounts):
            _check_folder(paths.config, f"its {paths.accounts_file.name} holds keys")
    process_environment.take(value.reveal() for account in accounts for value in account.written.values())
    if not any(account.venue == PAPER for account in accounts):
        accounts.append(built_in_account(PAPER, config))
    return accounts


def find_account(accounts: Sequence[AccountEntry], wanted: str, venue: str) -> AccountEntry:
    """Return the account of a venue by its position or its name.

    Raises:
        UnknownAccount: There is none; the message lists what there is.
    """
    candidates = [account for account in accounts if account.venue == venue]
    for account in candidates:
        if account.name == wanted:
            return account
    if wanted.isascii() and wanted.isdigit():
        for account in candidates:
            if account.index == int(wanted):
                return account
    listed = ", ".join(f"{account.venue} {account.index} ({account.name})" for account in accounts)
    hint = nearest(wanted, [account.name for account in candidates])
    raise UnknownAccount(f"{venue} has no account {wanted!r}{hint}; there are: {listed}")


def _venues(document: YamlDocument) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the fields of all accounts by venue and name."""
    accounts: dict[str, dict[str, dict[str, Any]]] = {}
    for venue, names in document.data.items():
        if not _VENUE.fullmatch(venue):
            raise problem(document, (venue,), "not the name of a venue; write okx, binance, paper ...")
        if not isinstance(names, dict | None):
            raise problem(document, (venue,), "must be a block of accounts, each a name with its fields below")
        accounts[venue] = {}
        for index, (name, fields) in enumerate((names or {}).items()):
            if name.isdigit() and name != str(index):
                raise problem(
                    document,
                    (venue, name),
                    f"this account is number {index} here; a name that is another number misleads",
                )
            if not _NAME.fullmatch(name):
                raise problem(
                    document, (venue, name), "not a name: 1-32 letters, digits, - and _, a letter or digit first"
                )
            if not isinstance(fields, dict | None):
                raise problem(document, (venue, name), "must be a block of 'name: value' lines")
            accounts[venue][name] = fields or {}
    return accounts


def _entry(
    document: YamlDocument, config: Config, venue: str, index: int, name: str, fields: dict[str, Any]
) -> AccountEntry:
    place = (venue, name)
    model = build(_AccountModel, document, fields, place)
    limits = config.risk
    if model.limits:
        inherited = {key: str(getattr(config.risk, key)) for key in config.risk.model_fields_set}
        limits = build(RiskConfig, document, inherited | model.limits, (*place, "limits"))
    monitor = None
    if model.monitor:
        inherited = config.monitor.model_dump(mode="json", exclude_unset=True)
        monitor = build(MonitorConfig, document, inherited | model.monitor, (*place, "monitor"))
    if venue == PAPER and model.mode == "live":
        raise problem(document, (*place, "mode"), "the venue paper has no live accounts; write mode: paper")
    written = {key: Secret(value) for key in SECRETS if (value := getattr(model, key)) is not None}
    mode = "paper" if config.mode == "paper" else model.mode
    where = f"{document.path}: {venue}.{name}"
    return AccountEntry(
        index=index,
        name=name,
        venue=venue,
        mode=mode,
        default_quote=model.default_quote or usual_quote(venue),
        default_kind=model.default_kind,
        limits=limits,
        written=written,
        where=where,
        leverage=model.leverage,
        withdraw_ok_until=model.withdraw_ok_until,
        no_withdraw_confirmed=model.no_withdraw_confirmed,
        monitor=monitor,
    )


def usual_quote(venue: str) -> str:
    """Return the currency meant by a bare coin on a venue unless an account says another."""
    return USUAL_QUOTES.get(venue, "USDT")


def built_in_account(venue: str, config: Config) -> AccountEntry:
    """Return the paper account that a venue has without any file."""
    return AccountEntry(0, PAPER, venue, "paper", usual_quote(venue), "perp", config.risk)


def _check_folder(folder: Path, what: str) -> None:
    """Refuse a folder in which others could replace a file that holds keys."""
    if stat.S_IMODE(folder.stat().st_mode) & 0o022:
        raise ConfigError(f"{folder} may be changed by others, and {what}; run: chmod 700 {folder}")

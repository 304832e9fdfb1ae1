"""The one narrow door between the console and the system that trades: plain reads, plain commands.

The console never reaches round it, so every screen can be drawn and pressed against a scripted system.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ctos_tui.command.commands import Command
from engine.kernel.account import Balance
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, FundingRate, Quote, Ticker
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Order
from engine.kernel.strategy import Params, StopPolicy, Strategy
from engine.runtime.accounts import Account
from engine.runtime.fills import BookedFill
from engine.runtime.net_exposure import CoinExposure
from engine.runtime.portfolio import PositionRow
from engine.runtime.risk.view import LimitUse
from engine.runtime.trading_state import TradingStatus


class Settings(msgspec.Struct, frozen=True):
    """What the configuration says about the console.

    Attributes:
        theme: Name of the theme; None for the default.
        keys: The operator's own keys by action id.
        watch: Markets of the watch list; empty for the venue's largest.
        sizes: Size presets of the ladder.
        fps: Most frames a second.
        layout: Name of the layout to use where it fits; None for the one that suits the size.
        bell: From which severity an anomaly rings the terminal's bell: off, crit or warn.
        themes_dir: Folder of the operator's own themes.
        history: File of the prompt's history; None keeps it in memory only.
        accounts: Names of all accounts, in their order.
    """

    theme: str | None = None
    keys: Mapping[str, object] = msgspec.field(default_factory=dict)
    watch: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ("100$", "250$", "500$", "1000$", "2500$")
    fps: int = 10
    layout: str | None = None
    bell: str = "crit"
    themes_dir: Path | None = None
    history: Path | None = None
    accounts: tuple[str, ...] = ()


class Figures(msgspec.Struct, frozen=True):
    """What the account is worth, USD; None is unknown."""

    equity: Decimal | None = None
    day_profit: Decimal | None = None
    leverage: Decimal | None = None
    gross: Decimal = Decimal(0)
    net: Decimal = Decimal(0)
    unrealised: Decimal | None = None
    free: Decimal | None = None


class InstanceRow(msgspec.Struct, frozen=True):
    """One strategy instance as lists show it; `why` says why it is not trading, empty when it is."""

    name: str
    strategy: str
    symbols: tuple[str, ...]
    state: str
    reason: str
    why: str
    profit: Decimal
    notional: Decimal
    open_orders: int
    last_word: str
    last_event_ms: int


class Change(msgspec.Struct, frozen=True):
    """One parameter of an amendment, as text."""

    name: str
    old: str
    new: str


class AnomalyRow(msgspec.Struct, frozen=True):
    """One anomaly; equal ones are one row with a count.

    Attributes:
        ts_ms: When it was last found.
        peak: Its worst value.
        clear: Value beyond which it clears.
        effects: What it caused and was not raised by itself, in words.
        done: What was done about it.
        proposal: What auto-correction would send, or why it sends nothing.
        decision: What a person can decide about it; empty when nothing.
        acked_by: Who has seen it.
        muted_until_ms: Until then nobody is told of it again; 0 when it is not muted.
    """

    id: str
    ts_ms: int
    severity: str
    kind: str
    symbol: str
    instance: str
    value: str
    threshold: str
    text: str
    count: int = 1
    done: str = ""
    acknowledged: bool = False
    muted: bool = False
    active: bool = True
    title: str = ""
    peak: str = ""
    clear: str = ""
    effects: tuple[str, ...] = ()
    proposal: str = ""
    proposal_reason: str = ""
    decision: str = ""
    raised_ms: int = 0
    cleared_ms: int | None = None
    acked_by: str = ""
    muted_until_ms: int = 0


class Health(msgspec.Struct, frozen=True):
    """How one part of the system does: `level` is good, warn or danger."""

    name: str
    level: str
    text: str


class HaltProgress(msgspec.Struct, frozen=True):
    """How far the halt that is in force has come; as below while there is none, or while it goes as it should.

    Attributes:
        is_trouble: Whether orders may rest although there was time enough, or the venue could not be asked.
        unconfirmed: Labels of the orders that are then not confirmed cancelled.
    """

    is_trouble: bool = False
    unconfirmed: frozenset[int] = frozenset()


class Port(Protocol):
    """What the console may read and do. Commands raise `CtosError` when they are refused."""

    account: Account
    market_label: str
    bus: EventBus
    settings: Settings

    @property
    def ready(self) -> bool:
        """Return whether the system has started and orders can be given."""

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return every instrument by canonical name; empty until the system has started."""

    def now_ns(self) -> int:
        """Return the engine's time."""

    def watch(self, symbol: str, *, depth: bool = True) -> None:
        """Stream an instrument, with its book and trades unless `depth` is False; harmless when it streams."""

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""

    def book(self, symbol: str) -> OrderBook:
        """Return the live book."""

    def mark(self, symbol: str) -> float | None:
        """Return the mark price."""

    def last(self, symbol: str) -> float | None:
        """Return the price of the last trade."""

    def ticker(self, symbol: str) -> Ticker | None:
        """Return the 24 h statistics."""

    def funding(self, symbol: str) -> FundingRate | None:
        """Return the predicted funding rate."""

    def is_listed(self, symbol: str) -> bool:
        """Return whether the venue still lists an instrument."""

    def age_ms(self, symbol: str) -> int | None:
        """Return the age of an instrument's data; None before the first message."""

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage at which an instrument's orders take margin; None while the venue has not said."""

    def is_stale(self, symbol: str) -> bool:
        """Return whether an instrument's data cannot be trusted now."""

    def watch_bars(self, symbol: str, timeframe: str) -> None:
        """Begin to keep candles; harmless when they are kept."""

    def bars(self, symbol: str, timeframe: str) -> list[Bar]:
        """Return candles, oldest first, the last one unclosed."""

    def working_orders(self) -> list[Order]:
        """Return the orders that may still trade, oldest first."""

    def recent_orders(self) -> list[Order]:
        """Return working and recently final orders, oldest first."""

    def fills(self) -> list[BookedFill]:
        """Return the booked executions that are kept, oldest first."""

    def positions(self) -> list[PositionRow]:
        """Return what is held."""

    def figures(self) -> Figures:
        """Return what the account is worth."""

    def balances(self) -> list[Balance]:
        """Return the wallets."""

    def exposures(self) -> list[CoinExposure]:
        """Return what is held of each coin, long against short, largest net first."""

    def limits(self) -> list[LimitUse]:
        """Return how much of each limit is used."""

    def trading(self) -> TradingStatus:
        """Return whether the account may trade."""

    def halt_progress(self) -> HaltProgress:
        """Return how far the halt has come at the venue."""

    def health(self) -> Sequence[Health]:
        """Return how the parts of the system do."""

    def send(self, command: Command) -> str:
        """Carry out one command; returns the client id or handle of what it started."""

    def arm(self, seconds: int | None) -> None:
        """Let orders pass: strategies' until disarmed; those by hand, where they need a grant, for `seconds`."""

    def open_hand(self, seconds: int) -> None:
        """Let orders by hand pass for a time from now on."""

    def lock_hand(self) -> None:
        """Let no order by hand increase exposure; strategies go on."""

    def hand_left_s(self) -> int:
        """Return for how many seconds orders by hand still pass."""

    def disarm(self, reason: str) -> None:
        """Let no new order pass."""

    def panic(self) -> str:
        """Close the gate, halt strategies, cancel what rests; returns what was done, for people."""

    def rearm(self, reason: str) -> None:
        """Release a halt."""

    def strategies(self) -> Mapping[str, type[Strategy[Any]]]:
        """Return the strategies that can be launched, by name."""

    def instances(self) -> list[InstanceRow]:
        """Return the strategy instances, oldest first."""

    def params(self, instance: str) -> Params:
        """Return the parameters of an instance."""

    def launch(self, strategy: str, params: Mapping[str, str], symbols: str | None, name: str | None) -> str:
        """Launch a strategy; returns the instance's name."""

    def pause(self, instance: str) -> None:
        """Let an instance make no new exposure."""

    def resume(self, instance: str) -> None:
        """Let an instance go on."""

    def preview_amend(self, instance: str, changes: Mapping[str, str]) -> list[Change]:
        """Return what an amendment would change, without doing it."""

    def amend(self, instance: str, changes: Mapping[str, str]) -> list[Change]:
        """Put changed parameters in force."""

    def stop(self, instance: str, policy: StopPolicy | None) -> None:
        """Stop an instance."""

    def act(self, instance: str, action: str) -> str:
        """Carry out an action that only this strategy has; returns what was done."""

    def anomalies(self) -> Sequence[AnomalyRow]:
        """Return the anomalies, newest first."""

    def acknowledge(self, anomaly: str) -> None:
        """Mark an anomaly as seen."""

    def mute(self, anomaly: str, seconds: float) -> None:
        """Tell nobody of an anomaly's kind and subject for a while; 0 ends that."""

    def decide(self, anomaly: str, reason: str) -> None:
        """Carry out an anomaly's `decision`."""

    def save_history(self, text: str) -> None:
        """Write the prompt's history file."""

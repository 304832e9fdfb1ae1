"""The console's port to a system in the same process, on the same loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ctos_tui.command.commands import (
    AmendCommand,
    CancelCommand,
    Command,
    FlattenAllCommand,
    PlaceCommand,
    TargetCommand,
)
from ctos_tui.command.schema import value_text
from ctos_tui.port import AnomalyRow, Change, Figures, HaltProgress, Health, InstanceRow, Settings
from engine.boot.system import System
from engine.io.files import write_atomic
from engine.kernel.account import Balance
from engine.kernel.clock import NS_PER_S
from engine.kernel.instruments import Instrument
from engine.kernel.market import Bar, FundingRate, Quote, Ticker
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Order
from engine.kernel.strategy import Params, StopPolicy, Strategy
from engine.runtime.accounts import MANUAL
from engine.runtime.anomalies import Anomaly
from engine.runtime.correction import PROPOSAL
from engine.runtime.events import HandActed
from engine.runtime.fills import BookedFill
from engine.runtime.net_exposure import CoinExposure, net_exposure
from engine.runtime.portfolio import PositionRow
from engine.runtime.proc import Probe
from engine.runtime.readings import figure
from engine.runtime.risk.view import LimitUse
from engine.runtime.strategies import InstanceView
from engine.runtime.trading_state import TradingStatus

WHO: Final = "operator"
HISTORY: Final = "console_history"


class LocalPort:
    """Implements `ctos_tui.port.Port` over a `System`.

    Args:
        system: The system, started or not.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._engine = system.engine
        self._market = system.engine.market
        self._probe = Probe(system.engine)
        self.account = system.account
        self.market_label = system.market_label
        self.bus = system.bus
        console = system.config.console
        self.settings = Settings(
            theme=console.theme,
            keys=console.keys,
            watch=tuple(console.watchlist),
            sizes=tuple(str(size) for size in console.sizes),
            fps=console.fps,
            layout=console.layout,
            bell=console.bell,
            themes_dir=system.paths.themes,
            history=system.paths.state / HISTORY,
            accounts=system.accounts,
        )

    @property
    def ready(self) -> bool:
        """Return whether the system has started and orders can be given."""
        return self._system.ready

    @property
    def instruments(self) -> Mapping[str, Instrument]:
        """Return every instrument by canonical name; empty until the system has started."""
        return self._engine.instruments

    def now_ns(self) -> int:
        """Return the engine's time."""
        return self._system.clock.now_ns()

    def watch(self, symbol: str, *, depth: bool = True) -> None:
        """Stream an instrument, with its book and trades unless `depth` is False; harmless when it streams."""
        self._market.watch(symbol, depth)

    def quote(self, symbol: str) -> Quote | None:
        """Return the best bid and ask."""
        return self._market.quote(symbol)

    def book(self, symbol: str) -> OrderBook:
        """Return the live book."""
        return self._market.book(symbol)

    def mark(self, symbol: str) -> float | None:
        """Return the mark price."""
        return self._market.mark(symbol)

    def last(self, symbol: str) -> float | None:
        """Return the price of the last trade."""
        return self._market.last(symbol)

    def ticker(self, symbol: str) -> Ticker | None:
        """Return the 24 h statistics."""
        return self._market.ticker(symbol)

    def funding(self, symbol: str) -> FundingRate | None:
        """Return the predicted funding rate."""
        return self._market.funding(symbol)

    def is_listed(self, symbol: str) -> bool:
        """Return whether the venue still lists an instrument."""
        return self._market.is_listed(symbol)

    def age_ms(self, symbol: str) -> int | None:
        """Return the age of an instrument's data; None before the first message."""
        return self._market.age_ms(symbol)

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage at which an instrument's orders take margin; None while the venue has not said."""
        return self._system.driver.leverage(symbol)

    def is_stale(self, symbol: str) -> bool:
        """Return whether an instrument's data cannot be trusted now."""
        return self._market.is_stale(symbol)

    def watch_bars(self, symbol: str, timeframe: str) -> None:
        """Begin to keep candles; harmless when they are kept."""
        if self.ready:
            self._system.bars.watch(symbol, timeframe)

    def bars(self, symbol: str, timeframe: str) -> list[Bar]:
        """Return candles, oldest first, the last one unclosed."""
        closed = self._system.bars.bars(symbol, timeframe)
        forming = self._system.bars.forming(symbol, timeframe)
        return closed if forming is None else [*closed, forming]

    def working_orders(self) -> list[Order]:
        """Return the orders that may still trade, oldest first."""
        return self._engine.tracker.working()

    def recent_orders(self) -> list[Order]:
        """Return working and recently final orders, oldest first."""
        return self._engine.tracker.recent()

    def fills(self) -> list[BookedFill]:
        """Return the booked executions that are kept, oldest first."""
        return self._engine.portfolio.fills.recent()

    def positions(self) -> list[PositionRow]:
        """Return what is held."""
        return self._engine.portfolio.positions()

    def figures(self) -> Figures:
        """Return what the account is worth."""
        book = self._engine.portfolio
        balance = book.balance(self.account.default_quote)
        return Figures(
            equity=book.equity(),
            day_profit=book.day_profit(),
            leverage=book.leverage(),
            gross=book.gross_notional(),
            net=book.net_notional(),
            unrealised=book.unrealised(),
            free=balance.free if book.balances() else None,
        )

    def balances(self) -> list[Balance]:
        """Return the wallets."""
        return self._engine.portfolio.balances()

    def exposures(self) -> list[CoinExposure]:
        """Return what is held of each coin, long against short, largest net first."""
        return net_exposure([(self.account.venue, self._engine.portfolio)])

    def limits(self) -> list[LimitUse]:
        """Return how much of each limit is used."""
        return self._engine.risk.usage() if self.ready else []

    def trading(self) -> TradingStatus:
        """Return whether the account may trade."""
        return self._engine.trading.status

    def halt_progress(self) -> HaltProgress:
        """Return how far the halt has come at the venue."""
        report = self._engine.panic_switch.report
        if report is None or not report.is_trouble or not self._engine.risk.is_halted:
            return HaltProgress()
        return HaltProgress(True, frozenset(report.unconfirmed))

    def health(self) -> Sequence[Health]:
        """Return how market data, orders, journal, venue and strategies do, and what becomes of orders on a crash."""
        if not self.ready:
            return (Health("data", "warn", "starting"),)
        parts = [Health(part.name, part.level, part.text) for part in self._probe.view().parts]
        faulted = ", ".join(row.name for row in self.instances() if row.state == "faulted")
        strategies = Health("strategies", "danger", f"faulted: {faulted}") if faulted else None
        parts.append(strategies or Health("strategies", "good", "no fault"))
        after_crash, as_it_should = self._system.cover.describe()
        if after_crash:
            parts.append(Health("on a crash", "good" if as_it_should else "warn", after_crash))
        return parts

    def send(self, command: Command) -> str:
        """Carry out one command; returns the client id or handle of what it started."""
        engine = self._engine
        match command:
            case PlaceCommand():
                return self._place(command)
            case AmendCommand():
                self._acted_on(command.client_id)
                engine.amend(command.client_id, command.price, command.quantity)
                return command.client_id
            case CancelCommand():
                self._acted_on(command.client_id)
                engine.cancel(command.client_id)
                return command.client_id
            case TargetCommand():
                return engine.set_coin_position(MANUAL, command.symbol, command.amount, command.soft, basis="account")
            case FlattenAllCommand():
                engine.flatten_all(WHO)
                return ""

    def _place(self, command: PlaceCommand) -> str:
        if command.soft:
            return self._engine.soft(
                MANUAL, command.symbol, command.side, command.quantity, reduce_only=command.reduce_only
            )
        return self._engine.submit(
            MANUAL,
            command.symbol,
            command.side,
            command.type,
            command.quantity,
            command.price,
            reduce_only=command.reduce_only,
        )

    def arm(self, seconds: int | None) -> None:
        """Let orders pass: strategies' until disarmed; those by hand, where they need a grant, for `seconds`."""
        self._engine.arm(WHO, seconds)

    def open_hand(self, seconds: int) -> None:
        """Let orders by hand pass for a time from now on."""
        self._engine.trading.open_hand(seconds)

    def lock_hand(self) -> None:
        """Let no order by hand increase exposure; strategies go on."""
        self._engine.trading.lock_hand()

    def hand_left_s(self) -> int:
        """Return for how many seconds orders by hand still pass."""
        return max(0, (self._engine.trading.hand_until_ns - self._engine.clock.now_ns()) // NS_PER_S)

    def disarm(self, reason: str) -> None:
        """Let no new order pass."""
        self._engine.disarm(WHO, reason)

    def panic(self) -> str:
        """Close the gate, halt strategies, cancel what rests; returns what was done, for people."""
        return self._engine.panic(WHO).text

    def rearm(self, reason: str) -> None:
        """Release a halt."""
        self._engine.rearm(WHO, reason)

    def strategies(self) -> Mapping[str, type[Strategy[Any]]]:
        """Return the strategies that can be launched, by name."""
        return self._system.manager.classes

    def instances(self) -> list[InstanceRow]:
        """Return the strategy instances, oldest first."""
        return [_instance_row(view) for view in self._system.manager.views()]

    def params(self, instance: str) -> Params:
        """Return the parameters of an instance."""
        return self._system.manager.get(instance).params

    def launch(self, strategy: str, params: Mapping[str, str], symbols: str | None, name: str | None) -> str:
        """Launch a strategy; returns the instance's name."""
        return self._system.manager.launch(strategy, params, symbols, name).name

    def pause(self, instance: str) -> None:
        """Let an instance make no new exposure."""
        self._acted(instance=instance)
        self._system.manager.pause(instance)

    def resume(self, instance: str) -> None:
        """Let an instance go on."""
        self._acted(instance=instance)
        self._system.manager.resume(instance)

    def preview_amend(self, instance: str, changes: Mapping[str, str]) -> list[Change]:
        """Return what an amendment would change, without doing it."""
        changed, _ = self._system.manager.preview_amend(instance, changes)
        return [Change(item.name, value_text(item.old), value_text(item.new)) for item in changed]

    def amend(self, instance: str, changes: Mapping[str, str]) -> list[Change]:
        """Put changed parameters in force."""
        changed = self._system.manager.amend(instance, changes)
        self._acted(instance=instance)
        return [Change(item.name, value_text(item.old), value_text(item.new)) for item in changed]

    def stop(self, instance: str, policy: StopPolicy | None) -> None:
        """Stop an instance."""
        self._acted(instance=instance)
        self._system.manager.stop(instance, policy)

    def act(self, instance: str, action: str) -> str:
        """Carry out an action that only this strategy has; returns what was done."""
        return self._system.manager.act(instance, action, {})

    def anomalies(self) -> Sequence[AnomalyRow]:
        """Return the anomalies, newest first."""
        now_ms = self._system.clock.now_ms()
        monitor = self._system.monitor
        rows = [_anomaly_row(anomaly, now_ms, monitor.decision(anomaly)) for anomaly in monitor.anomalies]
        rows.sort(key=lambda row: row.ts_ms, reverse=True)
        return rows

    def acknowledge(self, anomaly: str) -> None:
        """Mark an anomaly as seen."""
        self._system.monitor.acknowledge(anomaly, WHO)

    def mute(self, anomaly: str, seconds: float) -> None:
        """Tell nobody of an anomaly's kind and subject for a while; 0 ends that."""
        self._system.monitor.mute(anomaly, seconds)

    def decide(self, anomaly: str, reason: str) -> None:
        """Carry out an anomaly's `decision`."""
        self._system.monitor.decide(anomaly, WHO, reason)

    def _acted(self, symbol: str = "", instance: str = "") -> None:
        """Tell the engine that a person acted, so that auto-correction leaves it alone."""
        self.bus.publish(HandActed(symbol, instance))

    def _acted_on(self, client_id: str) -> None:
        order = self._engine.tracker.get(client_id)
        if order is not None:
            self._acted(order.symbol)

    def save_history(self, text: str) -> None:
        """Write the prompt's history file."""
        path, content = self.settings.history, text.encode()
        if path is not None:
            self._system.writer.submit(lambda: write_atomic(path, content))


def _instance_row(view: InstanceView) -> InstanceRow:
    return InstanceRow(
        name=view.name,
        strategy=view.strategy,
        symbols=view.symbols,
        state=view.state.value,
        reason=view.reason,
        why=view.why,
        profit=view.profit,
        notional=view.notional,
        open_orders=view.open_orders,
        last_word=view.last_word,
        last_event_ms=view.last_event_ms,
    )


def _anomaly_row(anomaly: Anomaly, now_ms: int, decision: str) -> AnomalyRow:
    return AnomalyRow(
        id=anomaly.id,
        ts_ms=anomaly.updated_ms,
        severity=anomaly.severity.value,
        kind=anomaly.kind,
        symbol=anomaly.symbol,
        instance=anomaly.instance,
        value=figure(anomaly.kind, anomaly.value),
        threshold=figure(anomaly.kind, anomaly.threshold),
        text=anomaly.text,
        count=anomaly.count,
        done=anomaly.action,
        acknowledged=bool(anomaly.acked_by),
        muted=anomaly.muted_until_ms > now_ms,
        active=anomaly.is_active,
        title=anomaly.title,
        peak=figure(anomaly.kind, anomaly.peak),
        clear=figure(anomaly.kind, anomaly.clear_threshold),
        effects=tuple(
            f"{one.kind} {one.symbol or one.instance}: {figure(one.kind, one.value)}" for one in anomaly.effects
        ),
        proposal=anomaly.data.get(PROPOSAL, ""),
        proposal_reason=anomaly.data.get("reason", ""),
        decision=decision,
        raised_ms=anomaly.raised_ms,
        cleared_ms=anomaly.cleared_ms,
        acked_by=anomaly.acked_by,
        muted_until_ms=anomaly.muted_until_ms if anomaly.muted_until_ms > now_ms else 0,
    )

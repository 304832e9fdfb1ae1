"""The strategy manager: launches, supervises, pauses, amends and stops strategy instances.

It routes market, order and timer events to the instances, keeps their memory in the journal's store after every
change, restarts a faulted instance and never lets one disturb another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import ConfigError, CtosError, UnknownStrategy
from engine.kernel.instruments import resolve_symbol
from engine.kernel.orders import OrderType
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Params, PauseMode, StopPolicy, Strategy
from engine.runtime.data import BarFeed
from engine.runtime.events import FillBooked, FundingShared, InstanceChanged, OrderChanged, WorkDone
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance
from engine.runtime.params import needs_restart, parse_params, set_dotted
from engine.runtime.routing import MarketRouter
from engine.runtime.watchdog import HandlerWatch

ZERO = Decimal(0)
STATE_TABLE = "strategy_state"
_FLATTEN_RETRY_S = 5.0
_WARMUP_LOOK_S = 1.0
AnomalyRaiser = Callable[[str, str, str, object, object, str, str], None]
"""Takes kind, symbol, instance, value, threshold, text, severity."""


@dataclass(slots=True, frozen=True)
class ParamChange:
    """One changed parameter of an amendment."""

    name: str
    old: object
    new: object


@dataclass(slots=True, frozen=True)
class InstanceView:
    """What lists show of an instance; `why` says why it is not trading, empty when it is."""

    name: str
    strategy: str
    symbols: tuple[str, ...]
    state: InstanceState
    reason: str
    why: str
    profit: Decimal
    notional: Decimal
    open_orders: int
    last_word: str
    last_event_ms: int


class StrategyManager:
    """All strategy instances of one execution engine.

    Args:
        engine: Where commands go and order events come from.
        bars: Closed candles.
        classes: Strategy classes by name.
        rng: Parent of the instances' random streams.
        focus: Symbols meant by `symbols=focus`.
        raise_anomaly: The monitor's entry for anomalies of strategies.
        watch: Times handlers.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        bars: BarFeed,
        classes: Mapping[str, type[Strategy[Any]]],
        rng: Rng,
        focus: Sequence[str],
        raise_anomaly: AnomalyRaiser,
        watch: HandlerWatch,
    ) -> None:
        self.engine = engine
        self.bars = bars
        self.classes = dict(classes)
        self.focus = tuple(focus)
        self.instances: dict[str, StrategyInstance] = {}
        self._clock: Clock = engine.clock
        self._rng = rng
        self._raise_anomaly = raise_anomaly
        self._watch = watch
        self._router = MarketRouter(engine, bars, self._save)
        self._saved: dict[str, bytes] = {}
        self._flatten_tries: dict[str, int] = {}
        bus = engine.bus
        bus.subscribe(OrderChanged, self._on_order)
        bus.subscribe(FillBooked, self._on_fill)
        bus.subscribe(WorkDone, self._on_done)
        bus.subscribe(FundingShared, self._on_funding)
        engine.on_halt.append(self.halt_all)
        engine.risk.on_instance_halt = self.halt

    def strategy_class(self, name: str) -> type[Strategy[Any]]:
        """Return a strategy class.

        Raises:
            UnknownStrategy: There is none of that name; the message lists those that exist.
        """
        try:
            return self.classes[name]
        except KeyError:
            raise UnknownStrategy(f"no strategy {name!r}; known: {', '.join(sorted(self.classes))}") from None

    def get(self, name: str) -> StrategyInstance:
        """Return an instance.

        Raises:
            UnknownStrategy: There is none of that name.
        """
        try:
            return self.instances[name]
        except KeyError:
            known = ", ".join(sorted(self.instances)) or "none is running"
            raise UnknownStrategy(f"no strategy instance {name!r}; {known}") from None

    def launch(
        self, strategy: str, params: Mapping[str, Any], symbols: str | None = None, name: str | None = None
    ) -> StrategyInstance:
        """Validate everything, then create and start an instance.

        Args:
            strategy: Name of the strategy class.
            params: Parameters; texts are converted. `risk.x` sets a limit of the risk block.
            symbols: Symbols joined by `+`, or `focus`, `positions`, `all`; overrides `params["symbols"]`.
            name: Name of the instance; one is made when None.

        Raises:
            CtosError: Unknown strategy or symbol, bad parameter, name in use, or limits that do not fit the account.
        """
        strategy_class = self.strategy_class(strategy)
        values = dict(params)
        if symbols is not None:
            values["symbols"] = symbols
        validated = parse_params(strategy_class, values)
        resolved = self._resolve_symbols(validated)
        strategy_class.check(validated, [self.engine.instrument(symbol) for symbol in resolved])
        name = name or self._free_name(strategy)
        if name in self.instances and self.instances[name].life.state is not InstanceState.STOPPED:
            raise ConfigError(f"an instance named {name!r} is {self.instances[name].life.state.value} already")
        if not name.replace("_", "").replace("-", "").isalnum() or len(name) > 20:
            raise ConfigError(f"bad instance name {name!r}: up to 20 letters, digits, - and _")
        self.engine.risk.admit(name, strategy_class.limits(validated, len(resolved)), validated.capital_usd)
        instance = self._create(name, strategy_class, validated, resolved)
        self.engine.oplog("StrategyStart", instance=name, strategy=strategy, symbols=list(resolved), params=values)
        self._warm_up(instance, "new")
        self._save(instance)
        return instance

    def restore(self) -> list[StrategyInstance]:
        """Bring back the instances of the last run, after the engine has reconciled; returns those restored."""
        restored = []
        for key, raw in sorted(self.engine.journal.items(STATE_TABLE)):
            account, _, name = key.rpartition("/")
            if account != self.engine.account.key:
                continue
            saved = json.loads(raw)
            state = InstanceState(saved["state"])
            if state in (InstanceState.STOPPED, InstanceState.STOPPING):
                continue
            try:
                strategy_class = self.strategy_class(saved["strategy"])
                params = parse_params(strategy_class, saved["params"])
                symbols = [s for s in saved["symbols"] if self.engine.instrument(s)]
                self.engine.risk.admit(name, strategy_class.limits(params, len(symbols)), params.capital_usd)
            except CtosError as error:
                self.engine.say(f"strategy {name} was not restored: {error}", "error")
                continue
            instance = self._create(name, strategy_class, params, symbols, saved["code"])
            instance.context.state.update(saved["memory"])
            instance.why = saved["why"]
            restored.append(instance)
            if state in (InstanceState.PAUSED, InstanceState.HALTED, InstanceState.FAULTED):
                instance.life.move(InstanceState.WARMUP)
                if state is InstanceState.PAUSED:
                    instance.pause_mode = PauseMode(saved["pause_mode"])
                    instance.life.move(InstanceState.PAUSED, saved["reason"])
                else:
                    instance.life.move(state, saved["reason"])
            else:
                self._warm_up(instance, "restart")
        return restored

    def pause(
        self, name: str, mode: PauseMode = PauseMode.EXITS, keep_orders: bool = False, reason: str = "by the operator"
    ) -> None:
        """Pause: no new exposure; entry orders are cancelled unless kept; protective orders stay."""
        instance = self.get(name)
        instance.life.move(InstanceState.PAUSED, reason)
        instance.pause_mode = mode
        if not keep_orders:
            self._cancel_entries(instance)
        self.engine.oplog("StrategyPause", instance=name, mode=mode.value, reason=reason)
        self._changed(instance)

    def resume(self, name: str) -> None:
        """Resume a paused, halted, faulted or stopped-by-risk instance from its state."""
        instance = self.get(name)
        if instance.life.state is InstanceState.RUNNING:
            raise CtosError(f"{name} is running already")
        if self.engine.risk.is_halted:
            raise CtosError(f"{name} cannot resume: the account is halted; re-arm it first")
        fresh = instance.life.state in (InstanceState.FAULTED, InstanceState.HALTED)
        instance.life.move(InstanceState.RUNNING)
        self.engine.risk.release_instance(name)
        self.engine.oplog("StrategyResume", instance=name)
        if fresh:
            instance.renew()
        instance.start("resume")
        self._changed(instance)

    def amend(self, name: str, changes: Mapping[str, Any]) -> list[ParamChange]:
        """Validate the whole model with `changes`, then put it in force at once.

        Raises:
            ConfigError: A value is out of bounds, or the parameter needs a restart.
        """
        instance = self.get(name)
        changed, params = self.preview_amend(name, changes)
        if not changed:
            raise ConfigError(f"{name}: nothing changes")
        instance.strategy_class.check(params, [self.engine.instrument(symbol) for symbol in instance.symbols])
        limits = instance.strategy_class.limits(params, len(instance.symbols))
        self.engine.risk.admit(name, limits, params.capital_usd)
        self.engine.oplog("ParamsChanged", instance=name, changes={c.name: [str(c.old), str(c.new)] for c in changed})
        instance.set_params(params)
        self._changed(instance)
        return changed

    def preview_amend(self, name: str, changes: Mapping[str, Any]) -> tuple[list[ParamChange], Params]:
        """Return what an amendment would change and the validated parameters, without doing it."""
        instance = self.get(name)
        values = instance.params.model_dump()
        for key, value in changes.items():
            set_dotted(values, key, value)
        params = parse_params(instance.strategy_class, values)
        changed = []
        for key in type(params).model_fields:
            old, new = getattr(instance.params, key), getattr(params, key)
            if old != new:
                if needs_restart(instance.strategy_class, key) and instance.life.state is not InstanceState.STOPPED:
                    raise ConfigError(f"{key} of {name} needs a restart to change: stop it and run it anew")
                changed.append(ParamChange(key, old, new))
        return changed, params

    def stop(self, name: str, policy: StopPolicy | None = None, reason: str = "by the operator") -> None:
        """Stop an instance by its stop policy: keep, cancel or flatten."""
        instance = self.get(name)
        policy = policy or instance.params.stop_policy
        if instance.life.state is InstanceState.STOPPED:
            raise CtosError(f"{name} is stopped already")
        if instance.life.state is not InstanceState.STOPPING:
            instance.life.move(InstanceState.STOPPING, f"{policy.value}, {reason}")
            instance.stopping(reason)
        instance.life.reason = f"{policy.value}, {reason}"
        self.engine.oplog("StrategyExit", instance=name, policy=policy.value, reason=reason)
        instance.context.timer.cancel_all()
        self._changed(instance)
        if policy is StopPolicy.KEEP:
            self._stopped(instance)
            return
        self._end_work(instance)
        self.engine.cancel_all(instance=name, keep_protective=policy is StopPolicy.CANCEL and self._holds(instance))
        self._progress_stop(instance)

    def stop_all(self, reason: str, policy: StopPolicy | None = None) -> None:
        """Stop every instance that is not stopped."""
        for instance in list(self.instances.values()):
            if instance.life.state not in (InstanceState.STOPPED, InstanceState.STOPPING):
                self.stop(instance.name, policy, reason)

    def halt(self, name: str, reason: str) -> None:
        """Halt an instance for a risk limit: cancel everything, then flatten or hold as its parameters say."""
        instance = self.get(name)
        if instance.life.state in (InstanceState.HALTED, InstanceState.STOPPED, InstanceState.STOPPING):
            return
        flatten = instance.params.on_halt == "flatten"
        self._halt(instance, reason)
        self.engine.oplog("RiskHalt", instance=name, reason=reason, flatten=flatten)
        self._raise_anomaly("strategy_fault", "", name, "HALTED", "", f"{name} halted: {reason}", "CRIT")
        if flatten:
            self._flatten(instance)

    def halt_all(self, reason: str) -> None:
        """Halt every instance with the account; an account halt never flattens by itself."""
        for instance in self.instances.values():
            if instance.life.state not in (InstanceState.STOPPED, InstanceState.STOPPING, InstanceState.HALTED):
                self._halt(instance, reason)

    def act(self, name: str, action: str, arguments: Mapping[str, str]) -> str:
        """Carry out an operator's action on an instance, such as `rebase`; returns what was done."""
        instance = self.get(name)
        done = instance.act(action, dict(arguments))
        self.engine.oplog("ParamsChanged", instance=name, action=action, arguments=dict(arguments))
        self._save(instance)
        return done

    def view(self, instance: StrategyInstance) -> InstanceView:
        """Return what lists show of an instance."""
        portfolio = self.engine.portfolio
        return InstanceView(
            name=instance.name,
            strategy=instance.strategy_class.name,
            symbols=instance.symbols,
            state=instance.life.state,
            reason=instance.life.reason,
            why=instance.why,
            profit=instance.profit(),
            notional=portfolio.instance_notional(instance.name),
            open_orders=len(self.engine.tracker.working(instance=instance.name)),
            last_word=instance.last_word,
            last_event_ms=instance.last_event_ms,
        )

    def views(self) -> list[InstanceView]:
        """Return all instances, oldest first."""
        return [self.view(instance) for instance in self.instances.values()]

    def save_all(self) -> None:
        """Write the memory of every instance."""
        for instance in self.instances.values():
            self._save(instance)

    def _create(
        self,
        name: str,
        strategy_class: type[Strategy[Any]],
        params: Params,
        symbols: Sequence[str],
        code: str | None = None,
    ) -> StrategyInstance:
        code = self.engine.register_instance(name, code)
        instance = StrategyInstance(
            name=name,
            code=code,
            strategy_class=strategy_class,
            params=params,
            symbols=symbols,
            engine=self.engine,
            bars=self.bars,
            watch=self._watch,
            rng=self._rng.fork(name),
            on_fault=self._fault,
            on_anomaly=self._anomaly,
        )
        self._router.remove(name)
        self.instances[name] = instance
        self._router.add(instance)
        return instance

    def _resolve_symbols(self, params: Params) -> list[str]:
        wanted = params.symbols
        if isinstance(wanted, str):
            if wanted == "focus":
                wanted = self.focus
            elif wanted == "positions":
                wanted = tuple(row.symbol for row in self.engine.portfolio.positions() if row.quantity)
            elif wanted == "all":
                wanted = tuple(self.engine.instruments)
            else:
                wanted = tuple(part for part in wanted.split("+") if part)
        if not wanted:
            raise ConfigError("symbols: no instrument is meant; name one, such as symbols=btc")
        account = self.engine.account
        resolved = [
            resolve_symbol(text, self.engine.instruments, account.default_quote, account.default_kind).symbol
            for text in wanted
        ]
        return list(dict.fromkeys(resolved))

    def _free_name(self, strategy: str) -> str:
        stem = "".join(part[0] for part in strategy.split("_")) or strategy[:2]
        number = 1
        while f"{stem}{number}" in self.instances:
            number += 1
        return f"{stem}{number}"

    def _on_order(self, event: OrderChanged) -> None:
        instance = self.instances.get(event.order.instance)
        if instance is None:
            return
        if not event.order.parent:
            instance.on_order(event.order)
            self._save(instance)
        if event.order.state.is_final and instance.life.state is InstanceState.STOPPING:
            self._progress_stop(instance)

    def _on_fill(self, event: FillBooked) -> None:
        instance = self.instances.get(event.instance)
        if instance is not None:
            instance.on_fill(event.fill)
            self._save(instance)

    def _on_done(self, event: WorkDone) -> None:
        instance = self.instances.get(event.instance)
        if instance is None:
            return
        instance.on_done(event.done)
        self._save(instance)
        if instance.life.state in (InstanceState.STOPPING, InstanceState.HALTED):
            self._progress_stop(instance)

    def _on_funding(self, event: FundingShared) -> None:
        instance = self.instances.get(event.instance)
        if instance is not None:
            instance.on_funding(event.payment)
            self._save(instance)

    def _warm_up(self, instance: StrategyInstance, reason: str) -> None:
        if instance.life.state is not InstanceState.WARMUP:
            instance.life.move(InstanceState.WARMUP, "waiting for the market")
        missing = self._missing_data(instance)
        if missing:
            instance.set_why(missing)
            self._changed(instance)
            self._clock.call_later(_WARMUP_LOOK_S, self._warm_up_again, instance, reason)
            return
        instance.set_why("")
        instance.life.move(InstanceState.RUNNING)
        instance.start(reason)
        self._changed(instance)

    def _warm_up_again(self, instance: StrategyInstance, reason: str) -> None:
        if instance.life.state is InstanceState.WARMUP and self.instances.get(instance.name) is instance:
            self._warm_up(instance, reason)

    def _missing_data(self, instance: StrategyInstance) -> str:
        """Return what an instance still waits for, empty when it can start."""
        for symbol in instance.symbols:
            if self.engine.market.quote(symbol) is None:
                return f"waiting for the first quote of {symbol}"
        need = instance.strategy_class.warmup_bars(instance.params)
        for timeframe in instance.strategy_class.timeframes(instance.params):
            for symbol in instance.symbols:
                if not self.bars.is_loaded(symbol, timeframe):
                    return f"loading {timeframe} bars of {symbol}"
                have = len(self.bars.bars(symbol, timeframe, need))
                if have < need:
                    return f"warming up: {have} of {need} closed {timeframe} bars of {symbol}"
        return ""

    def _cancel_entries(self, instance: StrategyInstance) -> None:
        self._end_work(instance)
        for order in self.engine.tracker.working(instance=instance.name):
            if not order.reduce_only:
                self.engine.cancel(order.client_id)

    def _end_work(self, instance: StrategyInstance) -> None:
        for handle in self.engine.work_of(instance.name):
            self.engine.end(handle)

    def _holds(self, instance: StrategyInstance) -> bool:
        return any(self.engine.portfolio.ledger(instance.name, symbol).quantity for symbol in instance.symbols)

    def _halt(self, instance: StrategyInstance, reason: str) -> None:
        instance.life.move(InstanceState.HALTED, reason)
        instance.context.timer.cancel_all()
        self._end_work(instance)
        self.engine.cancel_all(instance=instance.name, keep_protective=True)
        self._changed(instance)

    def _progress_stop(self, instance: StrategyInstance) -> None:
        if instance.life.state is not InstanceState.STOPPING:
            return
        flatten = instance.life.reason.startswith(StopPolicy.FLATTEN.value)
        working = self.engine.tracker.working(instance=instance.name)
        holds = self._holds(instance)
        kept = holds and not flatten
        if any(not (kept and order.reduce_only and order.type is OrderType.STOP) for order in working):
            return
        if flatten and holds:
            self._flatten(instance)
            return
        self._stopped(instance)

    def _flatten(self, instance: StrategyInstance) -> None:
        """Close the instance's ledgers; tried again after a while, and reported when it does not succeed."""
        if self.engine.work_of(instance.name):
            return
        tries = self._flatten_tries[instance.name] = self._flatten_tries.get(instance.name, 0) + 1
        if tries > 1:
            text = f"{instance.name}: position is not flat yet, try {tries}"
            self._raise_anomaly("strategy_fault", "", instance.name, tries, 1, text, "WARN")
        for symbol in instance.symbols:
            if not self.engine.portfolio.ledger(instance.name, symbol).quantity:
                continue
            try:
                self.engine.close(instance.name, symbol, Decimal(1), soft=False)
            except CtosError as error:
                instance.say(f"cannot flatten {symbol}: {error}", "error")
        self._clock.call_later(_FLATTEN_RETRY_S, self._flatten_again, instance)

    def _flatten_again(self, instance: StrategyInstance) -> None:
        still_wanted = instance.life.state in (InstanceState.STOPPING, InstanceState.HALTED)
        if still_wanted and self.instances.get(instance.name) is instance and self._holds(instance):
            self._flatten(instance)
        elif instance.life.state is InstanceState.STOPPING:
            self._progress_stop(instance)

    def _stopped(self, instance: StrategyInstance) -> None:
        if instance.life.state is not InstanceState.STOPPED:
            instance.life.move(InstanceState.STOPPED, instance.life.reason)
            self._flatten_tries.pop(instance.name, None)
            self._router.remove(instance.name)
            self._changed(instance)

    def _fault(self, instance: StrategyInstance, reason: str) -> None:
        if instance.life.state in (InstanceState.STOPPED, InstanceState.STOPPING):
            instance.say(f"error while stopping: {reason}", "error")
            return
        delay = instance.life.fault(self._clock.now_ns(), reason)
        instance.context.timer.cancel_all()
        instance.say(f"FAULTED: {reason}", "error")
        self.engine.oplog("StrategyException", instance=instance.name, error=reason, restart_s=delay)
        self._raise_anomaly("strategy_fault", "", instance.name, "FAULTED", "", f"{instance.name}: {reason}", "CRIT")
        self._cancel_entries(instance)
        if delay is not None:
            instance.set_why(f"restarts in {delay:g} s")
            self._clock.call_later(delay, self._restart, instance)
        else:
            instance.set_why("too many faults; resume it by hand")
        self._changed(instance)

    def _restart(self, instance: StrategyInstance) -> None:
        if instance.life.state is InstanceState.FAULTED and self.instances.get(instance.name) is instance:
            instance.renew()
            self._warm_up(instance, "restart")

    def _anomaly(
        self,
        instance: StrategyInstance,
        kind: str,
        symbol: str,
        value: object,
        threshold: object,
        text: str,
        severity: str,
    ) -> None:
        self._raise_anomaly(kind, symbol, instance.name, value, threshold, text, severity)

    def _changed(self, instance: StrategyInstance) -> None:
        self._save(instance)
        self.engine.bus.publish(InstanceChanged(instance.name, instance.life.state, instance.life.reason))

    def _save(self, instance: StrategyInstance) -> None:
        record = {
            "strategy": instance.strategy_class.name,
            "code": instance.code,
            "params": instance.params.model_dump(mode="json"),
            "symbols": list(instance.symbols),
            "state": instance.life.state.value,
            "reason": instance.life.reason,
            "why": instance.why,
            "pause_mode": instance.pause_mode.value,
            "memory": instance.context.state,
        }
        raw = json.dumps(record, sort_keys=True, default=str).encode()
        if self._saved.get(instance.name) != raw:
            self._saved[instance.name] = raw
            self.engine.journal.put(STATE_TABLE, f"{self.engine.account.key}/{instance.name}", raw)

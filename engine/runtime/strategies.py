"""The strategy manager: launches, supervises, pauses, amends and stops strategy instances.

It routes market, order and timer events to the instances, keeps their memory in the journal's store after every
change, restarts a faulted instance and never lets one disturb another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import ConfigError, CtosError, UnknownStrategy
from engine.kernel.scheduler import InstanceState
from engine.kernel.strategy import Params, PauseMode, StopPolicy, Strategy
from engine.runtime.data import BarFeed
from engine.runtime.events import InstanceChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.given import in_words
from engine.runtime.handover import Handover
from engine.runtime.instance import StrategyInstance
from engine.runtime.launching import check_name, drop_unlisted, free_name, vetted, wanted_symbols
from engine.runtime.left_out import LeftOut
from engine.runtime.memory import InstanceStore, SavedInstance
from engine.runtime.params import ParamChange, amended, parse_params
from engine.runtime.restarts import Restarts
from engine.runtime.routing import AccountRouter, MarketRouter
from engine.runtime.stopped import Stopped
from engine.runtime.stopping import Stopping
from engine.runtime.views import InstanceView, view_of
from engine.runtime.warmup import WarmUp
from engine.runtime.watchdog import HandlerWatch

_ENDED = (InstanceState.STOPPED, InstanceState.STOPPING)

AnomalyRaiser = Callable[[str, str, str, object, object, str, str], None]
"""Takes kind, symbol, instance, value, threshold, text, severity."""


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

    Attributes:
        instances: Every instance of this run by name, stopped ones included.
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
        self.anomaly = raise_anomaly
        self._clock: Clock = engine.clock
        self._rng = rng
        self._watch = watch
        self._store = InstanceStore(engine.journal, engine.account.key)
        self.handled = self._store.save
        self._shelf: dict[str, SavedInstance] = {}
        self._router = MarketRouter(engine, bars)
        self._stopping = Stopping(engine, self, self._changed, self._dismiss)
        self._warmup = WarmUp(engine, bars, self._changed)
        restarts = Restarts(engine, self._stopping, partial(self._tell, "FAULTED"), self._changed, self._begin)
        self.faulted, self._cancel_restart, self._leave_fault = restarts.faulted, restarts.call_off, restarts.go_back
        self._left_out = LeftOut(engine, self._stopping.cancel_entries, partial(self._tell, "NOT RESTORED"))
        self._handover = Handover(engine, self._stopping.end_work, self._give_up)
        cancel, tell = self._stopping.cancel_entries, partial(self._tell, "HALTED")
        self._stopped = Stopped(engine, self._shelf, self._left_out, self._handover, cancel, tell)
        AccountRouter(engine, self.instances, self._stopping.progress)
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
            left_out = self._left_out.refusal(name)
            if left_out:
                raise UnknownStrategy(left_out) from None
            known = f"there are {', '.join(sorted(self.instances))}" if self.instances else "none is running"
            raise UnknownStrategy(f"no strategy instance {name!r}; {known}") from None

    def launch(
        self, strategy: str, params: Mapping[str, Any], symbols: str | None = None, name: str | None = None
    ) -> StrategyInstance:
        """Validate everything, then create and start an instance.

        Under the name of an instance that was stopped with `keep` it goes on from that one's memory; a loss limit that
        had halted that one is measured anew.

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
        resolved = wanted_symbols(self.engine, validated, self.focus)
        limits = vetted(self.engine, strategy_class, validated, resolved)
        name = name or free_name(strategy, {*self.instances, *self._shelf, *self.engine.portfolio.instances()})
        check_name(name)
        known = self.instances.get(name)
        if known is not None and known.life.state is not InstanceState.STOPPED:
            raise ConfigError(f"an instance named {name!r} is {known.life.state.value} already")
        saved = self._kept(name, strategy)
        instance = self._create(name, strategy_class, validated, resolved, saved)
        self.engine.risk.admit(name, limits, validated.capital_usd)
        self.engine.risk.release_instance(name)
        self._shelf.pop(name, None)
        self._left_out.forget(name)
        self._handover.forget(name)
        self._add(instance)
        self.engine.oplog("StrategyStart", instance=name, strategy=strategy, symbols=list(resolved), params=values)
        instance.wake(self.engine.missed(name, saved.event_seq) if saved is not None else ())
        if instance.life.state is InstanceState.CREATED:
            instance.life.move(InstanceState.WARMUP)
        self._begin(instance, "new" if saved is None else "restart")
        return instance

    def restore(self) -> list[StrategyInstance]:
        """Make the instances of the last run, before the engine starts; `start_restored` sets them going."""
        restored = []
        for name, saved in self._store.load().items():
            if isinstance(saved, ConfigError):
                self._left_out.add(name, str(saved))
                continue
            self._shelf[name] = saved
            if saved.state == InstanceState.STOPPED:
                continue
            try:
                strategy_class = self.strategy_class(saved.strategy)
                params = parse_params(strategy_class, saved.params)
                instance = self._create(name, strategy_class, params, saved.symbols, saved, asleep=True)
            except CtosError as error:
                self._left_out.add(name, str(error))
                continue
            if saved.state in (InstanceState.STOPPING, InstanceState.HALTED):
                instance.life.move(InstanceState(saved.state), saved.reason)
            self.instances[name] = instance
            restored.append(instance)
        return restored

    def start_restored(self) -> None:
        """Let the restored instances hear what they missed and go on, when the engine agrees with the venue.

        A halt of the account since `restore` has halted them already; they hear and have limits all the same.
        """
        for instance in [one for one in self.instances.values() if one.is_asleep]:
            saved = self._shelf.pop(instance.name)
            try:
                drop_unlisted(self.engine, instance)
                limits = vetted(self.engine, instance.strategy_class, instance.params, instance.symbols)
                self.engine.risk.admit(instance.name, limits, instance.params.capital_usd)
            except CtosError as error:
                del self.instances[instance.name]
                self._shelf[instance.name] = saved
                self._left_out.add(instance.name, str(error))
                continue
            self._add(instance)
            self._go_on(instance, saved)
        self._stopped.admit_all(self.strategy_class)
        self._left_out.make_safe()

    def pause(
        self, name: str, mode: PauseMode = PauseMode.EXITS, keep_orders: bool = False, reason: str = "by the operator"
    ) -> None:
        """Pause: no new exposure; entry orders are cancelled unless kept; protective orders stay."""
        instance = self.get(name)
        instance.life.move(InstanceState.PAUSED, reason)
        instance.pause_mode = mode
        self.engine.oplog("StrategyPause", instance=name, mode=mode.value, reason=reason)
        self._changed(instance)
        if not keep_orders:
            self._stopping.cancel_entries(name)
        if not instance.is_begun:
            self._warmup.begin(instance, "restart")

    def resume(self, name: str) -> None:
        """Resume a paused, halted or faulted instance from its memory.

        Raises:
            CtosError: It is not paused, or the account is halted.
        """
        instance = self.get(name)
        state = instance.life.state
        if state in (InstanceState.RUNNING, InstanceState.WARMUP):
            raise CtosError(f"{name} is running already")
        if state in _ENDED:
            raise CtosError(f"{name} is {state.value}: start it anew with run")
        if self.engine.risk.is_halted:
            raise CtosError(f"{name} cannot resume: the account is halted; rearm it first")
        if state is not InstanceState.PAUSED:
            self._cancel_restart(instance)
            instance.life.fault_times_ns.clear()
            instance.to_flatten = False
            instance.pause_reason = ""
            instance.renew()
            self.engine.risk.release_instance(name)
        self.engine.oplog("StrategyResume", instance=name)
        instance.life.move(InstanceState.WARMUP)
        self._begin(instance, "resume" if instance.was_started else "new")

    def amend(self, name: str, changes: Mapping[str, Any], who: str = "operator") -> list[ParamChange]:
        """Validate the whole model with `changes`, then put it in force at once.

        Raises:
            CtosError: A value is out of bounds or breaks a limit, or the parameter needs a restart.
        """
        instance = self.get(name)
        changed, params = self.preview_amend(name, changes)
        if not changed:
            raise ConfigError(f"{name}: nothing changes")
        if instance.life.state in _ENDED:
            raise ConfigError(f"{name} is {instance.life.state.value}: give the parameters when it is run anew")
        limits = vetted(self.engine, instance.strategy_class, params, instance.symbols)
        self.engine.risk.admit(name, limits, params.capital_usd)
        told = {change.name: [str(change.old), str(change.new)] for change in changed}
        self.engine.oplog("ParamsChanged", instance=name, who=who, changes=told)
        instance.set_params(params)
        self._changed(instance)
        return changed

    def preview_amend(self, name: str, changes: Mapping[str, Any]) -> tuple[list[ParamChange], Params]:
        """Return what an amendment would change and the validated parameters, without doing it."""
        instance = self.get(name)
        return amended(name, instance.strategy_class, instance.params, changes)

    def stop(self, name: str, policy: StopPolicy | None = None, reason: str = "by the operator") -> None:
        """Stop an instance by its stop policy: keep, cancel or flatten.

        Of one that was not restored the orders are cancelled, what it holds becomes the operator's, and it is
        forgotten. So it is with one that is stopped already, by `flatten` only. By `flatten` it is closed, too.

        Raises:
            CtosError: It is stopped already, or there is none, or it was not restored and is to keep what it has.
        """
        instance = self.instances.get(name)
        if instance is not None and instance.life.state is not InstanceState.STOPPED:
            self._cancel_restart(instance)
            self._stopping.stop(instance, policy or instance.params.stop_policy, reason)
        elif self._left_out.is_over(name):
            self._give_up(name, reason)
        elif self._left_out.knows(name) and policy is not StopPolicy.KEEP:
            self._handover.begin(name, reason, policy is StopPolicy.FLATTEN)
        elif instance is not None or self._stopped.is_shelved(name):
            self._stopped.close(name, policy, reason)
        else:
            self.get(name)  # tells why there is none

    def _give_up(self, name: str, reason: str) -> None:
        """Forget an instance that nobody runs and that has nothing left."""
        self._left_out.forget(name)
        self._shelf.pop(name, None)
        self._store.forget(name)
        self.engine.risk.dismiss(name)
        self.engine.oplog("StrategyExit", instance=name, policy="forgotten", reason=reason)
        self.engine.bus.publish(InstanceChanged(name, InstanceState.STOPPED, reason))

    def stop_all(self, reason: str, policy: StopPolicy | None = None) -> None:
        """Stop every instance that is not stopped."""
        for instance in list(self.instances.values()):
            if instance.life.state not in _ENDED:
                self.stop(instance.name, policy, reason)

    def halt(self, name: str, reason: str) -> None:
        """Halt an instance for a risk limit: cancel everything, then flatten or hold as its parameters say."""
        instance = self.instances.get(name)
        state = InstanceState.STOPPED if instance is None else instance.life.state
        if state in _ENDED:
            if instance is not None or self._stopped.is_shelved(name):
                self._stopped.halt(name, state, reason)
            return
        assert instance is not None
        flatten = instance.params.on_halt == "flatten"
        self._cancel_restart(instance)
        self.engine.oplog("RiskHalt", instance=name, reason=reason, flatten=flatten)
        self._tell("HALTED", name, f"{name} halted: {reason}")
        if instance.life.state is not InstanceState.HALTED:
            self._stopping.halt(instance, reason, flatten)
            return
        instance.say(f"halted already; now it has reached a limit, too: {reason}", "error")
        if flatten:
            self._stopping.flatten(instance)

    def halt_all(self, reason: str) -> None:
        """Halt every instance with the account; an account halt never flattens by itself."""
        for instance in list(self.instances.values()):
            if instance.life.state not in (InstanceState.HALTED, *_ENDED):
                self._cancel_restart(instance)
                self._stopping.halt(instance, reason, flatten=False)

    def act(self, name: str, action: str, arguments: Mapping[str, str]) -> str:
        """Carry out an operator's action on an instance, such as `rebase`; returns what was done."""
        instance = self.get(name)
        if instance.life.state not in (InstanceState.RUNNING, InstanceState.PAUSED):
            raise CtosError(f"{name} is {instance.life.state.value}: {action} needs it running or paused")
        if not instance.was_started:
            raise CtosError(f"{name} was paused before it had started: resume it before {action}")
        done = instance.act(action, dict(arguments))
        self.engine.oplog("ParamsChanged", instance=name, action=action, arguments=dict(arguments), det=done)
        self._changed(instance)
        return done

    def views(self) -> list[InstanceView]:
        """Return all instances, oldest first."""
        return [view_of(self.engine, instance) for instance in self.instances.values()]

    def sleep_all(self) -> None:
        """Let every instance rest until the next start, with its memory saved as it is now."""
        self.save_all()
        for instance in self.instances.values():
            instance.sleep()

    def save_all(self) -> None:
        """Write the memory of every instance; one that has not gone on since the last run is as that run saved it."""
        for instance in self.instances.values():
            if instance.life.state not in (InstanceState.STOPPED, InstanceState.CREATED):
                self._store.save(instance)

    def _begin(self, instance: StrategyInstance, reason: str) -> None:
        self._warmup.begin(instance, reason)
        self._store.save(instance)

    def _go_on(self, instance: StrategyInstance, saved: SavedInstance) -> None:
        """Put a restored instance where it was: running ones start again, others wait as they did."""
        state, life = InstanceState(saved.state), instance.life
        if life.state is InstanceState.CREATED:
            if state is InstanceState.FAULTED and saved.restarts:
                self._leave_fault(instance)
            else:
                life.move(InstanceState.WARMUP)
                if state in (InstanceState.PAUSED, InstanceState.FAULTED):
                    life.move(state, saved.reason)
        instance.wake(self.engine.missed(instance.name, saved.event_seq))
        if life.state is not InstanceState.WARMUP:
            self._changed(instance)
            self._stopping.progress(instance)
        self._begin(instance, "restart" if saved.was_started else "new")

    def _create(
        self,
        name: str,
        strategy_class: type[Strategy[Any]],
        params: Params,
        symbols: Sequence[str],
        saved: SavedInstance | None,
        asleep: bool = False,
    ) -> StrategyInstance:
        try:
            instance = StrategyInstance(
                name=name,
                code=self.engine.register_instance(name, saved.code if saved is not None else None),
                strategy_class=strategy_class,
                params=params,
                symbols=symbols,
                engine=self.engine,
                bars=self.bars,
                watch=self._watch,
                rng=self._rng.fork(name),
                supervisor=self,
                memory=saved.memory if saved is not None else None,
                asleep=asleep,
            )
        except CtosError:
            raise
        except (Exception, SystemExit) as error:
            words = f"{type(error).__name__}: {in_words(error)}"
            raise ConfigError(f"{strategy_class.name} cannot be made: {words}") from error
        if saved is not None:
            saved.apply_to(instance)
        return instance

    def _add(self, instance: StrategyInstance) -> None:
        self._router.remove(instance.name)
        self.instances[instance.name] = instance
        self._router.add(instance)

    def _dismiss(self, instance: StrategyInstance) -> None:
        """Forget what a stopped instance needed; its limits stay while something of it is left to be closed."""
        self._router.remove(instance.name)
        if self._stopping.holds(instance) or self.engine.tracker.working(instance=instance.name):
            self._stopped.keep_halted(instance.name)
            return
        self.engine.risk.dismiss(instance.name)
        if not instance.life.reason.startswith(StopPolicy.KEEP.value):
            self._store.forget(instance.name)

    def _kept(self, name: str, strategy: str) -> SavedInstance | None:
        """Return what an instance of this name and strategy left when it was stopped with `keep`."""
        saved = self._store.saved(name) or self._shelf.get(name)
        if saved is None or saved.strategy != strategy or not saved.reason.startswith(StopPolicy.KEEP.value):
            return None
        return saved

    def _tell(self, value: str, name: str, text: str) -> None:
        self.anomaly("strategy_fault", "", name, value, "", text, "CRIT")

    def _changed(self, instance: StrategyInstance) -> None:
        self._store.save(instance)
        instance.publish()

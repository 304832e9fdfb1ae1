"""One running strategy: its object, parameters, life cycle, memory and event queue.

Events are handled one at a time, in order. What a handler commands is carried out when it has returned; what the
commands cause is queued behind. An exception faults this instance alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from engine.kernel.account import FundingPayment
from engine.kernel.clock import NS_PER_MS, Rng, TimerHandle
from engine.kernel.errors import CtosError, Paused
from engine.kernel.market import Bar, Quote, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Side
from engine.kernel.scheduler import InstanceState, LifeCycle
from engine.kernel.strategy import Done, DoneStatus, Params, PauseMode, Strategy
from engine.runtime.context import StrategyContext
from engine.runtime.data import BarFeed
from engine.runtime.events import InstanceChanged, LogLine
from engine.runtime.given import in_words, plain_text
from engine.runtime.missed import call_of
from engine.runtime.supervisor import Supervisor
from engine.runtime.watchdog import SLOW_NS, HandlerTimeout, HandlerWatch

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine

FAULTS = (Exception, HandlerTimeout, SystemExit, GeneratorExit)
"""What a strategy's own code can raise: `sys.exit()` in it ends nobody but itself."""

_MARKET_DATA = frozenset({"on_quote", "on_book", "on_trade"})
MAX_EVENTS = 10_000
"""More in one go, and the instance is answering its own refusals without end."""

_Event = tuple[str, tuple[Any, ...], int]
"""Handler, its arguments, and the journal record that tells it again after a restart; 0 for none."""

_OWN_EVENTS = frozenset({"on_order", "on_fill", "on_done", "on_funding"})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class StrategyInstance:
    """A strategy process.

    Args:
        code: Five characters that begin its orders' numbers.
        strategy_class: What it runs.
        params: Validated parameters.
        symbols: Resolved canonical symbols.
        engine: Where commands go.
        bars: Closed candles.
        watch: Times handlers.
        supervisor: Who looks after it.
        memory: What it kept from an earlier run.
        asleep: Whether its events are left in the journal until it wakes.

    Attributes:
        timeframes: Candle lengths that it wants.
        warmup_bars: Closed bars that it needs before its first start.
        life: State machine.
        why: Why it is not trading, empty when it is.
        last_word: Its last log line.
        last_event_ms: When it last handled an event.
        pause_mode: What a paused instance still sees.
        pause_reason: Why it was paused when it faulted, to be paused again when it restarts; empty when it was not.
        was_started: Whether `on_start` was ever called.
        is_begun: Whether `on_start` was called on this strategy object: before that it sees no market and no timers.
        to_flatten: Whether its position is being closed because it stops or was halted.
        memory: Its memory as it was after the last handler that went well, encoded.
        event_seq: Number of the newest journal record about its orders that this memory knows of; what is held back
            while it is faulted lies behind it.
        restart_timer: The automatic restart after a fault.
    """

    def __init__(
        self,
        name: str,
        code: str,
        strategy_class: type[Strategy[Any]],
        params: Params,
        symbols: Sequence[str],
        engine: ExecutionEngine,
        bars: BarFeed,
        watch: HandlerWatch,
        rng: Rng,
        supervisor: Supervisor,
        memory: dict[str, Any] | None = None,
        asleep: bool = False,
    ) -> None:
        self.name = name
        self.code = code
        self.strategy_class = strategy_class
        self.params = params
        self.symbols = tuple(symbols)
        self.timeframes = tuple(strategy_class.timeframes(params))
        self.warmup_bars = strategy_class.warmup_bars(params)
        self.engine = engine
        self.bars = bars
        self.life = LifeCycle()
        self.why = ""
        self.last_word = ""
        self.last_event_ms = 0
        self.pause_mode = PauseMode.EXITS
        self.pause_reason = ""
        self.was_started = False
        self.is_begun = False
        self.to_flatten = False
        self.restart_timer: TimerHandle | None = None
        self.context = StrategyContext(self, rng, memory or {})
        self.memory = _encode(self.context.state)
        self.event_seq = 0
        self._watch = watch
        self._supervisor = supervisor
        self._asleep = asleep
        self._queue: deque[_Event] = deque()
        self._held: deque[_Event] = deque()
        self._newest: dict[tuple[str, str], Quote | OrderBook] = {}
        self._busy = False
        self.strategy: Strategy[Any] = self._create()

    def _create(self) -> Strategy[Any]:
        strategy = self.strategy_class(self.context, self.params)
        strategy.symbols = self.symbols
        return strategy

    @property
    def entries_allowed(self) -> bool:
        """Return whether exposure-increasing commands are accepted: only while running."""
        return self.life.state is InstanceState.RUNNING

    @property
    def sees_market(self) -> bool:
        """Return whether market handlers and timers are called now."""
        state = self.life.state
        awake = state is InstanceState.RUNNING or (state is InstanceState.PAUSED and self.pause_mode is PauseMode.EXITS)
        return awake and self.is_begun and not self._asleep

    def profit(self) -> Decimal:
        """Return realised + unrealised + funding - fees over the instance's ledgers, USD."""
        return self.engine.portfolio.instance_profit(self.name)

    def handles(self, handler: str) -> bool:
        """Return whether the strategy overrides a handler of the base class."""
        return getattr(self.strategy_class, handler) is not getattr(Strategy, handler)

    def wake(self, missed: Iterable[tuple[int, object]]) -> None:
        """Begin to take orders, fills and reports of work, first those that it missed, in order."""
        self._asleep = False
        events: list[_Event] = []
        for seq, event in missed:
            handler, argument = call_of(event)
            events.append((handler, (argument,), seq))
        self._held.extendleft(reversed(events))
        if self.life.state is not InstanceState.FAULTED:
            self._queue, self._held = self._held, self._queue
            self._work_off()
            self._note_heard()

    @property
    def is_asleep(self) -> bool:
        """Return whether it takes no events."""
        return self._asleep

    def sleep(self) -> None:
        """Take no more events, because the program stops; the journal has what is missed, for the next start."""
        self._asleep = True
        self.context.timer.cancel_all()

    def renew(self) -> None:
        """Make a fresh strategy object over the memory, after a fault or a halt.

        Raises:
            CtosError: The strategy cannot be made.
        """
        self.context.timer.cancel_all()
        self.context.commands.clear()
        self._queue.clear()
        self.is_begun = False
        try:
            self.strategy = self._create()
        except FAULTS as error:
            raise CtosError(f"{self.name} cannot be made: {type(error).__name__}: {in_words(error)}") from error

    def set_params(self, params: Params) -> None:
        """Put new parameters in force and tell the strategy; one that was never started is made anew with them."""
        old, self.params = self.params, params
        if self.was_started:
            self.strategy.params = params
            self._deliver("on_params", old, params)
            return
        try:
            self.strategy = self._create()
        except FAULTS as error:
            self._fail("its making", error)

    def start(self, reason: str) -> None:
        """Deliver what was held back, then call `on_start`; the life cycle is RUNNING already, or PAUSED."""
        self.was_started = self.is_begun = True
        self._queue.extend(self._held)
        self._held.clear()
        self._deliver("on_start", reason)

    def stopping(self, reason: str) -> None:
        """Call `on_stop`, if it was ever started."""
        if self.was_started:
            self._deliver("on_stop", reason)

    def on_quote(self, quote: Quote) -> None:
        """Hand over the touch, newest only while busy."""
        if self.sees_market:
            self._deliver_newest("on_quote", quote)

    def on_book(self, book: OrderBook) -> None:
        """Hand over the book, newest only while busy."""
        if self.sees_market and book.valid:
            self._deliver_newest("on_book", book)

    def on_trade(self, trade: Trade) -> None:
        """Hand over a public trade."""
        if self.sees_market:
            self._deliver("on_trade", trade)

    def on_bar(self, bar: Bar) -> None:
        """Hand over a closed candle."""
        if self.sees_market:
            self._deliver("on_bar", bar)

    def on_timer(self, name: str, payload: object) -> None:
        """Hand over a timer or an engine topic."""
        if self.sees_market:
            self._deliver("on_timer", name, payload)

    def on_order(self, order: Order) -> None:
        """Hand over a change of an own order."""
        if not self._asleep:
            self._own_event("on_order", order)

    def on_fill(self, fill: Fill) -> None:
        """Hand over an own execution."""
        if not self._asleep:
            self._own_event("on_fill", fill)

    def on_done(self, done: Done) -> None:
        """Hand over the end of a piece of work."""
        if not self._asleep:
            self._own_event("on_done", done)

    def on_funding(self, payment: FundingPayment) -> None:
        """Hand over this instance's share of a funding payment."""
        self._own_event("on_funding", payment)

    def act(self, name: str, arguments: dict[str, str]) -> str:
        """Carry out an operator's action; a refusal goes back to the operator and has sent nothing.

        Raises:
            CtosError: The action is unknown, refused or failed.
        """
        self._busy = True
        try:
            self._watch.begin()
            try:
                done = self.strategy.action(name, **arguments)
            finally:
                self._watch.end()
            self.memory = _encode(self.context.state)
            self._carry_out_commands()
        except CtosError:
            self._undo()
            raise
        except FAULTS as error:
            self._fail(f"action {name}", error)
            raise CtosError(f"{self.name}: {name} failed: {type(error).__name__}: {in_words(error)}") from error
        finally:
            self._busy = False
        self._work_off()
        return done

    def _own_event(self, handler: str, event: object) -> None:
        if not self.life.state.is_alive:
            return
        entry = (handler, (event,), self.engine.event_seq(self.name))
        if self._asleep or self._held or self.life.state is InstanceState.FAULTED:
            self._held.append(entry)
        else:
            self._enqueue(entry)

    def _deliver_newest(self, handler: str, event: Quote | OrderBook) -> None:
        if not self._busy:
            self._deliver(handler, event)
            return
        key = (handler, event.symbol)
        if key not in self._newest:
            self._queue.append((handler, (key,), 0))
        self._newest[key] = event

    def _deliver(self, handler: str, *arguments: Any) -> None:
        self._enqueue((handler, arguments, 0))

    def _enqueue(self, event: _Event) -> None:
        self._queue.append(event)
        if not self._busy:
            self._work_off()

    def _work_off(self) -> None:
        """Handle what is queued, then have the memory saved."""
        self._busy = True
        is_news = False
        left = MAX_EVENTS
        try:
            while self._queue:
                left -= 1
                if left < 0:
                    self._fail("its own commands", CtosError(f"{MAX_EVENTS} events in one go: it never comes to rest"))
                    return
                name, arguments, seq = self._queue.popleft()
                if name in _MARKET_DATA:
                    key = arguments[0]
                    if isinstance(key, tuple):
                        arguments = (self._newest.pop(key),)
                else:
                    is_news = True
                commanded = self._handle(name, arguments)
                if commanded is None:
                    return
                self.event_seq = max(self.event_seq, seq)
                is_news = is_news or commanded
        finally:
            self._busy = False
        if is_news:
            self._note_heard()
            self._supervisor.handled(self)

    def _note_heard(self) -> None:
        """Note that the memory knows of every record so far, unless something is held back or slept through."""
        if not (self._held or self._asleep):
            self.event_seq = self.engine.event_seq(self.name)

    def _handle(self, name: str, arguments: tuple[Any, ...]) -> bool | None:
        """Call one handler and carry out its commands; returns whether it gave any, None when it faulted."""
        self.last_event_ms = self.engine.clock.now_ns() // NS_PER_MS
        watch, commands = self._watch, self.context.commands
        try:
            watch.begin()
            try:
                getattr(self.strategy, name)(*arguments)
            finally:
                watch.end()
            if commands or name not in _MARKET_DATA:
                self.memory = _encode(self.context.state)
        except FAULTS as error:
            if name == "on_start" and isinstance(error, Paused) and self.life.state is InstanceState.PAUSED:
                return self._wait_for_resume(error)
            self._fail(name, error)
            return None
        if watch.last_ns > SLOW_NS:
            self.say(f"{name} took {watch.last_ns / 1e6:.0f} ms; it must stay below 50 ms", "warn")
        return self._carry_out_commands()

    def _wait_for_resume(self, error: Paused) -> bool:
        """Take back a start that wants to enter while paused: it begins when it is resumed."""
        self._undo()
        self.context.timer.cancel_all()
        self.is_begun = False
        self.say(f"paused, and its on_start wants to enter: it sees no market until it is resumed ({error})", "warn")
        return False

    def _undo(self) -> None:
        """Take back what a handler that raised has commanded and remembered."""
        self.context.commands.clear()
        self.context.state.clear()
        self.context.state.update(_decode(self.memory))

    def _fail(self, what: str, error: BaseException) -> None:
        self._undo()
        self._held.extend(event for event in self._queue if event[0] in _OWN_EVENTS)
        self._queue.clear()
        self._newest.clear()
        self._supervisor.faulted(self, f"{what}: {type(error).__name__}: {in_words(error)}")

    def _carry_out_commands(self) -> bool:
        commands = self.context.commands
        given = bool(commands)
        while commands:
            commands.pop(0)()
        return given

    def carry_out_order(
        self,
        send: Callable[[], object],
        client_id: str,
        symbol: str,
        side: Side,
        type: OrderType,
        quantity: Decimal,
        price: Decimal | None,
    ) -> None:
        """Send an order; a refusal comes back to the strategy as a rejected order."""
        try:
            send()
        except CtosError as error:
            now_ns = self.engine.clock.now_ns()
            refused = Order(client_id, self.name, symbol, side, type, quantity, price, created_ns=now_ns)
            refused.advance(OrderState.REJECTED, now_ns, str(error))
            refused.error = error.__class__.__name__
            self._own_event("on_order", refused)

    def carry_out_work(self, start: Callable[[str], object], handle: str, symbol: str, kind: str) -> None:
        """Start a piece of work; a refusal comes back to the strategy as its end."""
        try:
            start(handle)
        except CtosError as error:
            reason = f"{error.__class__.__name__}: {error}"
            self._own_event("on_done", Done(handle, kind, symbol, DoneStatus.ERROR, reason=reason))

    def carry_out(self, send: Callable[[], object], what: str) -> None:
        """Send a cancel or amend; a refusal is logged, the order's own events tell the rest."""
        try:
            send()
        except CtosError as error:
            self.say(f"{what} refused: {error}", "warn")

    def say(self, text: str, level: str = "info") -> None:
        """Publish a log line of this instance."""
        self.last_word = text = plain_text(text)
        self.engine.bus.publish(LogLine(self.engine.clock.now_ns(), level, self.name, text))

    def set_why(self, text: str) -> None:
        """Change the reason for not trading."""
        if text != self.why:
            self.why = text
            self.publish()

    def publish(self) -> None:
        """Tell everybody the present state, with why it does not trade, or why it is in this state."""
        life = self.life
        text = self.why if life.state in (InstanceState.WARMUP, InstanceState.RUNNING) else life.reason
        self.engine.bus.publish(InstanceChanged(self.name, life.state, text))

    def raise_anomaly(self, kind: str, symbol: str, value: object, threshold: object, text: str, severity: str) -> None:
        """Pass an anomaly on to the monitor."""
        self._supervisor.anomaly(kind, symbol, self.name, value, threshold, text, severity)

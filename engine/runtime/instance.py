"""One running strategy: its object, parameters, life cycle, memory and event queue.

Events are handled one at a time, in order. What a handler commands is carried out when it has returned; what the
commands cause is queued behind. An exception faults this instance alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine.kernel.account import FundingPayment
from engine.kernel.clock import NS_PER_MS, Rng
from engine.kernel.errors import CtosError
from engine.kernel.market import Bar, Quote, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Side
from engine.kernel.scheduler import InstanceState, LifeCycle
from engine.kernel.strategy import Done, DoneStatus, Params, PauseMode, Strategy
from engine.runtime.context import StrategyContext
from engine.runtime.data import BarFeed
from engine.runtime.events import InstanceChanged, LogLine
from engine.runtime.watchdog import SLOW_NS, HandlerWatch

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine

ZERO = Decimal(0)


class StrategyInstance:
    """A strategy process.

    Attributes:
        name: Its unique name.
        code: Five characters that begin its orders' numbers.
        strategy_class: What it runs.
        symbols: Resolved canonical symbols.
        life: State machine.
        why: Why it is not trading, empty when it is.
        last_word: Its last log line.
        last_event_ms: When it last handled a market event.
        pause_mode: What a paused instance still sees.
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
        on_fault: Callable[[StrategyInstance, str], None],
        on_anomaly: Callable[[StrategyInstance, str, str, object, object, str, str], None],
    ) -> None:
        self.name = name
        self.code = code
        self.strategy_class = strategy_class
        self.params = params
        self.symbols = tuple(symbols)
        self.engine = engine
        self.bars = bars
        self.life = LifeCycle()
        self.why = ""
        self.last_word = ""
        self.last_event_ms = 0
        self.pause_mode = PauseMode.EXITS
        self.context = StrategyContext(self, rng)
        self.strategy: Strategy[Any] = self._create()
        self._watch = watch
        self._on_fault = on_fault
        self._on_anomaly = on_anomaly
        self._queue: deque[tuple[str, tuple[Any, ...]]] = deque()
        self._newest_quote: dict[str, Quote] = {}
        self._newest_book: dict[str, OrderBook] = {}
        self._busy = False

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
        return state is InstanceState.RUNNING or (state is InstanceState.PAUSED and self.pause_mode is PauseMode.EXITS)

    def profit(self) -> Decimal:
        """Return realised + unrealised + funding - fees over the instance's ledgers, USD."""
        return self.engine.portfolio.instance_profit(self.name)

    def handles(self, handler: str) -> bool:
        """Return whether the strategy overrides a handler of the base class."""
        return getattr(self.strategy_class, handler) is not getattr(Strategy, handler)

    def renew(self) -> None:
        """Make a fresh strategy object over the saved state, after a fault or at a restart."""
        self.context.timer.cancel_all()
        self.context.commands.clear()
        self._queue.clear()
        self._busy = False
        self.strategy = self._create()

    def set_params(self, params: Params) -> None:
        """Put new parameters in force and tell the strategy."""
        old, self.params = self.params, params
        self.strategy.params = params
        self._deliver("on_params", old, params)

    def start(self, reason: str) -> None:
        """Call `on_start`; the life cycle is RUNNING already."""
        self._deliver("on_start", reason)

    def stopping(self, reason: str) -> None:
        """Call `on_stop`."""
        self._deliver("on_stop", reason)

    def on_quote(self, quote: Quote) -> None:
        """Hand over the touch, newest only while busy."""
        if self.sees_market:
            if self._busy:
                if quote.symbol not in self._newest_quote:
                    self._queue.append(("on_quote", (quote.symbol,)))
                self._newest_quote[quote.symbol] = quote
            else:
                self._deliver("on_quote", quote)

    def on_book(self, book: OrderBook) -> None:
        """Hand over the book, newest only while busy."""
        if self.sees_market and book.valid:
            if self._busy:
                if book.symbol not in self._newest_book:
                    self._queue.append(("on_book", (book.symbol,)))
                self._newest_book[book.symbol] = book
            else:
                self._deliver("on_book", book)

    def on_trade(self, trade: Trade) -> None:
        """Hand over a public trade."""
        if self.sees_market:
            self._deliver("on_trade", trade)

    def on_bar(self, bar: Bar) -> None:
        """Hand over a closed candle."""
        if self.sees_market:
            self._deliver("on_bar", bar)

    def on_timer(self, name: str, payload: object) -> None:
        """Hand over a timer."""
        if self.sees_market:
            self._deliver("on_timer", name, payload)

    def on_order(self, order: Order) -> None:
        """Hand over a change of an own order."""
        if self.life.state.is_alive:
            self._deliver("on_order", order)

    def on_fill(self, fill: Fill) -> None:
        """Hand over an own execution."""
        if self.life.state.is_alive:
            self._deliver("on_fill", fill)

    def on_done(self, done: Done) -> None:
        """Hand over the end of a piece of work."""
        if self.life.state.is_alive:
            self._deliver("on_done", done)

    def on_funding(self, payment: FundingPayment) -> None:
        """Hand over this instance's share of a funding payment."""
        if self.life.state.is_alive:
            self._deliver("on_funding", payment)

    def act(self, name: str, arguments: dict[str, str]) -> str:
        """Carry out an operator's action; its errors go back to the operator.

        Raises:
            CtosError: The action is unknown or refused.
        """
        try:
            return self.strategy.action(name, **arguments)
        finally:
            self._carry_out_commands()

    def _deliver(self, handler: str, *arguments: Any) -> None:
        self._queue.append((handler, arguments))
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                name, args = self._queue.popleft()
                if not self._handle(name, self._newest(name, args)):
                    return
        finally:
            self._busy = False

    def _newest(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name == "on_quote" and isinstance(arguments[0], str):
            return (self._newest_quote.pop(arguments[0]),)
        if name == "on_book" and isinstance(arguments[0], str):
            return (self._newest_book.pop(arguments[0]),)
        return arguments

    def _handle(self, name: str, arguments: tuple[Any, ...]) -> bool:
        """Call one handler and carry out its commands; False when it faulted."""
        self.last_event_ms = self.engine.clock.now_ns() // NS_PER_MS
        try:
            with self._watch.watching():
                getattr(self.strategy, name)(*arguments)
        except Exception as error:
            self.context.commands.clear()
            self._queue.clear()
            self._on_fault(self, f"{name}: {type(error).__name__}: {error}")
            return False
        if self._watch.last_ns > SLOW_NS:
            self.say(f"{name} took {self._watch.last_ns / 1e6:.0f} ms; it must stay below 50 ms", "warn")
        self._carry_out_commands()
        return True

    def _carry_out_commands(self) -> None:
        commands = self.context.commands
        while commands:
            commands.pop(0)()

    def carry_out_order(
        self,
        send: Callable[[], None],
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
            self._deliver("on_order", refused)

    def carry_out_work(self, start: Callable[[str], object], handle: str, symbol: str, kind: str) -> None:
        """Start a piece of work; a refusal comes back to the strategy as its end."""
        try:
            start(handle)
        except CtosError as error:
            reason = f"{error.__class__.__name__}: {error}"
            self._deliver("on_done", Done(handle, kind, symbol, DoneStatus.ERROR, reason=reason))

    def carry_out(self, send: Callable[[], object], what: str) -> None:
        """Send a cancel or amend; a refusal is logged, the order's own events tell the rest."""
        try:
            send()
        except CtosError as error:
            self.say(f"{what} refused: {error}", "warn")

    def say(self, text: str, level: str = "info") -> None:
        """Publish a log line of this instance."""
        self.last_word = text
        self.engine.bus.publish(LogLine(self.engine.clock.now_ns(), level, self.name, text))

    def set_why(self, text: str) -> None:
        """Change the reason for not trading."""
        if text != self.why:
            self.why = text
            self.engine.bus.publish(InstanceChanged(self.name, self.life.state, text))

    def raise_anomaly(self, kind: str, symbol: str, value: object, threshold: object, text: str, severity: str) -> None:
        """Pass an anomaly on to the monitor."""
        self._on_anomaly(self, kind, symbol, value, threshold, text, severity)

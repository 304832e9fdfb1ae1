"""The operator's session: which market is in focus, what is watched, what is armed, what is staged, what was said.

It knows no screen. Panes read it, keys and prompt lines change it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from ctos_tui.command.candidates import InstanceInfo, StrategyInfo, Vocabulary
from ctos_tui.command.commands import Command, PlaceCommand
from ctos_tui.command.desk import Desk, ResolveError, Sent
from ctos_tui.command.history import History
from ctos_tui.command.schema import params_of, values_of
from ctos_tui.command.terms import Size, SizeUnit
from ctos_tui.command.words import GrammarError, read_number
from ctos_tui.feed import Feed
from ctos_tui.guard.arming import Arming, ArmingPolicy, Trigger
from ctos_tui.guard.levels import GuardLimits
from ctos_tui.halt_words import in_full
from ctos_tui.markets import LiveMarkets
from ctos_tui.port import Port
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, UnknownSymbol
from engine.kernel.instruments import resolve_symbol
from engine.runtime.accounts import Mode
from engine.runtime.events import TradingStateChanged
from engine.runtime.trading_state import TradingMode, TradingStatus

TIMEFRAMES: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "4h", "1d")
NOTE_SECONDS: Final = 8
_ARMING_STEP_S: Final = 30
_LARGEST_MARKETS: Final = 14
_RECENT: Final = 50
MAJORS: Final = ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "AVAX", "LINK", "DOT", "LTC", "BCH", "TRX", "SUI")


def read_size(text: str) -> Size | None:
    """Return the size that a text names (`0.5`, `500$`, `1k$`, `25%bal`), None when it is none."""
    number = read_number(text.strip())
    if number is None or number.sign or number.magnitude <= 0:
        return None
    if number.unit == "k$":
        return Size(number.magnitude * 1000, SizeUnit.QUOTE)
    units = {unit.value: unit for unit in (SizeUnit.BASE, SizeUnit.QUOTE, SizeUnit.POSITION, SizeUnit.BALANCE)}
    unit = units.get(number.unit)
    return Size(number.magnitude, unit) if unit is not None else None


@dataclass(frozen=True, slots=True)
class Note:
    """Something said to the operator in the note line; `level` is a theme role."""

    text: str
    level: str
    until_ns: int


class Session:
    """State of the desk beside what the engine keeps.

    Args:
        port: The system.
        feed: What was said and printed.
        now: Nanoseconds of the operator's own clock: notes fade and arming ends by it.

    Attributes:
        focus: Canonical name of the focused market; empty before the system has started.
        second: Market of the second ladder.
        timeframe: Candle length of the chart.
        watched: The watch list.
        sizes: Size presets of the ladder.
        size_at: Which of them is chosen.
        history: Lines of the prompt.
        on_change: Called when what panes show of the session has changed at once (focus, theme, staging).
    """

    def __init__(self, port: Port, feed: Feed, now: Callable[[], int]) -> None:
        self.port = port
        self.feed = feed
        self.now = now
        self.focus = ""
        self.second = ""
        self.timeframe = "5m"
        self.watched: list[str] = []
        self.sizes = [size for text in port.settings.sizes if (size := read_size(text)) is not None]
        self.size_at = min(2, len(self.sizes) - 1)
        self.history = History()
        self.note: Note | None = None
        self._size_fits = False
        self.recent: deque[Sent] = deque(maxlen=_RECENT)
        self.themes: tuple[str, ...] = ()
        self.on_focus: Callable[[], None] = lambda: None
        account = port.account
        live = account.mode is Mode.LIVE
        policy = ArmingPolicy.live(account.name) if live else ArmingPolicy.paper(account.name)
        self.arming = Arming(policy)
        port.bus.subscribe(TradingStateChanged, lambda event: self.follow_engine())

    @property
    def is_live(self) -> bool:
        """Return whether orders go to a real venue."""
        return self.port.account.mode is Mode.LIVE

    @property
    def mode_word(self) -> str:
        """Return what is at stake, in one word: LIVE, a venue's DEMO or TESTNET, or PAPER."""
        if not self.is_live:
            return "PAPER"
        account = self.port.account
        return account.environment.upper() if account.is_trial else "LIVE"

    @property
    def size(self) -> Size:
        """Return the ladder's chosen size."""
        return self.sizes[self.size_at]

    def choose_size(self, step: int) -> None:
        """Choose the next larger or smaller size preset."""
        self.size_at = min(max(0, self.size_at + step), len(self.sizes) - 1)

    def set_size(self, size: Size) -> None:
        """Use a size that was typed; it takes the place of the chosen preset."""
        self.sizes[self.size_at] = size

    def say(self, text: str, level: str = "label", *, log: bool = True) -> None:
        """Show a note to the operator, and keep it in the log unless told otherwise."""
        self.note = Note(text, level, self.now() + NOTE_SECONDS * NS_PER_S)
        if log:
            name = {"danger": "error", "warn": "warn"}.get(level, "info")
            self.feed.say(text, name)

    def refuse(self, error: CtosError) -> None:
        """Show why something was refused."""
        plain = type(error) is CtosError or isinstance(error, ResolveError | GrammarError)
        self.say(str(error) if plain else f"{type(error).__name__}: {error}", "danger")

    def current_note(self) -> Note | None:
        """Return the note while it has not faded."""
        if self.note is not None and self.now() >= self.note.until_ns:
            self.note = None
        return self.note

    def look(self) -> None:
        """Take over what the system offers once it has started, and let arming run out; called a few times a second."""
        if self.focus and not self._size_fits:
            self._fit_size()
        ended = self.arming.expire(self.now())
        if ended:
            self.say(ended, "warn")
            if not self._armed_any():
                self.port.lock_hand()
        if self.is_live:
            self._keep_hand_open()
        if self.focus or not self.port.ready or not self.port.instruments:
            return
        self._choose_markets()
        self.follow_engine()

    def _keep_hand_open(self) -> None:
        """Let the engine take orders by hand for as long as the desk is armed: use of a grant has made it longer."""
        left_s = self.arming.left_s(self.now())
        if not left_s or self.port.trading().mode is not TradingMode.ARMED:
            return
        if left_s - self.port.hand_left_s() > _ARMING_STEP_S:
            self.port.open_hand(left_s)

    def _choose_markets(self) -> None:
        instruments = self.port.instruments
        quote = self.port.account.default_quote
        wanted = [symbol for text in self.port.settings.watch if (symbol := self._listed(text))]
        wanted = wanted or [f"{coin}-{quote}-PERP" for coin in MAJORS]
        self.watched = [symbol for symbol in dict.fromkeys(wanted) if symbol in instruments]
        if not self.watched:
            self.watched = list(instruments)[:_LARGEST_MARKETS]
        for symbol in self.watched:
            self.port.watch(symbol, depth=False)
        self.second = self.watched[1] if len(self.watched) > 1 else ""
        if self.second:
            self.port.watch(self.second)
            self.feed.tape(self.second)
        self.show(self.watched[0])

    def show(self, symbol: str) -> None:
        """Focus a market in every pane."""
        if symbol == self.second:
            self.second = self.focus or self.second
        self.focus = symbol
        self.port.watch(symbol)
        self.feed.tape(symbol)
        self.port.watch_bars(symbol, self.timeframe)
        self._size_fits = False
        self._fit_size()
        self.on_focus()

    def _fit_size(self) -> None:
        """Choose a larger size preset while the chosen one is below the market's smallest order."""
        instrument = self.port.instruments[self.focus]
        price = self.port.last(self.focus) or self.port.mark(self.focus)
        if price is None:
            return
        self._size_fits = True
        least = instrument.minimum_order_quantity(Decimal(repr(price))) * Decimal(repr(price)) * Decimal("1.05")
        while self.size.unit is SizeUnit.QUOTE and self.size.value < least and self.size_at < len(self.sizes) - 1:
            self.size_at += 1

    def watch(self, symbol: str) -> None:
        """Put a market on the watch list."""
        if symbol not in self.watched:
            self.watched.append(symbol)
        self.port.watch(symbol, depth=False)

    def unwatch(self, symbol: str) -> None:
        """Take a market off the watch list; its stream goes on."""
        if symbol in self.watched:
            self.watched.remove(symbol)

    def named(self, typed: str) -> str:
        """Return the canonical name of what a person typed.

        Raises:
            UnknownSymbol: Nothing matches.
        """
        account = self.port.account
        return resolve_symbol(typed, dict(self.port.instruments), account.default_quote, account.default_kind).symbol

    def _listed(self, typed: str) -> str:
        """Return the canonical name of an entry of the watch list, nothing where this venue does not list it."""
        try:
            return self.named(typed)
        except UnknownSymbol:
            return ""

    def set_timeframe(self, timeframe: str) -> None:
        """Change the candle length of the chart."""
        self.timeframe = timeframe
        if self.focus:
            self.port.watch_bars(self.focus, timeframe)

    def follow_engine(self) -> None:
        """Take over the engine's gate: a halt latches here too, a release lets the desk be armed again."""
        status = self.port.trading()
        if status.mode is TradingMode.HALTED:
            if not self.arming.halted:
                self.arming.halt(status.cause)
                self.feed.say(in_full(status, self.port.account.name, self.port.now_ns()), "error")
        else:
            if self.arming.halted:
                self.arming.release()
            if status.mode is TradingMode.DISARMED:
                self.arming.disarm()
            elif status.mode is TradingMode.ARMED and not self.is_live and not self._armed_any():
                self.arming.arm(self.now())

    def _armed_any(self) -> bool:
        now = self.now()
        return self.arming.everything(now) or bool(self.arming.symbols(now))

    def desk(self) -> Desk:
        """Return everything that resolving, previewing and completing a line needs."""
        port = self.port
        figures = port.figures()
        limits = port.account.limits
        status = port.trading()
        now = self.now()
        open_to_all = self.arming.everything(now) and status.mode is TradingMode.ARMED
        return Desk(
            now_ns=port.now_ns(),
            focus=self.focus,
            markets=LiveMarkets(port),
            orders=port.working_orders(),
            watch=tuple(self.watched),
            equity=figures.equity,
            free=figures.free,
            exposure=figures.gross,
            limits=GuardLimits(
                soft_order=limits.max_order_usd / 2,
                hard_order=limits.max_order_usd,
                soft_exposure=limits.max_notional_usd * Decimal("0.8"),
                hard_exposure=limits.max_notional_usd,
                max_leverage=limits.max_leverage,
                band_bp=limits.price_band_bp,
            ),
            default_quote=port.account.default_quote,
            default_kind=port.account.default_kind,
            halted=self.arming.halted,
            armed_all=open_to_all,
            armed=self.arming.symbols(now) if status.mode is TradingMode.ARMED else frozenset(),
            closed=_closed(status),
            recent=tuple(self.recent),
        )

    def vocabulary(self) -> Vocabulary:
        """Return what completion knows beside the desk."""
        classes = self.port.strategies()
        strategies = {
            name: StrategyInfo(name, strategy.title, params_of(strategy.params_model))
            for name, strategy in classes.items()
        }
        instances = {}
        for row in self.port.instances():
            values = values_of(self.port.params(row.name))
            instances[row.name] = InstanceInfo(row.name, row.strategy, row.state, values)
        return Vocabulary(strategies, instances, self.themes, self.port.settings.accounts, tuple(self.sizes))

    def send(self, commands: tuple[Command, ...]) -> int:
        """Carry out commands one after the other; returns how many were accepted, each other is refused with a note."""
        accepted = 0
        for command in commands:
            try:
                self.port.send(command)
            except CtosError as error:
                self.refuse(error)
                continue
            accepted += 1
            if isinstance(command, PlaceCommand):
                sent = Sent(command.symbol, command.side, command.quantity, command.price, self.port.now_ns())
                self.recent.append(sent)
                self.arming.used(command.symbol, self.now())
        return accepted

    def arm(self, symbol: str | None, seconds: int | None, typed: str = "") -> None:
        """Let orders pass, for one market or all.

        Raises:
            CtosError: The name is wrong, the time too long, or trading is halted.
        """
        self.arming.arm(self.now(), symbol, seconds, typed)
        try:
            self.port.arm(seconds if seconds is not None else self.arming.policy.span_s)
        except CtosError:
            self.arming.disarm()
            raise
        self.say(f"armed {symbol or 'all markets'}: orders pass", "warn")

    def disarm(self, reason: str) -> None:
        """Let no new order pass."""
        self.arming.disarm()
        self.port.disarm(reason)
        running = [row.name for row in self.port.instances() if row.state == "running"]
        named = (
            f"; {', '.join(running)} cannot send, not even to reduce: stop them or watch their stops" if running else ""
        )
        self.say(f"disarmed: only cancels and reductions by hand pass{named}")

    def lock_hand(self, trigger: Trigger) -> None:
        """Where the account asks for it, let no order by hand increase exposure until a person arms the desk again."""
        note = self.arming.trigger(trigger)
        if note:
            self.port.lock_hand()
            self.say(note, "warn")

    def state_word(self) -> str:
        """Return whether the account trades, and whether the operator's own orders pass, for the status bar."""
        mode = self.port.trading().mode
        if mode is TradingMode.HALTED or self.arming.halted:
            progress = self.port.halt_progress()
            count = f" {len(progress.unconfirmed)}" if progress.unconfirmed else ""
            return f"HALTED{count} unconfirmed" if progress.is_trouble else "HALTED"
        if mode is not TradingMode.ARMED:
            return "REDUCE-ONLY" if mode is TradingMode.REDUCE_ONLY else "DISARMED"
        return self.arming.label(self.now(), self.focus).replace("DISARMED", "ARMED · HAND LOCKED")


def _closed(status: TradingStatus) -> str:
    """Return what stands against an order by hand that is not let pass, and what would do."""
    if status.mode is TradingMode.REDUCE_ONLY:
        return f"REDUCE-ONLY ({status.reason}): only cancels and reduce-only orders pass"
    return f"{'DISARMED' if status.mode is TradingMode.DISARMED else 'HAND LOCKED'}: press A or type arm"

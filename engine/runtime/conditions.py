"""Conditions under which an account must not trade freely: each restricts it, and if it lasts, or is grave, halts it.

A restriction of this kind ends by itself when its cause has been gone for a while: it is about not seeing, not
reaching, or holding too much now, and every order is checked again anyway. A halt is for a person to release.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.kernel.clock import NS_PER_S, TimerHandle
from engine.kernel.errors import CtosError
from engine.runtime.accounts import Mode
from engine.runtime.core import EngineCore
from engine.runtime.panic import is_protective
from engine.runtime.position_gap import PositionGap
from engine.runtime.reconcile import Reconciler
from engine.runtime.risk.limits import number, usd

LOOK_S = 1.0
CLEAR_S = 10
"""How long a cause must be gone before what it restricted passes again."""
LAG_NS = 2 * NS_PER_S
SILENT_S = 25
"""Working orders are compared every 10 s; after so long without an agreement the venue does not answer."""
WHO = "engine"
NEW_KEY = "put a working key into accounts.yaml and start again"


@dataclass(slots=True, frozen=True)
class Rule:
    """What a condition leads to.

    Attributes:
        kind: Its name.
        check: Returns the condition in words while it lasts, else nothing.
        restrict_s: After how many seconds the account only reduces.
        halt_s: After how many seconds the account halts; None for never.
    """

    kind: str
    check: Callable[[], str]
    restrict_s: float = 0
    halt_s: float | None = None


@dataclass(slots=True)
class _Cause:
    text: str
    since_ns: int
    gone_ns: int | None = None


class Conditions:
    """Looks once a second.

    Args:
        core: The engine's shared parts.
        reconciler: Knows whether the venue answers.
        halt: Halts the account for a reason.
    """

    def __init__(self, core: EngineCore, reconciler: Reconciler, halt: Callable[[str], object]) -> None:
        self._core = core
        self._reconciler = reconciler
        self._halt = halt
        self._gap = PositionGap(core)
        self._causes: dict[str, _Cause] = {}
        self._reported: dict[str, str] = {}
        self._timer: TimerHandle | None = None
        self._looked_ns = self._watched_ns = self._stood_ns = 0
        self._lag_s = 0.0
        self._rules = (
            Rule("limits", self._limits),
            Rule("profit", self._profit, restrict_s=30),
            Rule("data", self._data, restrict_s=20, halt_s=110),
            Rule("marks", self._marks, restrict_s=5),
            Rule("venue", self._venue, restrict_s=5),
            Rule("exposed", self._exposed_to_silence, restrict_s=5, halt_s=95),
            Rule("clock", self._clock),
            Rule("ban", self._ban),
            Rule("banned_orders", self._ban_with_orders, halt_s=0),
            Rule("key", self._key, halt_s=0),
            Rule("mismatch", self._mismatch, restrict_s=30, halt_s=60),
            Rule("lag", self._lag),
            Rule("reported", lambda: "; ".join(self._reported.values())),
        )

    def start(self) -> None:
        """Begin to look."""
        self.stop()
        self._note_time()
        self._core.risk.notice = self.notice
        self._timer = self._core.clock.call_later(LOOK_S, self._tick)

    def stop(self) -> None:
        """End looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def report(self, kind: str, text: str) -> None:
        """Take in a condition that somebody else watches, such as memory that runs out; an empty text ends it."""
        if text:
            self._reported[kind] = text
        else:
            self._reported.pop(kind, None)

    def causes(self, *, halting: bool = False) -> list[str]:
        """Return what holds now, in words; with `halting` only what would halt the account again at once."""
        now_ns = self._core.clock.now_ns()
        found = []
        for rule in self._rules:
            text = rule.check()
            cause = self._causes.get(rule.kind)
            lasted_s = 0.0 if cause is None else (now_ns - cause.since_ns) / NS_PER_S
            if text and (not halting or (rule.halt_s is not None and lasted_s >= rule.halt_s)):
                found.append(text)
        return found

    def look(self) -> None:
        """Judge every condition now."""
        now_ns = self._core.clock.now_ns()
        restricting = []
        for rule in self._rules:
            cause = self._follow(rule.kind, rule.check(), now_ns)
            if cause is None:
                continue
            lasted_s = (now_ns - cause.since_ns) / NS_PER_S
            if rule.halt_s is not None and cause.gone_ns is None and lasted_s >= rule.halt_s:
                if not self._core.risk.is_halted:
                    self._halt(f"{cause.text}{self._what_goes()}")
                return
            if lasted_s >= rule.restrict_s:
                restricting.append(cause.text)
        if restricting:
            self._core.trading.restrict(WHO, "; ".join(dict.fromkeys(restricting)), lifts=True)
        else:
            self._core.trading.lift(WHO, "what restricted it is over")

    def _what_goes(self) -> str:
        """Tell how many orders a halt takes back: armed or not, what nobody can watch must not rest."""
        going = [o for o in self._core.tracker.working() if not (o.external or is_protective(o))]
        return f"; orders being cancelled until the venue confirms it: {len(going)}" if going else ""

    def _follow(self, kind: str, text: str, now_ns: int) -> _Cause | None:
        """Return a condition that holds, or held until a moment ago; its first words stay."""
        cause = self._causes.get(kind)
        if text:
            if cause is None:
                cause = self._causes[kind] = _Cause(text, now_ns)
            cause.gone_ns = None
            return cause
        if cause is None:
            return None
        if cause.gone_ns is None:
            cause.gone_ns = now_ns
        if now_ns - cause.gone_ns >= CLEAR_S * NS_PER_S or now_ns == cause.since_ns:
            del self._causes[kind]
            return None
        return cause if self._core.trading.status.lifts else None

    def notice(self) -> None:
        """Notice that the program stood still, at the latest when an order wants to pass: looks may be overdue, too."""
        if self._timer is not None and self._late_ns() > LAG_NS:
            self._measure_lag()
            self.look()

    def _tick(self) -> None:
        self._timer = self._core.clock.call_later(LOOK_S, self._tick)
        self._measure_lag()
        self.look()

    def _note_time(self) -> None:
        clock = self._core.clock
        self._looked_ns, self._watched_ns = clock.now_ns(), clock.stopwatch_ns()

    def _late_ns(self) -> float:
        """Return by how much the next look is late, in real time."""
        clock = self._core.clock
        real_ns = clock.stopwatch_ns() - self._watched_ns
        if self._core.account.mode is Mode.LIVE:
            return real_ns - LOOK_S * NS_PER_S  # a machine that slept counts: the loop's own time slept with it
        # A paper market may run at another speed than the loop.
        passed_ns = clock.now_ns() - self._looked_ns
        return (passed_ns - LOOK_S * NS_PER_S) * real_ns / passed_ns if passed_ns > 0 else 0

    def _measure_lag(self) -> None:
        """Notice that the loop stood still: what the venue said meanwhile is asked for before trading goes on."""
        late_ns = self._late_ns()
        self._note_time()
        if late_ns > LAG_NS:
            self._stood_ns, self._lag_s = self._looked_ns, late_ns / NS_PER_S
            text = f"the program stood still for {self._lag_s:.1f} s; nothing is added until the venue agrees with us"
            # No CRIT, which would block entries until a person has seen it: this restriction ends by itself.
            self._core.alarm("loop_lag", text)
            self._reconciler.look_at_orders(anew=True)
            self._reconciler.look_at_account(anew=True)
        elif self._reconciler.last_agreed_ns >= self._stood_ns:
            self._lag_s = 0.0

    def _limits(self) -> str:
        """Tell that more is held than a limit allows: nothing is sold because of that, but nothing is added."""
        book, limits = self._core.portfolio, self._core.account.limits
        try:
            gross = book.gross_notional()
        except CtosError:
            return ""  # Not computable: that is a condition of its own, told by the loss guard.
        if gross > limits.max_notional_usd:
            return f"max_notional_usd: {usd(gross)} is held, more than the limit {usd(limits.max_notional_usd)}"
        leverage = book.leverage()
        if leverage is not None and leverage > limits.max_leverage:
            held = number(leverage.quantize(limits.max_leverage / 100))
            return f"max_leverage: {held}x is held, more than the limit {number(limits.max_leverage)}x"
        return ""

    def _profit(self) -> str:
        blind = self._core.risk.losses.is_blind
        return "profit and loss of what is held cannot be computed: a price lacks" if blind else ""

    def _data(self) -> str:
        """Tell that prices of what is held do not arrive; a quiet market on a live connection is no such case."""
        core = self._core
        ill = core.market.down_links()
        if not ill:
            return ""
        stale = {symbol for _, symbol, _ in core.holdings() if core.market.is_stale(symbol)}
        if not stale:
            return ""
        return f"no prices of {', '.join(sorted(stale))}, which is held: {ill[0].name} {ill[0].state.value}"

    def _marks(self) -> str:
        """Tell that the touch stands in for mark prices: they value what is held, and meet the stops kept here."""
        core, market = self._core, self._core.market
        symbols = {symbol for _, symbol, _ in core.holdings()}
        symbols.update(order.symbol for order in core.tracker.working() if order.held)
        marked = (symbol for symbol in symbols if market.mark(symbol) is not None and not market.is_stale(symbol))
        blind = [symbol for symbol in marked if market.are_prints_lost(symbol)]
        if not blind:
            return ""
        why = next((f"{link.name} {link.state.value}" for link in market.down_links()), "none since a connection broke")
        return f"no mark prices of {', '.join(sorted(blind))}, bid and ask stand in for them: {why}"

    def _venue(self) -> str:
        silent_s = (self._core.clock.now_ns() - self._reconciler.last_agreed_ns) / NS_PER_S
        if not self._reconciler.last_agreed_ns or silent_s <= SILENT_S:
            return ""
        return f"the venue does not answer: {self._reconciler.last_error or 'nothing was heard'}"

    def _exposed_to_silence(self) -> str:
        return self._venue() if self._core.holdings() or self._core.tracker.working() else ""

    def _clock(self) -> str:
        health = self._core.driver.health()
        error_ms, limit_ms = health.clock_error_ms, health.clock_limit_ms
        if error_ms is None or error_ms <= limit_ms:
            return ""
        return f"the venue's time is known to {error_ms:.0f} ms only, orders need {limit_ms:.0f} ms"

    def _ban(self) -> str:
        health = self._core.driver.health()
        if health.banned_until_ms is None:
            return ""
        until = datetime.fromtimestamp(health.banned_until_ms / 1000, UTC).strftime("%H:%M:%S UTC")
        return f"the venue serves us nothing until {until}: too many requests"

    def _ban_with_orders(self) -> str:
        resting = [order for order in self._core.tracker.working() if not order.held and not order.external]
        ban = self._ban() if resting else ""
        return f"{ban}; {len(resting)} orders are at the venue" if ban else ""

    def _key(self) -> str:
        refused = self._reconciler.refused
        return f"the venue refuses the key: {refused}; {NEW_KEY}" if refused else ""

    def _mismatch(self) -> str:
        """Tell that a position at the venue is not the sum of our ledgers, while the venue answers."""
        apart = [] if self._reconciler.last_error else self._gap.symbols()
        return f"the venue's position is not ours: {', '.join(apart)}" if apart else ""

    def _lag(self) -> str:
        return f"the program stood still for {self._lag_s:.1f} s" if self._lag_s else ""

"""The line at the top: what is at stake, whether the account trades, why not, what is wrong, what it is worth."""

from __future__ import annotations

from ctos_tui.halt_words import cause_within
from ctos_tui.numbers import UNKNOWN, fixed, money, percent, pnl, utc_time
from ctos_tui.panes.cells import Span, Spans, fit, spans_width
from ctos_tui.panes.describe import short_symbol, signed_role
from ctos_tui.panes.lines import FixedLine
from ctos_tui.port import Health
from ctos_tui.text import clean, ellipsis, width
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_MS
from engine.runtime.trading_state import TradingMode

_TROUBLE_CELLS = (1000, 24, 0)
_GAP = 2
_MARK, _LINK = 3, 7
_LINK_CELLS = 3
_LEAST_REASON, _SHORTEST, _REASON = 12, 8, 28
_CLOSED = (TradingMode.HALTED, TradingMode.REDUCE_ONLY)
_STATE_ROLES = {"HALTED": "halted", "ARMED": "armed", "REDUCE-ONLY": "reduce_only"}


class StatusLine(FixedLine):
    """Who, where, armed or not, what it is worth, how it does."""

    HZ = 2

    def pull(self) -> None:
        """Show the status of now."""
        clock: Span = (utc_time(self.host.port.now_ns() // NS_PER_MS) + "Z", "label")
        room = self.row_width - spans_width((clock,)) - 2
        for words in _TROUBLE_CELLS:
            parts = self._parts(words, room)
            if sum(spans_width(spans) + _GAP for _, spans in parts) <= room + _GAP:
                break
        parts = _chosen(parts, room)
        if not any(priority in (_MARK, _LINK) for priority, _ in parts):
            # How old the newest price is goes before the mark that all is well.
            parts = _chosen(self._parts(words, room, with_age=False), room)
        line: list[Span] = []
        for _, spans in parts:
            if line:
                line.append(("  ", "text"))
            line.extend(spans)
        shown = fit(tuple(line), max(0, room)) if room > 8 else fit(tuple(line), self.row_width)
        gap = self.row_width - spans_width(shown) - spans_width((clock,))
        self.show_line((*shown, (" " * gap, "text"), clock) if gap > 0 else shown)

    def _parts(self, trouble_cells: int, room: int, with_age: bool = True) -> list[tuple[int, Spans]]:
        """Return pieces of the line, each with its priority: 0 stays, the highest goes first.

        Args:
            trouble_cells: Room for the words of each trouble; with none its name alone stays, whatever else goes.
            room: Cells of the whole line.
            with_age: Whether the age of the newest price stands beside the mark of a good link.
        """
        port, session = self.host.port, self.session
        account, figures = port.account, port.figures()
        mode: Span = (f" {session.mode_word} ", "live" if session.is_live else "paper")
        label = session.state_word()
        role = _STATE_ROLES.get(label.partition(" ")[0], "disarmed")
        quote = port.account.default_quote
        leverage = UNKNOWN if figures.leverage is None else f"{fixed(figures.leverage, 1)}×"
        day = figures.day_profit
        share = day / (figures.equity - day) if day is not None and figures.equity and figures.equity != day else None
        # Whether trading is armed is the second word of the line already.
        trouble = [part for part in port.health() if part.level != "good" and part.name != "trading"]
        name = account.name if account.name == account.venue else f"{account.venue}·{account.name}"
        active = [row for row in port.anomalies() if row.active]
        # What blocks entries stays in sight until it is over, seen or not.
        grave = sum(1 for row in active if row.severity == Severity.CRIT)
        fresh = sum(1 for row in active if row.severity != Severity.CRIT and not row.acknowledged)
        age_ms = port.age_ms(session.focus) if session.focus else None
        parts: list[tuple[int, Spans]] = [
            (0, (mode, (f" {label} ", role))),
            (0, ((f"{name}#{account.index}", "text"),)),
            (4, ((short_symbol(session.focus, quote) if session.focus else "starting …", "bright"),)),
            (5, (("eq ", "label"), (money(figures.equity), "bright"))),
            (8, (("day ", "label"), (pnl(day), signed_role(day)))),
            (9, ((percent(share), signed_role(share)),)),
            (10, (("lev ", "label"), (leverage, "text"))),
        ]
        if not session.is_live:
            # Whose market a paper account trades on is part of what it is; an invented one is not.
            parts.insert(2, (6 if port.market_label.startswith("live") else 12, ((port.market_label, "dim"),)))
        if trouble and trouble_cells:
            told = ((f"● {part.name} {ellipsis(part.text, trouble_cells)} ", part.level) for part in trouble[:2])
            lamps: list[tuple[int, Spans]] = [(1, tuple(told))]
        elif trouble:
            lamps = [(min(at, 1), (_lamp(part),)) for at, part in enumerate(trouble[:3])]
        else:
            age = "" if age_ms is None or not with_age else f" {min(age_ms, 9999)}ms"
            lamps = [(_LINK if age else _MARK, (("●", "good"), (age, "dim")))]
        marks: list[tuple[int, Spans]] = []
        if grave:
            marks.append((0, ((f"✗{grave} CRIT", "danger"),)))
        if fresh:
            marks.append((1, ((f"▲{fresh}", "warn"),)))
        cause = self._cause([*parts, *lamps, *marks], room, _LEAST_REASON)
        if cause == "" and len(trouble) > 1 and not trouble_cells:
            # Why the account is closed counts more than the names of all that is wrong besides.
            worst = max(trouble, key=lambda part: part.level == "danger")
            lamps = [(0, (_lamp(worst), (f"+{len(trouble) - 1}", worst.level)))]
            cause = self._cause([*parts, *lamps, *marks], room, _SHORTEST)
        if cause:
            role = "danger" if port.trading().mode is TradingMode.HALTED else "warn"
            parts.insert(1, (2, ((cause, role),)))
        lag = (11, ((f"lag {self.lines_host.lag_ms:.0f}ms {self.lines_host.link_status}", "dim"),))
        return [*parts, *lamps, lag, *marks]

    def _cause(self, others: list[tuple[int, Spans]], room: int, least: int) -> str | None:
        """Return why not everything passes, cut to what the marks among the other pieces leave.

        The market may go for it; why, by whom and since when take at most half of the line.

        Args:
            others: The other pieces.
            room: Cells of the whole line.
            least: Cells in which it is worth telling.

        Returns:
            The words; empty when there is no room for them, None when there is nothing to tell.
        """
        status = self.host.port.trading()
        if status.mode not in _CLOSED or not status.cause:
            return None
        beside = sum(spans_width(spans) + _GAP for priority, spans in others if priority <= 1)
        reserved = _LINK_CELLS if any(priority in (_MARK, _LINK) for priority, _ in others) else 0
        cells = min(room - beside - reserved, max(room // 2, _REASON))
        if cells < min(least, width(clean(status.reason or status.who))):
            return ""
        return cause_within(status, self.host.port.now_ns(), cells)


def _lamp(part: Health) -> Span:
    return (f"●{part.name}", part.level)


def _chosen(parts: list[tuple[int, Spans]], room: int) -> list[tuple[int, Spans]]:
    """Return the pieces that fit, the lowest priorities first, in their order on the line."""
    kept: set[int] = set()
    room += _GAP
    for index in sorted(range(len(parts)), key=lambda index: (parts[index][0], index)):
        priority, spans = parts[index]
        cells = spans_width(spans) + _GAP
        if priority and cells > room:
            break
        room -= cells
        kept.add(index)
    return [part for index, part in enumerate(parts) if index in kept]

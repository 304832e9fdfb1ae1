"""What is wrong, how badly, and what was done about it; equal reports are one row with a count."""

from __future__ import annotations

import re
from functools import partial

from ctos_tui.numbers import duration, utc_time
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.describe import short_symbol
from ctos_tui.port import AnomalyRow
from ctos_tui.text import clean
from engine.kernel.errors import CtosError

_TIME = re.compile(r"(\d{1,6})\s*([smhd]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

SEVERITY = {"INFO": ("·", "label"), "WARN": ("▲", "warn"), "CRIT": ("✗", "danger")}


class Anomalies(Pane):
    """Anomalies of the monitor, newest first."""

    TITLE = "ANOMALIES"
    CONTEXT = "anomalies"
    EMPTY = "nothing is wrong"
    HZ = 4
    COLUMNS = Columns(
        (
            Column("#", 4, priority=1),
            Column("time", 8, "left"),
            Column("", 6, "left"),
            Column("kind", 14, "left", priority=2),
            Column("market", 9, "left", priority=3),
            Column("×", 3, priority=4),
            Column("what", 20, "left", grow=1),
        )
    )

    def pull(self) -> None:
        """Show the anomalies."""
        layout = self.layout_columns()
        found = self.host.port.anomalies()
        rows = [Row(row.id, layout.line(self._cells(row))) for row in found]
        info: list[Span] = [(str(len(rows)), "label")]
        fresh = sum(1 for row in found if not row.acknowledged and row.active)
        if fresh:
            info.append((f"▲{fresh} new", "warn"))
        self.set_rows(rows, tuple(info))

    def _cells(self, row: AnomalyRow) -> list[Span]:
        mark, role = SEVERITY.get(row.severity, ("·", "label"))
        if row.acknowledged or not row.active:
            role = "dim"
        seen = "✓ " if row.acknowledged else ""
        if row.decision:
            seen += "decide: e · "
        if row.muted:
            seen += f"quiet until {utc_time(row.muted_until_ms)} · "
        return [
            (row.id, role if role == "dim" else "label"),
            (utc_time(row.ts_ms), "dim"),
            (f"{mark} {row.severity}", role),
            (clean(row.kind), "text" if role != "dim" else "dim"),
            (
                short_symbol(row.symbol, self.host.port.account.default_quote) if row.symbol else clean(row.instance),
                "text",
            ),
            (str(row.count) if row.count > 1 else "", "label"),
            (seen + clean(row.text), "text" if role != "dim" else "dim"),
        ]

    def actions(self) -> Actions:
        """Return what can be done with an anomaly."""
        return self.row_actions() | {
            "anomalies.open": self._open,
            "anomalies.acknowledge": self._acknowledge,
            "anomalies.mute": self._mute,
            "anomalies.decide": self._decide,
            "anomalies.go": self._go,
        }

    def _chosen(self) -> AnomalyRow | None:
        row = self.selected
        found = None
        if row is not None:
            found = next((anomaly for anomaly in self.host.port.anomalies() if anomaly.id == row.key), None)
        if found is None:
            self.nothing_selected("anomaly")
        return found

    def _open(self) -> None:
        row = self._chosen()
        if row is not None:
            from ctos_tui.screens.details import AnomalyDetail

            self.host.open_card(AnomalyDetail(row.id))

    def _acknowledge(self) -> None:
        row = self._chosen()
        if row is not None:
            self.host.port.acknowledge(row.id)
            self.pull()

    def _mute(self) -> None:
        row = self._chosen()
        if row is not None:
            about = f"#{row.id} {row.kind}"
            self.host.ask(f"quiet for how long, {about} (10m, 2h, 1d; 0 ends it)", partial(self._quiet, row), "10m")

    def _quiet(self, row: AnomalyRow, text: str) -> None:
        found = _TIME.fullmatch(text.strip())
        if found is None:
            self.session.say(f"{text.strip() or 'nothing'} is no time: write 30s, 10m, 2h or 1d", "warn", log=False)
            return
        seconds = int(found[1]) * _SECONDS[found[2] or "m"]
        self.host.port.mute(row.id, seconds)
        about = f"{row.kind} {row.symbol or row.instance}".strip()
        if seconds:
            self.session.say(f"{about} is quiet for {duration(seconds)}; what it blocks stays blocked")
        else:
            self.session.say(f"{about} is told again")
        self.pull()

    def _decide(self) -> None:
        row = self._chosen()
        if row is None:
            return
        if not row.decision:
            self.session.say(f"there is nothing to decide about #{row.id} {row.kind}", "warn", log=False)
            return
        self.host.ask(f"#{row.id}: {row.decision}; why?", partial(self._decided, row))

    def _decided(self, row: AnomalyRow, reason: str) -> None:
        now = next((anomaly for anomaly in self.host.port.anomalies() if anomaly.id == row.id), row)
        if now.decision != row.decision:
            self.session.say(f"not done: #{row.id} has changed to: {now.decision or 'nothing to decide'}", "warn")
            return
        try:
            self.host.port.decide(row.id, reason)
        except CtosError as error:
            self.session.say(str(error), "warn")
        else:
            self.session.say(f"#{row.id} decided: {row.decision}")
        self.pull()

    def _go(self) -> None:
        row = self._chosen()
        if row is None:
            return
        if row.symbol:
            self.host.show_market(row.symbol)
        else:
            self.session.say("this anomaly names no market", "warn", log=False)

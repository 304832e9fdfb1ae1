"""What is wrong, how badly, and what was done about it; equal reports are one row with a count."""

from __future__ import annotations

from ctos_tui.numbers import utc_time
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span
from ctos_tui.panes.describe import short_symbol
from ctos_tui.port import AnomalyRow
from ctos_tui.text import clean

SEVERITY = {"INFO": ("·", "label"), "WARN": ("▲", "warn"), "CRIT": ("✗", "danger")}


class Anomalies(Pane):
    """Anomalies of the monitor, newest first."""

    TITLE = "ANOMALIES"
    CONTEXT = "anomalies"
    EMPTY = "nothing is wrong"
    HZ = 4
    COLUMNS = Columns(
        (
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
        seen = " ✓" if row.acknowledged else " muted" if row.muted else ""
        return [
            (utc_time(row.ts_ms), "dim"),
            (f"{mark} {row.severity}", role),
            (clean(row.kind), "text" if role != "dim" else "dim"),
            (
                short_symbol(row.symbol, self.host.port.account.default_quote) if row.symbol else clean(row.instance),
                "text",
            ),
            (str(row.count) if row.count > 1 else "", "label"),
            (clean(row.text) + seen, "text" if role != "dim" else "dim"),
        ]

    def actions(self) -> Actions:
        """Return what can be done with an anomaly."""
        return self.row_actions() | {
            "anomalies.open": self._open,
            "anomalies.acknowledge": self._acknowledge,
            "anomalies.mute": self._mute,
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
            self.host.port.mute(row.id)
            self.session.say(f"{row.kind} is quiet for ten minutes")
            self.pull()

    def _go(self) -> None:
        row = self._chosen()
        if row is None:
            return
        if row.symbol:
            self.host.show_market(row.symbol)
        else:
            self.session.say("this anomaly names no market", "warn", log=False)

"""What runs: state, profit, orders, the last word, and why something does not trade."""

from __future__ import annotations

from ctos_tui.numbers import age, compact, pnl
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Column, Columns, Row, Span, Spans
from ctos_tui.panes.describe import short_symbol, signed
from ctos_tui.port import InstanceRow
from ctos_tui.text import clean
from engine.kernel.clock import NS_PER_MS

_ROLES = {"running": "good", "warmup": "accent", "paused": "warn", "faulted": "danger", "halted": "danger"}
_MARKS = {"running": "●", "warmup": "◌", "paused": "‖", "faulted": "✗", "halted": "■", "stopped": "○", "stopping": "◍"}


def state_cell(state: str) -> Spans:
    """Return a strategy's state as mark and word."""
    role = _ROLES.get(state, "label")
    return ((f"{_MARKS.get(state, '·')} ", role), (state.upper(), role))


class Strategies(Pane):
    """Strategy instances."""

    TITLE = "STRATEGIES"
    CONTEXT = "strategies"
    EMPTY = "none runs: press n to launch one"
    HZ = 4
    COLUMNS = Columns(
        (
            Column("name", 8, "left"),
            Column("strategy", 14, "left", priority=6),
            Column("market", 9, "left", priority=5),
            Column("state", 10, "left"),
            Column("PnL", 9),
            Column("held", 6, priority=4),
            Column("ord", 3, priority=3),
            Column("tick", 4, priority=7),
            Column("why not / last", 12, "left", priority=1, grow=1),
        )
    )

    def pull(self) -> None:
        """Show the instances."""
        layout = self.layout_columns()
        instances = self.host.port.instances()
        rows = [Row(row.name, layout.line(self._cells(row))) for row in instances]
        self.set_rows(rows, ((str(len(rows)), "label"),))

    def _cells(self, row: InstanceRow) -> list[Span | Spans]:
        now_ms = self.host.port.now_ns() // NS_PER_MS
        quote = self.host.port.account.default_quote
        name = short_symbol(row.symbols[0], quote) if row.symbols else "—"
        more = f"+{len(row.symbols) - 1}" if len(row.symbols) > 1 else ""
        word: Span = (clean(row.last_word), "dim")
        # Once it has stopped, what it waited for before says nothing.
        why = row.why if row.state in ("running", "warmup") else row.reason or row.why
        if why:
            word = (f"why: {clean(why)}", "warn")
        return [
            (clean(row.name), "bright"),
            (clean(row.strategy), "text"),
            (name + more, "text"),
            state_cell(row.state),
            signed(pnl(row.profit), row.profit),
            (compact(row.notional), "label"),
            (str(row.open_orders), "label"),
            (age((now_ms - row.last_event_ms) / 1000) if row.last_event_ms else "—", "dim"),
            word,
        ]

    def actions(self) -> Actions:
        """Return what can be done with strategies."""
        return self.row_actions() | {
            "strategies.new": self._new,
            "strategies.pause": self._pause,
            "strategies.amend": self._amend,
            "strategies.stop": self._stop,
            "strategies.open": self._open,
        }

    def _chosen(self) -> InstanceRow | None:
        row = self.selected
        found = None
        if row is not None:
            found = next((instance for instance in self.host.port.instances() if instance.name == row.key), None)
        if found is None:
            self.nothing_selected("strategy")
        return found

    def _new(self) -> None:
        from ctos_tui.screens.launch import StrategyPicker

        self.host.open_card(StrategyPicker())

    def _pause(self) -> None:
        row = self._chosen()
        if row is not None:
            self.host.run_line(f"{'pause' if row.state == 'running' else 'resume'} {row.name}")

    def _amend(self) -> None:
        row = self._chosen()
        if row is not None:
            from ctos_tui.screens.launch import AmendForm

            self.host.open_card(AmendForm(row.name, self.host.port.params(row.name)))

    def _stop(self) -> None:
        row = self._chosen()
        if row is None:
            return
        if row.state == "stopped":
            self.session.say(f"{row.name} is stopped already", "warn", log=False)
            return
        from ctos_tui.screens.questions import StopQuestion

        self.host.open_card(StopQuestion(row.name))

    def _open(self) -> None:
        row = self._chosen()
        if row is not None:
            from ctos_tui.screens.details import InstanceDetail

            self.host.open_card(InstanceDetail(row.name))

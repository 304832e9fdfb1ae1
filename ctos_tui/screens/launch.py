"""Forms for strategies: pick one, set its parameters, launch it; change those of a running one as a diff."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from ctos_tui.command.preview import SEPARATOR
from ctos_tui.command.schema import ParamInfo, params_of, values_of
from ctos_tui.line_edit import LineEdit
from ctos_tui.numbers import UNKNOWN
from ctos_tui.panes.cells import Row, Span, Spans
from ctos_tui.port import Change
from ctos_tui.screens.card import BLANK, Card, paragraph
from ctos_tui.screens.field_card import typed_spans
from ctos_tui.text import clean
from engine.kernel.errors import CtosError
from engine.kernel.strategy import Params

_NAME_CELLS = 24
_VALUE_CELLS = 16
_RISK = "risk."


class StrategyPicker(Card):
    """The strategies that can be launched."""

    TITLE = "LAUNCH A STRATEGY"
    EMPTY = "no strategy is installed"

    def pull(self) -> None:
        """Show the strategies."""
        classes = self.host.port.strategies()
        rows = [
            Row(name, ((name.ljust(20), "bright"), (clean(strategy.title), "text")))
            for name, strategy in classes.items()
        ]
        fresh = self.view.key is None
        self.set_rows(rows, (("Enter picks", "dim"),))
        if fresh and rows:
            self.view.go(0)
            self.repaint_changed()

    def accept(self) -> None:
        """Open the form of the marked strategy."""
        row = self.selected
        if row is not None:
            self.host.open_card(LaunchForm(str(row.key)))


class Form(Card):
    """Parameters, one a row; typing changes the marked one."""

    TRADES = True

    def __init__(self, title: str, infos: Sequence[ParamInfo], values: dict[str, str]) -> None:
        super().__init__(title=title)
        self.infos = infos
        self.before = values
        self.edits = {info.name: LineEdit(values.get(info.name, ""), len(values.get(info.name, ""))) for info in infos}
        self.at = 0
        self.error = ""

    def head(self, cells: int) -> list[Row]:
        """Return what stands above the parameters."""
        return []

    def foot(self, cells: int) -> list[Row]:
        """Return what stands below them."""
        return []

    def apply(self) -> None:
        """Do what the form is for."""

    @property
    def changes(self) -> dict[str, str]:
        """Return the parameters that differ from what they were."""
        return {name: edit.text.strip() for name, edit in self.edits.items() if edit.text.strip() != self.before[name]}

    def pull(self) -> None:
        """Show the form."""
        cells = self.row_width
        rows = [*self.head(cells), Row("gap head", BLANK)]
        rows += [self._field(index, info) for index, info in enumerate(self.infos)]
        rows += self.foot(cells)
        self.set_rows(rows, (("Tab next · Enter goes on · Escape drops", "dim"),))
        self.select(f"field {self.infos[self.at].name}")

    def _field(self, index: int, info: ParamInfo) -> Row:
        active = index == self.at
        changed = info.name in self.changes
        role = "own_order" if changed else "bright"
        edit = self.edits[info.name]
        shown = typed_spans(edit, active=active, role=role) if edit.text or active else ((UNKNOWN, "dim"),)
        used = sum(len(text) for text, _ in shown)
        spans: list[Span] = [
            (info.name.ljust(_NAME_CELLS), "text" if active else "label"),
            *shown,
            (" " * max(1, _VALUE_CELLS - used), "text"),
            (info.help, "dim"),
        ]
        return Row(f"field {info.name}", tuple(spans))

    def hint(self) -> Spans:
        """Return what the marked parameter means and allows, or why the form was refused."""
        if self.error:
            return (("✗ ", "danger"), (self.error, "danger"))
        info = self.infos[self.at]
        parts = [info.help, f"allowed {info.bounds}" if info.bounds else "", f"default {info.default or UNKNOWN}"]
        if info.restart:
            parts.append("changes only by a restart")
        spans: list[Span] = [(f"{info.name}: ", "accent")]
        for part in parts:
            if part:
                spans += [SEPARATOR] if len(spans) > 1 else []
                spans.append((part, "text"))
        return tuple(spans)

    def press(self, key: str, character: str | None) -> bool:
        """Move between fields, or change the marked one."""
        if key in ("up", "down"):
            self.step(-1 if key == "up" else 1)
            return True
        if key in ("pageup", "pagedown"):
            self.step(-8 if key == "pageup" else 8)
            return True
        info = self.infos[self.at]
        edit = self.edits[info.name]
        if info.choices and character == " ":
            at = info.choices.index(edit.text) if edit.text in info.choices else -1
            edit.set(info.choices[(at + 1) % len(info.choices)])
        elif not edit.press(key, character):
            return False
        self.error = ""
        self.pull()
        return True

    def paste(self, text: str) -> None:
        """Put pasted text into the marked field."""
        self.edits[self.infos[self.at].name].insert(text)
        self.pull()

    def step(self, delta: int) -> None:
        """Mark another field."""
        self.at = min(max(0, self.at + delta), len(self.infos) - 1)
        self.pull()

    def accept(self) -> None:
        """Do what the form is for; a refusal is shown in it."""
        try:
            self.apply()
        except CtosError as error:
            self.error = clean(str(error))
            self.pull()


class LaunchForm(Form):
    """Parameters of a new instance."""

    def __init__(self, strategy: str) -> None:
        super().__init__(f"LAUNCH {strategy}", (_INSTANCE,), {_INSTANCE.name: ""})
        self._strategy = strategy
        self._filled = False

    def _fill(self) -> None:
        """Read the parameters once the card is on the desk."""
        self._filled = True
        model = self.host.port.strategies()[self._strategy].params_model
        infos = [info for info in params_of(model) if not info.name.startswith(_RISK)]
        risk = [info for info in params_of(model) if info.name.startswith(_RISK)]
        values = {info.name: info.default for info in (*infos, *risk)} | {_INSTANCE.name: ""}
        first = [info for info in infos if info.name == "symbols"]
        common = [info for info in infos if info.name in Params.model_fields and info not in first]
        own = [info for info in infos if info not in first and info not in common]
        self.infos, self.before = (*first, _INSTANCE, *own, *common, *risk), values
        self.edits = {info.name: LineEdit(values[info.name], len(values[info.name])) for info in self.infos}
        if first and self.host.session.focus:
            self.edits["symbols"].set(self.host.session.focus)

    def pull(self) -> None:
        """Show the form."""
        if not self._filled:
            self._fill()
        super().pull()

    def head(self, cells: int) -> list[Row]:
        """Return what the strategy does."""
        strategy = self.host.port.strategies()[self._strategy]
        words = inspect.getdoc(strategy) or strategy.title
        return paragraph("doc", clean(words.split("\n\n")[0].replace("\n", " ")), cells, "text")

    def apply(self) -> None:
        """Launch it."""
        given = self.changes
        name = given.pop(_INSTANCE.name, None)
        symbols = given.pop("symbols", None)
        launched = self.host.port.launch(self._strategy, given, symbols, name)
        self.host.close_card()
        self.host.session.say(f"launched {launched}", "good")


class AmendForm(Form):
    """Parameters of a running instance; the first Enter shows the difference, the second sends it."""

    def __init__(self, instance: str, params: Params) -> None:
        infos = [info for info in params_of(type(params)) if not info.restart]
        super().__init__(
            f"AMEND {instance}", infos, {info.name: values_of(params).get(info.name, "") for info in infos}
        )
        self._instance = instance
        self._diff: list[Change] = []
        self._shown_for: dict[str, str] = {}

    def press(self, key: str, character: str | None) -> bool:
        """Change a field; a difference that was shown does not hold any more."""
        taken = super().press(key, character)
        if self.changes != self._shown_for:
            self._diff = []
        return taken

    def foot(self, cells: int) -> list[Row]:
        """Return the difference: old, new."""
        rows = []
        for change in self._diff:
            spans: tuple[Span, ...] = (
                (f"{change.name} ", "text"),
                (clean(change.old) or UNKNOWN, "label"),
                (" → ", "dim"),
                (clean(change.new) or UNKNOWN, "own_order"),
            )
            rows.append(Row(f"diff {change.name}", spans))
        if rows:
            rows.insert(0, Row("diff gap", BLANK))
            rows.append(Row("diff end", (("Enter sends the change; its live orders follow", "key"),)))
        return rows

    def apply(self) -> None:
        """Show the difference first, then send it."""
        wanted = self.changes
        if not wanted:
            self.error = "nothing is changed"
            self.pull()
            return
        if not self._diff or wanted != self._shown_for:
            self._diff = self.host.port.preview_amend(self._instance, wanted)
            self._shown_for = wanted
            self.pull()
            return
        done = self.host.port.amend(self._instance, wanted)
        self.host.close_card()
        said = ", ".join(f"{change.name} {change.old} → {change.new}" for change in done)
        self.host.session.say(f"{self._instance}: {said}", "good")


_INSTANCE = ParamInfo("as", "", "name of the instance; made up when empty")

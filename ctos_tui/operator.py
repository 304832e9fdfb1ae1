"""What the operator does, whatever key or line asked for it: staging, sending, cancelling, arming, panic, strategies.

It knows no screen: what must be shown goes through the few calls of `View`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ctos_tui.command.commands import is_confirmed
from ctos_tui.command.desk import Desk
from ctos_tui.command.grammar import parse
from ctos_tui.command.intents import (
    Arm,
    CancelOrders,
    Detach,
    Disarm,
    Flatten,
    GoTo,
    HaltPolicy,
    HaltStrategy,
    Help,
    Intent,
    OrderIntent,
    Panic,
    PauseStrategy,
    Quit,
    Rearm,
    RebaseStrategy,
    ResumeStrategy,
    RunStrategy,
    SetParams,
    SetTheme,
    ShowChart,
    SwitchAccount,
    Watch,
)
from ctos_tui.command.preview import plain_text, verdict
from ctos_tui.command.resolve import Staged, resolve
from ctos_tui.guard.levels import Level
from ctos_tui.panes.cells import Spans
from ctos_tui.prompt import STAGEABLE, Prompt, Reading, read_line
from ctos_tui.session import Session
from ctos_tui.ticket import Ticket
from engine.kernel.clock import NS_PER_MS
from engine.kernel.errors import CtosError
from engine.kernel.strategy import StopPolicy

_DESK_NS = 90 * NS_PER_MS
_PANIC_AGAIN_MS = (200, 3000)
_POLICIES = {
    HaltPolicy.CANCEL: StopPolicy.CANCEL,
    HaltPolicy.KEEP: StopPolicy.KEEP,
    HaltPolicy.FLAT: StopPolicy.FLATTEN,
}


class View(Protocol):
    """What the operator's doings change on the screen."""

    def show_market(self, symbol: str) -> None:
        """Focus a market in every pane."""

    def use_theme(self, name: str) -> None:
        """Change the colours."""

    def show_help(self, topic: str) -> None:
        """Open the help."""

    def ask_quit(self) -> None:
        """Open the question before leaving."""

    def detach(self) -> None:
        """Leave the screen; the engine goes on."""

    def question_opened(self) -> None:
        """Tell the key guard that something asks."""

    def clear_cards(self) -> None:
        """Take away whatever lies over the desk."""


class Operator:
    """Carries out intents.

    Args:
        session: The session.
        view: The screen.

    Attributes:
        prompt: The prompt line.
        ticket: The staged order, if any.
    """

    def __init__(self, session: Session, view: View) -> None:
        self.session = session
        self.view = view
        self.prompt = Prompt()
        self.ticket: Ticket | None = None
        self._desk: tuple[int, Desk] | None = None
        self._reading: tuple[str, int, Reading] | None = None
        self._panic_ns: int | None = None

    def desk(self, *, fresh: bool = False) -> Desk:
        """Return the desk of this moment; looks within a frame share one."""
        now = self.session.now()
        if fresh or self._desk is None or now - self._desk[0] > _DESK_NS:
            self._desk = (now, self.session.desk())
        return self._desk[1]

    def reading(self) -> Reading | None:
        """Return what the typed line means now, None when nothing is typed."""
        line = self.prompt.edit.text
        if not line.strip():
            return None
        now = self.session.now()
        if self._reading is None or self._reading[0] != line or now - self._reading[1] > _DESK_NS:
            self._reading = (line, now, read_line(line, self.desk()))
        return self._reading[2]

    def ticket_preview(self) -> Spans:
        """Return the preview of the staged order."""
        if self.ticket is None:
            return ()
        staged = self.ticket.staged(self.desk())
        if isinstance(staged, CtosError):
            return (("✗ ", "danger"), (str(staged), "danger"))
        return staged.preview

    def stage(self, intent: OrderIntent, typed: str = "") -> None:
        """Stage an order, unless it can never become one."""
        ticket = Ticket(intent, typed)
        staged = ticket.staged(self.desk(fresh=True))
        if isinstance(staged, CtosError):
            self.session.refuse(staged)
            return
        self.ticket = ticket

    def drop(self) -> None:
        """Drop the staged order."""
        if self.ticket is not None:
            self.ticket = None
            self.session.say("dropped: nothing was sent", log=False)

    def send_ticket(self) -> None:
        """Send the staged order, or ask for what must be typed first."""
        if self.ticket is None:
            self.session.say("nothing is staged", "warn", log=False)
            return
        staged = self.ticket.staged(self.desk(fresh=True))
        if isinstance(staged, CtosError):
            self.session.refuse(staged)
        elif self._send(staged):
            self.ticket = None

    def _send(self, staged: Staged) -> bool:
        """Send what a decision lets pass; returns whether the staging is over."""
        if staged.decision.refused:
            self.session.say(plain_text(staged.preview), "danger", log=False)
            # The log is narrow: why comes first there.
            self.session.feed.say(f"{plain_text(verdict(staged.decision))}: {staged.intent}", "error")
            return False
        if staged.decision.level is Level.L2:
            self._ask_confirmation(staged)
            return False
        self._carry_out(staged)
        return True

    def _carry_out(self, staged: Staged) -> None:
        self._desk = self._reading = None
        accepted = self.session.send(staged.commands)
        if accepted == len(staged.commands):
            self.session.say(f"sent: {staged.intent}", "good")
        elif accepted:
            self.session.say(f"sent {accepted} of {len(staged.commands)}; the rest was refused", "danger")

    def _ask_confirmation(self, staged: Staged) -> None:
        def answered(text: str) -> None:
            self.ticket = None
            if text.strip() != staged.confirm:
                self.session.say(f"not sent: {text.strip()!r} is not {staged.confirm}", "warn")
                return
            now = self._still_passes(staged)
            if now is not None:
                self._carry_out(now)

        if not isinstance(staged.intent, CancelOrders) and self.ticket is None:
            self.ticket = Ticket(staged.intent)
        self.prompt.confirm(f"type {staged.confirm} to send", answered)
        self.view.question_opened()

    def _still_passes(self, staged: Staged) -> Staged | None:
        """Return what the confirmed order is now; None, and says why, where it is refused or not the same any more.

        Its price may have moved with the market, as the preview has shown.
        """
        try:
            now = resolve(staged.intent, self.desk(fresh=True))
        except CtosError as error:
            self.session.say(str(error), "danger")
            return None
        if now.decision.refused:
            self.session.say(plain_text(now.preview), "danger")
            return None
        if not is_confirmed(staged.commands, now.commands):
            self.session.say(f"not sent, it has changed while you typed: {plain_text(now.preview)}", "danger")
            return None
        return now

    def cancel_now(self, intent: CancelOrders) -> None:
        """Cancel orders at once."""
        try:
            staged = resolve(intent, self.desk(fresh=True))
        except CtosError as error:
            self.session.refuse(error)
            return
        accepted = self.session.send(staged.commands)
        if accepted:
            self.session.say(f"cancelling {accepted} order{'s' if accepted != 1 else ''}")

    def submit(self) -> None:
        """Do what Enter does in the prompt."""
        prompt = self.prompt
        prompt.dropped = ""
        if prompt.on_answer is not None:
            answer, text = prompt.on_answer, prompt.edit.text
            prompt.close()
            answer(text)
            return
        line = prompt.edit.text.strip()
        self._reading = None
        reading = self.reading()
        if reading is None:
            prompt.close()
            return
        self._remember(line)
        if reading.error is not None:
            self.session.say(str(reading.error), "danger")
        elif reading.staged is None:
            prompt.close()
            if reading.intent is not None:
                self.perform(reading.intent)
        else:
            self._submit_orders(reading.staged, prompt)

    def _submit_orders(self, staged: Staged, prompt: Prompt) -> None:
        level = staged.decision.level
        if level is Level.L1 and prompt.staged_line != prompt.edit.text:
            prompt.staged_line = prompt.edit.text
            return
        if level is Level.L2:
            prompt.close()
            self.ticket = None
        if self._send(staged):
            prompt.close()

    def _remember(self, line: str) -> None:
        if self.session.history.add(line):
            self.session.port.save_history(self.session.history.text())

    def run_line(self, line: str) -> None:
        """Do what a whole line says; orders are staged, never sent."""
        try:
            intent = parse(line)
        except CtosError as error:
            self.session.refuse(error)
            return
        if isinstance(intent, STAGEABLE):
            self.stage(intent, line)
        elif isinstance(intent, CancelOrders):
            self.cancel_now(intent)
        else:
            self.perform(intent)

    def perform(self, intent: Intent) -> None:
        """Carry out an intent that sends no order by itself; a refusal is shown."""
        try:
            done = self._do(intent)
        except CtosError as error:
            self.session.refuse(error)
            return
        if done:
            self.session.say(done)

    def _do(self, intent: Intent) -> str:
        session, port = self.session, self.session.port
        match intent:
            case RunStrategy():
                name = port.launch(
                    intent.strategy, dict(intent.params), intent.symbol or session.focus, intent.instance
                )
                return f"launched {name}"
            case PauseStrategy():
                port.pause(intent.instance)
                return f"{intent.instance} paused: entry orders cancelled, protective ones stay"
            case ResumeStrategy():
                port.resume(intent.instance)
                return f"{intent.instance} goes on"
            case SetParams():
                changes = port.amend(intent.instance, dict(intent.params))
                return f"{intent.instance}: " + ", ".join(f"{c.name} {c.old} → {c.new}" for c in changes)
            case RebaseStrategy():
                return port.act(intent.instance, "rebase")
            case HaltStrategy():
                port.stop(intent.instance, _POLICIES[intent.policy] if intent.policy is not None else None)
                return f"stopping {intent.instance}"
            case Arm() | Disarm() | Panic() | Rearm():
                return self._do_safety(intent)
            case _:
                return self._do_view(intent)

    def _do_safety(self, intent: Arm | Disarm | Panic | Rearm) -> str:
        session = self.session
        match intent:
            case Arm():
                symbol = None if intent.everything or intent.symbol is None else session.named(intent.symbol)
                self.arm(symbol, intent.seconds)
            case Disarm():
                session.disarm("by the operator")
            case Panic():
                self.panic()
            case Rearm():
                account = session.port.account
                names = (account.name,) if session.is_live else (account.name, str(account.index))
                if intent.account not in names:
                    raise CtosError(
                        f"this is account {account.name}, not {intent.account}: rearm {account.name} REASON"
                    )
                session.port.rearm(intent.reason)
                session.follow_engine()
                if session.is_live:
                    return f"released: {intent.reason}; armed for strategies, orders by hand are locked: press A"
                return f"released: {intent.reason}; trading is {session.port.trading().mode.value}"
        return ""

    def _do_view(self, intent: Intent) -> str:
        session = self.session
        match intent:
            case GoTo():
                self.view.show_market(session.named(intent.symbol))
            case ShowChart():
                if intent.symbol is not None:
                    self.view.show_market(session.named(intent.symbol))
                session.set_timeframe(intent.timeframe)
            case Watch():
                symbol = session.named(intent.symbol)
                (session.watch if intent.on else session.unwatch)(symbol)
                return f"{'watching' if intent.on else 'no longer watching'} {symbol}"
            case SetTheme():
                self.view.use_theme(intent.theme)
            case Help():
                self.view.show_help(intent.topic)
            case Quit():
                self.view.ask_quit()
            case Detach():
                self.view.detach()
            case SwitchAccount():
                return self._switch(intent.account)
        return ""

    def _switch(self, wanted: str) -> str:
        account = self.session.port.account
        if wanted in (account.name, str(account.index)):
            return f"account {account.name} is shown already"
        names = self.session.port.settings.accounts
        known = wanted in names or (wanted.isdigit() and int(wanted) < len(names))
        if not known:
            raise CtosError(f"no account {wanted!r}; there are: {', '.join(names) or account.name}")
        raise CtosError(f"this console runs account {account.name}; open the other with ctos-tui --account {wanted}")

    def arm(self, symbol: str | None = None, seconds: int | None = None) -> None:
        """Let orders pass; real money asks for the account's name first."""
        session = self.session
        if not session.arming.policy.needs_name:
            session.arm(symbol, seconds)
            return

        def answered(text: str) -> None:
            try:
                session.arm(symbol, seconds, text)
            except CtosError as error:
                session.refuse(error)

        self.prompt.ask(
            f"{session.mode_word}: type {session.port.account.name} to arm {symbol or 'all markets'}", answered
        )
        self.view.question_opened()

    def toggle_arm(self) -> None:
        """Arm, or disarm when armed."""
        session = self.session
        now = session.now()
        if session.arming.everything(now) or session.arming.symbols(now):
            session.disarm("by the operator")
            return
        try:
            self.arm()
        except CtosError as error:
            session.refuse(error)

    def panic(self) -> None:
        """Halt everything at once; a second press shortly after stages flatten all."""
        now = self.session.now()
        since_ms = None if self._panic_ns is None else (now - self._panic_ns) // NS_PER_MS
        if since_ms is not None and since_ms < _PANIC_AGAIN_MS[0]:
            return
        self.view.clear_cards()
        self.prompt.close()
        if since_ms is not None and since_ms <= _PANIC_AGAIN_MS[1]:
            self._panic_ns = None
            self.session.say("flatten all: Enter goes on, Backspace drops", "danger", log=False)
            self.stage(Flatten(everything=True))
            return
        self._panic_ns = now
        self.ticket = None
        told = False
        try:
            report = self.session.port.panic()
            told = True
        except CtosError as error:
            report = f"panic was not carried out in full: {error}"
        self.session.follow_engine()
        # How far a halt has come is in the log already.
        self.session.say(f"PANIC: {report}{self.panic_hint()}", "warn" if told else "danger", log=not told)

    def panic_hint(self) -> str:
        """Return what another press of the panic key would do now, nothing once it is too late for that."""
        if self._panic_ns is None or self.session.now() - self._panic_ns > _PANIC_AGAIN_MS[1] * NS_PER_MS:
            return ""
        return " · F9 again within 3 s stages flatten all"

    def guarded(self, action: Callable[[], object]) -> None:
        """Run an action of a pane or card; a refusal of the engine is shown."""
        try:
            action()
        except CtosError as error:
            self.session.refuse(error)

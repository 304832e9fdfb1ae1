"""Shows the console on the terminal that has it: one screen at a time, which may go while the engine goes on.

A terminal may be given back on purpose, vanish, be taken over by another, or see its screen fail; what then happens to
the engine is decided here, and by `console.on_terminal_lost`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import shlex
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ctos_tui.ending import Ending
from ctos_tui.faces import ATTACH, Attach, Face, PeerFace
from ctos_tui.failing import harmless
from ctos_tui.outcome import Outcome
from ctos_tui.terminal.device import adopt
from engine.boot.options import SystemOptions
from engine.boot.system import System
from engine.boot.winding_down import StopReport, loss_policy
from engine.io.control_socket import Asked
from engine.kernel.anomaly import Severity
from engine.kernel.errors import CtosError

if TYPE_CHECKING:
    from ctos_tui.app import ConsoleApp
    from ctos_tui.workplace import Workplace

_APP = "ctos_tui.app"
_TIDY_UP_S = 1.0


class Screen:
    """The console on one terminal.

    Args:
        app: The console.
        face: Who stands in front of the terminal.

    Attributes:
        terminal: Number of the terminal's device.
        taken_by: The terminal that takes over from this one.
        over: Set when the terminal has been given back.
    """

    def __init__(self, app: ConsoleApp, face: Face) -> None:
        self.app = app
        self.face = face
        self.terminal = os.fstat(app.device.input).st_rdev
        self.taken_by = ""
        self.over = asyncio.Event()

    def resized(self) -> None:
        """The terminal has another size."""
        self.app.terminal_resized()

    def resumed(self) -> None:
        """Whoever holds the terminal was stopped, and goes on."""
        self.app.terminal_resumed()

    def hung_up(self) -> None:
        """The terminal, or who held it, is gone."""
        self.app.terminal_hung_up()

    def let_go(self) -> None:
        """Whoever holds the terminal wants it back."""
        self.app.detach()

    @property
    def failure(self) -> str:
        """Return what went wrong, and where; empty when nothing did."""
        error = self.app.failure
        if error is None:
            return "" if self.app.outcome is not Outcome.FAILED else "the screen ended by itself"
        frames = traceback.extract_tb(error.__traceback__)
        where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        return harmless(f"the screen failed: {type(error).__name__}: {error}{where}")


class Showing:
    """The console's screens, one after the other.

    Args:
        system: What they show.
        ending: How the program ends.
        theme: Name of the theme, as the command line says it.

    Attributes:
        screen: The screen that shows now; None while there is none.
        face: Who has the terminal that the program's last words go to; None when nobody has.
    """

    def __init__(self, system: System, ending: Ending, theme: str | None = None) -> None:
        self.screen: Screen | None = None
        self.face: Face | None = None
        self._system = system
        self._ending = ending
        self._theme = theme
        self._workplace: Workplace | None = None
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        system.control.server.handle(ATTACH, Attach, self._on_attach)

    def open(self, face: Face) -> Screen:
        """Show the console on a terminal.

        Raises:
            CtosError: The theme or the operator's keys cannot be used.
        """
        from ctos_tui.app import ConsoleApp
        from ctos_tui.local_port import LocalPort
        from ctos_tui.workplace import Workplace

        adopt(face.environ)
        if self._workplace is None:
            self._workplace = Workplace.at(LocalPort(self._system))
        port = self._workplace.session.port
        device, policy = face.lend(), self._ending.policy
        try:
            app = ConsoleApp(port, self._workplace, theme=self._theme, device=device, stop_policy=policy)
        except BaseException:
            device.close()
            raise
        screen = Screen(app, face)
        self.screen, self.face = screen, face
        self._system.name_front(face.front)
        face.watch(screen)
        self._start(self._run(screen))
        return screen

    def is_on(self, stream: TextIO | None) -> bool:
        """Return whether a screen shows on the terminal that a stream writes to."""
        screen = self.screen
        if screen is None or stream is None or not stream.isatty():
            return False
        return os.fstat(stream.fileno()).st_rdev == screen.terminal

    async def conclude(self) -> StopReport:
        """Give the terminal back, bring the system to rest, and tell the terminal what became of orders."""
        async with self._turn:
            await self._vacate(Outcome.ENDING)
        ending, face = self._ending, self.face
        if face is not None and ending.policy == "cancel" and self._system.engine.tracker.working():
            face.say(f"stopping ({ending.reason}): cancelling what rests ...")
        report = await ending.wind_down()
        if face is not None:
            if report.is_needed:
                face.say("\n".join(report.lines))
            face.end(ending.code)
        return report

    async def _vacate(self, outcome: Outcome, taken_by: str = "") -> None:
        screen = self.screen
        if screen is not None:
            screen.taken_by = taken_by
            screen.app.leave(outcome)
            await screen.over.wait()

    async def _run(self, screen: Screen) -> None:
        app = screen.app
        try:
            await app.run_on_terminal()
        except Exception as error:
            # Textual itself failed. Whatever it is, it must not reach the engine: it is told as the screen's failure.
            app.failure = app.failure or error
        if app.outcome is not Outcome.LOST and not app.is_terminal_restored:
            screen.face.restore()
        self.screen = None
        if self._workplace is not None:
            self._workplace.leave()
        self._settle(screen)
        screen.over.set()
        # A screen is a large knot of objects that hold each other; one after the other must not pile up.
        asyncio.get_running_loop().call_later(_TIDY_UP_S, gc.collect)

    def _settle(self, screen: Screen) -> None:
        """Decide what becomes of the terminal and the engine when a screen has ended."""
        outcome, face, failure = screen.app.outcome, screen.face, screen.failure
        if failure:
            self._note("ScreenFailed", failure, face, "error")
            face.say(f"ctos-tui: {failure}")
            self._go_on_or_end(screen, failure, 1)
        elif outcome is Outcome.QUIT:
            self._ending.tell("the operator left", screen.app.quit_policy)
        elif outcome is Outcome.LOST:
            self._note("ScreenLost", f"the terminal was lost: {face.where}", face, "warn")
            self._go_on_or_end(screen, "the terminal was lost", 0)
        elif outcome is Outcome.TAKEN_OVER:
            self._note("ScreenTakenOver", f"{face.where} was taken over by {screen.taken_by}", face)
            self._give_back(face, f"taken over by attach from {screen.taken_by}; {self._lives_on}")
        elif outcome is Outcome.DETACHED:
            self._note("ScreenDetached", f"detached from {face.where}", face)
            self._give_back(face, f"detached: the engine goes on as pid {os.getpid()}; {self._how_back}")

    def _go_on_or_end(self, screen: Screen, why: str, code: int) -> None:
        """Do what `console.on_terminal_lost` says when there is no screen any more that anybody wanted to end."""
        if self._ending.due.is_set():
            return
        if loss_policy(self._system) == "stop":
            self._ending.tell(why, code=code)
        elif screen.app.outcome is Outcome.LOST:
            screen.face.lost()
            self.face = None
        else:
            self._give_back(screen.face, f"the engine goes on as pid {os.getpid()}; {self._how_back}", code)

    def _give_back(self, face: Face, text: str, code: int = 0) -> None:
        self._system.name_front(None)
        face.say(text)
        face.leave(code)
        self.face = None

    @property
    def _how_back(self) -> str:
        return f"bring it back with: {attach_command(self._system.options)}"

    @property
    def _lives_on(self) -> str:
        return f"the engine is pid {os.getpid()}"

    def _on_attach(self, asked: Asked[Attach]) -> None:
        if self._ending.due.is_set():
            raise CtosError(f"the program is stopping ({self._ending.reason}); start it again when it has ended")
        if len(asked.fds) != 2:
            raise CtosError("attach needs a terminal's input and output")
        face = PeerFace(asked)
        if not face.is_terminal:
            face.lost()
            raise CtosError("what attach lends is not a terminal")
        self._start(self._take_over(face, asked))

    async def _take_over(self, face: PeerFace, asked: Asked[Attach]) -> None:
        is_first = _APP not in sys.modules
        # In a thread, so that the engine goes on while a process that had no screen so far loads it.
        await asyncio.to_thread(importlib.import_module, _APP)
        if is_first:
            gc.freeze()  # it stays: the collections that follow every screen need not go through it
        async with self._turn:
            await self._vacate(Outcome.TAKEN_OVER, face.where)
            try:
                if self._ending.due.is_set():
                    raise CtosError(f"the program is stopping ({self._ending.reason})")
                self.open(face)
            except CtosError as error:
                face.refuse(error)
                return
        self._note("ScreenAttached", f"attached: {face.where}", face)

    def _note(self, op: str, text: str, face: Face, level: str = "info") -> None:
        engine = self._system.engine
        engine.say(text, level)
        engine.oplog(op, who=face.where, det=text)
        self._system.notifier.tell(text, severity=Severity.INFO if level == "info" else Severity.WARN)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def attach_command(options: SystemOptions) -> str:
    """Return the command that brings the console of a system to a terminal."""
    words = ["ctos-tui", "attach"]
    folder = os.path.abspath(options.config) if options.config else ""  # it may be typed anywhere
    for name, value in (("config", folder), ("exchange", options.exchange)):
        words += [f"--{name}", value] if value else []
    words += ["--account", options.account] if options.account != "0" else []
    return shlex.join(words)

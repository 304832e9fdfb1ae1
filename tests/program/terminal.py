"""The console in a pseudo-terminal, driven as a person drives it: keys in, the screen read back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[2]

KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "backtab": "\x1b[Z",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "pagedown": "\x1b[6~",
    "f1": "\x1bOP",
    "f9": "\x1b[20~",
    "ctrl+d": "\x04",
    "ctrl+p": "\x10",
    "ctrl+u": "\x15",
}
PROMPT = re.compile(r" : (?!prompt)")
FINGER_S = 0.12
"""A person's pause before a key that sends: shorter gaps are taken for a paste or a held key."""
READ_S = 0.4
"""A person's pause before answering what has just appeared."""

# pyte takes private-use sequences of the kitty protocol for text.
_UNKNOWN = re.compile(rb"\x1b\[[<>=?][0-9;]*u|\x1b\[\?[0-9;]*\$p|\x1b\[>[0-9;]*[a-zA-Z]")
_OPEN_SEQUENCE = re.compile(rb"\x1b(\[[<>=?0-9;]*\$?)?$")


class Terminal:
    """A program in a pseudo-terminal.

    Args:
        config: Folder of the configuration and state.
        size: Columns and lines.
        options: Options of the command behind the usual ones.
        environment: Variables to add; a value of None takes one away.
        command: Arguments instead of the console's own.
        module: What is run.
        ignore_hangup: Whether SIGHUP is ignored, as under nohup.
    """

    def __init__(
        self,
        config: Path,
        size: tuple[int, int] = (120, 40),
        options: tuple[str, ...] = (),
        environment: Mapping[str, str | None] | None = None,
        command: tuple[str, ...] | None = None,
        ignore_hangup: bool = False,
        module: str = "ctos_tui",
    ) -> None:
        self.output = b""
        self.config = config
        self._tail = b""
        self._screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self._screen)
        self.master, slave = pty.openpty()
        self._set_size(*size)
        self.settings = termios.tcgetattr(slave)
        arguments = command or ("--config", str(config), "--market", "synthetic:3", "--seed", "1", *options)
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=_environment(config, environment or {}),
            start_new_session=True,
            preexec_fn=partial(_take_terminal, ignore_hangup),
            cwd=ROOT,
        )
        # One end is kept open, so that the terminal's settings can be looked at after the program has gone.
        self._slave = slave

    @property
    def lines(self) -> list[str]:
        """Return what each line of the screen shows."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """Return what the screen shows."""
        return "\n".join(self.lines)

    @property
    def terminal_restored(self) -> bool:
        """Return whether input is echoed and edited again as before the program started."""
        now = termios.tcgetattr(self._slave)
        return now[:4] == self.settings[:4]

    def pump(self, seconds: float) -> None:
        """Take in what the program writes for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0] and not self._read():
                return

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.output += data
        asked = b"\x1b[6n" in data
        data = self._tail + data
        cut = _OPEN_SEQUENCE.search(data)
        data, self._tail = (data[: cut.start()], data[cut.start() :]) if cut else (data, b"")
        self._stream.feed(_UNKNOWN.sub(b"", data))
        if asked:
            # Sending reads on: what came first must be on the screen by then.
            self.send(b"\x1b[1;1R")
        return True

    def wait_for(self, wanted: str | Callable[[], object], seconds: float = 10) -> None:
        """Wait until a text (a regular expression) is on the screen, or something is true."""
        found = wanted if callable(wanted) else lambda: re.search(wanted, self.text)
        end = time.monotonic() + seconds
        while not found():
            ended = self.process.poll() is not None
            if ended or time.monotonic() > end:
                why = f"the program ended with {self.process.returncode}" if ended else "it did not come"
                raise AssertionError(f"{wanted}: {why}; the screen:\n{self.text}\n{self.output[-1500:]!r}")
            self.pump(0.03)

    def wait_gone(self, wanted: str, seconds: float = 10) -> None:
        """Wait until a text is no longer on the screen."""
        self.wait_for(lambda: not re.search(wanted, self.text), seconds)

    def send(self, data: bytes) -> None:
        """Write bytes as the terminal would, taking in output meanwhile."""
        view = memoryview(data)
        while view:
            ready = select.select([self.master], [self.master], [], 5)
            if ready[0] and not self._read():
                return
            if ready[1]:
                view = view[os.write(self.master, view[:1024]) :]

    def press(self, *keys: str) -> None:
        """Press keys one after the other, at a person's pace."""
        for key in keys:
            self.pump(FINGER_S)
            self.send(KEYS.get(key, key).encode())

    def answer(self, *keys: str) -> None:
        """Press keys after reading what has just appeared."""
        self.pump(READ_S)
        self.press(*keys)

    def enter(self) -> None:
        """Press Enter; again where the guard says that it took the key for a mistake, as on a busy machine."""
        for _ in range(5):
            self.press("enter")
            self.pump(FINGER_S)
            if "key dropped" not in self.text:
                return

    def line(self, text: str) -> None:
        """Open the prompt and type a line, not yet sent."""
        self.press(":")
        self.wait_for(lambda: PROMPT.match(self.lines[-1]))
        self.send(text.encode())
        self.wait_for(lambda: text[-60:] in self.lines[-1])

    def command(self, text: str) -> None:
        """Type a line in the prompt and press Enter."""
        self.line(text)
        self.enter()

    def order(self, text: str) -> None:
        """Type an order, read its preview, send it; type what a confirmation asks for."""
        self.command(text)
        self.wait_for(r"Enter sends|type \S+ to send: ")
        asked = re.search(r"type (\S+) to send: ", self.text)
        if asked is not None:
            self.send(asked[1].encode())
            self.wait_for(rf"to send: {re.escape(asked[1])}")
            self.pump(READ_S)
        self.enter()

    def arm(self) -> None:
        """Let orders pass."""
        self.press("A")
        self.wait_for(r" ARMED")

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program."""
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """Take the terminal away, as a dropped ssh connection does."""
        os.close(self._slave)
        self._slave = -1
        os.close(self.master)
        self.master = -1

    def finish(self, seconds: float = 5) -> int:
        """Wait until the program has ended; returns its exit code."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            if self.master >= 0:
                self.pump(0.03)
            else:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05)
        assert self.process.poll() is not None, f"it does not end; the screen:\n{self.text}"
        if self.master >= 0:
            while select.select([self.master], [], [], 0)[0] and self._read():
                pass
        return int(self.process.returncode)

    def leave(self) -> None:
        """Quit by keyboard, everything stays as it is."""
        self.press("q")
        self.wait_for("LEAVE THE CONSOLE")
        self.answer("down", "enter")
        assert self.finish() == 0

    @property
    def engine(self) -> int:
        """Return the process that runs the engine and draws; the process in front of it is `process`."""
        return int((self.config / "state" / "ctos.lock").read_text().split()[0])

    def close(self) -> None:
        """End what is left of it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self.master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self.master = self._slave = -1


def _take_terminal(ignore_hangup: bool) -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it in what it starts in the background, tests too
    if ignore_hangup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _environment(config: Path, changes: Mapping[str, str | None]) -> dict[str, str]:
    found: dict[str, str | None] = {
        "PATH": os.environ["PATH"],
        "HOME": str(config),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
    } | dict(changes)
    return {name: value for name, value in found.items() if value is not None}


def processes_about(text: str) -> Iterator[int]:
    """Yield the living processes, this one aside, whose command line names a text."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError):
            continue

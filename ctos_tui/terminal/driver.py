"""A Textual driver for a terminal that may be slow, stall or vanish while the engine runs in the same loop.

The terminal need not be the one this process was started on, nor its controlling one, so the driver takes no signals:
whoever stands in front of the terminal tells of a resize, a hang-up or a continuation.

It leans on private parts of Textual 8.2.8; a test names each of them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import termios
import threading
import tty
from codecs import getincrementaldecoder
from typing import Any, Protocol, runtime_checkable

from textual import constants, events
from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Size

from ctos_tui.terminal.device import TerminalDevice
from ctos_tui.terminal.writer import GONE, PacedWriter

_READ = 4_096
_POLL_MS = 100
_JOIN_SECONDS = 0.5


@runtime_checkable
class TerminalUser(Protocol):
    """What an app offers to its driver; every call comes through the loop.

    Attributes:
        device: The terminal.
    """

    device: TerminalDevice

    def on_output_behind(self) -> None:
        """Output waits: stop painting."""

    def on_output_caught_up(self) -> None:
        """Output has drained: paint again."""

    def on_output_dropped(self) -> None:
        """Waiting output was thrown away: paint everything anew."""

    def on_terminal_lost(self, where: str) -> None:
        """The terminal is gone; `where` says how that was noticed: `read`, `write`, `continue` or `hangup`."""


class PacedDriver(LinuxDriver):
    """Linux and macOS driver that never blocks the loop and notices, once, when the terminal is gone.

    The process cannot be suspended from the keyboard: an engine that holds orders must not stop on Ctrl+Z.
    """

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        # Past LinuxDriver's own: it takes the standard streams, and signals of the whole process.
        Driver.__init__(self, app, debug=debug, mouse=mouse, size=size)
        device = app.device if isinstance(app, TerminalUser) else TerminalDevice.standard()
        self._file = None
        self._output = device.output
        self.fileno = device.input
        self.input_tty = os.isatty(device.input)
        self.attrs_before: list[Any] | None = None
        self.exit_event = threading.Event()
        self._key_thread: threading.Thread | None = None
        self._in_band_window_resize = False
        self._mouse_pixels = False
        self._must_signal_resume = False
        self.terminal_lost = False
        self.released = asyncio.Event()
        self._loss = threading.Lock()
        self._running = False
        self._writer: PacedWriter | None = None
        self._wake, self._waker = os.pipe()
        self._closed = False

    @property
    def can_suspend(self) -> bool:
        """Never: see the class."""
        return False

    @property
    def writer(self) -> PacedWriter | None:
        """The output thread, for its counters."""
        return self._writer

    def write(self, data: str) -> None:
        """Hand text to the writer; never waits, and does nothing once the terminal is lost."""
        if self._writer is not None and not self.terminal_lost:
            self._writer.write(data)

    def start_application_mode(self) -> None:
        """Take over the terminal: threads for output and input, raw mode, alternate screen."""
        self._writer = PacedWriter(
            self._output,
            on_level=lambda: self._post(self._tell_level),
            on_dropped=lambda: self._tell("on_output_dropped"),
            on_lost=lambda: self._lose("write"),
            on_end=self._written,
        )
        self._writer.start()
        self._running = True
        self._send_size()
        try:
            self.attrs_before = termios.tcgetattr(self.fileno)
        except termios.error:
            self.attrs_before = None
        self._enter_screen()
        self._key_thread = threading.Thread(target=self._run_input_thread, name="ctos-input", daemon=True)
        self._key_thread.start()
        self._request_terminal_sync_mode_support()
        self._query_in_band_window_resize()

    def _enter_screen(self) -> None:
        """Put the terminal into raw mode on the alternate screen; harmless when it is there already."""
        try:
            self._set_raw()
        except termios.error as error:
            if error.args[0] not in GONE:
                raise
            self._lose("continue")
        self.write("\x1b[?1049h\x1b[?25l\x1b[?1004h")
        if not constants.DISABLE_KITTY_KEY:
            flags = (
                linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES
                | linux_driver.KITTY_REPORT_ALL_KEYS
                | linux_driver.KITTY_REPORT_ASSOCIATED_TEXT
            )
            self.write(f"\x1b[>{flags}u")
        self._enable_bracketed_paste()
        self._disable_line_wrap()
        self._enable_mouse_support()

    def _set_raw(self) -> None:
        if not os.isatty(self.fileno):
            return
        wanted = termios.tcgetattr(self.fileno)
        wanted[tty.LFLAG] = self._patch_lflag(wanted[tty.LFLAG])
        wanted[tty.IFLAG] = self._patch_iflag(wanted[tty.IFLAG])
        wanted[tty.CC][termios.VMIN] = 1
        termios.tcsetattr(self.fileno, termios.TCSANOW, wanted)

    def _get_terminal_size(self) -> tuple[int, int]:
        """Ask the terminal itself, as COLUMNS and LINES of the environment do not follow a resize."""
        for fileno in (self._output, self.fileno):
            try:
                size = os.get_terminal_size(fileno)
            except OSError as error:
                if error.errno not in (*GONE, errno.ENOTTY, errno.EINVAL):
                    raise
                continue
            if size.columns and size.lines:
                return size.columns, size.lines
        return super()._get_terminal_size()

    def _send_size(self) -> None:
        # The app asks here first: otherwise it would ask the standard streams, which need not be this terminal.
        self._size = self._get_terminal_size()
        size = Size(*self._size)
        self._post(self._app.post_message, events.Resize(size, size))

    def resized(self) -> None:
        """The terminal has another size."""
        if self._running and not self.terminal_lost and not self._in_band_window_resize:
            self._send_size()

    def resumed(self) -> None:
        """Set the terminal up again: whoever stands in front of it was stopped and goes on."""
        if self._running and not self.terminal_lost:
            self._enter_screen()
            self._send_size()
            self._tell("on_output_dropped")

    def hung_up(self) -> None:
        """The terminal is gone, as a signal or its owner says."""
        if self._running:
            self._lose("hangup")

    def _post(self, call: Any, *args: object) -> None:
        """Run a call in the loop's thread; when the loop has ended there is nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)

    def _tell(self, what: str, *args: object) -> None:
        if isinstance(self._app, TerminalUser):
            self._post(getattr(self._app, what), *args)

    def _tell_level(self) -> None:
        """Tell how it is now: a stall and its end are noticed in two threads, and may arrive here in either order."""
        if isinstance(self._app, TerminalUser) and self._writer is not None:
            behind = self._writer.behind
            (self._app.on_output_behind if behind else self._app.on_output_caught_up)()

    def _lose(self, where: str) -> None:
        """Note that the terminal is gone; safe from any thread and from signal handlers, and told once."""
        if not self._loss.acquire(blocking=False):
            return
        # Kept for good: the lock is the mark that somebody has told.
        self.terminal_lost = True
        self.exit_event.set()
        self._tell("on_terminal_lost", where)

    def run_input_thread(self) -> None:
        """Read keys until told to stop; end of input or an error on a terminal means that it is gone."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        poller = select.poll()
        poller.register(self.fileno, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        try:
            while not self.exit_event.is_set():
                ready = [fd for fd, _ in poller.poll(_POLL_MS)]
                if self.fileno in ready and (data := self._read()) is not None:
                    if not data:
                        if self.input_tty:
                            self._lose("read")
                        return
                    for message in parser.feed(decode(data)):
                        self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)
        finally:
            self._finish(parser)

    def _read(self) -> bytes | None:
        """Read what there is: nothing at the end of input, None when there was nothing after all."""
        try:
            return os.read(self.fileno, _READ)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in GONE:
                return b""
            raise

    @staticmethod
    def _finish(parser: XTermParser) -> None:
        """Close the parser; an unfinished sequence at the end of input is of no use to anybody."""
        try:
            list(parser.feed(""))
        except (EOFError, ParseError):
            return

    def disable_input(self) -> None:
        """Stop reading keys."""
        if self.exit_event.is_set() and not self.terminal_lost:
            return
        self._disable_mouse_support()
        self.exit_event.set()
        os.write(self._waker, b"x")
        if self._key_thread is not None and self._key_thread is not threading.current_thread():
            self._key_thread.join(_JOIN_SECONDS)
        if self.terminal_lost:
            return
        try:
            termios.tcflush(self.fileno, termios.TCIFLUSH)
        except termios.error as error:
            if error.args[0] in GONE:
                self._lose("read")

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was; frames that still wait are dropped, as nobody will see them."""
        self._running = False
        if self._writer is not None:
            self._writer.drop_waiting()
        self._disable_bracketed_paste()
        self._enable_line_wrap()
        self._disable_in_band_window_resize()
        self.disable_input()
        if self.attrs_before is not None and not self.terminal_lost:
            try:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            except termios.error:
                self._lose("continue")
        self.write("\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l")

    def close(self) -> None:
        """Let the last bytes out and give up the terminal's descriptors; `released` is set when that is done."""
        if self._closed:
            return
        self._closed = True
        if self._key_thread is None or not self._key_thread.is_alive():
            os.close(self.fileno)
        os.close(self._wake)
        os.close(self._waker)
        if self._writer is not None:
            self._writer.finish()
        else:
            self._written()

    @property
    def is_restored(self) -> bool:
        """Return whether the terminal took everything that gives it back as it was."""
        return not self.terminal_lost and self._writer is not None and not self._writer.unwritten

    def _written(self) -> None:
        os.close(self._output)
        self._post(self.released.set)

"""`TerminalApp`: the Textual app base that joins driver, paint gate, link meter, frame clock and theme."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from textual import events
from textual.app import App
from textual.screen import Screen
from textual.theme import Theme

from ctos_tui.frame import FrameClock, LagMeter, Load, Pace, link_text, monotonic
from ctos_tui.terminal.device import TerminalDevice
from ctos_tui.terminal.driver import PacedDriver
from ctos_tui.terminal.gate import PaintGate
from ctos_tui.terminal.leftovers import drop_leftovers
from ctos_tui.terminal.link import PING, LinkMeter
from ctos_tui.theme import MONOCHROME, Palette

ReturnType = TypeVar("ReturnType")

_LINK_HZ = 10
_SHARE_WINDOW = 1.0
_STALL_SECONDS = 1.0
_SETTLING_SECONDS = 2.0
_LAG_WINDOW = 2.0
_RELEASE_SECONDS = 1.0


class PaintCost:
    """Adds up the time that screens take to lay out, render and encode."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._spent = 0.0
        self.share = 0.0

    def add(self, seconds: float) -> None:
        """Count time spent painting."""
        self._spent += seconds

    def sample(self, now: float) -> float:
        """Give the share of time spent painting over the last whole second."""
        if now - self._began >= _SHARE_WINDOW:
            self.share = self._spent / (now - self._began)
            self._began, self._spent = now, 0.0
        return self.share


class PacedScreen(Screen[Any]):
    """A screen whose painting time counts towards the frame rate."""

    def _on_timer_update(self) -> None:
        began = monotonic()
        super()._on_timer_update()
        if isinstance(self.app, TerminalApp):
            self.app.paint_cost.add(monotonic() - began)


class TerminalApp(App[ReturnType], Generic[ReturnType]):
    """App on a terminal that may be slow, stall or vanish.

    Live panes get their turns from `frames`; the app's own screens should be `PacedScreen`s. Where the driver is
    headless (tests), frames do not tick by themselves: call `frames.tick(now)` or `frames.paint_all()`.

    Args:
        palette: The theme to start with.
        pace: Frame rate; adaptive up to 10 frames a second when not given.
        device: The terminal, whose descriptors the app closes; the one this process was started on when not given.

    Attributes:
        failure: The error of our own that ended the app; None when it ended in good order.
    """

    def __init__(
        self, palette: Palette, pace: Pace | None = None, device: TerminalDevice | None = None, **options: Any
    ) -> None:
        _set_no_color(palette)
        super().__init__(driver_class=PacedDriver, ansi_color=True if palette.name == MONOCHROME else None, **options)
        self._device = device
        self.failure: Exception | None = None
        self.palette = palette
        self.frames = FrameClock(on_error=self.on_pane_error, pace=pace or Pace())
        self.link = LinkMeter()
        self.lag = LagMeter()
        self.paint_cost = PaintCost()
        self.gate = PaintGate(self)
        self._behind_since: float | None = None
        self._started = 0.0
        self.use_palette(palette)

    def get_default_screen(self) -> Screen[Any]:
        """Give the first screen."""
        return PacedScreen(id="_default")

    @property
    def device(self) -> TerminalDevice:
        """The terminal."""
        if self._device is None:
            self._device = TerminalDevice.standard()
        return self._device

    async def run_on_terminal(self) -> None:
        """Show the app until it ends, and give the terminal back; a failure is kept in `failure`."""
        try:
            await self.run_async()
        finally:
            await self._release_terminal()
            drop_leftovers()

    async def _release_terminal(self) -> None:
        driver = self._driver
        if not isinstance(driver, PacedDriver):
            self.device.close()
            return
        driver.close()
        # A write that hangs on another user's stalled terminal is left to its thread.
        await asyncio.wait({asyncio.ensure_future(driver.released.wait())}, timeout=_RELEASE_SECONDS)

    @property
    def is_terminal_restored(self) -> bool:
        """Return whether the terminal took everything that gives it back as it was."""
        return isinstance(self._driver, PacedDriver) and self._driver.is_restored

    def terminal_resized(self) -> None:
        """The terminal has another size."""
        if isinstance(self._driver, PacedDriver):
            self._driver.resized()

    def terminal_resumed(self) -> None:
        """Whoever stands in front of the terminal was stopped, and goes on."""
        if isinstance(self._driver, PacedDriver):
            self._driver.resumed()

    def terminal_hung_up(self) -> None:
        """The terminal is gone, as a signal or its owner says."""
        if isinstance(self._driver, PacedDriver):
            self._driver.hung_up()

    def _fatal_error(self) -> None:
        """Keep the error for whoever runs the app: Textual's own report shows values of variables, secrets too."""
        self._close_messages_no_wait()

    def _handle_exception(self, error: Exception) -> None:
        """End the app because of an error that nobody handled."""
        if self.failure is None:
            self.failure = error
        super()._handle_exception(error)

    def use_palette(self, palette: Palette) -> None:
        """Change the theme of panes and style sheet."""
        self.palette = palette
        self.register_theme(Theme(**palette.textual_fields()))
        self.theme = palette.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give the variables that the style sheet may use in any theme."""
        own = self.palette.css_variables() if hasattr(self, "palette") else {}
        return super().get_theme_variable_defaults() | own

    def on_pane_error(self, name: str, error: Exception) -> None:
        """Report that a pane could not be painted; by default the app ends with the error."""

        def fail() -> None:
            raise error

        self.call_next(fail)

    def start_frames(self) -> None:
        """Begin to tick, measure lag and watch the link."""
        loop = asyncio.get_running_loop()
        self._started = self.frames.now()
        self.frames.add("link", _LINK_HZ, self.watch_link, large=False, steady=True)
        self.frames.start(loop)
        self.lag.start(loop)

    def stop_frames(self) -> None:
        """Stop what `start_frames` began."""
        self.frames.stop()
        self.lag.stop()

    def on_mount(self) -> None:
        """Start the frame clock on a real terminal."""
        if not self.is_headless:
            self.start_frames()

    def on_unmount(self) -> None:
        """Stop the frame clock."""
        self.stop_frames()

    def watch_link(self) -> None:
        """Sample the link, ping the terminal, and let the frame rate follow."""
        now = self.frames.now()
        driver = self._driver
        writer = driver.writer if isinstance(driver, PacedDriver) else None
        if driver is None or writer is None or writer.dead:
            return
        self.link.sample(now, writer.written, writer.busy_seconds)
        if not self.gate.closed and self.link.wants_ping(now):
            driver.write(PING)
        if now - self._started < _SETTLING_SECONDS:
            return
        self.frames.pace.observe(
            now,
            Load(
                behind_since=self._behind_since,
                round_trip=self.link.last_round_trip,
                base_round_trip=self.link.base_round_trip,
                paint_share=self.paint_cost.sample(now),
                lag=self.lag.percentile(seconds=_LAG_WINDOW),
            ),
        )

    @property
    def link_status(self) -> str:
        """How the screen does, for the status bar."""
        trip = self.link.round_trip(self.frames.now())
        return link_text(self.frames.pace.fps, self.link.bytes_per_second, trip)

    @property
    def output_behind(self) -> bool:
        """Whether what the operator sees may be old because output waits."""
        return self.gate.closed

    def on_cursor_position(self, event: events.CursorPosition) -> None:
        """Take the answer to a ping."""
        event.stop()
        self.link.answered(self.frames.now())

    def on_app_focus(self) -> None:
        """Paint at full rate when the terminal window has the keyboard."""
        self.frames.focused = True

    def on_app_blur(self) -> None:
        """Paint at half rate when the terminal window has lost the keyboard."""
        self.frames.focused = False

    def on_output_behind(self) -> None:
        """Hold frames while output waits."""
        if self._behind_since is None:
            self._behind_since = self.frames.now()
        self.gate.close()

    def on_output_caught_up(self) -> None:
        """Let frames pass again; after a stall the first one shows what is true now, not when it was held."""
        if self._behind_since is not None and self.frames.now() - self._behind_since > _STALL_SECONDS:
            self.frames.paint_all()
        self._behind_since = None
        self.gate.open()

    def on_output_dropped(self) -> None:
        """Paint everything anew after waiting output was dropped."""
        self.gate.repaint_all()

    def on_terminal_lost(self, where: str) -> None:
        """Leave: there is no screen any more. Override to do more first, without awaiting."""
        self.exit()

    def post_display_hook(self) -> None:
        """Tell the gate that a frame came through Textual."""
        self.gate.frame_displayed()


def _set_no_color(palette: Palette, environ: Mapping[str, str] = os.environ) -> None:
    """Let the palette decide about colours: Textual turns NO_COLOR into shades of grey, not into none."""
    if palette.name == MONOCHROME:
        os.environ["NO_COLOR"] = "1"
    elif "NO_COLOR" in environ:
        del os.environ["NO_COLOR"]

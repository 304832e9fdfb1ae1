"""The gate that keeps frames from being painted while the terminal is behind."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from textual.app import App


class PaintGate:
    """Holds `App.batch_update` while output waits, so that Textual keeps what is dirty and no stale frame queues up.

    Args:
        app: The app whose frames are held.
    """

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._batch: AbstractContextManager[None] | None = None
        self._repaint = False
        self.closings = 0

    @property
    def closed(self) -> bool:
        """Whether frames are held now."""
        return self._batch is not None

    def close(self) -> None:
        """Hold frames from now on."""
        if self._batch is None:
            self._batch = self._app.batch_update()
            self._batch.__enter__()
            self.closings += 1

    def open(self) -> None:
        """Let frames pass; the next one shows the present state."""
        if self._batch is None:
            return
        batch, self._batch = self._batch, None
        batch.__exit__(None, None, None)
        if self._app.is_running and self._app.screen_stack:
            if self._repaint:
                self._repaint = False
                self._app.screen.refresh()
            self._app.screen.check_idle()

    def frame_displayed(self) -> None:
        """Take note that Textual has displayed a frame; one that came while closed was thrown away.

        That happens when a screen is laid out anew (resize, another screen): its dirty marks are gone, so the whole
        screen has to be painted when the gate opens.
        """
        if self._batch is not None:
            self._repaint = True

    def repaint_all(self) -> None:
        """Paint the whole screen, now or when the gate opens."""
        if self._batch is not None:
            self._repaint = True
        elif self._app.is_running and self._app.screen_stack:
            self._app.screen.refresh()

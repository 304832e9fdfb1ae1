"""The real program, but a pane of the console fails as soon as the trades pane is shown; run by test_crash.py."""

from __future__ import annotations

from ctos_tui.__main__ import main
from ctos_tui.terminal.app import PacedScreen


def fail(screen: PacedScreen) -> None:
    pane = screen.get_child_by_id("trades")
    if pane.has_focus:
        raise ValueError("told to fail with a secret in a local variable")


if __name__ == "__main__":
    shown = PacedScreen._on_timer_update

    def update(self: PacedScreen) -> None:
        fail(self)
        shown(self)

    PacedScreen._on_timer_update = update
    main()

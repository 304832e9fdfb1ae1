"""Why a screen ended."""

from __future__ import annotations

from enum import Enum


class Outcome(Enum):
    """What made a screen end, and so what happens to the program behind it."""

    QUIT = "the operator ends the program"
    DETACHED = "the operator leaves it running"
    LOST = "the terminal is gone"
    TAKEN_OVER = "another terminal has it now"
    ENDING = "the program ends"
    FAILED = "an error of our own"

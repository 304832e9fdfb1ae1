"""An end of which every step is done, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Stoppable(Protocol):
    """Something that works until it is stopped."""

    def stop(self) -> object:
        """End its work."""


def stops(*parts: Stoppable) -> list[Callable[[], object]]:
    """Return the steps that stop these, for `end_all`."""
    return [part.stop for part in parts]


def end_all(step: Callable[[], object], *others: Callable[[], object]) -> None:
    """Do each step in order, also after one has failed.

    Raises:
        Exception: The last that a step raised, when all are done; those before it are its context.
    """
    try:
        step()
    finally:
        if others:
            end_all(*others)


async def finish_all(step: Callable[[], Awaitable[object]], *others: Callable[[], Awaitable[object]]) -> None:
    """Do each step in order, also after one has failed or was given up.

    Raises:
        Exception: As with `end_all`.
    """
    try:
        await step()
    finally:
        if others:
            await finish_all(*others)

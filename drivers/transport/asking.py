"""Queries whose answers make no sense fail like those that get no answer."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from drivers.transport.line_decoder import understanding


class _Named(Protocol):
    venue: str


SelfT = TypeVar("SelfT", bound=_Named)
P = ParamSpec("P")
T = TypeVar("T")


def asking(
    query: Callable[Concatenate[SelfT, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SelfT, P], Coroutine[Any, Any, T]]:
    """Let a driver's query raise `VenueUnavailable` where a row of the answer has no sensible value."""

    @wraps(query)
    async def asked(self: SelfT, *args: P.args, **kwargs: P.kwargs) -> T:
        with understanding(f"{self.venue}: {query.__name__}"):
            return await query(self, *args, **kwargs)

    return asked

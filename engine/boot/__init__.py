"""Puts a running system together from the configuration; the only place that knows all parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine


async def open_engine(account: int | str = 0, exchange_type: str | None = None) -> ExecutionEngine:
    """Return the started execution engine of an account, by position or name, of a venue.

    `engine.boot.system` has the whole system with strategies and monitor; this is the door for scripts.

    Raises:
        UnknownAccount: There is no such account; another is never taken instead.
    """
    import asyncio

    from engine.boot.options import SystemOptions
    from engine.boot.system import build_system

    system = build_system(SystemOptions(account=str(account), exchange=exchange_type), asyncio.get_running_loop())
    await system.start()
    return system.engine

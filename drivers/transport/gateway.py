"""The engine's way to place orders, over a venue's asynchronous calls."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, Protocol

from engine.kernel.errors import CtosError, UnknownOutcome
from engine.kernel.orders import OrderRequest, OrderUpdate
from engine.kernel.syscalls import Reply


class OrderCalls(Protocol):
    """A venue's calls about one order. `order_id` is our client id, or the venue's id (see `is_venue_id`)."""

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order and return the venue's answer, state SENT where it only acknowledges.

        Raises:
            UnknownOutcome: It is not proven that the venue did not accept it.
            CtosError: The venue has certainly not accepted it.
        """

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working order; returns when the result is known, not on a bare acknowledgement."""

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order; state SENT where the venue only acknowledges.

        Raises:
            OrderNotFound: The venue does not know it, or it is done.
        """

    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order, open or closed.

        Raises:
            OrderNotFound: Every place where the venue keeps orders says so.
        """


def is_venue_id(order_id: str) -> bool:
    """Return whether an order id is a venue's own: those are numbers, our client ids have letters."""
    return order_id.isascii() and order_id.isdigit()


class TaskGateway:
    """Carries out each request in a task of its own; exactly one reply, never on the caller's stack.

    Once stopped it carries out nothing, and nobody waits for replies: the next start asks what became of each order.

    Args:
        calls: The venue's calls.
    """

    def __init__(self, calls: OrderCalls) -> None:
        self._calls = calls
        self._tasks: dict[asyncio.Task[OrderUpdate], None] = {}  # in the order in which they began
        self._is_stopped = False

    def place(self, request: OrderRequest, reply: Reply) -> None:
        """Send a new order."""
        self._carry_out(self._calls.submit(request), reply, f"place {request.client_id}")

    def amend(self, client_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None, reply: Reply) -> None:
        """Change price and/or total quantity of a working order."""
        self._carry_out(self._calls.change(client_id, symbol, price, quantity), reply, f"amend {client_id}")

    def cancel(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Cancel a working order."""
        self._carry_out(self._calls.withdraw(client_id, symbol), reply, f"cancel {client_id}")

    def query(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Ask what became of an order."""
        self._carry_out(self._calls.look_up(client_id, symbol), reply, f"query {client_id}")

    async def stop(self) -> None:
        """Give up every request in flight; each gets `UnknownOutcome`."""
        self._is_stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _carry_out(self, call: Coroutine[Any, Any, OrderUpdate], reply: Reply, what: str) -> None:
        if self._is_stopped:
            call.close()
            return
        task = asyncio.get_running_loop().create_task(call, name=what)
        self._tasks[task] = None

        def done(task: asyncio.Task[OrderUpdate]) -> None:
            self._tasks.pop(task, None)
            reply(_outcome(task))

        task.add_done_callback(done)


def _outcome(task: asyncio.Task[OrderUpdate]) -> OrderUpdate | CtosError:
    what = task.get_name()
    if task.cancelled():
        return UnknownOutcome(f"{what}: given up before its answer came")
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, CtosError):
        return error
    task.get_loop().call_exception_handler({"message": f"{what} failed", "exception": error, "task": task})
    return UnknownOutcome(f"{what}: the driver failed with {type(error).__name__}; whether it was sent is not known")

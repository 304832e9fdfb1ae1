"""Order entry with the venue's latency: requests arrive in the order in which they were sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from drivers.paper.config import PaperConfig
from drivers.paper.exchange import Exchange
from engine.kernel.clock import NS_PER_MS, Clock, Rng
from engine.kernel.errors import CtosError
from engine.kernel.orders import OrderRequest, OrderUpdate
from engine.kernel.syscalls import Reply

Operation = Callable[[], OrderUpdate]


class PaperGateway:
    """Carries requests to the exchange core.

    Args:
        exchange: The core.
        clock: Venue time.
        rng: Randomness of the latency.
        config: Latency.
        before: Called before a request is carried out, so that the market is up to date.
        commit: Called with the delivery of the reply, to save the state and deliver what followed.
    """

    def __init__(
        self,
        exchange: Exchange,
        clock: Clock,
        rng: Rng,
        config: PaperConfig,
        before: Callable[[], None],
        commit: Callable[[Callable[[], None]], None],
    ) -> None:
        self._exchange = exchange
        self._clock = clock
        self._rng = rng
        self._latency_ms = config.latency_ms
        self._jitter_ms = config.jitter_ms
        self._before = before
        self._commit = commit
        self._queue: deque[tuple[Operation, Reply]] = deque()

    def place(self, request: OrderRequest, reply: Reply) -> None:
        """Send a new order."""
        self.submit(lambda: self._exchange.place(request), reply)

    def amend(self, client_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None, reply: Reply) -> None:
        """Change price and/or total quantity of a working order."""
        self.submit(lambda: self._exchange.amend(client_id, symbol, price, quantity), reply)

    def cancel(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Cancel a working order."""
        self.submit(lambda: self._exchange.cancel(client_id, symbol), reply)

    def query(self, client_id: str, symbol: str, reply: Reply) -> None:
        """Ask what became of an order."""
        self.submit(lambda: self._exchange.query(client_id, symbol), reply)

    def submit(self, operation: Operation, reply: Reply) -> None:
        """Carry out an operation after the latency; `reply` gets its result or its typed error, once."""
        self._queue.append((operation, reply))
        delay_ms = self._latency_ms
        if self._jitter_ms:
            delay_ms += self._rng.uniform(0, self._jitter_ms)
        self._clock.call_at(self._clock.now_ns() + int(delay_ms * NS_PER_MS), self._arrive)

    def _arrive(self) -> None:
        operation, reply = self._queue.popleft()
        self._before()
        outcome: OrderUpdate | CtosError
        try:
            outcome = operation()
        except CtosError as error:
            outcome = error
        self._commit(lambda: reply(outcome))

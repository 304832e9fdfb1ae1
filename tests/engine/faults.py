"""A venue that misbehaves on command: answers that get lost, streams that stay silent, queries that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from drivers.paper.driver import PaperDriver
from engine.kernel.errors import CtosError, OrderNotFound, UnknownOutcome
from engine.kernel.orders import OrderRequest, OrderUpdate
from engine.kernel.syscalls import AccountEvent, Reply, Unsubscribe


class FaultyGateway:
    """Passes requests on, unless told otherwise.

    Attributes:
        lose_requests: The next so many placements never arrive; the answer is an unknown outcome.
        lose_answers: The next so many placements arrive, but the answer is an unknown outcome.
        refuse_places: Errors with which the next placements are answered instead of being passed on.
        refuse_cancels: Errors with which the next cancels are answered instead of being passed on.
        refuse_amends: Likewise for amendments.
        hide: The next so many queries do not find the order.
        placed: Every request that was sent, in order.
    """

    def __init__(self, driver: PaperDriver) -> None:
        self._driver = driver
        self._inner = driver.gateway
        self.lose_requests = 0
        self.lose_answers = 0
        self.hide = 0
        self.refuse_places: list[CtosError] = []
        self.refuse_cancels: list[CtosError] = []
        self.refuse_amends: list[CtosError] = []
        self.refuse_queries: list[CtosError] = []
        self.placed: list[OrderRequest] = []
        self.cancels: list[str] = []

    def place(self, request: OrderRequest, reply: Reply) -> None:
        self.placed.append(request)
        if self.refuse_places:
            self._later(reply, self.refuse_places.pop(0))
        elif self.lose_requests:
            self.lose_requests -= 1
            self._later(reply, UnknownOutcome("no answer in time"))
        elif self.lose_answers:
            self.lose_answers -= 1
            self._inner.place(request, lambda outcome: reply(UnknownOutcome("no answer in time")))
        else:
            self._inner.place(request, reply)

    def amend(self, client_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None, reply: Reply) -> None:
        if self.refuse_amends:
            self._later(reply, self.refuse_amends.pop(0))
        else:
            self._inner.amend(client_id, symbol, price, quantity, reply)

    def cancel(self, client_id: str, symbol: str, reply: Reply) -> None:
        self.cancels.append(client_id)
        if self.refuse_cancels:
            self._later(reply, self.refuse_cancels.pop(0))
        else:
            self._inner.cancel(client_id, symbol, reply)

    def query(self, client_id: str, symbol: str, reply: Reply) -> None:
        if self.refuse_queries:
            self._later(reply, self.refuse_queries.pop(0))
        elif self.hide:
            self.hide -= 1
            self._later(reply, OrderNotFound(f"{client_id} is not known"))
        else:
            self._inner.query(client_id, symbol, reply)

    def _later(self, reply: Reply, outcome: OrderUpdate | CtosError) -> None:
        clock = self._driver.exchange.clock
        clock.call_at(clock.now_ns() + 5_000_000, reply, outcome)


class FaultyDriver:
    """The paper venue behind a bad connection.

    Attributes:
        deaf: Whether the account's stream is silent; what it says meanwhile is lost.
        scramble: What the stream delivers for an event; the event itself by default.
        broken: Names of the queries that fail.
    """

    def __init__(self, driver: PaperDriver) -> None:
        self._driver = driver
        self.gateway = FaultyGateway(driver)
        self.deaf = False
        self.scramble: Callable[[AccountEvent], Iterable[AccountEvent]] = lambda event: (event,)
        self.broken: dict[str, CtosError] = {}

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._driver, name)
        if name not in self.broken:
            return attribute

        async def fail(*args: object, **kwargs: object) -> None:
            raise self.broken[name]

        return fail

    def subscribe_account(self, handler: Callable[[AccountEvent], None]) -> Unsubscribe:
        def pass_on(event: AccountEvent) -> None:
            if not self.deaf:
                for delivered in self.scramble(event):
                    handler(delivered)

        return self._driver.subscribe_account(pass_on)

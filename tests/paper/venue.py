"""A paper venue on a scripted market, driven by hand."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from drivers.paper.config import MemoryStore, PaperConfig, QueueModel
from drivers.paper.driver import PaperDriver
from drivers.paper.markets.scripted import ScriptedMarket, trial_instrument
from drivers.paper.state import decode, encode
from engine.kernel.clock import NS_PER_MS, Rng, VirtualClock
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.market import BookUpdate, FundingRate, Levels, MarkPrice, Quote, Trade
from engine.kernel.orders import Fill, OrderRequest, OrderType, OrderUpdate, Side

PERP = "TST-USD-PERP"
OTHER = "ALT-USD-PERP"
SPOT = "TST-USD"
START_NS = 1_700_000_000_000_000_000
BUY, SELL = Side.BUY, Side.SELL
FREE = {name: Decimal(0) for name in ("perp_maker", "perp_taker", "spot_maker", "spot_taker")}


def instruments() -> list[Instrument]:
    perp = trial_instrument()
    other = replace(perp, symbol=OTHER, base="ALT")
    spot = replace(perp, symbol=SPOT, kind=InstrumentKind.SPOT, max_leverage=Decimal(1), funding_period_h=0)
    return [perp, other, spot]


class Venue:
    """The venue, everything it said, and a clock that moves when told."""

    def __init__(self, *, queue=QueueModel.FIFO, money="1000", store=None, start_ns=START_NS, listed=None, **config):
        self.clock = VirtualClock(start_ns)
        self.market = ScriptedMarket(listed or instruments(), start_ns=start_ns)
        self.store = store or MemoryStore()
        balances = {"USD": Decimal(money)} if isinstance(money, str) else money
        self.config = PaperConfig(balances=balances, queue=queue, **config)
        self.driver = PaperDriver(self.market, self.clock, Rng(1), self.config, self.store)
        self.exchange = self.driver.exchange
        self.events: list = []
        self.replies: dict[str, list[OrderUpdate | CtosError]] = {}
        self.driver.subscribe_account(self.events.append)
        self._sent = 0

    def play(self, event) -> None:
        """Play one market event now."""
        self.market.add(self.clock.now_ns(), event)
        self.driver.pump_until(self.clock.now_ns())

    def book(self, bids: Levels, asks: Levels, symbol: str = PERP, snapshot: bool = True) -> None:
        self.play(BookUpdate(symbol, self.clock.now_ms(), bids, asks, snapshot))

    def quote(self, bid: float, bid_size: float, ask: float, ask_size: float, symbol: str = PERP) -> None:
        self.play(Quote(symbol, self.clock.now_ms(), bid, bid_size, ask, ask_size))

    def print(self, price: float, size: float = 1.0, side: Side = SELL, symbol: str = PERP) -> None:
        self.play(Trade(symbol, self.clock.now_ms(), price, size, side, "1"))

    def mark(self, price: float, symbol: str = PERP) -> None:
        self.play(MarkPrice(symbol, self.clock.now_ms(), price, price))

    def funding(self, rate: float, next_time: int, symbol: str = PERP) -> None:
        self.play(FundingRate(symbol, self.clock.now_ms(), rate, 8, next_time))

    def send(self, side: Side, type: OrderType, quantity, price=None, *, symbol=PERP, id=None, **flags) -> str:
        """Send an order and do not wait for it."""
        self._sent += 1
        client_id = f"o{self._sent}" if id is None else id
        trigger = flags.pop("trigger", None)
        request = OrderRequest(
            client_id, "test", symbol, side, type, Decimal(str(quantity)),
            None if price is None else Decimal(str(price)), None if trigger is None else Decimal(str(trigger)), **flags,
        )  # fmt: skip
        self.driver.gateway.place(request, self._reply(client_id))
        return client_id

    def order(self, *args, **kwargs) -> str:
        """Send an order and let the latency pass; raise what it was refused with."""
        client_id = self.send(*args, **kwargs)
        self.wait()
        self.raise_refusal(client_id)
        return client_id

    def amend(self, client_id: str, price=None, quantity=None, symbol=PERP) -> OrderUpdate:
        price, quantity = (None if value is None else Decimal(str(value)) for value in (price, quantity))
        self.driver.gateway.amend(client_id, symbol, price, quantity, self._reply(client_id))
        self.wait()
        return self.raise_refusal(client_id)

    def cancel(self, client_id: str, symbol=PERP) -> OrderUpdate:
        self.driver.gateway.cancel(client_id, symbol, self._reply(client_id))
        self.wait()
        return self.raise_refusal(client_id)

    def query(self, client_id: str, symbol=PERP) -> OrderUpdate:
        return self.exchange.query(client_id, symbol)

    def raise_refusal(self, client_id: str):
        answer = self.replies[client_id][-1]
        if isinstance(answer, CtosError):
            raise answer
        return answer

    def wait(self, ms: float = 5) -> None:
        self.clock.advance_to(self.clock.now_ns() + int(ms * NS_PER_MS))
        self.driver.pump_until(self.clock.now_ns())

    def _reply(self, client_id: str):
        return self.replies.setdefault(client_id, []).append

    def fills(self, client_id: str | None = None) -> list[Fill]:
        return [e for e in self.events if isinstance(e, Fill) and client_id in (None, e.client_id)]

    def traded(self, client_id: str) -> list[tuple[float, float]]:
        """Return (price, quantity) of an order's fills."""
        return [(float(fill.price), float(fill.quantity)) for fill in self.fills(client_id)]

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def held(self, symbol: str = PERP) -> Decimal:
        return self.exchange.account.position(self.exchange.instruments[symbol])

    def cash(self, currency: str = "USD") -> Decimal:
        return self.exchange.account.cash(currency)

    def check_money(self) -> None:
        """Prove that no money was made or lost, and none is owed."""
        for line in self.driver.audit():
            assert line.difference == 0, line
            assert line.cash >= 0, line
        for balance in self.exchange.balances():
            assert balance.free >= 0 and balance.locked >= 0 and balance.total == balance.free + balance.locked


def kept_in(state: bytes) -> bytes:
    """Return a saved state without the marks, which move without being saved."""
    decoded = decode(state)
    decoded.marks = {}
    return encode(decoded)


def kept(venue: Venue) -> bytes:
    """Return what a venue has to keep, in the form of `kept_in`."""
    return kept_in(encode(venue.exchange.state()))


def opened(**config) -> Venue:
    """Return a venue with a book of 1 and 2 coins at 99.9 / 99.8 and 100.1 / 100.2, all fees off unless given."""
    venue = Venue(**{**FREE, **config})
    for symbol in (PERP, OTHER, SPOT):
        venue.book([(99.9, 1.0), (99.8, 2.0)], [(100.1, 1.0), (100.2, 2.0)], symbol)
    return venue

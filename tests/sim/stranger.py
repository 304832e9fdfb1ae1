"""Somebody else on the account: orders and cancels by hand in the venue's own app."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from engine.kernel.clock import Clock, Rng, sleep
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.orders import OrderRequest, OrderType, Side
from tests.sim.truth import Truth
from tests.venues.emulators.core import Emulator

_CLIP_USD = Decimal(150)
_MOST_USD = Decimal(300)


class Stranger:
    """Trades beside the engine, which must show what he does, book his fills, and leave his orders alone (E16).

    Args:
        emulator: The venue.
        truth: Knows which orders are his.
        instruments: What he trades.
        clock: Time.
        rng: Chooses.
        pace_s: Mean time between two acts.
        counts: Counts his acts.
        note: Takes them down.
    """

    def __init__(
        self,
        emulator: Emulator,
        truth: Truth,
        instruments: list[Instrument],
        clock: Clock,
        rng: Rng,
        pace_s: float,
        counts: Counter[str],
        note: Callable[[str], None],
    ) -> None:
        self._emulator = emulator
        self._truth = truth
        self._instruments = instruments
        self._clock = clock
        self._rng = rng
        self._pace_s = pace_s
        self._counts = counts
        self._note = note
        self.idle = True

    async def play(self) -> None:
        """Act now and then, for ever, but not while he is idle."""
        while True:
            await sleep(self._clock, self._rng.expovariate(1 / self._pace_s))
            if self.idle:
                continue
            act = self._rng.choice((self._place, self._place, self._cancel_own, self._cancel_ours))
            name = f"stranger {act.__name__.strip('_')}"
            self._note(name)
            try:
                self._counts[name] += act()
            except CtosError as error:
                self._note(f"{name}: {error}")

    def _place(self) -> int:
        """Place an order that brings his own position towards nothing, or begins one."""
        instrument = self._rng.choice(self._instruments)
        exchange = self._emulator.exchange
        touch = exchange.market(instrument.symbol).touch
        if touch is None:
            return 0
        held = self._truth.foreign.get(instrument.symbol, Decimal(0))
        side = self._rng.choice((Side.BUY, Side.SELL))
        price = instrument.price_from_float(touch.bid if side is Side.BUY else touch.ask)
        lots = int(_CLIP_USD * Decimal(str(round(self._rng.uniform(0.7, 1.0), 3))) / price / instrument.lot_size)
        quantity = max(lots, 1) * instrument.lot_size
        resting = sum((order.remaining for order in self._truth.foreign_open()), Decimal(0))
        if abs(held + quantity * side.sign) * price > _MOST_USD or resting:
            return 0
        kind = self._rng.choice((OrderType.LIMIT, OrderType.LIMIT, OrderType.MARKET))
        request = OrderRequest(
            client_id="",
            instance="",
            symbol=instrument.symbol,
            side=side,
            type=kind,
            quantity=quantity,
            price=price if kind is OrderType.LIMIT else None,
        )
        with self._truth.by_stranger():
            self._emulator.carry_out(lambda: exchange.place(request))
        return 1

    def _cancel_own(self) -> int:
        working = self._truth.foreign_open()
        return self._cancel(working[0].id, working[0].symbol) if working else 0

    def _cancel_ours(self) -> int:
        """Cancel an order of the engine's, as a person does who does not know it."""
        registry = self._emulator.exchange.registry
        ours = [order for order in registry.open.values() if order.id not in self._truth.foreign_ids]
        if not ours:
            return 0
        order = self._rng.choice(ours)
        return self._cancel(order.id, order.symbol)

    def _cancel(self, order_id: str, symbol: str) -> int:
        with self._truth.by_stranger():
            self._emulator.carry_out(lambda: self._emulator.exchange.cancel(order_id, symbol))
        return 1

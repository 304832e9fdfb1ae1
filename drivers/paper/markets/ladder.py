"""The synthetic order book of one instrument: levels that come, go and trade around a fair price."""

from __future__ import annotations

from bisect import insort
from math import ceil, exp, floor, log

from drivers.paper.markets.catalogue import Listing
from engine.kernel.clock import Rng
from engine.kernel.market import BookUpdate, MarketEvent, Trade
from engine.kernel.orders import Side

LEVELS = 50
_MOST_LEVELS = 60
_TRADE_SHARE = 0.3
_ADD_SHARE = 0.75
_NEW_SHARE = 0.4
_SWEEP_LEVELS = 4
_PRINT_SHARE = 0.6
_DEEPEST_BP = 14.0
_MOST_FILLED = 12


class _Levels:
    """One side: prices in ticks, as keys that ascend towards the touch."""

    __slots__ = ("keys", "sign", "sizes")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.sizes: dict[int, float] = {}

    def put(self, key: int, size: float) -> None:
        if key not in self.sizes:
            insort(self.keys, key)
        self.sizes[key] = size

    def drop(self, key: int) -> None:
        del self.sizes[key]
        self.keys.remove(key)


class Ladder:
    """A book that lives: call `event` at every random moment, in order of time.

    Args:
        listing: The instrument and its coin.
        rng: Randomness of its events.
        size_scale: Multiplier of trade and level sizes.
    """

    def __init__(self, listing: Listing, rng: Rng, size_scale: float = 1.0) -> None:
        instrument, coin = listing.instrument, listing.coin
        self._symbol = instrument.symbol
        self._rng = rng.random
        self._tick = float(instrument.tick_size)
        self._price_places = instrument.price_places
        self._lot = float(instrument.lot_size)
        self._quantity_places = instrument.quantity_places
        self._spread = coin.spread_bp * 1e-4
        self._trade_quantity = coin.trade_usd * size_scale / coin.price
        self._least = max(self._lot, float(instrument.min_quantity))
        self._bids = _Levels(1)
        self._asks = _Levels(-1)
        self._trades = 0
        self._lean = 0.0

    def snapshot(self, fair: float, vol: float, now_ms: int) -> BookUpdate:
        """Draw a whole new book around a fair price."""
        bid, ask = self._targets(fair, vol)
        for side, touch in ((self._bids, bid), (self._asks, ask)):
            side.keys, side.sizes = [], {}
            side.put(touch * side.sign, self._size(0.0, vol))
            self._deepen(side, fair, vol)
        return BookUpdate(self._symbol, now_ms, self._listed(self._bids), self._listed(self._asks), snapshot=True)

    def event(self, fair: float, vol: float, now_ms: int) -> list[MarketEvent]:
        """Let one thing happen: prints, and the level changes that follow from them and from the fair price."""
        prints: list[MarketEvent] = []
        changed: tuple[dict[int, float], dict[int, float]] = ({}, {})
        bid, ask = self._targets(fair, vol)
        self._give_way(self._asks, changed[1], -ask, Side.BUY, prints, now_ms)
        self._give_way(self._bids, changed[0], bid, Side.SELL, prints, now_ms)
        gap = max(1, int(fair * 1e-4 * _DEEPEST_BP / LEVELS / self._tick))
        self._follow(self._bids, changed[0], bid, gap, vol)
        self._follow(self._asks, changed[1], -ask, gap, vol)
        random = self._rng
        if random() < _TRADE_SHARE:
            buy = random() < 0.5 + self._lean
            self._lean = max(-0.25, min(0.25, self._lean * 0.9 + (0.03 if buy else -0.03)))
            side, number, aggressor = (self._asks, 1, Side.BUY) if buy else (self._bids, 0, Side.SELL)
            self._sweep(side, changed[number], self._draw() * vol, aggressor, prints, now_ms)
        else:
            number = 0 if random() < 0.5 else 1
            self._shuffle(self._bids if number == 0 else self._asks, changed[number], fair, gap, vol)
        bids, asks = changed
        if bids or asks:
            prints.append(
                BookUpdate(self._symbol, now_ms, self._changes(bids, self._bids), self._changes(asks, self._asks))
            )
        return prints

    def _targets(self, fair: float, vol: float) -> tuple[int, int]:
        half = self._spread * (0.5 + 0.5 * vol)
        bid = floor(fair * (1.0 - half) / self._tick)
        return bid, max(bid + 1, ceil(fair * (1.0 + half) / self._tick))

    def _draw(self) -> float:
        """Return a trade's quantity: usual sizes with a heavy tail."""
        draw = -log(1.0 - self._rng())
        quantity = self._trade_quantity * 0.45 * draw**1.5
        return quantity * 12.0 if self._rng() < 0.01 else quantity

    def _size(self, distance_bp: float, vol: float) -> float:
        """Return the size of a level some bp from the touch: deeper levels hold more, wild markets less."""
        draw = 0.3 - log(1.0 - self._rng())
        quantity = self._trade_quantity * draw * (2.5 + 0.6 * distance_bp) / (0.5 + 0.5 * vol)
        return max(self._least, round(round(quantity / self._lot) * self._lot, self._quantity_places))

    def _price(self, side: _Levels, key: int) -> float:
        return round(key * side.sign * self._tick, self._price_places)

    def _listed(self, side: _Levels) -> list[tuple[float, float]]:
        return [(self._price(side, key), side.sizes[key]) for key in reversed(side.keys)]

    def _changes(self, changed: dict[int, float], side: _Levels) -> list[tuple[float, float]]:
        return [(self._price(side, key), size) for key, size in changed.items()]

    def _give_way(
        self,
        side: _Levels,
        changed: dict[int, float],
        limit: int,
        aggressor: Side,
        prints: list[MarketEvent],
        now_ms: int,
    ) -> None:
        """Remove levels that the fair price has passed: most are traded away, others withdrawn."""
        keys = side.keys
        while keys and keys[-1] > limit:
            key = keys.pop()
            size = side.sizes.pop(key)
            changed[key] = 0.0
            if len(prints) < _SWEEP_LEVELS and self._rng() < _PRINT_SHARE:
                prints.append(self._print(side, key, size, aggressor, now_ms))

    def _follow(self, side: _Levels, changed: dict[int, float], target: int, gap: int, vol: float) -> None:
        """Put a level at the target when the touch has fallen behind it, and others in the room it leaves."""
        keys = side.keys
        if keys and keys[-1] >= target:
            return
        behind = keys[-1] if keys else target
        key = target
        for _ in range(_MOST_FILLED):
            size = self._size(0.0, vol)
            side.put(key, size)
            changed[key] = size
            key -= 1 + int(self._rng() * 2 * gap)
            if key <= behind:
                return

    def _sweep(
        self,
        side: _Levels,
        changed: dict[int, float],
        quantity: float,
        aggressor: Side,
        prints: list[MarketEvent],
        now_ms: int,
    ) -> None:
        """Trade a quantity against the best levels, one print for each."""
        left = max(self._least, round(round(quantity / self._lot) * self._lot, self._quantity_places))
        for _ in range(_SWEEP_LEVELS):
            if len(side.keys) < 2:
                return
            key = side.keys[-1]
            size = side.sizes[key]
            if size > left:
                prints.append(self._print(side, key, left, aggressor, now_ms))
                rest = round(size - left, self._quantity_places)
                side.sizes[key] = changed[key] = rest
                return
            prints.append(self._print(side, key, size, aggressor, now_ms))
            side.drop(key)
            changed[key] = 0.0
            left = round(left - size, self._quantity_places)
            if left <= 0:
                return

    def _print(self, side: _Levels, key: int, size: float, aggressor: Side, now_ms: int) -> Trade:
        self._trades += 1
        return Trade(self._symbol, now_ms, self._price(side, key), size, aggressor, f"{now_ms}{self._trades % 1000:03}")

    def _shuffle(self, side: _Levels, changed: dict[int, float], fair: float, gap: int, vol: float) -> None:
        """Change, add or withdraw a level, more often near the touch."""
        keys, random = side.keys, self._rng
        depth = min(len(keys) - 1, int(-6.0 * log(1.0 - random())))
        key = keys[-1 - depth]
        per_bp = fair * 1e-4 / self._tick
        draw = random()
        if draw < _ADD_SHARE or depth == 0:
            if draw < _NEW_SHARE:
                key = keys[-1] - 1 - int(-log(1.0 - random()) * 5 * gap)
            size = self._size((keys[-1] - key) / per_bp, vol)
            side.put(key, size)
            changed[key] = size
        else:
            side.drop(key)
            changed[key] = 0.0
        if len(keys) > _MOST_LEVELS:
            for far in keys[: len(keys) - LEVELS]:
                changed[far] = 0.0
                del side.sizes[far]
            del keys[: len(keys) - LEVELS]
        elif len(keys) < LEVELS:
            self._deepen(side, fair, vol, changed)

    def _deepen(self, side: _Levels, fair: float, vol: float, changed: dict[int, float] | None = None) -> None:
        """Add levels behind the last one until there are enough, wider apart the further out and the wilder."""
        per_bp = fair * 1e-4 / self._tick
        gap = per_bp * _DEEPEST_BP / LEVELS * (0.5 + 0.5 * vol)
        touch, key = side.keys[-1], side.keys[0]
        while len(side.keys) < LEVELS:
            share = len(side.keys) / LEVELS
            key -= 1 + int(2.0 * share * gap * exp(self._rng() - 0.5))
            if key * side.sign <= 0:
                return
            size = self._size((touch - key) / per_bp, vol)
            side.put(key, size)
            if changed is not None:
                changed[key] = size

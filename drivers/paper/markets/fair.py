"""Fair prices and volatility of the synthetic market: pure functions of (seed, coin, time)."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Any, NamedTuple

from drivers.paper.markets.catalogue import Coin
from drivers.paper.markets.noise import Octaves, key_of, walk

_DAY_S = 86_400
_MARKET_VOL = 0.022 / _DAY_S**0.5
_FAST = range(0, 12)
_SLOW = range(12, 24)
_VOL_POWERS = range(9, 18)
_BASIS_POWERS = range(6, 15)
_BASIS_STEP = 0.00006
_INTEREST = 0.0001
_FUNDING_CAP = 0.003


@dataclass(slots=True)
class _Factor:
    """A random walk whose fast part is louder or quieter with its own volatility."""

    fast: Octaves
    slow: Octaves
    vol: Octaves

    @classmethod
    def seeded(cls, key: int, seconds_vol: float) -> _Factor:
        return cls(
            Octaves(key_of(key, "fast"), walk(seconds_vol, _FAST)),
            Octaves(key_of(key, "slow"), walk(seconds_vol, _SLOW)),
            Octaves(key_of(key, "vol"), [(power, 0.42) for power in _VOL_POWERS]),
        )


class FairMoment(NamedTuple):
    """One instrument at one moment.

    Attributes:
        price: Fair price.
        coin: Fair price of the coin itself, without the basis.
        vol: Volatility relative to its usual.
        funding: Predicted funding rate for 8 hours: interest plus a part of the basis, within its cap.
    """

    price: float
    coin: float
    vol: float
    funding: float


class MarketFactor:
    """What all coins share."""

    def __init__(self, seed: int) -> None:
        self._factor = _Factor.seeded(key_of(seed, "market"), _MARKET_VOL)
        self._second = -1
        self._now = (0.0, 0.0)

    def at(self, second: int) -> tuple[float, float]:
        """Return (log price, log volatility) of the market at a whole second."""
        if second != self._second:
            factor = self._factor
            vol = factor.vol.at(second)
            self._now = (factor.slow.at(second) + exp(vol) * factor.fast.at(second), vol)
            self._second = second
        return self._now

    def series(self, seconds: Any) -> tuple[Any, Any]:
        """Return the same for an ascending numpy array of seconds."""
        import numpy as np

        factor = self._factor
        vol = factor.vol.series(seconds)
        return factor.slow.series(seconds) + np.exp(vol) * factor.fast.series(seconds), vol


class FairPrice:
    """One coin's fair price; perpetuals add a basis that wanders around zero.

    Args:
        seed: Seed of the market.
        coin: The coin.
        market: The common factor.
        perp: Name of the perpetual whose basis is added, None for the coin itself.
    """

    def __init__(self, seed: int, coin: Coin, market: MarketFactor, perp: str | None = None) -> None:
        self._coin = coin
        self._market = market
        self._own = _Factor.seeded(key_of(seed, coin.name), coin.own_vol / _DAY_S**0.5)
        self._basis = (
            Octaves(key_of(seed, perp, "basis"), [(power, _BASIS_STEP) for power in _BASIS_POWERS]) if perp else None
        )

    def at(self, second: int) -> FairMoment:
        """Return everything at a whole second; quick when the seconds asked for ascend."""
        market, market_vol = self._market.at(second)
        own = self._own
        vol = exp(0.6 * market_vol + 0.4 * own.vol.at(second))
        log = self._coin.beta * market + own.slow.at(second) + vol * own.fast.at(second)
        coin = self._coin.price * exp(log)
        if self._basis is None:
            return FairMoment(coin, coin, vol, 0.0)
        basis = self._basis.at(second)
        funding = round(max(-_FUNDING_CAP, min(_FUNDING_CAP, _INTEREST + 0.5 * basis)), 8)
        return FairMoment(coin * (1.0 + basis), coin, vol, funding)

    def series(self, seconds: Any) -> tuple[Any, Any]:
        """Return (prices, volatilities) at an ascending numpy array of whole seconds."""
        import numpy as np

        market, market_vol = self._market.series(seconds)
        own = self._own
        vol = np.exp(0.6 * market_vol + 0.4 * own.vol.series(seconds))
        log = self._coin.beta * market + own.slow.series(seconds) + vol * own.fast.series(seconds)
        basis = self._basis.series(seconds) if self._basis is not None else 0.0
        return self._coin.price * np.exp(log) * (1.0 + basis), vol

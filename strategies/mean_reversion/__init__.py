"""Mean reversion by z-score."""

from strategies.mean_reversion.params import MeanReversionParams
from strategies.mean_reversion.strategy import MeanReversion

__all__ = ["MeanReversion", "MeanReversionParams"]

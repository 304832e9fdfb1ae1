"""Dynamic two-order grid around a moving baseline."""

from strategies.dyn_grid.params import DynGridParams
from strategies.dyn_grid.strategy import DynGrid

__all__ = ["DynGrid", "DynGridParams"]

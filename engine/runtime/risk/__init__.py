"""The gate that every order passes. `RiskWatcher` is the door; it sees the engine through a `RiskView`."""

from engine.runtime.risk.view import LimitUse, RiskView
from engine.runtime.risk.watcher import RiskWatcher

__all__ = ["LimitUse", "RiskView", "RiskWatcher"]

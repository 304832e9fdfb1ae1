"""Puts a running system together from the configuration; the only place that knows all parts."""

from engine.boot.decoding import decode_stream
from engine.boot.options import SystemOptions
from engine.boot.strategies import StrategyCatalogue, load_strategies
from engine.boot.summary import summary
from engine.boot.system import System, build_system, calling, open_engine
from engine.boot.full_speed import run_at_full_speed

__all__ = [
    "StrategyCatalogue",
    "System",
    "SystemOptions",
    "build_system",
    "calling",
    "decode_stream",
    "load_strategies",
    "open_engine",
    "run_at_full_speed",
    "summary",
]

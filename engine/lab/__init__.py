"""Offline work on the same engine: backtest, replay, report, sweep."""

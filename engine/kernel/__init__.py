"""Vocabulary and mechanism of the trading system. Imports nothing else of this project."""

"""Binance: codecs of its USD-M futures and spot markets."""

"""The outside that is not a venue: configuration, journal, market data files, logs."""

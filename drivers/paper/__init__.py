"""The simulated venue: matching engine and market models."""

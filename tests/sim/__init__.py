"""Simulation: the real engine, drivers and emulators on virtual time and an in-memory network, with seeded faults."""

"""Deliberate bugs of the engine, each of which the simulation or a state machine has to find."""

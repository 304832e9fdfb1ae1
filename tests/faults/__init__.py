"""The fault matrix: which faults the system must survive, and which tests prove that it does."""

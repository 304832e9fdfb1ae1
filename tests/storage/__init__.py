"""Faults of the disk and sudden deaths, with real processes, real files and real errors of the system."""

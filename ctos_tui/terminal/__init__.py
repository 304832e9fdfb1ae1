"""The terminal as a device that may be slow, stall or vanish: driver, writer, paint gate, link meter, app base."""

"""Safety of order entry: levels, arming and the key guard."""

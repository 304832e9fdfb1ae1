"""Real kills and real terminals: what a process must survive, done to it many times over."""

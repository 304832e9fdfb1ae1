"""Becomes a client of the tmux server on the socket that is given: a terminal starts Python modules only."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.execlp("tmux", "tmux", "-S", sys.argv[1], "attach-session")

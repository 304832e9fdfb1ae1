"""The console: what the operator sees and presses, and the `ctos-tui` command."""

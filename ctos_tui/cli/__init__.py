"""The subcommands of `ctos-tui` that need no screen."""

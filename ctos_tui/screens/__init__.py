"""The desk and the cards that are laid over it."""

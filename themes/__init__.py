"""Colours and layout styles of the console, as data files."""

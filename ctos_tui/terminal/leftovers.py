"""Lets a screen that has ended go: the library's caches are keyed by the objects that they serve, and hold them."""

from __future__ import annotations

from textual._styles_cache import StylesCache
from textual._xterm_parser import XTermParser
from textual.filter import ANSIToTruecolor

_CACHES = (StylesCache.get_inner_outer, XTermParser._parse_extended_key, ANSIToTruecolor.truecolor_style)


def drop_leftovers() -> None:
    """Empty the caches that would keep up to a thousand widgets' lines: every later collection goes through them."""
    for cache in _CACHES:
        cache.cache_clear()

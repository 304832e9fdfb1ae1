"""Which kinds of service notifications can go to, by the scheme of the address."""

from __future__ import annotations

import difflib

SCHEMES = (
    "slack", "discord", "tgram", "json", "jsons", "ntfy", "ntfys", "mailto", "mailtos", "pover", "gotify", "gotifys",
    "matrix", "matrixs", "mmost", "mmosts", "workflows", "wxteams", "zulip", "pbul", "pagerduty", "opsgenie",
    "signal", "signals", "twilio", "xml", "xmls", "form", "forms", "https",
)  # fmt: skip
"""Services reached over the network; `https` is a webhook address as Slack, Discord and others show it."""


def scheme_of(url: str) -> str:
    """Return the scheme of an address, nothing when it has none."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""


def url_problem(url: str) -> str:
    """Return what is wrong with an address as far as its form tells, else nothing; never a part of the address."""
    scheme = scheme_of(url)
    allowed = f"allowed: {', '.join(f'{name}://' for name in SCHEMES)}"
    if not scheme or not scheme.isalnum():
        return f"is not an address such as slack://... ({allowed})"
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1, cutoff=0.6)
        hint = f"; did you mean {near[0]}://?" if near else ""
        return f"unknown scheme {scheme[:16]}://{hint} ({allowed})"
    if not url.partition("://")[2].strip("/ ") or any(char.isspace() for char in url):
        return f"{scheme}:// needs its address behind it, without blanks"
    return ""

"""What people are told of a halt or restriction: why, by whom, since when, and how to go on."""

from __future__ import annotations

from ctos_tui.text import clean, ellipsis, width
from engine.io.logs import iso_time
from engine.runtime.trading_state import TradingStatus


def moment(ns: int, now_ns: int) -> str:
    """Return a UTC time to the minute, with its date unless that is today's: `14:05`, `2026-11-20 14:05`."""
    stamp, today = iso_time(ns), iso_time(now_ns)[:10]
    clock = stamp[11:16]
    return clock if stamp[:10] == today else f"{stamp[:10]} {clock}"


def cause_within(status: TradingStatus, now_ns: int, cells: int) -> str:
    """Return why trading is restricted, by whom and since when, as much of it as there is room for.

    The reason comes first; the time stays longer than the name, as it is short. Before that goes, too, the reason loses
    what it has in brackets at its end.
    """
    why, who = clean(status.reason), clean(status.who)
    short = (why.rpartition(" (")[0] or why) if why.endswith(")") else why
    when = f"since {moment(status.since_ns, now_ns)}" if status.since_ns else ""
    for parts in ((why, who, when), (why, when), (short, who, when), (short, when)):
        words = " · ".join(part for part in parts if part)
        if width(words) <= cells:
            return words
    return ellipsis(short or who, cells)


def in_full(status: TradingStatus, account: str, now_ns: int) -> str:
    """Return a halt in one line for the log, with the line that releases it."""
    why = clean(status.reason) or "no reason was given"
    by = f"by {clean(status.who)}" if status.who else ""
    since = f"since {moment(status.since_ns, now_ns)} UTC" if status.since_ns else ""
    told = " ".join(part for part in (by, since) if part)
    return "; ".join(part for part in (f"HALTED: {why}", told, f"rearm {account} REASON releases it") if part)

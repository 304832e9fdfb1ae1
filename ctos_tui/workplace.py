"""The operator's workplace: what outlives a screen. A terminal may go and another come; focus, log and notes stay."""

from __future__ import annotations

from dataclasses import dataclass

from ctos_tui.feed import Feed
from ctos_tui.frame import monotonic
from ctos_tui.news import News
from ctos_tui.port import Port
from ctos_tui.session import Session


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the operator left and finds again."""

    session: Session
    news: News

    @classmethod
    def at(cls, port: Port) -> Workplace:
        """Return a new workplace at a system."""
        session = Session(port, Feed(port), _now_ns)
        return cls(session, News(session))

    def leave(self) -> None:
        """Nobody looks any more: no bell rings, nothing is painted, and orders by hand need a new grant."""
        self.news.bell = lambda: None
        self.news.panic_hint = lambda: ""
        self.session.on_focus = lambda: None
        self.session.now = _now_ns
        if self.session.is_live:
            self.session.arming.disarm()
            self.session.port.lock_hand()


def _now_ns() -> int:
    return int(monotonic() * 1e9)

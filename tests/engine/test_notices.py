"""What is told outside the console, and when: folded, limited, retried, on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.kernel.account import AccountStream
from engine.kernel.anomaly import Severity
from engine.kernel.clock import NS_PER_S, VirtualClock
from engine.kernel.errors import VenueUnavailable
from engine.runtime import notice_outbox
from engine.runtime.anomalies import Anomaly, AnomalyChanged, AnomalyState
from engine.runtime.events import TradingStateChanged
from engine.runtime.notice_outbox import HELD, Notice, Outbox
from engine.runtime.notices import Notices
from tests.rig import Rig


class Post:
    """A target: what was sent to it, and whether it takes it."""

    def __init__(self, clock: VirtualClock, least: Severity = Severity.WARN, answers: bool = True) -> None:
        self.clock = clock
        self.failure = ""
        self.answers = answers
        self.sent: list[tuple[str, str]] = []
        self.looks: list[Severity] = []
        self.times: list[float] = []
        self.waiting: list[Callable[[str], object]] = []
        self.trouble: list[str] = []
        self.box = Outbox("phone", least, clock, self.send, lambda name, why: self.trouble.append(why))

    def send(self, title: str, body: str, severity: Severity, done: Callable[[str], object]) -> None:
        self.sent.append((title, body))
        self.looks.append(severity)
        self.times.append(self.clock.now_ns() / NS_PER_S)
        if self.answers:
            self.clock.call_later(0, done, self.failure)
        else:
            self.waiting.append(done)

    @property
    def titles(self) -> list[str]:
        return [title for title, _ in self.sent]

    def offer(self, key: str, severity: Severity = Severity.CRIT, urgent: bool = False, text: str = "text") -> None:
        self.box.offer(Notice(key, severity, f"about {key}", text, urgent))

    def run(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now_ns() + round(seconds * NS_PER_S))


@pytest.fixture
def post() -> Post:
    return Post(VirtualClock(1_700_000_000 * NS_PER_S))


def test_the_same_news_within_a_minute_is_told_once_more_with_its_number(post: Post) -> None:
    for number in range(5):
        post.offer("a", text=f"text {number}")
        post.run(1)
    assert post.sent == [("about a", "text 0")]
    post.run(60)
    assert post.sent[1:] == [("about a (x4)", "text 4")]
    post.run(600)
    post.offer("a")
    post.run(1)
    assert post.titles == ["about a", "about a (x4)", "about a"]
    post.offer("b", Severity.INFO)
    post.run(100)
    assert len(post.sent) == 3, "below the target's least severity"


def test_no_minute_has_more_than_ten_messages_and_every_notice_is_counted(post: Post) -> None:
    for number in range(3000):
        post.offer(f"k{number}", Severity.WARN if number % 10 else Severity.CRIT)
        post.run(0.1)
        assert len(post.box._held) <= HELD and len(post.box._seen) <= notice_outbox.REMEMBERED
    post.run(60)
    for start in post.times:
        assert sum(start <= at < start + 60 for at in post.times) <= 10
    counted = 0
    for title, body in post.sent:
        more = title.partition(" and ")[2].partition(" more")[0]
        counted += 1 + int(more or 0)
        if int(more or 0) > 4:
            assert f"and {int(more) - 4} more: see the anomalies" in body
    assert counted == 3000
    assert all(body.startswith("about k") for title, body in post.sent if "more" in title)


def test_a_halt_goes_first_alone_and_in_a_storm_too(post: Post) -> None:
    post.answers = False
    for number in range(500):
        post.offer(f"k{number}")
    post.offer("halt", urgent=True)
    post.offer("halt", urgent=True)
    post.waiting.pop()("")
    post.waiting.pop()("")
    assert post.titles == ["about k0", "about halt", "about halt"]


def test_a_failing_target_is_retried_for_halts_up_to_five_minutes_and_told_once(post: Post) -> None:
    post.failure = "refused"
    post.offer("gone")
    post.offer("halt", urgent=True)
    post.run(200)
    assert post.trouble == ["refused"]
    pauses = [round(b - a) for a, b in zip(post.times, post.times[1:], strict=False)]
    assert pauses[:5] == [2, 4, 8, 16, 32] and max(pauses) <= 60
    assert post.titles[-1] == "about halt"
    post.failure = ""
    post.run(60)
    assert post.trouble == ["refused", ""] and post.titles[-1] == "about halt"
    number = len(post.sent)
    post.failure = "refused"
    post.offer("halt", urgent=True)
    post.run(301)
    attempts = len(post.sent)
    post.run(600)
    assert attempts > number + 5 and len(post.sent) == attempts and post.box.is_idle


def test_the_end_waits_for_a_halt_and_not_for_what_a_dead_target_never_takes(post: Post) -> None:
    idle: list[bool] = []
    post.box.on_idle = lambda: idle.append(True)
    post.answers = False
    post.offer("a")
    post.offer("b")
    post.box.close()
    assert not post.box.is_idle
    post.waiting.pop()("")
    post.waiting.pop()("")
    assert post.titles == ["about a", "about b"] and post.box.is_idle and idle
    post.offer("halt", urgent=True)
    post.waiting.pop()("refused")
    assert not post.box.is_idle
    post.run(3)
    post.box.stop()
    post.waiting.pop()("")
    post.run(600)
    assert post.titles[2:] == ["about halt"] * 2 and post.trouble == ["refused"]


class Alarms:
    def raise_anomaly(self, kind: str, *rest: object) -> None:
        raise AssertionError(kind)

    def resolve(self, kind: str, *rest: object) -> None:
        raise AssertionError(kind)


@pytest.fixture
def told(tmp_path: Path) -> tuple[Rig, Post, Notices]:
    rig = Rig(tmp_path)
    notices = Notices(rig.engine, Alarms(), lambda text: text.replace("canary", "***"))
    post = Post(rig.clock)
    notices.start([post.box])
    notices.settle()
    return rig, post, notices


def anomaly(severity: Severity, state: AnomalyState = AnomalyState.ACTIVE) -> AnomalyChanged:
    text = "price of canary <!channel> @here\x1b moved"
    made = Anomaly(
        "1", "price_jump", "Price Anomaly", severity, state, "BTC-USDT-PERP", "g1", text, 0, 0, "", "", "", ""
    )
    return AnomalyChanged(made, state is AnomalyState.ACTIVE)


def test_anomalies_are_told_when_raised_risen_and_cleared(told: tuple[Rig, Post, Notices]) -> None:
    rig, post, _ = told
    for event in (anomaly(Severity.INFO), anomaly(Severity.WARN), anomaly(Severity.CRIT)):
        rig.bus.publish(event)
        rig.run(30)
    rig.bus.publish(anomaly(Severity.CRIT, AnomalyState.CLEARED))
    rig.run(30)
    label = f"[PAPER {rig.engine.account.venue} {rig.engine.account.name}]"
    assert post.titles == [
        f"{label} WARN Price Anomaly BTC-USDT-PERP g1",
        f"{label} CRIT Price Anomaly BTC-USDT-PERP g1",
        f"{label} cleared: Price Anomaly",
    ]
    assert post.looks == [Severity.WARN, Severity.CRIT, Severity.INFO], "who was told of it is told of its end"
    words, when = post.sent[0][1].split("\n")
    assert words == "price of *** < !channel> @ here  moved" and when.endswith(" UTC")


def test_a_restriction_and_its_release_are_told(told: tuple[Rig, Post, Notices]) -> None:
    rig, post, _ = told
    rig.engine.trading.restrict("risk", "close to the limit")
    rig.run(1)
    rig.bus.publish(TradingStateChanged("reduce_only", "told by another part as well"))
    rig.engine.trading.rearm("ann", "looked at")
    rig.run(1)
    assert [title.partition("] ")[2] for title in post.titles] == [
        "REDUCE-ONLY by risk",
        "reduce-only released by ann: trading is armed",
    ]
    assert post.looks == [Severity.CRIT, Severity.INFO]


def test_a_halt_that_the_venue_does_not_confirm_is_told_again(told: tuple[Rig, Post, Notices]) -> None:
    rig, post, _ = told
    rig.engine.core.driver.get_open_orders = _unreachable  # type: ignore[method-assign]
    rig.engine.panic("ann", "odd")
    rig.run(320)
    assert [title.partition("] ")[2] for title in post.titles] == [
        "HALTED by ann",
        "halt NOT confirmed yet",
        "halt NOT confirmed yet",
    ]
    assert "last look failed: the venue is away" in post.sent[1][1]


def test_an_account_stream_that_stays_away_is_told_after_half_a_minute(told: tuple[Rig, Post, Notices]) -> None:
    rig, post, _ = told
    rig.engine.stream.on_change(AccountStream(False, "closed by the venue"))
    rig.run(25)
    assert post.sent == []
    rig.run(20)
    assert "account stream lost for 30 s" in post.titles[0]
    assert "closed by the venue" in post.sent[0][1]
    rig.run(120)
    rig.engine.stream.on_change(AccountStream(True, ""))
    rig.engine.reconciler.last_agreed_ns = rig.clock.now_ns()
    rig.run(6)
    assert len(post.sent) == 2 and "account stream is back" in post.titles[1]


async def _unreachable(symbol: str | None = None) -> list[object]:
    raise VenueUnavailable("the venue is away")

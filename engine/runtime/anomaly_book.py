"""The book of anomalies: one cause, one anomaly, raised, kept up to date, cleared and remembered.

A key (kind, symbol, instance) is OK, ACTIVE or CLEARED. While it is active only time, count, value and peak change; a
rise of severity tells again, and a reading that says so lowers it in silence. It clears after several evaluations
beyond its clear level, and is then not raised again for a while unless it is worse than before; a critical one that
comes back in that time goes on, in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from engine.io.settings import MonitorConfig
from engine.kernel.anomaly import TITLES, AnomalyKind, Severity
from engine.kernel.clock import Clock
from engine.runtime.anomalies import Anomaly, AnomalyState, Effect, Key, Reading

KEPT_ANOMALIES = 1000
JUMP_ABSORBS_MS = 60_000

_STALE_ABSORBS = frozenset(
    {AnomalyKind.PRICE_JUMP, AnomalyKind.POSITION_DRIFT, AnomalyKind.PNL_SWING, AnomalyKind.ORDER_STUCK}
)
_JUMP_ABSORBS = frozenset({AnomalyKind.PNL_SWING, AnomalyKind.RISK_RATIO, AnomalyKind.LARGE_POSITION})


@dataclass(slots=True)
class _Track:
    """How far an active condition is from clearing."""

    good: int = 0
    good_since_ms: int = 0
    last_bad_ms: int = 0


class AnomalyBook:
    """All anomalies of one account.

    Args:
        clock: The engine's clock.
        config: How many evaluations clear one, and the cool-down.
        on_change: Called with (anomaly, whether to notify) after each change worth telling.
        held: Returns whether the account holds a symbol; decides whose price explains a swing of the profit.
    """

    def __init__(
        self,
        clock: Clock,
        config: MonitorConfig,
        on_change: Callable[[Anomaly, bool], None],
        held: Callable[[str], bool],
    ) -> None:
        self._clock = clock
        self._config = config
        self._on_change = on_change
        self._held = held
        self._all: deque[Anomaly] = deque(maxlen=KEPT_ANOMALIES)
        self._active: dict[Key, Anomaly] = {}
        self._last: dict[Key, Anomaly] = {}
        self._tracks: dict[Key, _Track] = {}
        self._muted: dict[Key, int] = {}
        self._number = 0

    def __iter__(self) -> Iterator[Anomaly]:
        return iter(self._all)

    def active(self) -> list[Anomaly]:
        """Return what holds now, oldest first."""
        return list(self._active.values())

    def get(self, anomaly_id: str) -> Anomaly | None:
        """Return an anomaly by its id."""
        return next((anomaly for anomaly in self._all if anomaly.id == anomaly_id), None)

    def evaluate(self, readings: Iterable[Reading]) -> None:
        """Take in one evaluation of everything, causes before effects; a key without a reading counts as clear."""
        read: set[Key] = set()
        for reading in sorted(readings, key=_cause_first):
            read.add(reading.key)
            self._take(reading)
        for key, anomaly in list(self._active.items()):
            if anomaly.is_condition and key not in read:
                self._good(anomaly, 0)
        self._expire()

    def report(
        self, kind: str, symbol: str, instance: str, severity: Severity, value: str, threshold: str, text: str
    ) -> Anomaly:
        """Take in something that happened; again while it is remembered, it counts on."""
        key = (kind, symbol, instance)
        now_ms = self._clock.now_ms()
        last = self._active.get(key) or self._last.get(key)
        if last is None or not (last.is_active or self._cooling(last, now_ms)):
            made = self._make(kind, symbol, instance, severity, value, threshold, "", text, is_condition=False)
            self._raise(made)
            return made
        worse = severity.rank > last.severity.rank
        last.severity = severity if worse else last.severity
        last.count += 1
        last.updated_ms = now_ms
        last.value, last.threshold, last.text = value, threshold, text
        last.peak = value if worse else last.peak
        last.state, last.cleared_ms = AnomalyState.ACTIVE, None
        self._active[key] = last
        self._tell(last, worse)
        return last

    def clear(self, anomaly: Anomaly) -> None:
        """Clear an anomaly at once."""
        if anomaly.is_active:
            anomaly.state = AnomalyState.CLEARED
            anomaly.cleared_ms = anomaly.updated_ms = self._clock.now_ms()
            self._active.pop(anomaly.key, None)
            self._tracks.pop(anomaly.key, None)
            self._tell(anomaly, False)

    def acknowledge(self, anomaly: Anomaly, who: str) -> None:
        """Note that a person has seen it; what was reported once is cleared by that."""
        anomaly.acked_by, anomaly.acked_ms = who, self._clock.now_ms()
        if anomaly.is_condition or not anomaly.is_active:
            self._tell(anomaly, False)
        else:
            self.clear(anomaly)

    def mute(self, anomaly: Anomaly, seconds: float) -> None:
        """Tell nobody about this key for a while; 0 ends that. What it blocks stays blocked."""
        anomaly.muted_until_ms = self._muted[anomaly.key] = self._clock.now_ms() + round(seconds * 1000)
        self._tell(anomaly, False)

    def restore(self, anomalies: Iterable[Anomaly]) -> None:
        """Take over what an earlier run remembered, oldest first."""
        for anomaly in anomalies:
            self._all.append(anomaly)
            self._last[anomaly.key] = anomaly
            if anomaly.muted_until_ms:
                self._muted[anomaly.key] = anomaly.muted_until_ms
            self._number = max(self._number, int(anomaly.id))
            if anomaly.is_active:
                self._active[anomaly.key] = anomaly
                self._tracks[anomaly.key] = _Track(last_bad_ms=anomaly.updated_ms)

    def _take(self, reading: Reading) -> None:
        active = self._active.get(reading.key)
        if reading.severity is None:
            if active is not None:
                active.value = _text(reading.value)
                if reading.is_eased and active.severity is Severity.CRIT:
                    self._ease(active, reading, Severity.WARN)
                if reading.is_clear:
                    self._good(active, reading.hold_s)
                else:
                    self._tracks[reading.key].good = 0
            return
        if active is not None:
            self._bad(active, reading)
            return
        cause = self._cause_of(reading)
        if cause is not None:
            _note_effect(cause, reading)
            return
        now_ms = self._clock.now_ms()
        last = self._last.get(reading.key)
        if last is not None and self._cooling(last, now_ms) and reading.severity.rank <= last.severity.rank:
            if reading.severity is Severity.CRIT:
                self._reopen(last, reading)
            return
        self._raise_condition(reading, reading.severity)

    def _reopen(self, anomaly: Anomaly, reading: Reading) -> None:
        """Go on with a critical anomaly that cleared a moment ago, silently: what it blocks must be blocked again."""
        anomaly.state, anomaly.cleared_ms = AnomalyState.ACTIVE, None
        self._active[anomaly.key] = anomaly
        self._tracks[anomaly.key] = _Track()
        self._bad(anomaly, reading)
        self._tell(anomaly, False)

    def _raise_condition(self, reading: Reading, severity: Severity) -> None:
        made = self._make(
            reading.kind,
            reading.symbol,
            reading.instance,
            severity,
            _text(reading.value),
            _text(reading.threshold),
            _text(reading.clear_threshold),
            reading.text,
            is_condition=True,
        )
        made.data = dict(reading.data)
        self._tracks[made.key] = _Track(last_bad_ms=made.raised_ms)
        if made.kind == AnomalyKind.STALE_DATA and not made.symbol:
            self._absorb_active(made)
        self._raise(made)

    def _bad(self, anomaly: Anomaly, reading: Reading) -> None:
        assert reading.severity is not None
        track = self._tracks[anomaly.key]
        track.good = 0
        track.last_bad_ms = anomaly.updated_ms = self._clock.now_ms()
        anomaly.count += 1
        anomaly.value = _text(reading.value)
        anomaly.data.update(reading.data)
        peak = Decimal(anomaly.peak)
        if (reading.value < peak) if reading.is_falling else (reading.value > peak):
            anomaly.peak, anomaly.text = anomaly.value, reading.text
        if reading.severity.rank > anomaly.severity.rank:
            anomaly.severity, anomaly.threshold = reading.severity, _text(reading.threshold)
            anomaly.text = reading.text
            self._tell(anomaly, True)
        elif reading.is_eased and reading.severity.rank < anomaly.severity.rank:
            self._ease(anomaly, reading, reading.severity)

    def _ease(self, anomaly: Anomaly, reading: Reading, severity: Severity) -> None:
        """Take over a milder severity and its words: a cause that is known now must not go on to block entries."""
        anomaly.severity, anomaly.threshold = severity, _text(reading.threshold)
        anomaly.text = reading.text
        anomaly.data.update(reading.data)
        self._tell(anomaly, False)

    def _good(self, anomaly: Anomaly, hold_s: float) -> None:
        track = self._tracks[anomaly.key]
        now_ms = self._clock.now_ms()
        if track.good == 0:
            track.good_since_ms = now_ms
        track.good += 1
        if track.good >= self._config.clear_after and now_ms - track.good_since_ms >= hold_s * 1000:
            self.clear(anomaly)

    def _expire(self) -> None:
        """Clear what was reported once and has not come again for the length of a cool-down."""
        oldest_ms = self._clock.now_ms() - round(self._config.cooldown_s * 1000)
        for anomaly in list(self._active.values()):
            if not anomaly.is_condition and anomaly.updated_ms <= oldest_ms:
                self.clear(anomaly)

    def _cause_of(self, reading: Reading) -> Anomaly | None:
        """Return the active anomaly of which this reading is an effect."""
        if reading.kind in _STALE_ABSORBS or (reading.kind == AnomalyKind.STALE_DATA and reading.symbol):
            venue = self._active.get((AnomalyKind.STALE_DATA, "", ""))
            if venue is not None:
                return venue
        if reading.kind in _STALE_ABSORBS and reading.symbol:
            own = self._active.get((AnomalyKind.STALE_DATA, reading.symbol, ""))
            if own is not None:
                return own
        if reading.kind in _JUMP_ABSORBS:
            recent_ms = self._clock.now_ms() - JUMP_ABSORBS_MS
            for key, anomaly in self._active.items():
                if key[0] == AnomalyKind.PRICE_JUMP and self._tracks[key].last_bad_ms >= recent_ms:
                    same = self._held(key[1]) if reading.kind == AnomalyKind.PNL_SWING else key[1] == reading.symbol
                    if same:
                        return anomaly
        return None

    def _absorb_active(self, cause: Anomaly) -> None:
        """Make the stale streams of single symbols effects of the venue's silence."""
        for key, anomaly in list(self._active.items()):
            if key[0] == AnomalyKind.STALE_DATA:
                anomaly.cause_id = cause.id
                cause.effects.append(_effect(anomaly))
                self.clear(anomaly)

    def _make(
        self,
        kind: str,
        symbol: str,
        instance: str,
        severity: Severity,
        value: str,
        threshold: str,
        clear_threshold: str,
        text: str,
        is_condition: bool,
    ) -> Anomaly:
        self._number += 1
        now_ms = self._clock.now_ms()
        return Anomaly(
            id=str(self._number),
            kind=str(kind),
            title=TITLES.get(kind, kind.replace("_", " ").title()),
            severity=severity,
            state=AnomalyState.ACTIVE,
            symbol=symbol,
            instance=instance,
            text=text,
            raised_ms=now_ms,
            updated_ms=now_ms,
            value=value,
            threshold=threshold,
            clear_threshold=clear_threshold,
            peak=value,
            is_condition=is_condition,
        )

    def _raise(self, anomaly: Anomaly) -> None:
        self._all.append(anomaly)
        self._active[anomaly.key] = self._last[anomaly.key] = anomaly
        anomaly.muted_until_ms = self._muted.get(anomaly.key, 0)
        self._tell(anomaly, True)

    def _tell(self, anomaly: Anomaly, notify: bool) -> None:
        self._on_change(anomaly, notify and anomaly.muted_until_ms <= self._clock.now_ms())

    def _cooling(self, anomaly: Anomaly, now_ms: int) -> bool:
        cleared_ms = anomaly.cleared_ms
        return cleared_ms is not None and now_ms - cleared_ms < self._config.cooldown_s * 1000


def _cause_first(reading: Reading) -> int:
    """Return the place of a reading in the order of judgement: the venue's silence, streams, prices, the rest."""
    if reading.kind == AnomalyKind.STALE_DATA:
        return 1 if reading.symbol else 0
    return 2 if reading.kind == AnomalyKind.PRICE_JUMP else 3


def _note_effect(cause: Anomaly, reading: Reading) -> None:
    assert reading.severity is not None
    for effect in cause.effects:
        if (effect.kind, effect.symbol, effect.instance) == reading.key:
            effect.value = _text(reading.value)
            effect.severity = max(effect.severity, reading.severity, key=lambda severity: severity.rank)
            return
    cause.effects.append(
        Effect(str(reading.kind), reading.symbol, reading.instance, reading.severity, _text(reading.value))
    )


def _effect(anomaly: Anomaly) -> Effect:
    return Effect(anomaly.kind, anomaly.symbol, anomaly.instance, anomaly.severity, anomaly.value)


def _text(value: Decimal) -> str:
    """Return a value with at most six decimals, without trailing zeros."""
    rounded = value.quantize(Decimal("1e-6")) if value.as_tuple().exponent < -6 else value  # type: ignore[operator]
    return f"{rounded.normalize():f}"

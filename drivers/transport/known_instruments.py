"""Every instrument that a venue has listed, so that what it stops to list stays known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec

from drivers.transport.setup import Log, VenueStore
from engine.kernel.instruments import Instrument, InstrumentStatus

_KEY = "instruments"
_encode = msgspec.json.Encoder().encode


class KnownInstruments:
    """Keeps instruments over restarts: orders, fills and positions may name one long after its listing has ended.

    Args:
        store: Keeps them.
        log: Told of what cannot be read.

    Attributes:
        unlisted: Symbols that the venue does not list at present, but once did.
    """

    def __init__(self, store: VenueStore, log: Log) -> None:
        self.unlisted: frozenset[str] = frozenset()
        self._store = store
        self._log = log
        self._known: dict[str, Instrument] | None = None

    def take(self, listed: Iterable[Instrument]) -> dict[str, Instrument]:
        """Take over the venue's list; return it by symbol, with what it leaves out as delisted."""
        now = {instrument.symbol: instrument for instrument in listed}
        saved = self._store.load(_KEY) if self._known is None else None
        before = self._read(saved, now) if self._known is None else self._known
        gone = {symbol: each for symbol, each in before.items() if symbol not in now}
        self.unlisted = frozenset(gone)
        known = now | {
            symbol: replace(instrument, status=InstrumentStatus.DELISTED) for symbol, instrument in gone.items()
        }
        if self._known is None or not known.keys() <= self._known.keys():
            body = _encode(known)
            if body != saved:
                self._store.save(_KEY, body)
        self._known = known
        return dict(known)

    def _read(self, saved: bytes | None, listed: dict[str, Instrument]) -> dict[str, Instrument]:
        """Return the saved instruments that are not listed."""
        if saved is None:
            return {}
        found: dict[str, Instrument] = {}
        for symbol, raw in msgspec.json.decode(saved, type=dict[str, msgspec.Raw]).items():
            if symbol not in listed:
                try:
                    found[symbol] = msgspec.json.decode(raw, type=Instrument)
                except msgspec.ValidationError as error:
                    self._log("warning", f"what is known of {symbol}, which is not listed any more, is lost: {error}")
        return found

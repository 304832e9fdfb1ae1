"""Our client ids and the 32-bit numbers that Backpack knows orders by.

A pair is on the disk before its order is sent, so that an order can be found again whatever happens. Pairs are kept in
segments, of which only the newest is written when one is added; a new one takes the place of the oldest, and takes over
those of its pairs whose orders may still rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from drivers.transport.setup import VenueStore
from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import DuplicateClientOrderId, InvalidOrder, StorageError, VenueUnavailable

SEGMENT_PAIRS = 128
SEGMENTS = 160
"""20,480 pairs, and more only when so many orders rest."""
SETTLED_MS = 600_000
"""An order that no list of resting orders names for so long after it was made, or last listed, has ended."""
LARGEST = 2**32 - 1
DURABLE_S = 2.0


@dataclass(slots=True, frozen=True)
class Alias:
    """What stands for a client id at the venue.

    Attributes:
        number: The venue's `clientId`.
        client_id: Ours.
        made_ms: Engine time at which it was made, shortly before its order was sent.
    """

    number: int
    client_id: str
    made_ms: int


@dataclass(slots=True)
class _Segment:
    number: int
    pairs: list[Alias]


class Aliases:
    """The pairs of one account.

    Args:
        store: Keeps them over a restart.
        clock: Our time.
        rng: Makes the numbers; unlike a counter it does not repeat itself when a state directory is lost.

    Raises:
        StorageError: What was kept cannot be read.
    """

    def __init__(self, store: VenueStore, clock: Clock, rng: Rng) -> None:
        self._store = store
        self._clock = clock
        self._rng = rng
        self._by_number: dict[int, Alias] = {}
        self._by_client_id: dict[str, Alias] = {}
        self._rested_ms: dict[int, int] = {}
        self._listed_ms = 0
        self._segments = sorted(self._load(), key=lambda segment: segment.number)
        for segment in self._segments:
            for alias in segment.pairs:
                self._know(alias)

    def __len__(self) -> int:
        return len(self._by_number)

    def client_id(self, number: int | None) -> str:
        """Return our client id for a number of the venue; empty when the order is not ours."""
        alias = self._by_number.get(number) if number is not None else None
        return alias.client_id if alias is not None else ""

    def find(self, client_id: str) -> Alias | None:
        """Return what stands for a client id, None when no order was sent under it."""
        return self._by_client_id.get(client_id)

    @property
    def dropped_until_ms(self) -> int | None:
        """Return an engine time after which no dropped alias was made, None when none was ever dropped.

        What was dropped is older than the last one of the oldest segment that is kept.
        """
        if not self._segments or self._segments[0].number == 0:
            return None
        return max((alias.made_ms for alias in self._segments[0].pairs), default=self._clock.now_ms())

    def heard_resting(self, numbers: Iterable[int | None]) -> None:
        """Hear which orders rest, in all markets: their aliases are kept however many orders follow."""
        now_ms = self._listed_ms = self._clock.now_ms()
        recent = {number: ms for number, ms in self._rested_ms.items() if 0 <= now_ms - ms < SETTLED_MS}
        self._rested_ms = recent | {number: now_ms for number in numbers if number in self._by_number}

    async def make(self, client_id: str) -> Alias:
        """Return a new alias once it is on the disk.

        Raises:
            DuplicateClientOrderId: An order was sent under this client id before.
            InvalidOrder: The client id is empty or has blanks.
            VenueUnavailable: It could not be saved in time; nothing may be sent.
        """
        if client_id in self._by_client_id:
            raise DuplicateClientOrderId(f"backpack: an order with the client id {client_id} was sent before")
        if not client_id or any(letter.isspace() for letter in client_id):
            raise InvalidOrder(f"backpack: {client_id!r} cannot be a client id: it is empty or has blanks")
        number = self._rng.randint(1, LARGEST)
        while number in self._by_number:
            number = self._rng.randint(1, LARGEST)
        alias = Alias(number, client_id, self._clock.now_ms())
        segment = self._newest()
        segment.pairs.append(alias)
        self._know(alias)
        try:
            await self._save(segment)
        except BaseException:
            self._forget(alias)
            segment.pairs.remove(alias)
            raise
        return alias

    def _know(self, alias: Alias) -> None:
        self._by_number[alias.number] = alias
        self._by_client_id[alias.client_id] = alias

    def _forget(self, alias: Alias) -> None:
        del self._by_number[alias.number]
        del self._by_client_id[alias.client_id]

    def _may_rest(self, alias: Alias) -> bool:
        return alias.number in self._rested_ms or self._listed_ms < alias.made_ms + SETTLED_MS

    def _newest(self) -> _Segment:
        """Return the segment with room, a new one in the place of the oldest when there is none.

        What may still rest moves into the new one, which is written over the old one in one go. When that is more than
        a segment holds, the new one is longer: nothing is dropped to keep it short.
        """
        if self._segments and len(self._segments[-1].pairs) < SEGMENT_PAIRS:
            return self._segments[-1]
        segment = _Segment(self._segments[-1].number + 1 if self._segments else 0, [])
        if len(self._segments) == SEGMENTS:
            for alias in self._segments.pop(0).pairs:
                if self._may_rest(alias):
                    segment.pairs.append(alias)
                else:
                    self._forget(alias)
        self._segments.append(segment)
        return segment

    async def _save(self, segment: _Segment) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def durable() -> None:
            if not done.done():
                done.set_result(None)

        def too_late() -> None:
            if not done.done():
                text = f"backpack: the order's number could not be saved within {DURABLE_S:.0f} s; nothing was sent"
                done.set_exception(VenueUnavailable(f"{text}; look at the disk of the state directory", unsent=True))

        self._store.save(_key(segment.number), _encode(segment), durable)
        timer = self._clock.call_later(DURABLE_S, too_late)
        try:
            await done
        finally:
            timer.cancel()

    def _load(self) -> list[_Segment]:
        """Return what was kept; slots are filled one after the other, so that the first empty one ends it."""
        segments = []
        for slot in range(SEGMENTS):
            value = self._store.load(_key(slot))
            if not value:
                break
            segments.append(_decode(slot, value))
        return segments


def _key(number: int) -> str:
    return f"aliases/{number % SEGMENTS}"


def _encode(segment: _Segment) -> bytes:
    lines = [str(segment.number)]
    lines += [f"{alias.number} {alias.made_ms} {alias.client_id}" for alias in segment.pairs]
    return "\n".join(lines).encode()


def _decode(slot: int, value: bytes) -> _Segment:
    try:
        head, *lines = value.decode().split("\n")
        pairs = [(int(number), client_id, int(made_ms)) for number, made_ms, client_id in map(str.split, lines)]
        return _Segment(int(head), [Alias(*pair) for pair in pairs])
    except ValueError as error:
        text = f"backpack: the saved client ids (aliases/{slot}) cannot be read"
        raise StorageError(f"{text}: {error}; restore the state database from a copy") from error

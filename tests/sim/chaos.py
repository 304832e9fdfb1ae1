"""Seeded faults: what a venue, a network and a power cut do to a trader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from engine.kernel.clock import NS_PER_S, Clock, Rng, sleep
from tests.sim.loop import CALM_DISK_S
from tests.sim.network import Network
from tests.venues.conformance.wire import Wire
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.faults import Match

CALM_LATENCY_S = (0.002, 0.03)
SLOWEST_DISK_S = 4.0
_OUTAGE_S = (1.0, 40.0)
_BAN_S = (15.0, 60.0)
_OPERATIONS = {
    "place": ("order", "order.place"),
    "cancel": ("cancel-order", "order.cancel"),
    "amend": ("amend-order", "order.modify", "order.cancelReplace"),
}
_METHODS = {"POST": "place", "DELETE": "cancel", "PUT": "amend"}


class Chaos:
    """Breaks things until it is stopped.

    Args:
        emulator: The venue.
        wire: How its requests and channels are called.
        network: Between engine and venue.
        clock: Time.
        rng: Chooses.
        mean_s: Mean time between two faults.
        counts: Counts faults by kind.
        note: Takes down what is broken.
        only: Names of the faults that happen; all when empty.
    """

    def __init__(
        self,
        emulator: Emulator,
        wire: Wire,
        network: Network,
        clock: Clock,
        rng: Rng,
        mean_s: float,
        counts: Counter[str],
        note: Callable[[str], None],
        only: tuple[str, ...] = (),
    ) -> None:
        self._emulator = emulator
        self._faults = emulator.faults
        self._wire = wire
        self._network = network
        self._clock = clock
        self._rng = rng
        self._mean_s = mean_s
        self._counts = counts
        self._note = note
        self._only = only
        self._ends_ns = 0

    async def play(self, until_ns: int) -> None:
        """Break something now and then until a moment, then let everything work again."""
        self._ends_ns = until_ns
        kinds: list[tuple[int, Callable[[], None]]] = [
            (14, self._lose_response),
            (14, self._lose_request),
            (10, self._unknown),
            (4, self._busy),
            (6, self._slow_answer),
            (6, self._late_request),
            (8, self._lose_query),
            (10, self._twice),
            (8, self._out_of_order),
            (8, self._drop),
            (8, self._cut),
            (4, self._deaf),
            (4, self._black_hole),
            (3, self._outage),
            (5, self._lag),
            (6, self._lost_and_hidden),
            (3, self._slow_network),
            (3, self._slow_disk),
            (3, self._book_gap),
            (2 if self._wire.bans else 0, self._ban),
        ]
        if self._only:
            kinds = [(weight, kind) for weight, kind in kinds if kind.__name__.strip("_") in self._only]
        try:
            while True:
                wait_s = self._rng.expovariate(1 / self._mean_s)
                if self._clock.now_ns() + wait_s * 1e9 >= until_ns:
                    await sleep(self._clock, max(0.0, (until_ns - self._clock.now_ns()) / 1e9))
                    return
                await sleep(self._clock, wait_s)
                draw = self._rng.random() * sum(weight for weight, _ in kinds)
                chosen = kinds[-1][1]
                for weight, kind in kinds:
                    draw -= weight
                    if draw < 0:
                        chosen = kind
                        break
                name = chosen.__name__.strip("_")
                self._counts[name] += 1
                self._note(f"fault {name}")
                chosen()
        finally:
            self.end()

    def end(self) -> None:
        """Let everything work again."""
        self._faults.clear()
        self._network.latency_s = CALM_LATENCY_S
        self._network.refusing = False
        self._network.loop.disk_s = CALM_DISK_S

    def _for_a_while(self, low_s: float, high_s: float, end: Callable[[], object]) -> None:
        self._clock.call_later(self._rng.uniform(low_s, high_s), end)

    def _command(self) -> str:
        """Return an order request: mostly a placement."""
        wire = self._wire
        names = [wire.place, wire.place, wire.place, wire.cancel, wire.amend or wire.cancel]
        return self._rng.choice(names)

    def _any_way(self) -> Match:
        """Return an order request, whichever market it is for and whether it comes over REST or the trading socket."""
        kind = self._rng.choice(("place", "place", "place", "cancel", "amend"))

        def match(method: str, path: str, body: bytes) -> bool:
            return _kind_of(method, path) == kind

        return match

    def _lose_response(self) -> None:
        self._faults.lose_response(self._any_way())

    def _lose_request(self) -> None:
        self._faults.lose_request(self._any_way())

    def _unknown(self) -> None:
        trouble = self._rng.choice(self._wire.unknown)
        fault = self._faults.unknown_but_done if self._rng.random() < 0.5 else self._faults.answer
        fault(self._wire.place, trouble.status, trouble.body, trouble.headers)

    def _busy(self) -> None:
        busy = self._wire.busy
        self._faults.answer(self._command(), busy.status, busy.body, busy.headers)

    def _slow_answer(self) -> None:
        self._faults.delay(self._any_way(), self._rng.uniform(0.5, 12.0), times=1)

    def _late_request(self) -> None:
        self._faults.hold_up(self._any_way(), self._rng.uniform(0.3, 6.0))

    def _lose_query(self) -> None:
        fault = self._faults.lose_response if self._rng.random() < 0.5 else self._faults.lose_request
        fault(lambda method, path, body: method == "GET", self._rng.randint(1, 4))

    def _twice(self) -> None:
        self._faults.duplicate(self._wire.account_channels, self._rng.randint(1, 4))

    def _out_of_order(self) -> None:
        self._faults.reorder(self._wire.account_channels)

    def _drop(self) -> None:
        self._faults.drop_message(self._wire.account_channels, self._rng.randint(1, 3))

    def _cut(self) -> None:
        which = self._rng.choice((self._wire.account, self._wire.market, "*"))
        self._faults.cut_sockets(which)

    def _deaf(self) -> None:
        channel = self._wire.account_channels
        self._faults.mute(channel)
        self._for_a_while(1.0, 20.0, lambda: self._faults.unmute(channel))

    def _black_hole(self) -> None:
        which = self._rng.choice((self._wire.account, self._wire.market))
        self._faults.black_hole(which)
        self._for_a_while(1.0, 30.0, lambda: self._faults.black_holes.discard(which))

    def _outage(self) -> None:
        self._network.refusing = True
        self._faults.cut_sockets("*")
        self._for_a_while(*_OUTAGE_S, self._connect_again)

    def _connect_again(self) -> None:
        self._network.refusing = False

    def _lag(self) -> None:
        self._faults.lag(self._rng.uniform(0.3, 6.0))
        self._for_a_while(5.0, 30.0, lambda: self._faults.lag(0.0))

    def _lost_and_hidden(self) -> None:
        """Lose the answer to an order that no query finds for a while."""
        self._faults.lag(self._rng.uniform(3.0, 12.0))
        self._faults.drop_message(self._wire.account_channels, 2)
        self._faults.lose_response(self._wire.place)
        self._for_a_while(15.0, 40.0, lambda: self._faults.lag(0.0))

    def _slow_network(self) -> None:
        self._network.latency_s = (0.1, self._rng.uniform(0.3, 2.0))
        self._for_a_while(5.0, 20.0, self._fast_again)

    def _fast_again(self) -> None:
        self._network.latency_s = CALM_LATENCY_S

    def _slow_disk(self) -> None:
        """Let every write take seconds: longer than an order may wait for its record, or not quite."""
        self._network.loop.disk_s = (0.5, SLOWEST_DISK_S)
        self._for_a_while(5.0, 20.0, self._fast_disk_again)

    def _fast_disk_again(self) -> None:
        self._network.loop.disk_s = CALM_DISK_S

    def _book_gap(self) -> None:
        self._faults.drop_message("*book*")

    def _ban(self) -> None:
        """Serve nothing for a while that ends with the faults; not longer than was said to who asked."""
        left_s = (self._ends_ns - self._clock.now_ns()) / NS_PER_S - _BAN_S[0]
        if left_s > _BAN_S[0] and not self._faults.banned_s:
            self._faults.ban(self._rng.uniform(_BAN_S[0], min(_BAN_S[1], left_s)))


def _kind_of(method: str, path: str) -> str:
    """Return what a request does to an order, as the venues call it; empty when it does nothing to one."""
    operation = path.rpartition("/")[2]
    if method == "WS" or operation.endswith("-order"):
        for kind, names in _OPERATIONS.items():
            if operation in names:
                return kind
        return ""
    return _METHODS.get(method, "") if operation == "order" else ""

"""Client order ids: 4 characters of installation and epoch, 5 of the instance, 1 of the purpose, 8 of a counter.

The counter only moves forward: it is reserved in blocks whose upper end is stored before any id of the block can
reach a venue, so no id is used twice, whatever happens to the process. The epoch differs at every start, so that not
even a state directory restored from an old backup repeats one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from engine.kernel.clock import Rng
from engine.kernel.errors import ConfigError
from engine.kernel.strategy import Purpose

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in DIGITS for low in DIGITS)
BLOCK = 1000
CODE_LENGTH = 5
_SEQUENCE_LENGTH = 8
_PREFIX_LENGTH = 2


def base36(number: int, length: int) -> str:
    """Return a number as `length` base-36 digits."""
    text = ""
    for _ in range((length + 1) // 2):
        number, pair = divmod(number, 1296)
        text = _PAIRS[pair] + text
    return text[-length:]


def purpose_of(client_id: str) -> Purpose | None:
    """Return the purpose in one of our client ids, None for a foreign one."""
    letter = client_id[2 * _PREFIX_LENGTH + CODE_LENGTH :][:1]
    return Purpose(letter) if len(client_id) == 18 and letter in {p.value for p in Purpose} else None


class ValueStore(Protocol):
    """The part of the journal that keeps values by name."""

    def get(self, table: str, key: str) -> bytes | None:
        """Return a value."""

    def put(self, table: str, key: str, value: bytes) -> None:
        """Store a value, in order with the records."""


class ClientIds:
    """Makes client order ids and the codes of instances.

    Args:
        installation: Two characters of this state directory, chosen once.
        epoch: Two characters of this start.
        next_sequence: First number that was never reserved.
        reserve: Stores a new upper end of the reserved numbers, in order with the journal.
    """

    def __init__(self, installation: str, epoch: str, next_sequence: int, reserve: Callable[[int], None]) -> None:
        self._installation = installation
        self._prefix = installation + epoch
        self._next = next_sequence
        self._reserved = next_sequence
        self._reserve = reserve
        self._codes: dict[str, str] = {}

    def register(self, instance: str, code: str | None = None) -> str:
        """Return the five-character code of an instance, making a free one unless it is given.

        Raises:
            ConfigError: The given code belongs to another instance, or is no code.
        """
        known = self._codes.get(instance)
        if code is None:
            code = known or self._free_code(instance)
        elif len(code) != CODE_LENGTH or not code.isalnum() or not code.isascii():
            raise ConfigError(f"instance code {code!r} of {instance}: it must be {CODE_LENGTH} letters or digits")
        elif any(other == code and name != instance for name, other in self._codes.items()):
            raise ConfigError(f"instance code {code!r} of {instance} belongs to another instance")
        self._codes[instance] = code
        return code

    def new(self, instance: str, purpose: Purpose) -> str:
        """Return a new client id of an instance."""
        code = self._codes.get(instance) or self.register(instance)
        return f"{self._prefix}{code}{purpose.value}{base36(self._take(), _SEQUENCE_LENGTH)}"

    def learn(self, client_id: str) -> None:
        """Go on behind a number that the venue has seen from us and the state does not know of: it is an old backup."""
        number = client_id[2 * _PREFIX_LENGTH + CODE_LENGTH + 1 :]
        if purpose_of(client_id) is None or not client_id.startswith(self._installation):
            return
        if all(char in DIGITS for char in number):
            self._next = max(self._next, int(number, 36) + 1)

    def new_handle(self, instance: str) -> str:
        """Return a new handle for a piece of work; it never looks like a client id."""
        return f"{instance}-w{self._take()}"

    def _take(self) -> int:
        if self._next >= self._reserved:
            self._reserved = self._next + BLOCK
            self._reserve(self._reserved)
        taken = self._next
        self._next += 1
        return taken

    def _free_code(self, instance: str) -> str:
        stem = "".join(char for char in instance.lower() if char in DIGITS)[:CODE_LENGTH].ljust(CODE_LENGTH, "0")
        taken = set(self._codes.values())
        number = 0
        code = stem
        while code in taken:
            number += 1
            tail = base36(number, 3)
            code = stem[: CODE_LENGTH - 3] + tail
        return code


def new_prefix(rng: Rng) -> str:
    """Return two random base-36 digits."""
    return "".join(rng.choice(DIGITS) for _ in range(_PREFIX_LENGTH))


def load_client_ids(store: ValueStore, account: str, rng: Rng) -> ClientIds:
    """Return the client ids of an account, going on after the last number that was ever reserved."""
    key = f"client_sequence:{account}"
    saved = store.get("settings", "installation")
    installation = saved.decode() if saved is not None else new_prefix(rng.fork("installation"))
    if saved is None:
        store.put("settings", "installation", installation.encode())
    reserved = store.get("settings", key)
    first = int(reserved) if reserved is not None else 1
    epoch = new_prefix(rng.fork(f"epoch {first}"))
    return ClientIds(installation, epoch, first, lambda end: store.put("settings", key, str(end).encode()))

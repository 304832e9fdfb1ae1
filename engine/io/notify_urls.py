"""Where notifications go: addresses of services, each of them a secret.

The forms are those of the library apprise, which is loaded only when something is sent; what can be told without it is
checked here, at once.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.io.notify_schemes import scheme_of, url_problem
from engine.io.secrets import Redactor, is_written_out, resolve
from engine.io.settings import NotificationConfig
from engine.kernel.anomaly import Severity
from engine.kernel.errors import ConfigError
from engine.kernel.secret import Secret

_SHORTEST_TOKEN = 8
_LONG = 16
_PIECES = re.compile(r"[/?&=@:#,\s]+")
_WORD = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"[0-9.]+")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,10}")


@dataclass(slots=True, frozen=True)
class NotifyTarget:
    """One place to which notifications go.

    Attributes:
        name: What it is called.
        url: Its address, which holds its credentials.
        least: Least severity that is sent there.
    """

    name: str
    url: Secret
    least: Severity

    @property
    def scheme(self) -> str:
        """Return the kind of service, all of the address that may be shown."""
        return scheme_of(self.url.reveal())


def open_targets(
    written: Sequence[NotificationConfig],
    file: Path,
    environment: Mapping[str, str],
    password: Secret | None,
    redactor: Redactor,
) -> list[NotifyTarget]:
    """Return the configured targets with their addresses, which the redactor knows from now on.

    Raises:
        ConfigError: A variable, key ring entry or password is missing, an address has no known scheme, or two targets
            have one name.
    """
    targets: list[NotifyTarget] = []
    for index, config in enumerate(written):
        where = f"{file}: notifications[{index}].url"
        url = resolve(config.url.reveal(), where, environment, password)
        remember(url, redactor)
        problem = url_problem(url.reveal())
        if problem:
            raise ConfigError(f"{where}: {problem}")
        name = config.name or f"{scheme_of(url.reveal())}-{index + 1}"
        if any(target.name == name for target in targets):
            raise ConfigError(f"{file}: notifications[{index}].name: {name} is taken; give each target its own name")
        targets.append(NotifyTarget(name, url, Severity(config.min.upper())))
    return targets


def remember(url: Secret, redactor: Redactor) -> None:
    """Have an address masked from now on: as a whole, without its scheme, and each part that looks like a token."""
    text = url.reveal()
    redactor.add(url)
    rest = text.partition("://")[2]
    redactor.add(Secret(rest))
    login = rest.partition("/")[0].rpartition("@")[0]
    tokens = {login.partition(":")[2]} if login else set()
    for piece in _PIECES.split(rest):
        plain = urllib.parse.unquote(piece)
        tokens.update(form for form in (piece, plain) if _is_token(form))
    for token in sorted(tokens):
        redactor.add(Secret(token))


def needs_private_file(written: Sequence[NotificationConfig]) -> bool:
    """Return whether an address stands in the file in the clear."""
    return any(is_written_out(config.url.reveal()) for config in written)


def _is_token(piece: str) -> bool:
    """Return whether a part of an address must not be shown; words, numbers and host names alone are no secrets."""
    if len(piece) < _SHORTEST_TOKEN or _NUMBER.fullmatch(piece):
        return False
    if _HOST.fullmatch(piece.lower()):
        return False
    return len(piece) >= _LONG or not _WORD.fullmatch(piece)

"""Keys and passwords: never shown, never stored in the clear by accident, masked wherever they slip into text."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping

from engine.kernel.clock import system_random_bytes
from engine.kernel.errors import ConfigError
from engine.kernel.secret import MASK, Secret, mask_with

SHORTEST_MASKED = 4
_CREDENTIALS = re.compile(r"(?<=://)[^/\s:@\"']*:[^/\s@\"']*(?=@)")
_ENVIRONMENT = re.compile(r"^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$")
_PASSWORD = "CTOS_PASSWORD"

_VERSION = "enc:1:"
_SALT_BYTES, _NONCE_BYTES = 16, 12
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 17, 8, 1


def resolve(written: str, where: str, environment: Mapping[str, str], password: Secret | None = None) -> Secret:
    """Return the secret that a configured value stands for.

    `${NAME}` is an environment variable, `keyring:SERVICE/NAME` an entry of the system's key ring, `enc:...` a value
    encrypted with a password; anything else is the secret itself, as it is written.

    Args:
        written: The configured value.
        where: File and field, for messages.
        environment: The environment.
        password: Opens encrypted values.

    Raises:
        ConfigError: The variable or entry is missing, or the password is missing or wrong.
    """
    variable = _ENVIRONMENT.match(written)
    if variable is not None:
        name = variable[1]
        if not environment.get(name):
            raise ConfigError(f"{where}: the environment variable {name} is not set; run: export {name}=...")
        return Secret(environment[name])
    if "${" in written:
        raise ConfigError(f"{where}: ${{NAME}} must be the whole value")
    if written.startswith("keyring:"):
        return _from_keyring(written.removeprefix("keyring:"), where)
    if written.startswith("enc:"):
        if password is None:
            raise ConfigError(f"{where} is encrypted; give the password in the environment variable CTOS_PASSWORD")
        return Secret(decrypt(written, password, where))
    return Secret(written)


def is_written_out(written: str) -> bool:
    """Return whether a configured value is the secret itself, not the place where it is kept or its encrypted form."""
    return not written.startswith(("keyring:", "enc:")) and "${" not in written


class TakenEnvironment(Mapping[str, str]):
    """The environment, from which every variable that is read is taken away and remembered here.

    No child inherits what was taken, and on Linux /proc/PID/environ shows zeros in its place.
    """

    def __init__(self) -> None:
        self._taken: dict[str, Secret] = {}

    def __getitem__(self, name: str) -> str:
        if name in os.environ:
            self._taken[name] = Secret(os.environ[name])
            _wipe(name)
            del os.environ[name]
        return self._taken[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter({**os.environ, **self._taken})

    def __len__(self) -> int:
        return len({**os.environ, **self._taken})

    def take(self, written: Iterable[str]) -> None:
        """Take the variables that configured values name, and the password of encrypted ones."""
        for name in (_PASSWORD, *(found[1] for value in written if (found := _ENVIRONMENT.match(value)))):
            self.get(name)


process_environment = TakenEnvironment()
"""This process's environment, as far as secrets are concerned."""


def take_password() -> Secret | None:
    """Return the password in CTOS_PASSWORD, and remove it from the environment that children would inherit."""
    password = process_environment.get(_PASSWORD, "")
    return Secret(password) if password else None


def forget_environment() -> None:
    """Take every variable away, as `TakenEnvironment` does: for a process that waits for another and needs none."""
    for name in list(os.environ):
        _wipe(name)
        del os.environ[name]


def _wipe(name: str) -> None:
    """Overwrite a variable where the kernel reads it: to remove it from the list of variables leaves its text there."""
    if sys.platform != "linux":
        return
    import ctypes

    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_void_p
    address = getenv(os.fsencode(name))
    if address is not None:
        ctypes.memset(address, 0, len(os.fsencode(os.environ[name])))


def encrypt(text: str, password: Secret) -> str:
    """Return a value for the accounts file: AES-256-GCM, key by scrypt (RFC 7914) with N = 2^17."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce = system_random_bytes(_SALT_BYTES), system_random_bytes(_NONCE_BYTES)
    sealed = AESGCM(_key(password, salt)).encrypt(nonce, text.encode(), _VERSION.encode())
    return _VERSION + base64.b64encode(salt + nonce + sealed).decode()


def decrypt(value: str, password: Secret, where: str) -> str:
    """Return the text that `encrypt` was given.

    Raises:
        ConfigError: Wrong password, or the value was damaged; which of them cannot be told.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    refused = ConfigError(f"{where} cannot be decrypted: the password is wrong or the value was changed")
    try:
        if not value.startswith(_VERSION):
            raise refused
        packed = base64.b64decode(value.removeprefix(_VERSION), validate=True)
        salt, packed = packed[:_SALT_BYTES], packed[_SALT_BYTES:]
        nonce, sealed = packed[:_NONCE_BYTES], packed[_NONCE_BYTES:]
        return AESGCM(_key(password, salt)).decrypt(nonce, sealed, _VERSION.encode()).decode()
    except (InvalidTag, ValueError):
        raise refused from None


def _key(password: Secret, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt=salt, length=32, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P).derive(password.reveal().encode())


def _from_keyring(entry: str, where: str) -> Secret:
    service, _, name = entry.partition("/")
    if not service or not name:
        raise ConfigError(f"{where}: write keyring:SERVICE/NAME")
    import keyring
    from keyring.errors import KeyringError, NoKeyringError

    try:
        text = keyring.get_password(service, name)
    except NoKeyringError as error:
        raise ConfigError(f"{where}: this machine has no key ring; write ${{NAME}} or an encrypted value") from error
    except KeyringError as error:
        raise ConfigError(f"{where}: the key ring cannot be read: {error}") from error
    if text is None:
        raise ConfigError(f"{where}: the key ring has no {service}/{name}; run: keyring set {service} {name}")
    return Secret(text)


def clean_addresses(text: str) -> str:
    """Return the text with the user and password of every address masked."""
    return _CREDENTIALS.sub(MASK, text) if "://" in text else text


class Redactor:
    """Masks known secrets, in the forms in which they slip out, and passwords inside addresses."""

    def __init__(self) -> None:
        self._pattern: re.Pattern[str] | None = None
        self._forms: set[str] = set()

    def add(self, secret: Secret) -> None:
        """Mask this secret from now on; ones of fewer than four characters would mask everything and are left."""
        text = secret.reveal()
        if len(text) < SHORTEST_MASKED:
            return
        raw = text.encode()
        forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        forms |= {urllib.parse.quote(text, safe=""), raw.hex()}
        forms |= {urllib.parse.quote_plus(text), raw.hex().upper(), *_base64_forms(raw)}
        forms |= {
            line for line in text.splitlines() if len(line) >= 2 * SHORTEST_MASKED and not line.startswith("-----")
        }
        self._forms |= forms
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(form) for form in longest_first))

    def clean(self, text: str) -> str:
        """Return the text with every secret replaced by `***`."""
        text = clean_addresses(text)
        return self._pattern.sub(MASK, text) if self._pattern is not None else text


process_redactor = Redactor()
"""Knows every secret that this process has resolved; whatever leaves the process as text passes through it."""

mask_with(process_redactor.clean)


def _base64_forms(raw: bytes) -> set[str]:
    """Return the base64 texts of a secret that stands at any offset of what was encoded."""
    forms = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for lead in range(3):
            encoded = encode(b"\0" * lead + raw).decode()
            first = (0, 2, 3)[lead]
            last = len(encoded) - (0, 3, 2)[(lead + len(raw)) % 3]
            forms.add(encoded[first:last])
        forms.add(encode(raw).decode().rstrip("="))
    return {form for form in forms if len(form) >= SHORTEST_MASKED}


def main() -> None:
    """Print the encrypted form of the secret on stdin; the password comes from CTOS_PASSWORD.

    Use: `CTOS_PASSWORD=... python -m engine.io.secrets < key.txt`, then put the line into accounts.yaml.
    """
    password = take_password()
    text = sys.stdin.readline().rstrip("\r\n")
    if password is None or not text:
        sys.exit("give the password in the environment variable CTOS_PASSWORD and the secret on stdin")
    print(encrypt(text, password))


if __name__ == "__main__":
    main()

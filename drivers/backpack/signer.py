"""Backpack's ED25519 signatures over instruction, parameters, time and window.

Facts: the venue's API documentation ("Signing requests"). What is signed are the raw values, never their
percent-encoded form, with booleans in lower case.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.transport.setup import Credentials
from engine.kernel.errors import AuthError

KEY_BYTES = 32
Value = str | int | bool
Params = Mapping[str, Value]


def text_of(value: Value) -> str:
    """Return a parameter as it is signed, and as it stands in a query before encoding."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def instruction_text(instruction: str, params: Params) -> str:
    """Return an instruction with its parameters, sorted by name."""
    pairs = [f"{name}={text_of(params[name])}" for name in sorted(params)]
    return "&".join([f"instruction={instruction}", *pairs])


def signing_text(parts: Iterable[str], timestamp_ms: int, window_ms: int) -> str:
    """Return what is signed: one instruction text or, for a batch, several, then time and window."""
    return "&".join([*parts, f"timestamp={timestamp_ms}", f"window={window_ms}"])


class Signer:
    """Signs for one key pair.

    Args:
        credentials: `key` is the public key, `secret` the private one (32-byte seed, or 64 bytes: seed, then public).

    Attributes:
        key: The public key, as the venue wants it.

    Raises:
        AuthError: One of them is malformed, or they do not belong together; the message says what to do.
    """

    def __init__(self, credentials: Credentials) -> None:
        public = _decoded(credentials.key.reveal(), "key", (KEY_BYTES,))
        seed = _decoded(credentials.secret.reveal(), "secret", (KEY_BYTES, 2 * KEY_BYTES))[:KEY_BYTES]
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        if self._private.public_key().public_bytes_raw() != public:
            raise AuthError(
                "backpack: key and secret do not belong together: copy both again from one API key, "
                "the public key as key and the private key as secret"
            )
        self.key = base64.b64encode(public).decode()

    def sign(self, text: str) -> str:
        """Return the signature of a text, Base64."""
        return base64.b64encode(self._private.sign(text.encode())).decode()

    def headers(self, parts: Iterable[str], timestamp_ms: int, window_ms: int) -> dict[str, str]:
        """Return the headers that sign a REST request."""
        return {
            "X-API-Key": self.key,
            "X-Timestamp": str(timestamp_ms),
            "X-Window": str(window_ms),
            "X-Signature": self.sign(signing_text(parts, timestamp_ms, window_ms)),
        }

    def subscription(self, timestamp_ms: int, window_ms: int) -> list[str]:
        """Return the `signature` of a subscription to private streams."""
        text = signing_text([instruction_text("subscribe", {})], timestamp_ms, window_ms)
        return [self.key, self.sign(text), str(timestamp_ms), str(window_ms)]


def _decoded(text: str, field: str, lengths: tuple[int, ...]) -> bytes:
    """Decode one half of a key pair; the text itself never shows up in an error."""
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        problem = f"backpack: {field} is not Base64: copy it again from the venue's API key page, without quotes"
        raise AuthError(problem) from error
    if len(raw) not in lengths:
        wanted = " or ".join(str(length) for length in lengths)
        raise AuthError(f"backpack: {field} has {len(raw)} bytes, not {wanted}: it was cut or belongs to another venue")
    return raw

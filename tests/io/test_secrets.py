"""Secrets: resolved where they are kept, never shown in any form."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.io.secrets import Redactor, Secret, decrypt, encrypt, resolve
from engine.kernel.errors import ConfigError


def test_a_secret_shows_itself_only_when_asked() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {[secret]} {secret!s}" == "*** *** [***] ***"
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert not hasattr(secret, "__dict__")


class Ring(keyring.backend.KeyringBackend):
    """A key ring that holds one secret."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        if service == "locked":
            raise keyring.errors.KeyringLocked("it is locked")
        return {"ctos/main": "from the ring"}.get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise keyring.errors.PasswordSetError("read only")


def test_a_secret_in_the_key_ring() -> None:
    before = keyring.get_keyring()
    try:
        keyring.set_keyring(Ring())
        assert resolve("keyring:ctos/main", "a.key", {}).reveal() == "from the ring"
        with pytest.raises(ConfigError, match=r"a\.key: the key ring has no ctos/other; run: keyring set ctos other"):
            resolve("keyring:ctos/other", "a.key", {})
        with pytest.raises(ConfigError, match="cannot be read: it is locked"):
            resolve("keyring:locked/main", "a.key", {})
        keyring.set_keyring(keyring.backends.fail.Keyring())
        with pytest.raises(ConfigError, match="this machine has no key ring"):
            resolve("keyring:ctos/main", "a.key", {})
    finally:
        keyring.set_keyring(before)


def test_where_a_secret_may_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("00123", "a.key", {}).reveal() == "00123"
    assert resolve("${MY_KEY}", "a.key", {"MY_KEY": "007"}).reveal() == "007"
    with pytest.raises(ConfigError, match=r"a\.key: the environment variable MY_KEY is not set"):
        resolve("${MY_KEY}", "a.key", {})
    with pytest.raises(ConfigError, match="must be the whole value"):
        resolve("x${MY_KEY}", "a.key", {"MY_KEY": "007"})
    with pytest.raises(ConfigError, match="keyring:SERVICE/NAME"):
        resolve("keyring:ctos", "a.key", {})
    with pytest.raises(ConfigError, match="CTOS_PASSWORD"):
        resolve("enc:1:abc", "a.key", {})


_TAKING = """
import os, subprocess, sys
from pathlib import Path
from engine.io.config import find_paths, load_accounts, load_config
paths = find_paths(sys.argv[1], os.environ)
accounts = load_accounts(paths, load_config(paths))
child = subprocess.run([sys.executable, "-c", "import os; print(os.environ)"], capture_output=True).stdout
kernel = Path("/proc/self/environ").read_bytes() if sys.platform == "linux" else b"KEPT=stays"
assert b"canary" not in kernel + child, kernel + child
assert b"KEPT=stays" in kernel
from engine.io.secrets import process_environment, take_password
from engine.boot.venues import credentials_of
assert [credentials_of(entry).secret.reveal() for entry in accounts[:2]] == ["canary-1", "canary-2"]
assert take_password().reveal() == take_password().reveal() == "canary-3"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_x01_variables_with_keys_are_gone_once_the_accounts_are_read(tmp_path: Path) -> None:
    account = "{mode: live, key: plain, secret: '${%s}', passphrase: x}"
    file = tmp_path / "accounts.yaml"
    file.write_text(f"okx: {{main: {account % 'A_KEY'}}}\nbinance: {{main: {account % 'B_KEY'}}}\n")
    file.chmod(0o600)
    tmp_path.chmod(0o700)
    variables = {"A_KEY": "canary-1", "B_KEY": "canary-2", "CTOS_PASSWORD": "canary-3", "KEPT": "stays"}
    done = subprocess.run(
        [sys.executable, "-c", _TAKING, str(tmp_path)], env={**os.environ, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.io.secrets._SCRYPT_N", 1 << 4)


@pytest.mark.usefixtures("quick_scrypt")
def test_x03_encrypted_values_open_only_whole_and_with_the_password() -> None:
    value = encrypt("the key", Secret("pass"))
    assert "the key" not in value and value != encrypt("the key", Secret("pass"))
    assert resolve(value, "a.key", {}, Secret("pass")).reveal() == "the key"
    refusals = set()
    packed = base64.b64decode(value.removeprefix("enc:1:"))
    broken = [
        "enc:1:" + base64.b64encode(packed[:i] + bytes([packed[i] ^ 1]) + packed[i + 1 :]).decode()
        for i in range(len(packed))
    ]
    shortened = ["enc:1:" + base64.b64encode(packed[:length]).decode() for length in range(len(packed))]
    for text, password in [
        (value, "wrong"),
        *((text, "pass") for text in [*broken, *shortened, "enc:1:", "enc:1:%%", "enc:2:" + value[6:]]),
    ]:
        with pytest.raises(ConfigError) as caught:
            decrypt(text, Secret(password), "a.key")
        refusals.add(str(caught.value))
    assert refusals == {"a.key cannot be decrypted: the password is wrong or the value was changed"}


def test_x03_each_try_of_a_password_costs_a_quarter_of_a_second() -> None:
    value = encrypt("the key", Secret("pass"))
    before = time.process_time()
    with pytest.raises(ConfigError):
        decrypt(value, Secret("word"), "a.key")
    assert time.process_time() - before >= 0.25


def test_the_command_that_encrypts() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "engine.io.secrets"]
    done = subprocess.run(
        command, input="the key\n", capture_output=True, text=True, cwd=root, env={"CTOS_PASSWORD": "pw"}
    )
    assert decrypt(done.stdout.strip(), Secret("pw"), "a.key") == "the key"
    refused = subprocess.run(command, input="the key\n", capture_output=True, text=True, cwd=root, env={})
    assert refused.returncode == 1 and "CTOS_PASSWORD" in refused.stderr


@given(
    secret=st.text(st.characters(codec="utf-8", min_codepoint=32), min_size=6, max_size=40),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
def test_every_form_of_a_secret_is_masked(secret: str, before: bytes, after: bytes) -> None:
    redactor = Redactor()
    redactor.add(Secret(secret))
    raw = secret.encode()
    for text in [
        secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret), raw.hex(), raw.hex().upper(),
        base64.b64encode(before + raw + after).decode(), base64.urlsafe_b64encode(before + raw + after).decode(),
        json.dumps({"k": secret}), json.dumps({"k": secret}, ensure_ascii=False),
    ]:  # fmt: skip
        cleaned = redactor.clean(f"x {text} y")
        assert "***" in cleaned and secret not in cleaned


def test_passwords_in_addresses_and_lines_of_keys_are_masked() -> None:
    redactor = Redactor()
    assert redactor.clean("via http://me:pw@proxy:8080 now") == "via http://***@proxy:8080 now"
    assert redactor.clean("https://host/path?at=me@x") == "https://host/path?at=me@x"
    redactor.add(Secret("-----BEGIN KEY-----\nABCDEFGHIJKL\n-----END KEY-----"))
    assert redactor.clean("line ABCDEFGHIJKL") == "line ***"
    redactor.add(Secret("abc"))
    assert redactor.clean("abc -----BEGIN KEY-----") == "abc -----BEGIN KEY-----"

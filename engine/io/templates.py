"""The commented files that `ctos-tui init` writes."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from engine.io.files import PRIVATE_FILE, make_private_dir
from engine.io.paths import Paths
from engine.kernel.errors import StorageError

_SOURCES = {
    "ctos.yaml": "ctos.template.yaml",
    "accounts.yaml": "accounts.template.yaml",
    "strategies/dip_buyer.py": "example_strategy.py",
}


def write_templates(paths: Paths) -> list[tuple[Path, bool]]:
    """Write the files that are missing; what exists is left as it is.

    Returns:
        Each file, and whether it was written now.

    Raises:
        StorageError: A folder or file cannot be written.
    """
    make_private_dir(paths.config)
    make_private_dir(paths.strategies())
    return [(paths.config / name, _write_new(paths.config / name, template(name))) for name in _SOURCES]


def template(name: str) -> bytes:
    """Return the content of a template by the file's path inside the configuration folder."""
    return resources.files("engine.io").joinpath(_SOURCES[name]).read_bytes()


def _write_new(path: Path, content: bytes) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; choose another folder with --config") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink()
        raise StorageError(f"cannot write {path}: {error.strerror}; free some space and try again") from error
    return True

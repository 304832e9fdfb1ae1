"""YAML files written by people: read safely, every value as the text that stands there, with its line.

Values stay text until a model gives them a type, so `00123` keeps its zeros, `on` stays a word and `0.1` becomes
exactly a tenth. Only plain YAML is read: no tags, no aliases, no duplicate keys.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.kernel.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "value")
)

_NO_ALIAS = "aliases (*name) are not read here; write the value out, in quotes if it begins with * or &"

Place = tuple[str | int, ...]


@dataclass(slots=True)
class YamlDocument:
    """The content of a file.

    Attributes:
        path: Where it was read.
        data: Mappings, lists, text and None.
        lines: Line number of every key and list item, by its place in the document.
    """

    path: Path
    data: dict[str, Any]
    lines: dict[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """Return the line of a place, or of the nearest place that holds it."""
        for length in range(len(place), 0, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return None


def read_yaml(path: Path) -> YamlDocument:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, is too large, empty, not text, or not plain YAML; the message names the line.
    """
    return parse_yaml(path, read_limited(path, 0))


def read_private_yaml(path: Path) -> YamlDocument:
    """Read a configuration file that may hold secrets.

    Raises:
        ConfigError: As `read_yaml`; or it is a link, belongs to somebody else, or others can read it.
    """
    if path.is_symlink():
        raise ConfigError(f"{path} is a link; a file with keys must be a file itself: put it in place of the link")
    return parse_yaml(path, read_limited(path, os.O_NOFOLLOW))


def read_limited(path: Path, flags: int) -> bytes:
    """Return the content of a regular file of at most 1 MB; with O_NOFOLLOW among the flags it must be private.

    Raises:
        ConfigError: It is something else, too large, or not private; the message says how to mend it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ConfigError(f"{path} is {kind}; a YAML file is wanted here: move it away")
        if flags & os.O_NOFOLLOW:
            _check_private(path, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MB; that cannot be a configuration")
    return content


def parse_yaml(path: Path, content: bytes) -> YamlDocument:
    """Read a document whose top is a mapping; a file of comments only is an empty mapping.

    Raises:
        ConfigError: It is empty, not text, or not plain YAML.
    """
    if not content.strip():
        raise ConfigError(f"{path} is empty; delete it to use the defaults, or write it anew with: ctos-tui init")
    document = YamlDocument(path, {})
    node = _compose(path, content)
    if node is None:
        return document
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:{node.start_mark.line + 1}: expected 'name: value' lines at the top")
    document.data = _Reader(document).mapping(node, ())
    return document


def read_yaml_list(path: Path, name: str) -> YamlDocument:
    """Read a document whose top is a list, under `name`; its items are `name[0]`, `name[1]`, ...

    Raises:
        ConfigError: It cannot be read, is too large, not text, not plain YAML, or not a list.
    """
    document = YamlDocument(path, {})
    node = _compose(path, read_limited(path, 0))
    if not isinstance(node, yaml.SequenceNode):
        line = node.start_mark.line + 1 if node is not None else 1
        raise ConfigError(f"{path}:{line}: expected a list at the top: lines that begin with '- '")
    document.data = {name: _Reader(document).sequence(node, (name,))}
    return document


def _compose(path: Path, content: bytes) -> yaml.Node | None:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save it as UTF-8, or restore it from a copy") from error
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_message(path, text, error)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML text: {_one_line(str(error))}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested deeper than {MAX_DEPTH} levels") from error
    return node


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError(f"{path} belongs to another user; run: sudo chown $USER {path}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")


class _Reader:
    """Turns YAML nodes into mappings, lists and text, noting lines."""

    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self._seen: set[int] = set()

    def mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        self._check(node, place)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(line, place, "a name must be one word")
            self._check(key_node, place)
            key = str(key_node.value)
            if key in result:
                first = self._document.lines[(*place, key)]
                raise self._error(line, (*place, key), f"given twice (first in line {first}); keep one")
            self._document.lines[(*place, key)] = line
            result[key] = self._value(value_node, (*place, key))
        return result

    def sequence(self, node: yaml.SequenceNode, place: Place) -> list[Any]:
        self._check(node, place)
        result = []
        for index, item in enumerate(node.value):
            self._document.lines[(*place, index)] = item.start_mark.line + 1
            result.append(self._value(item, (*place, index)))
        return result

    def _value(self, node: yaml.Node, place: Place) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place)
        self._check(node, place)
        if isinstance(node, yaml.SequenceNode):
            result = []
            for index, item in enumerate(node.value):
                self._document.lines[(*place, index)] = item.start_mark.line + 1
                result.append(self._value(item, (*place, index)))
            return result
        plain = getattr(node, "style", None) is None
        return None if plain and node.value in _NULLS else str(node.value)

    def _check(self, node: yaml.Node, place: Place) -> None:
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise self._error(line, place, _NO_ALIAS)
        self._seen.add(id(node))
        if node.tag not in _TAGS:
            raise self._error(
                line, place, "tags (!name) are not read here; write a plain value, in quotes if it begins so"
            )
        if len(place) > MAX_DEPTH:
            raise self._error(line, place[:3], f"nested deeper than {MAX_DEPTH} levels")

    def _error(self, line: int, place: Place, text: str) -> ConfigError:
        return ConfigError(f"{self._document.path}:{line}: {dotted(place) or 'top level'}: {text}")


def dotted(place: Place) -> str:
    """Return a place as people write it: `venues.binance.rest_url`, `console.watchlist[2]`."""
    text = ""
    for part in place:
        if isinstance(part, str) and not part.isprintable():
            part = repr(part)
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _syntax_message(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark is not None else 1
    problem = _one_line(error.problem or error.context or "not YAML")
    if "alias" in problem:
        problem = _NO_ALIAS
    lines = text.splitlines()
    if 0 < line <= len(lines) and "\t" in lines[line - 1][: len(lines[line - 1]) - len(lines[line - 1].lstrip())]:
        return f"{path}:{line}: a tab before the first word; indent with spaces"
    return f"{path}:{line}: not valid YAML: {problem}; write 'name: value', indented with spaces"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def as_plain(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping without its None values, through all levels: `name:` with nothing behind means the default."""
    return {
        key: as_plain(value) if isinstance(value, Mapping) else value
        for key, value in mapping.items()
        if value is not None
    }

"""Any record of the engine as one line of JSON: amounts as strings, enumerations by value, nothing a terminal obeys."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from decimal import Decimal
from typing import Any

import msgspec

from engine.io.event_lines import decimal_text


def plain(value: Any) -> Any:
    """Return JSON-able data for any record of the engine."""
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Decimal):
        return f"{value.normalize():f}" if value else "0"
    if isinstance(value, float):
        return decimal_text(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(plain(key)): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    return str(value)


def to_json(value: Any) -> str:
    """Return one line of JSON; characters that a terminal obeys or hides are written as escapes."""
    text = json.dumps(plain(value), ensure_ascii=False, separators=(", ", ": "))
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(sign: str) -> str:
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\u{code:04x}" if code < 0x10000 else "".join(f"\\u{half:04x}" for half in _surrogates(code))


def _surrogates(code: int) -> tuple[int, int]:
    code -= 0x10000
    return 0xD800 + (code >> 10), 0xDC00 + (code & 0x3FF)

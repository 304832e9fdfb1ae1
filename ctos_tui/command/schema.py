"""What completion, help and the launch form say about a strategy's parameters, read from its pydantic model."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ctos_tui.command.words import plain


@dataclass(frozen=True, slots=True)
class ParamInfo:
    """One parameter.

    Attributes:
        name: As it is written; a nested one with a dot.
        default: The default as it would be written; empty when it must be given.
        help: What it means, with its unit.
        bounds: What is allowed (`0.5-0.9999`, `≥ 0`, `skip | chase`); empty when anything of the type is.
        choices: Every allowed value, where they can be listed.
        restart: It only changes by a restart.
    """

    name: str
    default: str
    help: str
    bounds: str = ""
    choices: tuple[str, ...] = ()
    restart: bool = False


def value_text(value: object) -> str:
    """Return a parameter's value as it is written on the prompt."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return "+".join(value_text(item) for item in value)
    return "" if value is None else str(value)


@lru_cache(maxsize=64)
def params_of(model: type[BaseModel], prefix: str = "") -> tuple[ParamInfo, ...]:
    """Return the parameters of a model: its own, then the inherited, then those of nested models with a dot."""
    own: list[ParamInfo] = []
    nested: list[ParamInfo] = []
    inherited = {name for base in model.__bases__ if issubclass(base, BaseModel) for name in base.model_fields}
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] in inherited):
        inner = _inner_model(field.annotation)
        if inner is not None:
            nested += params_of(inner, f"{prefix}{name}.")
        else:
            own.append(_info(f"{prefix}{name}", field))
    return (*own, *nested)


def values_of(params: BaseModel, prefix: str = "") -> dict[str, str]:
    """Return the current values of a model as they are written, nested ones with dotted names."""
    values: dict[str, str] = {}
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            values |= values_of(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value_text(value)
    return values


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _info(name: str, field: FieldInfo) -> ParamInfo:
    extra = field.json_schema_extra
    choices = _choices(field.annotation, field)
    return ParamInfo(
        name=name,
        default="" if field.is_required() else value_text(field.get_default(call_default_factory=False)),
        help=field.description or "",
        bounds=" | ".join(choices) if choices else _bounds(field),
        choices=choices,
        restart=isinstance(extra, dict) and bool(extra.get("restart")),
    )


def _choices(annotation: Any, field: FieldInfo) -> tuple[str, ...]:
    """Return the values of an enumeration, a literal, a flag, or a pattern of alternatives."""
    origin = get_origin(annotation)
    if origin is Literal:
        return tuple(str(value) for value in get_args(annotation))
    if origin in (Union, UnionType):
        parts = [_choices(part, field) for part in get_args(annotation) if part is not type(None)]
        return parts[0] if len(parts) == 1 else ()
    if annotation is bool:
        return ("true", "false")
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(str(member.value) for member in annotation)
    pattern = next((item.pattern for item in field.metadata if getattr(item, "pattern", None)), "")
    if pattern.startswith("^(") and pattern.endswith(")$"):
        return tuple(pattern[2:-2].split("|"))
    return ()


def _bounds(field: FieldInfo) -> str:
    low = high = ""
    for item in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">")):
            if getattr(item, name, None) is not None:
                low = f"{sign} {value_text(getattr(item, name))}"
        for name, sign in (("le", "≤"), ("lt", "<")):
            if getattr(item, name, None) is not None:
                high = f"{sign} {value_text(getattr(item, name))}"
    if low.startswith("≥") and high.startswith("≤"):
        return f"{low[2:]}-{high[2:]}"
    return ", ".join(part for part in (low, high) if part)

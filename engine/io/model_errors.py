"""What a model says about wrong values, as messages that name file, line, field, value and what is allowed."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from engine.io.secrets import MASK, clean_addresses
from engine.io.yaml_file import Place, YamlDocument, as_plain, dotted
from engine.kernel.errors import ConfigError

M = TypeVar("M", bound="FileModel")
SHOWN = 8


class FileModel(BaseModel):
    """Base of the models of configuration files: nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


def build(model: type[M], document: YamlDocument, values: Mapping[str, Any], place: Place = ()) -> M:
    """Return the model of a part of a document.

    Args:
        model: What the values should be.
        document: Where they stand.
        values: The values, as text.
        place: Where in the document they begin.

    Raises:
        ConfigError: One line for each thing that is wrong.
    """
    try:
        return model.model_validate(as_plain(values))
    except ValidationError as error:
        details = error.errors(include_url=False)
        lines = [describe(model, document, place, detail) for detail in details[:SHOWN]]
        if len(details) > SHOWN:
            lines.append(f"{document.path}: {len(details) - SHOWN} more")
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def wrong(text: str, *place: str) -> PydanticCustomError:
    """Return an error for a validator to raise: what is wrong, at a place below the model."""
    return PydanticCustomError("wrong", "{text}", {"text": text, "place": list(place)})


def describe(model: type[BaseModel], document: YamlDocument, place: Place, detail: ErrorDetails) -> str:
    """Return one problem in one line."""
    found = _follow(model, detail["loc"])
    where = place + found.place + tuple(detail.get("ctx", {}).get("place", ()))
    return problem(document, where, _problem(found, detail) + _belongs(model, found, detail)).message


def problem(document: YamlDocument, place: Place, text: str) -> ConfigError:
    """Return the error that something is wrong at a place of a document."""
    line = document.line(place)
    head = f"{document.path}:{line}" if line else f"{document.path}"
    return ConfigError(f"{head}: {dotted(place) or 'top level'}: {text}")


def nearest(word: str, names: typing.Iterable[str]) -> str:
    """Return `; did you mean X?` for a word that resembles one of the names, else nothing."""
    found = difflib.get_close_matches(word, list(names), n=1, cutoff=0.6)
    return f"; did you mean {found[0]}?" if found else ""


@dataclass(slots=True)
class _Found:
    """Where an error's location leads.

    Attributes:
        place: The location without what only the validator adds.
        owner: The model that owns its last name, None inside plain mappings and lists.
        description: What the nearest field is for.
        is_secret: Whether the value must not be shown.
    """

    place: Place = ()
    owner: type[BaseModel] | None = None
    description: str = ""
    is_secret: bool = False


def _problem(found: _Found, detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden" and found.owner is not None:
        names = sorted(found.owner.model_fields)
        return f"unknown field{nearest(str(found.place[-1]), names)} (fields here: {', '.join(names)})"
    if kind == "missing":
        return "is missing; give it a value"
    if kind == "wrong":
        return detail["msg"]
    text = detail["msg"].partition(", unable to parse")[0]
    for start in ("Input should", "String should", "List should", "Dictionary should"):
        text = text.replace(start, "must")
    if kind in ("model_type", "dict_type"):
        text = "must be a block of 'name: value' lines"
    elif kind == "list_type":
        text = "must be a list: [first, second]"
    elif kind == "string_pattern_mismatch":
        text = "does not have the right form"
    shown = MASK if found.is_secret else clean_addresses(repr(value))[:60] if isinstance(value, str) else ""
    text = f"{shown} {text}" if shown else text
    return f"{text} ({found.description})" if found.description else text


def _belongs(root: type[BaseModel], found: _Found, detail: ErrorDetails) -> str:
    """Say where an unknown field belongs, when a field of this name stands in another block."""
    if detail["type"] != "extra_forbidden" or found.owner is None:
        return ""
    name = str(found.place[-1])
    if name in root.model_fields:
        return f"; {name} belongs to the top level: take away the spaces before it"
    for block, field in root.model_fields.items():
        if any(name in model.model_fields for model in _models(field.annotation)):
            return f"; {name} belongs under {block}:"
    return ""


def _follow(model: type[BaseModel], loc: tuple[str | int, ...]) -> _Found:
    """Walk from a model along an error's location."""
    found = _Found()
    here: Any = model
    for part in loc:
        models = _models(here)
        if part == "[key]":
            break
        if models:
            owner = next((one for one in models if str(part) in one.model_fields), models[0])
            known = owner.model_fields.get(str(part))
            here = known.annotation if known is not None else None
            found.owner = owner
            found.description = (known.description or "") if known is not None else ""
            found.is_secret = found.is_secret or (known is not None and _is_secret(known.json_schema_extra))
        elif typing.get_origin(here) in (dict, list, tuple):
            found.owner, here = None, typing.get_args(here)[-1]
        else:
            break
        found.place += (part,)
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    options = typing.get_args(annotation) or (annotation,)
    if typing.get_origin(annotation) in (dict, list, tuple):
        return []
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


def _is_secret(extra: object) -> bool:
    return isinstance(extra, dict) and bool(extra.get("secret"))

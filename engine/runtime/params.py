"""Strategy parameters: from what a person typed to a validated model, with one clear message for all that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from engine.kernel.errors import ConfigError
from engine.kernel.strategy import Params, Strategy


@dataclass(slots=True, frozen=True)
class ParamChange:
    """One changed parameter of an amendment."""

    name: str
    old: object
    new: object


def dump_params(params: Params) -> dict[str, Any]:
    """Return the parameters that were given, as JSON values; what was left to its default is left out."""
    return params.model_dump(mode="json", exclude_unset=True)


def amended(
    name: str, strategy_class: type[Strategy[Any]], present: Params, changes: Mapping[str, Any]
) -> tuple[list[ParamChange], Params]:
    """Return what an amendment of an instance would change, and all parameters after it.

    Raises:
        ConfigError: A value is out of bounds, or a parameter that changes needs a restart.
    """
    values = dump_params(present)
    for key, value in changes.items():
        set_dotted(values, key, value)
    params = parse_params(strategy_class, values)
    changed = []
    for key in type(params).model_fields:
        old, new = getattr(present, key), getattr(params, key)
        if old != new:
            if needs_restart(strategy_class, key):
                raise ConfigError(f"{key} of {name} needs a restart to change: stop it and run it anew")
            changed.append(ParamChange(key, old, new))
    return changed, params


def needs_restart(strategy_class: type[Strategy[Any]], name: str) -> bool:
    """Return whether a parameter may only change by a restart."""
    extra = strategy_class.params_model.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("restart"))


def parse_params(strategy_class: type[Strategy[Any]], values: Mapping[str, Any]) -> Params:
    """Return the validated parameters of a strategy.

    Raises:
        ConfigError: Names each bad parameter, its value and what is allowed.
    """
    nested: dict[str, Any] = {}
    for key, value in values.items():
        set_dotted(nested, key, value)
    try:
        return strategy_class.params_model.model_validate(nested)
    except ValidationError as error:
        raise ConfigError(f"{strategy_class.name}: " + "; ".join(_explain(strategy_class, error))) from None


def _explain(strategy_class: type[Strategy[Any]], error: ValidationError) -> Iterable[str]:
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or "parameters"
        if item["type"] == "extra_forbidden":
            yield f"no parameter {name!r}; known: {', '.join(strategy_class.params_model.model_fields)}"
        else:
            given = f" (got {item['input']!r})" if item["loc"] else ""
            yield f"{name}: {item['msg'].removeprefix('Value error, ')}{given}"


def set_dotted(values: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b` (or a mapping under `a`) in nested dictionaries, keeping the neighbours."""
    head, _, rest = key.partition(".")
    if rest:
        inner = values.setdefault(head, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{head} has no field {rest!r}")
        set_dotted(inner, rest, value)
    elif isinstance(value, Mapping):
        inner = values.setdefault(head, {})
        for name, entry in value.items():
            set_dotted(inner, name, entry)
    else:
        values[head] = value

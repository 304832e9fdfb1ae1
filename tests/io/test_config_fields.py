"""Every field of the files, one after the other: misspelt, twice, of a wrong type, out of its range."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine.io.config import Config, Paths, _AccountModel, load_accounts, load_config
from engine.kernel.errors import ConfigError

Place = tuple[str, ...]
KEYS = {"venues": "okx", "levels": "price_jump"}
"""A name in each mapping whose values are blocks."""


def inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := inner_model(part))), None)


def fields(model: type[BaseModel], place: Place = ()) -> Iterator[tuple[Place, FieldInfo]]:
    """Yield every field with its place; inside a mapping of blocks, those of a block of some name."""
    for name, info in model.model_fields.items():
        yield (*place, name), info
        inner = inner_model(info.annotation)
        is_block = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
        if inner is not None and (is_block or name in KEYS):
            yield from fields(inner, (*place, name) if is_block else (*place, name, KEYS[name]))


SETTINGS = list(fields(Config))
ACCOUNT = [(("okx", "main", *place), info) for place, info in fields(_AccountModel)]
EVERY = [pytest.param(place, info, id=".".join(place)) for place, info in SETTINGS + ACCOUNT]


def block(place: Place, *values: str) -> str:
    """Return YAML in which the field stands once for each value."""
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(place[:-1])]
    lines += [f"{'  ' * (len(place) - 1)}{place[-1]}: {value}" for value in values]
    return "\n".join(lines) + "\n"


def refused(folder: Path, place: Place, text: str) -> str:
    """Return what is said about a file, which must be refused."""
    folder.chmod(0o700)
    paths = Paths(folder, folder / "state")
    file = paths.accounts_file if place[0] == "okx" else paths.config_file
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as error:
        load_accounts(paths, load_config(paths))
    said = str(error.value)
    assert said.startswith(f"{file}:") and "pydantic" not in said and "Traceback" not in said
    return said


@pytest.mark.parametrize(("place", "info"), EVERY)
def test_g01_every_field_misspelt_twice_or_of_a_wrong_type_is_named(
    tmp_path: Path, place: Place, info: FieldInfo
) -> None:
    name, where = place[-1], ".".join(place)
    typo = (*place[:-1], name[:-1] + name[-1] * 2)
    said = refused(tmp_path, place, block(typo, "5"))
    assert f"{'.'.join(typo)}: unknown field; did you mean {name}?" in said
    said = refused(tmp_path, place, block(place, "a", "a"))
    assert f"{where}: given twice (first in line {len(place)})" in said
    for nonsense in ("[[]]", "{a: [{}]}"):
        assert where in refused(tmp_path, place, block(place, nonsense))


def bounds(info: FieldInfo) -> Iterator[str]:
    """Yield a value beyond each bound of a field."""
    for one in info.metadata:
        for name, beyond in (("gt", 0), ("ge", -1), ("lt", 0), ("le", 1)):
            limit = getattr(one, name, None)
            if limit is not None:
                yield str(limit + beyond)


BOUNDED = [
    pytest.param(place, value, id=f"{'.'.join(place)}={value}")
    for place, info in SETTINGS + ACCOUNT
    for value in (*bounds(info), *(("nan", "inf", "-inf") if list(bounds(info)) else ()))
]


@pytest.mark.parametrize(("place", "value"), BOUNDED)
def test_g01_every_number_out_of_its_range_is_named(tmp_path: Path, place: Place, value: str) -> None:
    said = refused(tmp_path, place, block(place, value))
    assert ".".join(place) in said and f"'{value}'" in said

"""Finds strategy classes: the installed ones by entry point, the operator's own by file."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.io.config import find_paths, load_config
from engine.kernel.errors import ConfigError, UnknownStrategy
from engine.kernel.strategy import Strategy

GROUP = "ctos.strategies"


@dataclass(slots=True)
class StrategyCatalogue:
    """Strategy classes by name, and the files that do not load with the reason."""

    classes: dict[str, type[Strategy[Any]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def get(self, name: str) -> type[Strategy[Any]]:
        """Return a class.

        Raises:
            UnknownStrategy: There is none of that name.
        """
        if name not in self.classes:
            raise UnknownStrategy(f"no strategy {name!r}; known: {', '.join(sorted(self.classes))}")
        return self.classes[name]


def load_strategies(config_dir: str | None = None, folder: Path | None = None) -> StrategyCatalogue:
    """Return every strategy that can be launched.

    Args:
        config_dir: Configuration folder; its `strategies/` is searched unless `folder` is given.
        folder: The operator's folder of strategies.
    """
    from importlib.metadata import entry_points

    catalogue = StrategyCatalogue()
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        _add(catalogue, entry.load(), entry.value)
    if folder is None:
        paths = find_paths(config_dir, os.environ)
        folder = paths.strategies(load_config(paths).strategies.folder)
    if folder.is_dir():
        for path in sorted(folder.glob("*.py")):
            _load_file(catalogue, path)
    return catalogue


def _load_file(catalogue: StrategyCatalogue, path: Path) -> None:
    try:
        module = _import_file(path)
        found = [
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, Strategy) and value.__module__ == module.__name__
        ]
        named = [strategy for strategy in found if strategy.name]
        if not named:
            raise ConfigError("it defines no Strategy class with a `name`")
        for strategy in named:
            _add(catalogue, strategy, str(path))
    except (Exception, SystemExit) as error:
        catalogue.failures[str(path)] = f"{type(error).__name__}: {error}"


def _import_file(path: Path) -> ModuleType:
    name = f"ctos_operator_strategies.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _add(catalogue: StrategyCatalogue, strategy: type[Strategy[Any]], where: str) -> None:
    known = catalogue.classes.get(strategy.name)
    if known is not None:
        raise ConfigError(f"strategy name {strategy.name!r} of {where} is taken by {known.__module__}")
    catalogue.classes[strategy.name] = strategy

"""What a launch or a restart has to settle first: the name, the instruments, and whether the strategy accepts them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from engine.kernel.errors import ConfigError, CtosError, UnknownSymbol
from engine.kernel.market import TIMEFRAME_MS
from engine.kernel.strategy import Params, RiskParams, Strategy
from engine.runtime.accounts import MANUAL
from engine.runtime.execution import ExecutionEngine
from engine.runtime.instance import StrategyInstance

MAX_NAME = 20


def vetted(
    engine: ExecutionEngine, strategy_class: type[Strategy[Any]], params: Params, symbols: Sequence[str]
) -> RiskParams:
    """Return the limits that a strategy needs, after it has accepted its parameters and instruments.

    Raises:
        CtosError: It refuses them, or fails at it.
    """
    try:
        strategy_class.check(params, [engine.instrument(symbol) for symbol in symbols])
        unknown = [frame for frame in strategy_class.timeframes(params) if frame not in TIMEFRAME_MS]
        if unknown:
            raise ConfigError(
                f"{strategy_class.name}: no candles of {unknown[0]!r}; there are {', '.join(TIMEFRAME_MS)}"
            )
    except CtosError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(strategy_class, error) from error
    return limits_of(strategy_class, params, len(symbols))


def limits_of(strategy_class: type[Strategy[Any]], params: Params, n_symbols: int) -> RiskParams:
    """Return the limits that a strategy needs for some instruments.

    Raises:
        CtosError: It refuses its parameters, or fails at it.
    """
    try:
        return strategy_class.limits(params, n_symbols)
    except CtosError:
        raise
    except (Exception, SystemExit) as error:
        raise _failure(strategy_class, error) from error


def _failure(strategy_class: type[Strategy[Any]], error: BaseException) -> ConfigError:
    return ConfigError(f"{strategy_class.name} fails on its parameters: {type(error).__name__}: {error}")


def check_name(name: str) -> None:
    """Refuse a name that cannot be an instance's.

    Raises:
        ConfigError: Says what a name may be.
    """
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii() or len(name) > MAX_NAME:
        raise ConfigError(f"bad instance name {name!r}: up to {MAX_NAME} letters, digits, - and _")
    if name == MANUAL:
        raise ConfigError(f"bad instance name {name!r}: the operator's own orders have it")


def free_name(strategy: str, taken: Collection[str]) -> str:
    """Return a short new name, such as `dg1` for `dyn_grid`."""
    stem = "".join(part[0] for part in strategy.split("_") if part) or "s"
    number = 1
    while f"{stem}{number}" in taken:
        number += 1
    return f"{stem}{number}"


def wanted_symbols(engine: ExecutionEngine, params: Params, focus: Sequence[str]) -> list[str]:
    """Return the instruments that are meant; what is not listed is left out with a warning if others are.

    Raises:
        UnknownSymbol: None is listed.
        ConfigError: None is meant.
    """
    found: dict[str, None] = {}
    unknown: list[UnknownSymbol] = []
    for text in _typed_symbols(engine, params.symbols, focus):
        try:
            symbol = engine.resolve(text).symbol
            if not engine.market.is_listed(symbol):
                raise UnknownSymbol(f"{engine.account.venue} does not list {symbol} any more")
            found[symbol] = None
        except UnknownSymbol as error:
            unknown.append(error)
    if not found:
        raise unknown[0] if unknown else ConfigError("symbols: no instrument is meant; name one, such as btc")
    for missing in unknown:
        engine.say(f"left out: {missing}", "warn")
    return list(found)


def drop_unlisted(engine: ExecutionEngine, instance: StrategyInstance) -> None:
    """Take from a restored instance what the venue does not list any more.

    Raises:
        UnknownSymbol: Nothing is left.
    """
    listed = tuple(symbol for symbol in instance.symbols if engine.market.is_listed(symbol))
    if not listed:
        raise UnknownSymbol(f"the venue lists none of {', '.join(instance.symbols)}")
    for symbol in instance.symbols:
        if symbol not in listed:
            instance.say(f"{symbol} is not listed any more and left out", "warn")
    instance.symbols = instance.strategy.symbols = listed


def _typed_symbols(engine: ExecutionEngine, wanted: str | tuple[str, ...], focus: Sequence[str]) -> Sequence[str]:
    if not isinstance(wanted, str):
        return wanted
    if wanted == "focus":
        return focus
    if wanted == "positions":
        return [row.symbol for row in engine.portfolio.positions() if row.quantity]
    if wanted == "all":
        return [symbol for symbol in engine.instruments if engine.market.is_listed(symbol)]
    return [part.strip() for part in wanted.split("+") if part.strip()]

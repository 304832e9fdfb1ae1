from __future__ import annotations

from decimal import Decimal
from enum import Enum
from statistics import median
from time import perf_counter_ns
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import BaseModel, Field

from ctos_tui.command.candidates import InstanceInfo, StrategyInfo, Vocabulary
from ctos_tui.command.complete import MAX_CANDIDATES, Completion, complete
from ctos_tui.command.grammar import parse
from ctos_tui.command.schema import params_of, values_of
from ctos_tui.command.verbs import VERBS
from engine.kernel.instruments import InstrumentKind
from tests.console.desks import BTC, SOL, desk, instrument

D = Decimal


class Direction(Enum):
    UP = "up"
    DOWN = "down"


class Base(BaseModel):
    capital_usd: Decimal = Field(D(1000), gt=0, description="USD allocated")


class Limits(BaseModel):
    max_order_usd: Decimal | None = Field(None, gt=0, description="largest order, USD")


class GridParams(Base):
    base_amount: Decimal = Field(D("8.88"), ge=1, le=10000, description="size of each order, USD")
    sell_grid_step: Decimal = Field(D("1.018"), ge=D("1.0001"), le=2, description="sell price, x baseline")
    guard_action: str = Field("freeze", pattern="^(freeze|flatten)$", description="at the guard")
    direction: Direction = Field(Direction.UP, description="way", json_schema_extra={"restart": True})
    mode: Literal["a", "b"] = "a"
    allow_short: bool | None = Field(None, description="sell below zero")
    risk: Limits = Field(default_factory=Limits)


VOCABULARY = Vocabulary(
    strategies={
        "dyn_grid": StrategyInfo("dyn_grid", "two orders around a baseline", params_of(GridParams)),
        "mean_reversion": StrategyInfo("mean_reversion", "back to the mean"),
    },
    instances={"g1": InstanceInfo("g1", "dyn_grid", "RUNNING", values_of(GridParams(sell_grid_step=D("1.02"))))},
    themes=("ctos-dark", "ctos-light", "mono"),
    accounts=("paper", "main"),
)


def offered(line: str, **fields: object) -> Completion:
    return complete(line, len(line), desk(**fields), VOCABULARY)


def texts(line: str, **fields: object) -> list[str]:
    return [candidate.text for candidate in offered(line, **fields).candidates]


def note(line: str, text: str) -> str:
    return next(candidate.note for candidate in offered(line).candidates if candidate.text == text)


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("bu", ["buy", "bump"]),
        ("x", ["x"]),
        ("canc", ["x"]),
        ("buy 0.5 ", ["@", "btc", "eth", "btc-usdt", "sol"]),
        ("buy 0.5 s", ["sol"]),
        ("buy 0.5 btc-", ["btc-usdt-perp", "btc-usdt"]),
        ("buy 5", ["5", "5$", "5%bal", "5%pos"]),
        ("buy 0.50", ["0.50", "0.50$", "0.50%bal", "0.50%pos"]),
        ("sell ", ["100%pos", "100$"]),
        ("sell btc $", ["$max"]),
        ("buy 1 @ ", ["best", "mid", "opp", "last", "mark", "entry", "mkt", "bid"]),
        ("buy 1 sol @ ", ["best", "mid", "opp", "last", "mark", "mkt", "bid", "ask"]),
        ("buy 1 @ m", ["mid", "mark", "mkt"]),
        ("buy 1 @ best ", ["post", "reduce", "ioc", "fok", "soft"]),
        ("buy 1 @ best post ", ["reduce"]),
        ("buy 1 @ mkt ", ["reduce"]),
        ("buy 1 @ 64000 ", ["post", "reduce", "ioc", "fok"]),
        ("buy 1 @ best -3t ", ["post", "reduce", "ioc", "fok"]),
        ("target ", ["100$", "1000$", "-1000$", "0", "btc"]),
        ("target 100$ btc ", ["soft"]),
        ("flat ", ["btc", "eth", "btc-usdt", "all", "longs", "shorts", "winners", "losers"]),
        ("flat los", ["losers"]),
        ("flat longs ", ["except", "50%pos", "@"]),
        ("flat all except ", ["btc", "eth", "btc-usdt"]),
        ("buy 1 @ p", ["passive"]),
        ("rev btc ", ["@"]),
        ("x ", ["#13", "#12", "#14", "all", "buys", "sells", "last", "btc"]),
        ("x #12 ", ["#13", "#14"]),
        ("mv #12 ", ["@"]),
        ("mv #12 @ b", ["best", "bid"]),
        ("bump #12 ", ["-1t", "+1t"]),
        ("run ", ["dyn_grid", "mean_reversion"]),
        ("run dyn_grid ", ["btc", "eth", "btc-usdt", "base_amount="]),
        ("run dyn_grid btc sell", ["sell_grid_step="]),
        ("run dyn_grid btc base_amount=5 b", []),
        ("run dyn_grid btc guard_action=f", ["guard_action=freeze", "guard_action=flatten"]),
        ("run dyn_grid btc allow_short=", ["allow_short=true", "allow_short=false"]),
        ("run dyn_grid btc risk.", ["risk.max_order_usd="]),
        ("set g", ["g1"]),
        ("set g1 sell_grid_step=", ["sell_grid_step=1.02"]),
        ("halt g1 ", ["cancel", "keep", "flat"]),
        ("pause ", ["g1"]),
        ("arm ", ["all", "for", "btc"]),
        ("arm btc for ", ["10m", "30m"]),
        ("rearm ", ["paper", "main"]),
        ("chart ", ["1m", "3m", "5m"]),
        ("unwatch ", ["sol"]),
        ("account m", ["main"]),
        ("theme ctos", ["ctos-dark", "ctos-light"]),
        ("help ar", ["arm"]),
        ("scale ", []),
        ("disarm ", []),
    ],
)
def test_what_is_offered_first(line: str, first: list[str]) -> None:
    found = texts(line)
    assert found[: len(first)] == first and len(found) <= MAX_CANDIDATES
    if not first:
        assert found == []


def test_candidates_say_what_they_mean_now() -> None:
    assert note("buy 5", "5$") == "0 BTC · 0 $ · 0.0% of max order"
    assert note("buy 0.5", "0.5") == "0.5 BTC · 32,125 $ · 32% of max order"
    assert note("buy 1 @ ", "best") == "64,249.5 · 0.0 bp from mid"
    assert note("sell 1 @ ", "best") == "64,249.6 · 0.0 bp from mid"
    assert note("buy 1 @ ", "mkt") == "market order, must be confirmed · ≤ 64,442.3"
    assert note("buy 1 @ best -10", "-10") == "64,239.5 · −1.6 bp from mid"
    assert note("x ", "#12") == "sell 0.002 BTC-PERP @ 64,512.4 · 2,628t away · 12s old"
    assert note("go b", "btc") == "64,249.6 · BTC-USDT-PERP · pos 0.12"
    assert note("set g1 sell", "sell_grid_step=") == "now 1.02 · sell price, x baseline · 1.0001-2"
    assert note("run dyn_grid direc", "direction=") == "default up · way · up | down · needs a restart"
    assert note("pause ", "g1") == "dyn_grid · RUNNING"


def test_symbols_are_ranked_by_what_the_operator_has_to_do_with_them() -> None:
    def market(base: str, turnover: float) -> object:
        made = instrument(base, InstrumentKind.PERP, "0.01", "0.1")
        return replace(SOL, instrument=made, turnover=turnover)

    extra = {f"{base}-USDT-PERP": market(base, turnover) for base, turnover in (("XRP", 9e12), ("ADA", 1.0))}
    markets = {**extra, **desk().markets}
    assert texts("go ", markets=markets) == ["btc", "eth", "btc-usdt", "sol", "xrp", "ada"]
    assert texts("go ", markets=markets, focus="ADA-USDT-PERP")[0] == "ada"


def test_ghost_text_is_what_the_first_candidate_adds() -> None:
    assert offered("bu").ghost == "y"
    assert offered("buy 1 eth @ be").ghost == "st"
    assert offered("buy 1 eth @ ").ghost == ""
    assert offered("run dyn_grid btc sell").ghost == "_grid_step="


def test_accepting_puts_the_word_in_place() -> None:
    assert offered("bu").accept("bu") == "buy "
    assert offered("run dyn_grid sell").accept("run dyn_grid sell") == "run dyn_grid sell_grid_step="
    line = "buy 1 e @ best"
    at_symbol = complete(line, 7, desk(), VOCABULARY)
    assert at_symbol.candidates[0].text == "eth"
    assert at_symbol.accept(line) == "buy 1 eth @ best"
    middle = complete("go btcx", 5, desk(), VOCABULARY)
    assert middle.accept("go btcx") == "go btc "


def test_a_line_built_only_from_first_offers_parses() -> None:
    line = ""
    for typed in ("buy", "0.5", "et", "@", "be", "po"):
        line += typed
        line = offered(line).accept(line) if typed != "@" else f"{line} "
    assert parse(line) == parse("buy 0.5 eth @ best post")


def test_the_schema_gives_defaults_bounds_and_choices() -> None:
    infos = {info.name: info for info in params_of(GridParams)}
    assert next(iter(infos)) == "base_amount" and list(infos)[-1] == "risk.max_order_usd"
    assert infos["base_amount"].bounds == "1-10000" and infos["base_amount"].default == "8.88"
    assert infos["capital_usd"].bounds == "> 0"
    assert infos["guard_action"].choices == ("freeze", "flatten")
    assert infos["direction"].choices == ("up", "down") and infos["direction"].restart
    assert infos["mode"].choices == ("a", "b")
    assert infos["allow_short"].choices == ("true", "false") and infos["allow_short"].default == ""
    assert values_of(GridParams())["direction"] == "up"


def test_the_built_in_strategies_describe_every_parameter() -> None:
    grid = pytest.importorskip("strategies.dyn_grid")
    for info in params_of(grid.DynGridParams):
        assert info.help, info.name


def test_nothing_is_offered_where_nothing_is_known() -> None:
    bare = desk(markets={}, orders=(), focus="", watch=())
    for verb in VERBS:
        for tail in (" ", " 1 @ ", " btc @ "):
            line = f"{verb.name}{tail}"
            complete(line, len(line), bare, Vocabulary())


FRAGMENTS = "btc #12 @ best -10 0.5 5k$ 25%bal mkt soft g1 dyn_grid as for 0,5 - $ = sell_grid_step="
fragments = st.sampled_from([*(verb.name for verb in VERBS), *FRAGMENTS.split()])


@given(st.lists(fragments | st.text(max_size=5), max_size=6).map(" ".join), st.integers(0, 40))
def test_completion_never_fails_and_stays_inside_the_line(line: str, column: int) -> None:
    column = min(column, len(line))
    found = complete(line, column, desk(), VOCABULARY)
    assert 0 <= found.start <= column <= found.end <= max(len(line), column)
    assert len(found.candidates) <= MAX_CANDIDATES
    for index in range(len(found.candidates)):
        assert found.accept(line, index).startswith(line[: found.start])


def test_a_key_costs_less_than_two_milliseconds() -> None:
    many = {
        f"C{number}-USDT-PERP": replace(
            BTC, instrument=instrument(f"C{number}", InstrumentKind.PERP, "0.1", "0.001"), turnover=float(number)
        )
        for number in range(400)
    }
    here = desk(markets={**desk().markets, **many})
    for line in ("", "buy ", "buy 0.5 ", "buy 0.5 c", "buy 0.5 btc @ ", "x ", "run dyn_grid ", "go 3"):
        costs = []
        for _ in range(9):
            began = perf_counter_ns()
            complete(line, len(line), here, VOCABULARY)
            costs.append(perf_counter_ns() - began)
        assert median(costs) < 2_000_000, line

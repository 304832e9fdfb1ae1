from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ctos_tui.command.commands import (
    AmendCommand,
    CancelCommand,
    FlattenAllCommand,
    PlaceCommand,
    TargetCommand,
)
from ctos_tui.command.desk import Market, ResolveError, Sent
from ctos_tui.command.grammar import parse
from ctos_tui.command.intents import PlaceOrder
from ctos_tui.command.preview import plain_text
from ctos_tui.command.resolve import Staged, resolve
from ctos_tui.command.terms import AbsolutePrice, Flags, Size
from ctos_tui.guard.levels import GuardLimits, Level
from ctos_tui.theme import load_theme
from engine.kernel.errors import CtosError, UnknownSymbol
from engine.kernel.orders import OrderType, Side
from tests.console.desks import BTC, NOW_NS, ORDERS, desk, order

D = Decimal


def stage(line: str, **fields: object) -> Staged:
    return resolve(parse(line), desk(**fields))  # type: ignore[arg-type]


def placed(line: str, **fields: object) -> PlaceCommand:
    (command,) = stage(line, **fields).commands
    assert isinstance(command, PlaceCommand)
    return command


def shown(line: str, **fields: object) -> str:
    return plain_text(stage(line, **fields).preview)


def test_the_preview_of_the_console_page() -> None:
    assert shown("buy 0.5 btc @ best -10 post") == (
        "BUY 0.5 BTC-PERP limit 64,239.5 (best −10, −1.6 bp mid) post · 32,120 $ · pos 0.12→0.62 · "
        "3.1% margin · fees ≤ 6.4 $ · OK"
    )


@pytest.mark.parametrize(
    ("line", "preview"),
    [
        (
            "buy 500$ btc @ mkt",
            "BUY 0.0077 BTC-PERP market ≤ 64,442.3 · 496.2 $ · pos 0.12→0.1277 · 0.05% margin · fees ≤ 0.25 $ · "
            "CONFIRM: market order — type 0.0077 to send",
        ),
        (
            "sell 1 btc @ best reduce",
            "SELL 0.12 BTC-PERP limit 64,249.6 (best, 0.0 bp mid) reduce · size 1→0.12 · 7,710 $ · pos 0.12→0 · "
            "fees ≤ 3.9 $ · OK",
        ),
        (
            "buy 5 @ best post",
            "BUY 5 BTC-PERP limit 64,249.5 (best, 0.0 bp mid) post · 321,248 $ · pos 0.12→5.12 · 31.4% margin · "
            "fees ≤ 64.2 $ · REFUSED: max_order_usd 321,248 $ > 100,000 $; max_notional_usd 330,322 $ > 200,000 $, "
            "largest that passes 1.5564",
        ),
        (
            "flat all",
            "FLAT 3 positions · sell 0.12 BTC-PERP, buy 0.4 ETH-PERP, sell 0.25 BTC-USDT · 25,135 $ · fees ≤ 20.6 $ · "
            "CONFIRM: market orders; every order is cancelled, stops too — type 3 to send",
        ),
        (
            "flat all 50%pos",
            "FLAT 2 positions · sell 0.06 BTC-PERP, buy 0.2 ETH-PERP · 4,528 $ · fees ≤ 2.3 $ · "
            "CONFIRM: BTC market order, ETH market order — type 2 to send",
        ),
        (
            "flat all @ passive post",
            "FLAT 2 positions · sell 0.12 BTC-PERP @ 64,282.2, buy 0.4 ETH-PERP @ 3,410.44 · 9,078 $ · "
            "fees ≤ 1.8 $ · OK",
        ),
        (
            "target -1000$ btc soft",
            "TARGET −1,000 $ BTC-PERP · SELL 0.1355 BTC-PERP limit 64,249.6 (best, 0.0 bp mid) soft · 8,706 $ · "
            "pos 0.12→−0.0155 · fees ≤ 1.7 $ · OK",
        ),
        (
            "bump #13 -3t",
            "MOVE #13 BUY BTC-PERP · price 64,010.0→64,009.7 (−3t, −37.3 bp mid) · 128.0 $ · OK, sent at once",
        ),
        ("x #12", "CANCEL 1 order · #12 sell 0.002 BTC-PERP @ 64,512.4 · OK, sent at once"),
    ],
)
def test_the_preview_says_what_would_happen(line: str, preview: str) -> None:
    assert shown(line) == preview


@pytest.mark.parametrize(
    ("line", "price"),
    [
        ("buy 0.1 @ best", "64249.5"),
        ("buy 0.1 @ opp", "64249.6"),
        ("buy 0.1 @ bid", "64249.5"),
        ("buy 0.1 @ ask", "64249.6"),
        ("buy 0.1 @ mid", "64249.5"),
        ("sell 0.1 @ mid", "64249.6"),
        ("sell 0.1 @ best", "64249.6"),
        ("sell 0.1 @ opp", "64249.5"),
        ("buy 0.1 @ last -1", "64248.6"),
        ("buy 0.1 @ mark -0.01%", "64243.5"),
        ("sell 0.1 @ mark +0.01%", "64256.5"),
        ("buy 0.1 @ entry", "64120.0"),
        ("sell 0.1 @ best +5t", "64250.1"),
        ("sell 0.1 @ -10", "64239.6"),
        ("buy 0.1 @ 64,000.07", "64000.0"),
        ("sell 0.1 @ 64,300.01", "64300.1"),
    ],
)
def test_prices_of_now(line: str, price: str) -> None:
    assert placed(line).price == D(price)


@pytest.mark.parametrize(
    ("line", "quantity"),
    [
        ("buy 500$ @ 50000", "0.0100"),
        ("buy 500$ @ best", "0.0077"),
        ("sell 500$ @ mkt", "0.0077"),
        ("buy 3c @ best", "0.03"),
        ("sell 50%pos @ best", "0.06"),
        ("sell $pos @ best", "0.12"),
        ("sell $half @ best", "0.06"),
        ("buy 0.12345 @ best", "0.1234"),
        ("buy 10%bal @ best", "0.0140"),
        ("buy 100%bal btc-spot @ best", "0.13995"),
        ("sell 50%bal btc-spot @ best", "0.125"),
        ("buy $max @ best", "1.5564"),
    ],
)
def test_sizes_of_now(line: str, quantity: str) -> None:
    assert placed(line).quantity == D(quantity)


@pytest.mark.parametrize(
    ("line", "kind", "soft"),
    [
        ("buy 0.1 @ best", OrderType.LIMIT, False),
        ("buy 0.1 @ best post", OrderType.POST_ONLY, False),
        ("buy 0.1 @ best soft", OrderType.POST_ONLY, True),
        ("buy 0.1 @ best ioc", OrderType.IOC, False),
        ("buy 0.1 @ best fok", OrderType.FOK, False),
        ("buy 0.1 @ mkt", OrderType.MARKET, False),
    ],
)
def test_flags_choose_the_order_type(line: str, kind: OrderType, soft: bool) -> None:
    command = placed(line)
    assert (command.type, command.soft) == (kind, soft)
    assert (command.price is None) == (kind is OrderType.MARKET)


def test_a_rounded_price_and_size_are_shown() -> None:
    line = shown("buy 0.12345 @ 64239.57")
    assert "price 64,239.57→64,239.5" in line
    assert "size 0.12345→0.1234" in line


@pytest.mark.parametrize(
    ("line", "symbol"),
    [
        ("btc", "BTC-USDT-PERP"),
        ("btc-perp", "BTC-USDT-PERP"),
        ("btc-usdt-perp", "BTC-USDT-PERP"),
        ("btc-spot", "BTC-USDT"),
        ("sol", "SOL-USDT-PERP"),
    ],
)
def test_a_bare_coin_means_the_accounts_default(line: str, symbol: str) -> None:
    assert placed(f"buy 100$ {line} @ best").symbol == symbol
    assert desk().market(line).instrument.symbol == symbol


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("buy 0.00001 @ best", "0.00001 is below the minimum of BTC-PERP: 0.0001 BTC (6.43 USDT)"),
        ("buy 4$ @ best", "4$ is below the minimum"),
        ("sell 50%pos sol @ best", "no position in SOL-PERP"),
        ("buy 1 sol @ entry", "no entry price"),
        ("buy 1 @ best -64249.5", "no price above 0"),
        ("buy 1 btc @ best reduce", "nothing to reduce"),
        ("flat sol", "no position in SOL-PERP"),
        ("flat btc+sol", "no position in SOL-PERP"),
        ("flat losers", "none of 2 positions is meant by this"),
        ("flat all except btc+eth", "none of 2 positions is meant by this"),
        ("flat all except sol", "no position in SOL-PERP"),
        ("rev sol @ best", "no position in SOL-PERP"),
        ("rev btc-spot @ best", "cannot be reversed"),
        ("target -100$ btc-spot", "cannot be negative"),
        ("target 7690$ btc", "already there"),
        ("x sol", "no order works in SOL-PERP"),
        ("x sells eth", "no sell order works in ETH-PERP"),
        ("x #99", "no working order #99; working: #12, #13, #14"),
        ("mv #12 @ 64512.4", "already rests"),
        ("mv #12 0.00001", "below the minimum"),
    ],
)
def test_what_cannot_be_an_order_says_why(line: str, message: str) -> None:
    with pytest.raises(ResolveError) as caught:
        stage(line)
    assert message in caught.value.message


def test_an_unknown_symbol_names_the_nearest() -> None:
    with pytest.raises(UnknownSymbol, match="BTC-USDT"):
        stage("buy 1 btcc @ best")


def test_unknown_prices_are_never_guessed() -> None:
    dark = Market(BTC.instrument)
    markets = {"BTC-USDT-PERP": dark}
    for ref in ("best", "mid", "last", "mark", "mkt"):
        with pytest.raises(ResolveError, match="BTC-PERP has no"):
            stage(f"buy 1 @ {ref}", markets=markets)
    with pytest.raises(ResolveError, match="go btc-usdt-perp streams it"):
        stage("buy 1 @ best -200", markets=markets)
    staged = stage("buy 1 @ 64000", markets=markets)
    assert staged.decision.refused and "no book" in plain_text(staged.preview)
    with pytest.raises(ResolveError, match="no market is focused"):
        stage("buy 1 @ best", markets={}, focus="")


def level_of(line: str, **fields: object) -> Level:
    return stage(line, **fields).decision.level


def with_btc(**fields: object) -> dict[str, Market]:
    return {**desk().markets, "BTC-USDT-PERP": replace(BTC, **fields)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "fields", "words"),
    [
        ("buy 0.1 @ mkt", {}, "market order"),
        ("buy 0.1 @ opp +1t", {}, "through the far side"),
        ("buy 0.1 sol @ best", {}, "not the focused market"),
        ("buy 0.1 @ 63000", {}, "away from mid"),
        ("buy 0.9 @ best", {}, "large order"),
        ("buy 0.1 @ best", {"markets": with_btc(age_ms=1500)}, "book age"),
        ("buy 0.1 @ best", {"markets": with_btc(usual_quantity=D("0.01"))}, "10.0× usual size"),
        ("buy 0.1 @ best", {"markets": with_btc(ask_depth=D("0.2"))}, "shown depth"),
        ("buy 0.1 @ best", {"limits": GuardLimits(soft_exposure=D(10_000))}, "large exposure"),
        (
            "buy 0.1 @ best",
            {"recent": (Sent("BTC-USDT-PERP", Side.BUY, D("0.1"), D("64249.5"), NOW_NS - 10**9),)},
            "same order 1.0 s ago",
        ),
    ],
)
def test_what_must_be_confirmed(line: str, fields: dict[str, object], words: str) -> None:
    staged = stage(line, **fields)
    assert staged.decision.level is Level.L2
    assert words in plain_text(staged.preview)
    assert staged.confirm and f"type {staged.confirm} to send" in plain_text(staged.preview)


@pytest.mark.parametrize(
    ("line", "fields", "words"),
    [
        ("buy 0.1 @ best", {"armed_all": False}, "DISARMED"),
        ("buy 0.1 sol @ best", {"armed_all": False, "armed": frozenset({"BTC-USDT-PERP"})}, "DISARMED"),
        ("buy 0.1 @ best", {"halted": "panic 12:30"}, "HALTED (panic 12:30)"),
        ("buy 0.1 @ best", {"rate_full": True}, "order rate"),
        ("buy 0.1 @ best", {"markets": with_btc(age_ms=3500)}, "book age 3.5 s > 3 s"),
        ("buy 0.1 @ 64000", {"markets": with_btc(ask=D("64249.4"))}, "book crossed"),
        ("buy 0.1 @ best", {"markets": with_btc(unknown_order=True)}, "no known outcome"),
        ("buy 0.1 @ 70000", {}, "price_band_bp"),
        ("buy 0.1 @ opp post", {}, "post-only would take: the far side is at 64,249.6"),
        (
            "buy 0.1 @ best",
            {"limits": GuardLimits(max_leverage=D(1))},
            "max_leverage 1.51× > 1×, largest that passes 0.018",
        ),
        ("buy 0.1 @ best", {"free": D(10)}, "free balance 64.25 $ > 10.00 $, largest that passes 0.0155"),
        ("sell 1 btc-spot @ best", {}, "holding 1 > 0.25, largest that passes 0.25"),
        ("buy 0.1 @ best", {"limits": GuardLimits(hard_exposure=D(9_000))}, "no size passes"),
    ],
)
def test_what_is_refused(line: str, fields: dict[str, object], words: str) -> None:
    staged = stage(line, **fields)
    assert staged.decision.refused
    assert words in plain_text(staged.preview)
    assert not staged.confirm


@pytest.mark.parametrize(
    "fields",
    [{"halted": "panic"}, {"armed_all": False}, {"limits": GuardLimits(hard_order=D(1), max_leverage=D("0.1"))}],
)
def test_reductions_and_cancels_always_pass(fields: dict[str, object]) -> None:
    assert level_of("sell 0.1 @ best reduce", **fields) is Level.L1
    assert level_of("flat btc @ best", **fields) is Level.L1
    assert level_of("x btc", **fields) is Level.L0
    assert level_of("mv #12 0.001", **fields) is Level.L0
    assert level_of("bump #12 +10t", **fields) is Level.L0


def test_an_order_that_fits_into_the_position_counts_as_a_reduction() -> None:
    resting = (order(30, "BTC-USDT-PERP", Side.SELL, "0.05", "64300"),)
    assert level_of("sell 0.12 @ best", armed_all=False, orders=()) is Level.L1
    assert level_of("sell 0.1201 @ best", armed_all=False, orders=()) is Level.L3
    assert level_of("sell 0.07 @ best", armed_all=False, orders=resting) is Level.L1
    assert level_of("sell 0.08 @ best", armed_all=False, orders=resting) is Level.L3
    assert level_of("mv #30 0.1 @ 64290", armed_all=False, orders=resting) is Level.L1
    assert level_of("buy 0.1 @ best", armed_all=False, orders=()) is Level.L3


def test_an_amend_that_comes_nearer_is_judged_like_a_new_order() -> None:
    assert level_of("bump #12 -10t") is Level.L1
    assert level_of("mv #13 0.003") is Level.L1
    assert level_of("bump #12 -10t", armed_all=False) is Level.L1
    assert level_of("bump #13 +10t", armed_all=False) is Level.L3
    assert level_of("mv #12 @ 64249.5") is Level.L3
    staged = stage("mv #13 0.003 @ 64100")
    assert staged.commands == (AmendCommand(ORDERS[1].client_id, "BTC-USDT-PERP", D(64100), D("0.003")),)
    assert stage("mv #13 0.003").commands == (AmendCommand(ORDERS[1].client_id, "BTC-USDT-PERP", None, D("0.003")),)


def test_an_amend_below_what_is_filled_says_to_cancel() -> None:
    partly = order(20, "BTC-USDT-PERP", Side.BUY, "0.01", "64000", filled=D("0.004"))
    with pytest.raises(ResolveError, match=r"already filled 0.004: cancel the rest with x #20"):
        stage("mv #20 0.003", orders=(partly,))


def test_cancel_scopes() -> None:
    def labels(line: str) -> list[int]:
        by_id = {o.client_id: o.label for o in ORDERS}
        return [by_id[c.client_id] for c in stage(line).commands if isinstance(c, CancelCommand)]

    assert labels("x") == [12, 13]
    assert labels("x buys") == [13]
    assert labels("x sells btc") == [12]
    assert labels("x eth") == [14]
    assert labels("x all") == [12, 13, 14]
    assert labels("x last") == [14]
    assert labels("x #14 #12") == [14, 12]


def test_closing_orders_are_exact_and_reduce_only() -> None:
    assert placed("flat btc") == PlaceCommand("BTC-USDT-PERP", Side.SELL, OrderType.MARKET, D("0.12"), None, True)
    assert placed("flat eth @ best post") == PlaceCommand(
        "ETH-USDT-PERP", Side.BUY, OrderType.POST_ONLY, D("0.4"), D("3412.10"), True
    )
    assert placed("rev btc @ best") == PlaceCommand(
        "BTC-USDT-PERP", Side.SELL, OrderType.LIMIT, D("0.24"), D("64249.6"), False
    )
    assert stage("flat all").commands == (FlattenAllCommand(),)


@pytest.mark.parametrize(
    ("line", "closed"),
    [
        ("flat longs", ["BTC"]),
        ("flat shorts", ["ETH"]),
        ("flat winners", ["BTC", "ETH"]),
        ("flat winners shorts", ["ETH"]),
        ("flat all except btc", ["ETH"]),
        ("flat eth+btc", ["ETH", "BTC"]),
        ("flat eth+eth-perp", ["ETH"]),
    ],
)
def test_several_positions_are_chosen_by_what_they_are(line: str, closed: list[str]) -> None:
    staged = stage(line)
    assert [command.symbol for command in staged.commands] == [f"{base}-USDT-PERP" for base in closed]  # type: ignore[union-attr]
    assert all(command.reduce_only for command in staged.commands)  # type: ignore[union-attr]


def test_positions_are_closed_passively_each_on_its_own_side_of_the_mark() -> None:
    commands = stage("flat all @ passive post").commands
    assert [(command.side, command.type, command.price) for command in commands] == [  # type: ignore[union-attr]
        (Side.SELL, OrderType.POST_ONLY, D("64282.2")),
        (Side.BUY, OrderType.POST_ONLY, D("3410.44")),
    ]


def test_a_position_whose_profit_is_not_known_is_neither_in_profit_nor_in_loss() -> None:
    there = desk()
    markets = {
        symbol: replace(market, mark=None) if market.position < 0 else market
        for symbol, market in there.markets.items()
    }
    there = replace(there, markets=markets)
    for line in ("flat winners", "flat losers"):
        with pytest.raises(
            ResolveError, match="the profit of ETH-PERP is not known: leave it out with except eth-perp"
        ):
            resolve(parse(line), there)
    assert [command.symbol for command in resolve(parse("flat winners except eth-perp"), there).commands] == [
        "BTC-USDT-PERP"
    ]


@pytest.mark.parametrize("line", ["flat btc-spot", "sell 100%bal btc-spot @ best", "sell 0.3 btc-spot @ best reduce"])
def test_closing_spot_leaves_what_is_less_than_a_lot(line: str) -> None:
    held = replace(desk().markets["BTC-USDT"], position=D("0.249750034"))
    assert placed(line, markets={**desk().markets, "BTC-USDT": held}).quantity == D("0.24975")


def test_a_target_keeps_its_words_for_the_engine() -> None:
    assert stage("target -500$ eth soft").commands == (TargetCommand("ETH-USDT-PERP", D(-500), True),)
    assert level_of("target 0 btc soft", armed_all=False) is Level.L1
    assert level_of("target -500$ btc soft", armed_all=False) is Level.L3


def test_the_largest_that_passes_does_pass() -> None:
    limits = GuardLimits(hard_order=D(30_000), hard_exposure=D(50_000), max_leverage=D(3))
    for line in ("buy $max @ best post", "sell $max @ best post", "sell $max eth @ best post"):
        fits = stage(line, limits=limits)
        assert not fits.decision.refused
        (command,) = fits.commands
        assert isinstance(command, PlaceCommand)
        lot = desk().markets[command.symbol].instrument.lot_size
        over = PlaceOrder(
            command.side, Size(command.quantity + lot), AbsolutePrice(command.price or D(1)), command.symbol.lower()
        )
        assert resolve(over, desk(limits=limits)).decision.refused


@given(
    st.sampled_from(list(Side)),
    st.decimals(min_value="0.0001", max_value="100", places=8),
    st.decimals(min_value="1000", max_value="200000", places=6),
    st.booleans(),
)
def test_rounding_is_always_towards_less_risk(side: Side, size: Decimal, price: Decimal, reduce: bool) -> None:
    intent = PlaceOrder(side, Size(size), AbsolutePrice(price), "btc", Flags(reduce=reduce))
    try:
        staged = resolve(intent, desk())
    except CtosError:
        return
    (command,) = staged.commands
    assert isinstance(command, PlaceCommand) and command.price is not None
    assert command.quantity <= size
    assert command.quantity % BTC.instrument.lot_size == 0
    assert (price - command.price) * side.sign >= 0
    assert abs(price - command.price) < BTC.instrument.tick_size
    changed = command.quantity != size or command.price != price
    assert ("→" in plain_text(staged.preview).split(" $ ")[0]) == changed


def test_spans_carry_roles_that_every_theme_has() -> None:
    lines = ("buy 0.5 @ best post", "buy 0.1 @ mkt", "buy 5 @ best", "flat all", "x", "bump #12 -3t", "target 0 btc")
    roles = {role for line in lines for _, role in stage(line).preview}
    assert roles <= set(load_theme("ctos-dark").styles)

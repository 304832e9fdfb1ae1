from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctos_tui.command.explain import caret_line, explain, explain_spans
from ctos_tui.command.grammar import clean_paste, parse
from ctos_tui.command.intents import (
    Arm,
    BumpOrder,
    CancelOrders,
    CancelScope,
    Disarm,
    Flatten,
    GoTo,
    HaltPolicy,
    HaltStrategy,
    Help,
    Holding,
    MoveOrder,
    Panic,
    PauseStrategy,
    PlaceOrder,
    Quit,
    Rearm,
    RebaseStrategy,
    ResumeStrategy,
    Reverse,
    RunStrategy,
    SetParams,
    SetTheme,
    ShowChart,
    SwitchAccount,
    Target,
    Watch,
    needs_guard,
)
from ctos_tui.command.terms import (
    AbsolutePrice,
    Flags,
    MarketPrice,
    Offset,
    OffsetUnit,
    Ref,
    ReferencePrice,
    Size,
    SizeUnit,
)
from ctos_tui.command.verbs import BY_NAME, LATER, VERBS
from ctos_tui.command.words import GrammarError
from engine.kernel.market import TIMEFRAME_MS
from engine.kernel.orders import Side

D = Decimal


def best(value: str = "", unit: OffsetUnit = OffsetUnit.PRICE) -> ReferencePrice:
    return ReferencePrice(Ref.BEST, Offset(D(value), unit) if value else None)


GOOD = {
    "buy 0.5 @ -10": PlaceOrder(Side.BUY, Size(D("0.5")), best("-10")),
    "b 0.5 @ 64200": PlaceOrder(Side.BUY, Size(D("0.5")), AbsolutePrice(D(64200))),
    "BUY 0.5 BTC AT 64,200.5": PlaceOrder(Side.BUY, Size(D("0.5")), AbsolutePrice(D("64200.5")), "btc"),
    "buy 0.5@64200post": None,
    "buy 0.5 btc @64000 post": PlaceOrder(Side.BUY, Size(D("0.5")), AbsolutePrice(D(64000)), "btc", Flags(post=True)),
    "sell ETH-PERP 1.2 @ ask+2t po": PlaceOrder(
        Side.SELL,
        Size(D("1.2")),
        ReferencePrice(Ref.ASK, Offset(D(2), OffsetUnit.TICKS)),
        "eth-perp",
        Flags(post=True),
    ),
    "buy 5k$ btc @ mid-0.05%": PlaceOrder(
        Side.BUY,
        Size(D(5000), SizeUnit.QUOTE),
        ReferencePrice(Ref.MID, Offset(D("-0.05"), OffsetUnit.PERCENT)),
        "btc",
    ),
    "sell 500$ eth @ best -3t": PlaceOrder(
        Side.SELL, Size(D(500), SizeUnit.QUOTE), best("-3", OffsetUnit.TICKS), "eth"
    ),
    "buy 25%bal @ mid": PlaceOrder(Side.BUY, Size(D(25), SizeUnit.BALANCE), ReferencePrice(Ref.MID)),
    "sell 50%pos @ mkt reduce": PlaceOrder(
        Side.SELL, Size(D(50), SizeUnit.POSITION), MarketPrice(), None, Flags(reduce=True)
    ),
    "sell 3c @ opp ioc": PlaceOrder(
        Side.SELL, Size(D(3), SizeUnit.CONTRACTS), ReferencePrice(Ref.OPP), None, Flags(ioc=True)
    ),
    "buy $pos @ entry": PlaceOrder(Side.BUY, Size(D(100), SizeUnit.POSITION), ReferencePrice(Ref.ENTRY)),
    "buy $half @ mark": PlaceOrder(Side.BUY, Size(D(50), SizeUnit.POSITION), ReferencePrice(Ref.MARK)),
    "buy $max @ last fok": PlaceOrder(
        Side.BUY, Size(D(1), SizeUnit.LARGEST), ReferencePrice(Ref.LAST), None, Flags(fok=True)
    ),
    "buy 1000 1000pepe @ best soft": PlaceOrder(Side.BUY, Size(D(1000)), best(), "1000pepe", Flags(soft=True)),
    "buy 1 1inch-usdt @ bid": PlaceOrder(Side.BUY, Size(D(1)), ReferencePrice(Ref.BID), "1inch-usdt"),
    "target 1000$ btc": Target(D(1000), "btc"),
    "target btc -2k$ soft": Target(D(-2000), "btc", True),
    "target 0": Target(D(0)),
    "flat": Flatten(),
    "flat btc": Flatten("btc"),
    "flat all": Flatten(everything=True),
    "flat btc+eth-usdt": Flatten("btc+eth-usdt"),
    "flat LONGS losers except btc+1000pepe 50%pos @ passive post": Flatten(
        None,
        True,
        D(50),
        ReferencePrice(Ref.PASSIVE),
        Flags(post=True),
        (Holding.LONGS, Holding.LOSERS),
        ("btc", "1000pepe"),
    ),
    "flat all winners": Flatten(None, True, holdings=(Holding.WINNERS,)),
    "flat except eth": Flatten(None, True, ignored=("eth",)),
    "buy 0.5 @ passive": PlaceOrder(Side.BUY, Size(D("0.5")), ReferencePrice(Ref.PASSIVE)),
    "close btc 50%pos @ best post": Flatten("btc", False, D(50), best(), Flags(post=True)),
    "rev btc @ best": Reverse(best(), "btc"),
    "x": CancelOrders(),
    "x all": CancelOrders((), CancelScope.ALL),
    "x buys eth": CancelOrders((), CancelScope.BUYS, "eth"),
    "cancel btc": CancelOrders((), CancelScope.MARKET, "btc"),
    "x #12 #A4": CancelOrders(("12", "a4")),
    "x last": CancelOrders((), CancelScope.LAST),
    "mv #12 0.02 @ 64100": MoveOrder("12", Size(D("0.02")), AbsolutePrice(D(64100))),
    "mv #12 @ best": MoveOrder("12", None, best()),
    "mv #12 300$": MoveOrder("12", Size(D(300), SizeUnit.QUOTE)),
    "bump #12 -3t": BumpOrder("12", Offset(D(-3), OffsetUnit.TICKS)),
    "bump #12 +0.1%": BumpOrder("12", Offset(D("0.1"), OffsetUnit.PERCENT)),
    "run dyn_grid btc base_amount=20 as g1": RunStrategy("dyn_grid", "btc", (("base_amount", "20"),), "g1"),
    "run mean_reversion": RunStrategy("mean_reversion"),
    "run dyn_grid BTC+eth-usdt risk.max_order_usd=50": RunStrategy(
        "dyn_grid", "btc+eth-usdt", (("risk.max_order_usd", "50"),)
    ),
    "run dyn_grid all as g2": RunStrategy("dyn_grid", "all", (), "g2"),
    "pause g1": PauseStrategy("g1"),
    "resume g1": ResumeStrategy("g1"),
    "set g1 sell_grid_step=1.02 buy_grid_step=0.98": SetParams(
        "g1", (("sell_grid_step", "1.02"), ("buy_grid_step", "0.98"))
    ),
    "rebase g1": RebaseStrategy("g1"),
    "halt g1": HaltStrategy("g1"),
    "halt g1 flat": HaltStrategy("g1", HaltPolicy.FLAT),
    "arm": Arm(),
    "arm btc for 30m": Arm("btc", False, 1800),
    "arm all for 90s": Arm(None, True, 90),
    "disarm": Disarm(),
    "panic": Panic(),
    "rearm main positions checked; all is well @ home": Rearm("main", "positions checked; all is well @ home"),
    "go eth-usdt": GoTo("eth-usdt"),
    "chart 15m": ShowChart("15m"),
    "chart btc 1h": ShowChart("1h", "btc"),
    "watch sol": Watch("sol"),
    "unwatch sol": Watch("sol", on=False),
    "account 1": SwitchAccount("1"),
    "theme ctos-light": SetTheme("ctos-light"),
    "help grid": Help("grid"),
    "help": Help(),
    "quit": Quit(),
}

BAD = {
    # line: (the text under the caret, a part of the message, the suggestion)
    "buy 0,5 @ best": ("0,5", "thousands", "buy 0.5 @ best"),
    "buy 0,500 @ best": ("0,500", "thousands", "buy 0.500 @ best"),
    "buy 1,00,000 @ best": ("1,00,000", "groups of three", "buy 100000 @ best"),
    "buy 1e3 @ best": ("1e3", "exponents", ""),
    "buy nan @ best": ("@", "size is missing", None),
    "buy inf @ best": ("@", "size is missing", None),
    "buy ٣ @ best": ("٣", "plain digits", ""),
    "buy １ @ best": ("１", "plain digits", ""),
    "buy 0.5 @ best; flat all": (";", "not available yet", "buy 0.5 @ best"),
    "buy 64000": ("", "no price", None),
    "buy 0.5 btc": ("", "no price", "buy 0.5 btc @ best"),
    "buy 0.5 64000": ("64000", "no price", "buy 0.5 @ 64000"),
    "buy -1 @ 64000": ("-1", "no sign", "buy 1 @ 64000"),
    "buy 10% @ best": ("10%", "ambiguous", "buy 10%bal @ best"),
    "buy 120%bal @ best": ("120%bal", "100 %", "buy 100%bal @ best"),
    "buy 5k @ best": ("5k", "needs a $", "buy 5k$ @ best"),
    "buy 0 @ best": ("0", "more than 0", ""),
    "buy 0.5 @": ("", "a price is missing", "buy 0.5 @ best"),
    "buy 0.5 @ 64000%": ("64000%", "no unit", "buy 0.5 @ 64000"),
    "buy 0.5 @ 0": ("0", "more than 0", ""),
    "buy 0.5 @ mkt post": ("post", "contradict", "buy 0.5 @ mkt"),
    "buy 0.5 @ mkt ioc": ("ioc", "contradict", "buy 0.5 @ mkt"),
    "buy 0.5 @ best post ioc": ("ioc", "contradict", ""),
    "buy 0.5 @ 64000 soft": ("soft", "follows the touch", "... @ best soft"),
    "buy 0.5 @ best best": ("best", "flags are", "buy 0.5 @ best"),
    "buy 0.5 @ best post post": ("post", "twice", ""),
    "buy 0.5 @ 64,000 foo": ("foo", "did not understand 'foo'", "buy 0.5 foo @ 64,000"),
    "buy 0.5 @ 64000 btc": ("btc", "before the @", "buy 0.5 btc @ 64000"),
    "buy 0.5 @ best -1.5t": ("-1.5t", "ticks are whole", ""),
    "buy 0.5 @ best - 10": ("-", "not a number", None),
    "buy 0.5 @ best −10": ("−10", "typographic minus", None),
    "buy 0.5 @ best 10": ("10", "needs its sign", "buy 0.5 @ best -10"),
    "buy 0.5 @ best -100%": ("-100%", "no price", ""),
    "buy 0.5 @ best tp:+1%": ("tp:+1%", "not available yet", "buy 0.5 @ best"),
    "buy 0.5 post @ best": ("post", "after the price", None),
    "buy 0.5 btc eth @ best": ("eth", "second market", ""),
    "buy 0.5btc @ best": ("0.5btc", "apart", "buy 0.5 btc @ best"),
    "buy 100usd @ best": ("100usd", "$", "buy 100$ @ best"),
    "buy $500 @ best": ("$500", "after the number", "buy 500$ @ best"),
    "buy .5 @ best": (".5", "before the point", "buy 0.5 @ best"),
    "buy 5. @ best": ("5.", "not a number", None),
    "buy 1234567890123456 @ best": ("1234567890123456", "15 digits", ""),
    "sell 0.5s @ best": ("0.5s", "not a unit of size", "sell 0.5 @ best"),
    "target 0.5 btc": ("0.5", "amount of quote", "target 0.5$ btc"),
    "target 500$ @ 64000": ("@", "no price", "target 500$ soft"),
    "flat longs shorts": ("shorts", "close nothing", "flat all"),
    "flat longs longs": ("longs", "close nothing", "flat all"),
    "flat btc longs": ("longs", "did not understand", None),
    "flat longs btc": ("btc", "a second market", None),
    "flat btc eth": ("eth", "a second market", "flat btc+eth"),
    "flat btc except eth": ("except", "needs no except", None),
    "flat all except": ("", "is missing", "flat all except btc"),
    "flat all except longs": ("longs", "not a market", "flat all except btc+eth"),
    "flat btc+": ("btc+", "did not understand", None),
    "flat all @ 64200": ("64200", "no price in common", "flat all @ passive"),
    "flat btc+eth @ 64200 post": ("64200", "no price in common", "flat btc+eth @ passive post"),
    "flat btc 0.5 @ best": ("0.5", "share of the position", "flat btc 50%pos @ best"),
    "rev btc": ("", "no price", "rev btc @ best"),
    "rev btc @ best reduce": ("reduce", "cannot be reduce-only", "flat btc"),
    "mv 3 @ 64100": ("3", "order number", "mv #3 @ 64100"),
    "mv #3": ("", "what changes", "mv #3 @ best"),
    "mv #3 @ mkt": ("mkt", "cannot be moved", "x #3"),
    "x 12": ("12", "order number", "x #12"),
    "x #12 btc": ("btc", "did not understand", "x #12"),
    "x all btc": ("all", "contradict", "x btc"),
    "bump #3 2t": ("2t", "needs its sign", "bump #3 -2t"),
    "set g1": ("", "what changes", ""),
    "set g1 a=1 a=2": ("a=2", "twice", ""),
    "run dyn_grid btc base amount=3": ("base", "name=value", ""),
    "halt g1 maybe": ("maybe", "cancel, keep or flat", "halt g1 cancel"),
    "arm for 30": ("30", "not a time", "arm for 30m"),
    "arm for 48h": ("48h", "longer than a day", "arm for 24h"),
    "rearm main": ("", "a reason is missing", None),
    "chart 7m": ("7m", "not a timeframe", None),
    "go": ("", "a symbol is missing", "go btc"),
    "go best": ("best", "word of the prompt", "go best-usdt"),
    "btc chart 1h": ("btc", "verb stands first", "chart btc 1h"),
    "bui 1 @ best": ("bui", "unknown command", "buy 1 @ best"),
    "panic now": ("now", "did not understand", "panic"),
    "scale buy 3 from 63000 to 64000": ("scale", "not available yet", ""),
    "stop sell 1 if 63000": ("stop", "not available yet", ""),
    "twap buy 1 in 5": ("twap", "not available yet", ""),
    "buy 1 @ best\nsell 1 @ best": ("\n", "invisible", None),
    "buy 1\u00a0000 @ best": ("\u00a0", "invisible", None),
    "buy 1 \u202e@ best": ("\u202e", "invisible", None),
    "buy 1 @ best\x1b[A": ("\x1b", "invisible", None),
}


@pytest.mark.parametrize(("line", "intent"), [(line, intent) for line, intent in GOOD.items() if intent])
def test_a_line_means_its_intent(line: str, intent: object) -> None:
    assert parse(line) == intent
    assert parse(str(parse(line))) == intent


@pytest.mark.parametrize("line", BAD)
def test_a_risky_line_is_refused_at_the_wrong_word(line: str) -> None:
    marked, message, suggestion = BAD[line]
    with pytest.raises(GrammarError) as caught:
        parse(line)
    error = caught.value
    assert line[error.start : error.end] == marked
    assert message in error.message
    if suggestion is not None:
        assert error.suggestion == suggestion
    shown = explain(error).splitlines()
    assert shown[1] == caret_line(error)
    assert all(part.isprintable() for part in shown)
    assert "".join(text for text, _ in explain_spans(error)).isprintable()


@pytest.mark.parametrize("line", [line for line, (_, _, suggestion) in BAD.items() if suggestion])
def test_a_suggested_line_is_one_that_parses(line: str) -> None:
    suggestion = BAD[line][2]
    if suggestion and not suggestion.startswith("..."):
        parse(suggestion)


@pytest.mark.parametrize(
    ("lines", "guarded"),
    [
        (("buy 1 @ best", "flat all", "rev @ best", "target 0", "bump #1 -1t", "arm all", "run dyn_grid btc"), True),
        (("x all", "panic", "disarm", "halt g1", "pause g1", "go btc"), False),
    ],
)
def test_only_what_may_add_exposure_is_guarded(lines: tuple[str, ...], guarded: bool) -> None:
    assert [needs_guard(parse(line)) for line in lines] == [guarded] * len(lines)


def test_flags_glued_to_a_price_are_refused() -> None:
    with pytest.raises(GrammarError):
        parse("buy 0.5@64200post")


@pytest.mark.parametrize("verb", sorted(LATER))
def test_a_verb_that_will_come_says_so(verb: str) -> None:
    with pytest.raises(GrammarError, match="not available yet"):
        parse(f"{verb} buy 1")


def test_every_verb_has_help_and_a_reader() -> None:
    for verb in VERBS:
        assert verb.help
        assert verb.usage.startswith(verb.name)
        try:
            parse(verb.name)
        except GrammarError as error:
            assert "unknown" not in error.message


def test_a_paste_becomes_one_line_that_cannot_send() -> None:
    pasted = clean_paste("buy 1 @ best\r\nsell 1 @ best\x1b[31m\n")
    assert "\n" not in pasted and "\r" not in pasted and "\x1b" not in pasted
    with pytest.raises(GrammarError):
        parse(pasted)
    assert clean_paste("buy 1 btc @ best\n") == "buy 1 btc @ best"


numbers = st.decimals(min_value="0.000001", max_value="999999999", places=6, allow_nan=False)
whole = st.integers(min_value=1, max_value=100_000).map(Decimal)
shares = st.decimals(min_value="0.1", max_value="100", places=1)
symbols = st.none() | st.sampled_from(["btc", "eth-usdt", "1000pepe", "sol-usdc-perp", "1inch"])
names = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,10}\Z").filter(lambda name: name != "as")
order_ids = st.from_regex(r"\A[a-z0-9]{1,8}\Z")
params = st.dictionaries(
    st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}\Z"),
    st.from_regex(r"\A[A-Za-z0-9.,:_-]{1,8}\Z"),
    min_size=1,
    max_size=3,
).map(lambda pairs: tuple(pairs.items()))
plain_sizes = st.builds(Size, numbers, st.sampled_from([SizeUnit.BASE, SizeUnit.QUOTE, SizeUnit.CONTRACTS]))
sizes = (
    plain_sizes
    | st.builds(Size, shares, st.sampled_from([SizeUnit.POSITION, SizeUnit.BALANCE]))
    | st.just(Size(D(1), SizeUnit.LARGEST))
)
signs = st.sampled_from([1, -1])
offsets = (
    st.builds(lambda x, s: Offset(x * s), numbers, signs)
    | st.builds(lambda x, s: Offset(x * s, OffsetUnit.TICKS), whole, signs)
    | st.builds(
        lambda x, s: Offset(x * s, OffsetUnit.PERCENT),
        st.decimals(min_value="0.01", max_value="99", places=2),
        signs,
    )
)
resting_prices = st.builds(AbsolutePrice, numbers) | st.builds(
    ReferencePrice, st.sampled_from(Ref), st.none() | offsets
)
resting_flags = st.builds(
    lambda behaviour, reduce: Flags(reduce=reduce, **({behaviour: True} if behaviour else {})),
    st.sampled_from(["", "post", "ioc", "fok"]),
    st.booleans(),
)
priced = (
    st.tuples(resting_prices, resting_flags)
    | st.tuples(st.just(MarketPrice()), st.builds(Flags, reduce=st.booleans()))
    | st.tuples(st.just(best()), st.builds(Flags, reduce=st.booleans(), soft=st.just(True)))
)


def without_reduce(flags: Flags) -> Flags:
    return Flags(flags.post, False, flags.ioc, flags.fok, flags.soft)


intents = st.one_of(
    st.builds(
        lambda side, size, symbol, pair: PlaceOrder(side, size, pair[0], symbol, pair[1]),
        st.sampled_from(Side),
        sizes,
        symbols,
        priced,
    ),
    st.builds(lambda symbol, pair: Reverse(pair[0], symbol, without_reduce(pair[1])), symbols, priced),
    st.builds(
        lambda symbol, share, pair: Flatten(symbol, False, share, pair[0], without_reduce(pair[1])),
        symbols,
        shares,
        priced,
    ),
    st.builds(
        lambda share, pair, holdings, ignored: Flatten(
            None, True, share, pair[0], without_reduce(pair[1]), holdings, ignored
        ),
        shares,
        priced.filter(lambda pair: not isinstance(pair[0], AbsolutePrice)),
        st.sampled_from([(), (Holding.LONGS,), (Holding.SHORTS, Holding.WINNERS), (Holding.LOSERS, Holding.LONGS)]),
        st.lists(symbols.filter(bool), max_size=3, unique=True).map(tuple),
    ),
    st.builds(Target, st.builds(lambda x, s: x * s, numbers, signs), symbols, st.booleans()),
    st.builds(MoveOrder, order_ids, plain_sizes, st.none() | resting_prices),
    st.builds(BumpOrder, order_ids, offsets),
    st.lists(order_ids, min_size=1, max_size=4, unique=True).map(lambda ids: CancelOrders(tuple(ids))),
    st.builds(
        lambda scope, symbol: CancelOrders((), scope, symbol),
        st.sampled_from([CancelScope.MARKET, CancelScope.BUYS, CancelScope.SELLS]),
        symbols,
    ),
    st.builds(RunStrategy, names, symbols, params, st.none() | names),
    st.builds(SetParams, names, params),
    st.builds(HaltStrategy, names, st.none() | st.sampled_from(HaltPolicy)),
    st.builds(lambda symbol, seconds: Arm(symbol, False, seconds), symbols, st.none() | st.integers(1, 86_400)),
    st.builds(Rearm, names, st.from_regex(r"\A[a-zé;@#]+( [a-z]+){0,4}\Z")),
    st.builds(ShowChart, st.sampled_from(sorted(TIMEFRAME_MS)), symbols),
)


@given(intents)
def test_the_line_of_an_intent_means_that_intent(intent: object) -> None:
    assert parse(str(intent)) == intent


FRAGMENTS = "btc #1 @ best -10 0.5 5k$ 25%bal mkt soft post all a=1 as for 30m 0,5 1e3 $pos 15m ; ٣ - + $ # = %"
words = st.sampled_from([*BY_NAME, *LATER, *FRAGMENTS.split()])


@given(st.lists(words | st.text(max_size=6), max_size=8).map(" ".join) | st.text(max_size=60))
@example("")
@example(" ")
@example("@")
@example("buy @ @")
@example("x" * 5000)
def test_nothing_typed_raises_anything_but_a_grammar_error(line: str) -> None:
    try:
        intent = parse(line)
    except GrammarError as error:
        assert error.message
        assert 0 <= error.start < error.end
        assert explain(error)
        return
    assert parse(str(intent)) == intent
    if isinstance(intent, PlaceOrder | Reverse):
        assert "@" in line or " at " in line.lower()
    if isinstance(intent, PlaceOrder) and isinstance(intent.price, MarketPrice):
        assert "mkt" in line.lower()


@given(st.integers(1, 10**9), st.integers(0, 999))
def test_thousands_separators_never_change_a_magnitude(number: int, fraction: int) -> None:
    plain, grouped = f"{number}.{fraction:03d}", f"{number:,}.{fraction:03d}"
    assert parse(f"buy {grouped} @ {grouped}") == parse(f"buy {plain} @ {plain}")


@given(st.from_regex(r"\A[0-9,.]{1,12}\Z"))
def test_an_accepted_number_has_the_magnitude_that_is_read_left_to_right(text: str) -> None:
    try:
        intent = parse(f"buy {text} @ best")
    except GrammarError:
        return
    assert isinstance(intent, PlaceOrder)
    assert intent.size.value == Decimal(text.replace(",", ""))
    head, *groups = text.split(".")[0].split(",")
    assert all(len(group) == 3 for group in groups) and (not groups or not head.startswith("0"))

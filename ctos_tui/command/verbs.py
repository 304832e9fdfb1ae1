"""The verbs of the prompt: one table for the parser, completion and help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its shape, what it does and what else it is called."""

    name: str
    usage: str
    help: str
    aliases: tuple[str, ...] = ()


VERBS: Final[tuple[Verb, ...]] = (
    Verb("buy", "buy SIZE [SYMBOL] @ PRICE [post reduce ioc fok soft]", "stage a buy", ("b",)),
    Verb("sell", "sell SIZE [SYMBOL] @ PRICE [post reduce ioc fok soft]", "stage a sell", ("s",)),
    Verb("target", "target AMOUNT$ [SYMBOL] [soft]", "bring the position to an amount, negative for short"),
    Verb(
        "flat",
        "flat [SYMBOL|all|longs|losers ...] [except SYMBOL] [N%pos] [@ PRICE]",
        "close positions, reduce-only",
        ("close",),
    ),
    Verb("rev", "rev [SYMBOL] @ PRICE", "turn the position round"),
    Verb("x", "x [#ID ...|SYMBOL|all|buys|sells|last]", "cancel orders", ("cancel",)),
    Verb("mv", "mv #ID [SIZE] [@ PRICE]", "change an order", ("move",)),
    Verb("bump", "bump #ID -3t", "shift an order's price"),
    Verb("run", "run STRATEGY [SYMBOL[+SYMBOL]] [NAME=VALUE ...] [as ID]", "launch a strategy"),
    Verb("pause", "pause ID", "let a strategy make no new exposure"),
    Verb("resume", "resume ID", "let a strategy go on"),
    Verb("set", "set ID NAME=VALUE ...", "amend a strategy"),
    Verb("rebase", "rebase ID", "start a frozen grid again from the price of now"),
    Verb("halt", "halt ID [cancel|keep|flat]", "stop a strategy"),
    Verb("arm", "arm [SYMBOL|all] [for 30m]", "let orders pass"),
    Verb("disarm", "disarm", "let no new order pass"),
    Verb("panic", "panic", "halt everything and cancel what rests, at once"),
    Verb("rearm", "rearm ACCOUNT REASON", "release a halt"),
    Verb("go", "go SYMBOL", "show a market in every pane"),
    Verb("chart", "chart [SYMBOL] TIMEFRAME", "change the chart"),
    Verb("watch", "watch SYMBOL", "put a market on the watch list"),
    Verb("unwatch", "unwatch SYMBOL", "take a market off the watch list"),
    Verb("account", "account NUMBER|NAME", "switch the account"),
    Verb("theme", "theme NAME", "change the colours"),
    Verb("help", "help [WORD]", "show help", ("?",)),
    Verb("detach", "detach", "leave the screen; the engine goes on until ctos-tui attach"),
    Verb("quit", "quit", "leave the console", ("exit",)),
)

BY_NAME: Final[dict[str, Verb]] = {name: verb for verb in VERBS for name in (verb.name, *verb.aliases)}

LATER: Final[dict[str, str]] = {
    "scale": "place the orders one by one with buy and sell",
    "chase": "use a soft order: buy 0.5 @ best soft",
    "twap": "use buy and sell, or a strategy",
    "ice": "place smaller orders with buy and sell",
    "stop": "watch the price and use flat",
    "alias": "type the whole line; history keeps it",
}
"""Verbs that will come, and what to do until then."""

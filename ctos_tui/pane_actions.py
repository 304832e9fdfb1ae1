"""What can be done in each pane."""

from __future__ import annotations

from typing import Final

from ctos_tui.action import ROW_PANES, Action
from ctos_tui.guard.levels import Level

_LADDER: Final = (
    Action("ladder.up", "price up", "Move the price cursor up one row.", ("up",), ("ladder",)),
    Action("ladder.down", "price down", "Move the price cursor down one row.", ("down",), ("ladder",)),
    Action("ladder.page_up", "up 10", "Move the price cursor up ten rows.", ("pageup",), ("ladder",)),
    Action("ladder.page_down", "down 10", "Move the price cursor down ten rows.", ("pagedown",), ("ladder",)),
    Action(
        "ladder.buy",
        "buy here",
        "Stage a buy at the cursor's price.",
        ("b",),
        ("ladder",),
        level=Level.L1,
        palette="Stage a buy at the cursor",
        needs_guard=True,
    ),
    Action(
        "ladder.sell",
        "sell here",
        "Stage a sell at the cursor's price.",
        ("s",),
        ("ladder",),
        level=Level.L1,
        palette="Stage a sell at the cursor",
        needs_guard=True,
    ),
    Action(
        "ladder.join_bid",
        "join bid",
        "Stage a buy that joins the best bid and follows it while staged.",
        ("B",),
        ("ladder",),
        level=Level.L1,
        palette="Stage a buy at the best bid",
        needs_guard=True,
    ),
    Action(
        "ladder.join_ask",
        "join ask",
        "Stage a sell that joins the best ask and follows it while staged.",
        ("S",),
        ("ladder",),
        level=Level.L1,
        palette="Stage a sell at the best ask",
        needs_guard=True,
    ),
    Action("ladder.size_up", "size up", "Next larger size preset.", ("plus",), ("ladder",), palette="Larger size"),
    Action(
        "ladder.size_down",
        "size down",
        "Next smaller size preset.",
        ("minus",),
        ("ladder",),
        palette="Smaller size",
    ),
    Action(
        "ladder.size",
        "size",
        "Type a size: digits, then Enter.",
        ("number_sign",),
        ("ladder",),
        palette="Type a size",
    ),
    Action(
        "ladder.cancel",
        "cancel here",
        "Cancel own orders at the cursor's price.",
        ("x",),
        ("ladder",),
        level=Level.L0,
        palette="Cancel own orders at the cursor",
    ),
    Action(
        "ladder.move",
        "move order",
        "Pick up the own order at the cursor; arrows move it, Enter sends.",
        ("m",),
        ("ladder",),
        level=Level.L1,
        palette="Move the order at the cursor",
        needs_guard=True,
    ),
    Action(
        "ladder.center",
        "centre",
        "Centre the ladder on the market.",
        ("c",),
        ("ladder",),
        palette="Centre the ladder",
    ),
    Action(
        "ladder.best",
        "best",
        "Put the price cursor on the best price.",
        ("g",),
        ("ladder",),
        palette="Cursor to best",
    ),
)

_CHART: Final = (
    Action(
        "chart.shorter",
        "shorter",
        "Shorter timeframe.",
        ("left_square_bracket",),
        ("chart",),
        palette="Shorter timeframe",
    ),
    Action(
        "chart.longer",
        "longer",
        "Longer timeframe.",
        ("right_square_bracket",),
        ("chart",),
        palette="Longer timeframe",
    ),
    Action("chart.zoom_in", "zoom in", "Fewer, wider candles.", ("plus",), ("chart",), palette="Chart: zoom in"),
    Action(
        "chart.zoom_out",
        "zoom out",
        "More, narrower candles.",
        ("minus",),
        ("chart",),
        palette="Chart: zoom out",
    ),
    Action(
        "chart.indicators",
        "indicators",
        "Next set of indicators.",
        ("i",),
        ("chart",),
        palette="Chart: indicators",
    ),
)

_MARKETS: Final = (
    Action(
        "markets.show",
        "show",
        "Show the market in every pane.",
        ("enter",),
        ("markets",),
        palette="Show the selected market",
    ),
    Action(
        "markets.buy",
        "buy",
        "Stage a buy at the market's best bid.",
        ("b",),
        ("markets",),
        level=Level.L1,
        needs_guard=True,
    ),
    Action(
        "markets.sell",
        "sell",
        "Stage a sell at the market's best ask.",
        ("s",),
        ("markets",),
        level=Level.L1,
        needs_guard=True,
    ),
    Action(
        "markets.filter",
        "filter",
        "Show only markets whose name holds what you type.",
        ("slash",),
        ("markets",),
    ),
    Action(
        "markets.sort",
        "sort",
        "Sort by the next column.",
        ("v",),
        ("markets",),
        palette="Markets: sort by the next column",
    ),
    Action(
        "markets.reverse",
        "reverse",
        "Turn the sort order round.",
        ("V",),
        ("markets",),
        palette="Markets: reverse order",
    ),
    Action(
        "markets.add",
        "add",
        "Add a market to the watch list.",
        ("a",),
        ("markets",),
        palette="Watch a market",
    ),
    Action("markets.remove", "remove", "Take the market off the watch list.", ("d",), ("markets",)),
)

_TRADES: Final = (
    Action(
        "trades.minimum",
        "minimum",
        "Show only prints of at least a size.",
        ("slash",),
        ("trades",),
        palette="Tape: least size",
    ),
)

_POSITIONS: Final = (
    Action(
        "positions.flatten",
        "flatten",
        "Stage an order that closes the position.",
        ("f",),
        ("positions",),
        level=Level.L2,
        palette="Flatten the selected position",
        needs_guard=True,
    ),
    Action(
        "positions.reverse",
        "reverse",
        "Stage an order that turns the position round.",
        ("r",),
        ("positions",),
        level=Level.L2,
        palette="Reverse the selected position",
        needs_guard=True,
    ),
    Action("positions.go", "go", "Show the position's market in every pane.", ("g", "enter"), ("positions",)),
)

_ORDERS: Final = (
    Action(
        "orders.amend",
        "amend",
        "Change price or size of the order.",
        ("m",),
        ("orders",),
        level=Level.L1,
        palette="Amend the selected order",
        needs_guard=True,
    ),
    Action(
        "orders.cancel",
        "cancel",
        "Cancel the order.",
        ("x",),
        ("orders",),
        level=Level.L0,
        palette="Cancel the selected order",
    ),
    Action(
        "orders.cancel_market",
        "cancel market",
        "Cancel all own orders of the market.",
        ("X",),
        ("orders", "ladder"),
        level=Level.L0,
        palette="Cancel all orders of the market",
    ),
    Action(
        "orders.life",
        "life",
        "Show the life of the order, event by event.",
        ("enter",),
        ("orders", "fills", "history"),
    ),
)

_STRATEGIES: Final = (
    Action(
        "strategies.new",
        "new",
        "Pick a strategy, read what it does, set its parameters and launch it.",
        ("n",),
        ("strategies",),
        level=Level.L1,
        palette="Launch a strategy",
    ),
    Action(
        "strategies.pause",
        "pause/resume",
        "Pause the strategy, or let it go on.",
        ("p",),
        ("strategies",),
        level=Level.L0,
        palette="Pause or resume the selected strategy",
    ),
    Action(
        "strategies.amend",
        "amend",
        "Change parameters; the change is shown as old and new before it is sent.",
        ("a",),
        ("strategies",),
        level=Level.L1,
        palette="Amend the selected strategy",
    ),
    Action(
        "strategies.stop",
        "stop",
        "Stop the strategy; asks what happens to its orders and position.",
        ("t",),
        ("strategies",),
        level=Level.L1,
        palette="Stop the selected strategy",
    ),
    Action("strategies.open", "open", "Show its log, ledger and fills.", ("enter",), ("strategies",)),
)

_ANOMALIES: Final = (
    Action("anomalies.open", "open", "Show the anomaly in full.", ("enter",), ("anomalies",)),
    Action(
        "anomalies.acknowledge",
        "acknowledge",
        "Mark the anomaly as seen.",
        ("k",),
        ("anomalies",),
        palette="Acknowledge the anomaly",
    ),
    Action(
        "anomalies.mute",
        "mute",
        "Keep this kind quiet on this market or strategy for a time you type; what it blocks stays blocked.",
        ("u",),
        ("anomalies",),
        palette="Mute the anomaly",
    ),
    Action(
        "anomalies.decide",
        "decide",
        "Decide what only a person can: book the venue's quantity, explain money, let corrections go on. Asks why.",
        ("e",),
        ("anomalies",),
        palette="Decide about the anomaly",
    ),
    Action("anomalies.go", "go", "Show the anomaly's market in every pane.", ("g",), ("anomalies",)),
)

_LOG: Final = (
    Action(
        "log.filter",
        "filter",
        "Show only lines that hold what you type.",
        ("slash",),
        ("log",),
        palette="Filter the log",
    ),
    Action(
        "log.follow",
        "follow",
        "Follow the end of the log, or stay where you read.",
        ("f",),
        ("log",),
        palette="Log: follow",
    ),
    Action("log.open", "open", "Show the whole line.", ("enter",), ("log",)),
    Action("log.level", "level", "Show from the next level on.", ("l",), ("log",), palette="Log: level"),
)

_ROWS: Final = (
    Action("rows.up", "up", "Select the row above.", ("up",), ROW_PANES),
    Action("rows.down", "down", "Select the row below.", ("down",), ROW_PANES),
    Action("rows.page_up", "page up", "One page up.", ("pageup",), ROW_PANES),
    Action("rows.page_down", "page down", "One page down.", ("pagedown",), ROW_PANES),
    Action("rows.first", "first", "Select the first row.", ("home",), ROW_PANES),
    Action("rows.last", "last", "Select the last row.", ("end",), ROW_PANES),
)

PANE_ACTIONS: Final[tuple[Action, ...]] = (
    *_LADDER,
    *_CHART,
    *_MARKETS,
    *_TRADES,
    *_POSITIONS,
    *_ORDERS,
    *_STRATEGIES,
    *_ANOMALIES,
    *_LOG,
    *_ROWS,
)

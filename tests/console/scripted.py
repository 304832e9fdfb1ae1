"""A scripted system behind the console's port: a seeded market that moves only when it is stepped."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from msgspec import structs
from pydantic import Field

from ctos_tui.command.commands import AmendCommand, CancelCommand, FlattenAllCommand, PlaceCommand, TargetCommand
from ctos_tui.port import AnomalyRow, Change, Figures, HaltProgress, Health, InstanceRow, Settings
from engine.kernel.account import Balance
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import RiskReject, TradingHalted, UnknownStrategy
from engine.kernel.event_bus import EventBus
from engine.kernel.instruments import Instrument, InstrumentKind, canonical_symbol
from engine.kernel.market import TIMEFRAME_MS, Bar, FundingRate, Quote, Ticker, Trade
from engine.kernel.orderbook import OrderBook
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Side
from engine.kernel.strategy import Params, StopPolicy, Strategy
from engine.runtime.accounts import Account, Mode
from engine.runtime.events import FillBooked, LogLine, OrderChanged, TradingStateChanged
from engine.runtime.fills import BookedFill
from engine.runtime.portfolio import PositionRow
from engine.runtime.risk.view import LimitUse
from engine.runtime.trading_state import TradingMode, TradingStatus

D = Decimal
START_NS = 1_767_323_045 * 10**9
COINS = (
    ("BTC", 64250.0, "0.1", "0.0001"),
    ("ETH", 3412.1, "0.01", "0.001"),
    ("SOL", 182.4, "0.01", "0.1"),
    ("XRP", 0.6214, "0.0001", "1"),
    ("BNB", 598.3, "0.1", "0.01"),
    ("DOGE", 0.16234, "0.00001", "1"),
    ("ADA", 0.4521, "0.0001", "1"),
    ("AVAX", 36.42, "0.01", "0.1"),
    ("LINK", 18.234, "0.001", "0.1"),
    ("DOT", 7.214, "0.001", "0.1"),
)


def _instrument(base: str, kind: InstrumentKind, tick: str, lot: str) -> Instrument:
    return Instrument(
        symbol=canonical_symbol(base, "USDT", kind),
        venue="paper",
        base=base,
        quote="USDT",
        settle="USDT",
        kind=kind,
        tick_size=D(tick),
        lot_size=D(lot),
        min_quantity=D(lot),
        min_notional=D(5),
        max_leverage=D(100) if kind is InstrumentKind.PERP else D(1),
        maker_fee=D("0.0002"),
        taker_fee=D("0.0005"),
    )


class ScriptedPort:
    """Implements `ctos_tui.port.Port` over plain state; `step()` moves the market."""

    def __init__(self, seed: int = 1, mode: Mode = Mode.PAPER, settings: Settings | None = None, ready: bool = True):
        self.account = Account(0, "main", "okx" if mode is Mode.LIVE else "paper", mode)
        self.market_label = "synthetic:1"
        self.bus = EventBus()
        self.settings = settings or Settings(accounts=("main",))
        self.ready = ready
        self.rng = random.Random(seed)
        self.time_ns = START_NS
        self.calls: list[tuple[str, Any]] = []
        self.all = {}
        self.prices: dict[str, float] = {}
        for base, price, tick, lot in COINS:
            for kind in (InstrumentKind.PERP, InstrumentKind.SPOT):
                made = _instrument(base, kind, tick, lot)
                self.all[made.symbol] = made
                self.prices[made.symbol] = price
        self.books: dict[str, OrderBook] = {}
        self.tickers: dict[str, Ticker] = {}
        self.last_prices: dict[str, float] = {}
        self.candles: dict[tuple[str, str], list[Bar]] = {}
        self.stale: set[str] = set()
        self.unlisted: set[str] = set()
        self.status = TradingStatus()
        self.progress = HaltProgress()
        self.hand_until_ns = 0
        self.coins: list = []
        self.orders: list[Order] = []
        self.booked: list[BookedFill] = []
        self.held: dict[str, tuple[Decimal, Decimal]] = {}
        self.rows: list[InstanceRow] = []
        self.instance_params: dict[str, Params] = {}
        self.anomaly_rows: list[AnomalyRow] = []
        self.classes: dict[str, type[Strategy[Any]]] = {}
        self.health_rows = [
            Health("data", "good", "12 ms"),
            Health("orders", "good", "all known"),
            Health("journal", "good", "0 waiting"),
        ]
        self.refuse: Exception | None = None
        self.labels = 1
        self.saved_history = ""
        for symbol in self.all:
            self._make_market(symbol)

    # -- the market

    def _make_market(self, symbol: str) -> None:
        price = self.prices[symbol]
        self.tickers[symbol] = Ticker(
            symbol,
            START_NS // 10**6,
            price,
            price * self.rng.uniform(0.96, 1.03),
            price * 1.02,
            price * 0.97,
            self.rng.uniform(5e7, 3e9),
        )
        self.last_prices[symbol] = price
        self.books[symbol] = OrderBook(symbol)
        self._fill_book(symbol)

    def _fill_book(self, symbol: str) -> None:
        instrument, price = self.all[symbol], self.prices[symbol]
        tick = float(instrument.tick_size)
        base = round(price / tick)
        scale = 30_000 / price
        bids, asks = [], []
        for level in range(160):
            size = scale * (0.15 + self.rng.random() ** 2 * (1 + level / 12))
            bids.append((round((base - level * 3 - self.rng.randint(0, 2)) * tick, 8), round(size, 4)))
            size = scale * (0.15 + self.rng.random() ** 2 * (1 + level / 12))
            asks.append((round((base + 1 + level * 3 + self.rng.randint(0, 2)) * tick, 8), round(size, 4)))
        self.books[symbol].load(bids, asks, self.time_ns // 10**6)

    def step(self, seconds: float = 1.0) -> None:
        """Move every market once."""
        self.time_ns += int(seconds * 10**9)
        ts = self.time_ns // 10**6
        for symbol, price in list(self.prices.items()):
            if not symbol.endswith("-PERP"):
                continue
            self.prices[symbol] = price * (1 + self.rng.gauss(0, 0.00012))
            self._fill_book(symbol)
            book = self.books[symbol]
            side = self.rng.choice((Side.BUY, Side.SELL))
            touch = book.best_ask if side is Side.BUY else book.best_bid
            self.last_prices[symbol] = touch
            size = self.rng.expovariate(1) * 8000 / price
            self.bus.publish(Trade(symbol, ts, touch, round(size, 4), side, str(ts)))
        for (symbol, _), bars in self.candles.items():
            bars[-1].close = self.last_prices[symbol]
            bars[-1].high = max(bars[-1].high, bars[-1].close)
            bars[-1].low = min(bars[-1].low, bars[-1].close)

    @property
    def instruments(self):
        return self.all if self.ready else {}

    def now_ns(self) -> int:
        return self.time_ns

    def watch(self, symbol: str, *, depth: bool = True) -> None:
        self.calls.append(("watch", symbol))

    def quote(self, symbol: str) -> Quote | None:
        book = self.books[symbol]
        bid, ask = book.best_bid, book.best_ask
        return Quote(symbol, self.time_ns // 10**6, bid, book.bids[bid], ask, book.asks[ask])

    def book(self, symbol: str) -> OrderBook:
        return self.books[symbol]

    def mark(self, symbol: str) -> float | None:
        return self.prices[symbol] if symbol.endswith("-PERP") else None

    def last(self, symbol: str) -> float | None:
        return self.last_prices.get(symbol)

    def ticker(self, symbol: str) -> Ticker | None:
        return self.tickers.get(symbol)

    def funding(self, symbol: str) -> FundingRate | None:
        if not symbol.endswith("-PERP"):
            return None
        rate = (sum(map(ord, symbol)) % 19 - 6) / 100_000
        return FundingRate(symbol, self.time_ns // 10**6, rate, 8, START_NS // 10**6 + 3 * 3_600_000)

    def is_listed(self, symbol: str) -> bool:
        return symbol not in self.unlisted

    def age_ms(self, symbol: str) -> int | None:
        return 14_000 if symbol in self.stale else 12

    def leverage(self, symbol: str) -> Decimal:
        return Decimal(10)

    def is_stale(self, symbol: str) -> bool:
        return symbol in self.stale

    def watch_bars(self, symbol: str, timeframe: str) -> None:
        if (symbol, timeframe) in self.candles or symbol not in self.all:
            return
        rng = random.Random(f"{symbol}{timeframe}")
        length = TIMEFRAME_MS[timeframe]
        now = self.time_ns // 10**6 // length * length
        price, bars = self.prices[symbol], []
        for back in range(400):
            opened = price * (1 + rng.gauss(0, 0.0016) + 0.0002)
            high = max(price, opened) * (1 + abs(rng.gauss(0, 0.0006)))
            low = min(price, opened) * (1 - abs(rng.gauss(0, 0.0006)))
            volume = abs(rng.gauss(30, 16)) + 4
            bars.append(Bar(symbol, timeframe, now - back * length, opened, high, low, price, volume, volume * price))
            price = opened
        self.candles[symbol, timeframe] = bars[::-1]

    def bars(self, symbol: str, timeframe: str) -> list[Bar]:
        return self.candles.get((symbol, timeframe), [])

    # -- the account

    def working_orders(self) -> list[Order]:
        return [order for order in self.orders if order.is_open]

    def recent_orders(self) -> list[Order]:
        return list(self.orders)

    def fills(self) -> list[BookedFill]:
        return list(self.booked)

    def positions(self) -> list[PositionRow]:
        rows = []
        for symbol, (quantity, entry) in sorted(self.held.items()):
            mark = D(repr(round(self.prices[symbol], 6)))
            rows.append(
                PositionRow(
                    symbol=symbol,
                    quantity=quantity,
                    entry_price=entry,
                    mark_price=mark,
                    notional=abs(quantity) * mark,
                    unrealised=quantity * (mark - entry),
                    realised=D(3),
                    fees=D("0.4"),
                    funding=D(0),
                    holders=(("manual", quantity),),
                    venue_quantity=quantity,
                    leverage=D(20),
                    liquidation_price=entry * D("0.6") if quantity > 0 else entry * D("1.4"),
                )
            )
        return rows

    def figures(self) -> Figures:
        rows = self.positions()
        open_profit = sum((row.unrealised for row in rows), D(0))
        gross = sum((row.notional for row in rows), D(0))
        net = sum((row.quantity * (row.mark_price or D(0)) for row in rows), D(0))
        equity = D("10200.35") + open_profit
        return Figures(equity, D("16.85") + open_profit, gross / equity, gross, net, open_profit, D("9120.10"))

    def balances(self) -> list[Balance]:
        return [
            Balance("BTC", D("0.25"), D("0.25")),
            Balance("USDC", D(10000), D(10000)),
            Balance("USDT", D("10200.35"), D("9120.10"), D("1080.25")),
        ]

    def exposures(self):
        return list(self.coins)

    def limits(self) -> list[LimitUse]:
        gross = self.figures().gross
        return [
            LimitUse("account", "max_notional_usd", gross, D(10_000), "USD"),
            LimitUse("account", "max_leverage", gross / D(10_200), D(3), "x"),
            LimitUse("account", "max_open_orders", D(len(self.working_orders())), D(200), "orders"),
            LimitUse("account", "max_orders_per_min", D(7), D(600), "1/min"),
        ]

    def trading(self) -> TradingStatus:
        return self.status

    def halt_progress(self) -> HaltProgress:
        return self.progress

    def health(self):
        return self.health_rows

    # -- commands

    def _set_status(self, status: TradingStatus) -> None:
        self.status = status
        self.bus.publish(TradingStateChanged(status.mode.value, status.reason))

    def send(self, command: Any) -> str:
        self.calls.append(("send", command))
        if self.refuse is not None:
            raise self.refuse
        match command:
            case PlaceCommand():
                if self.status.mode is TradingMode.HALTED and not command.reduce_only:
                    raise TradingHalted("trading is halted")
                if command.price and command.quantity * command.price > self.account.limits.max_order_usd:
                    raise RiskReject("max_order_usd", "5000 USD", f"{command.quantity * command.price:.0f} USD")
                return self.add_order(
                    command.symbol, command.side, command.quantity, command.price, command.type
                ).client_id
            case AmendCommand():
                order = self._order(command.client_id)
                order.price, order.quantity = command.price or order.price, command.quantity or order.quantity
                self.bus.publish(OrderChanged(order))
            case CancelCommand():
                order = self._order(command.client_id)
                order.advance(OrderState.CANCELED, self.time_ns, "by the operator")
                self.bus.publish(OrderChanged(order))
            case TargetCommand():
                return "target-1"
            case FlattenAllCommand():
                self.held.clear()
        return ""

    def _order(self, client_id: str) -> Order:
        return next(order for order in self.orders if order.client_id == client_id)

    def add_order(self, symbol, side, quantity, price, kind=OrderType.LIMIT, instance="manual", age_s=0) -> Order:
        order = Order(
            client_id=f"AB01{self.labels:014d}",
            instance=instance,
            symbol=symbol,
            side=side,
            type=kind,
            quantity=D(quantity),
            price=None if price is None else D(price),
            state=OrderState.OPEN,
            created_ns=self.time_ns - age_s * 10**9,
            updated_ns=self.time_ns,
            label=self.labels,
        )
        self.labels += 1
        self.orders.append(order)
        self.bus.publish(OrderChanged(order))
        if kind is OrderType.MARKET:
            self.fill(order, D(repr(self.last_prices[symbol])))
        return order

    def fill(self, order: Order, price: Decimal, realised: Decimal = Decimal()) -> None:
        fill = Fill(
            f"T{len(self.booked)}",
            order.symbol,
            order.client_id,
            "V1",
            order.side,
            price,
            order.remaining,
            D("0.012"),
            "USDT",
            order.type is not OrderType.MARKET,
            self.time_ns // 10**6,
        )
        order.book_fill(fill, self.time_ns)
        held, entry = self.held.get(order.symbol, (D(0), D(0)))
        new = held + fill.signed_quantity
        self.held[order.symbol] = (new, price if not held else entry)
        self.booked.append(BookedFill(fill, order.instance, realised, D("0.012")))
        self.bus.publish(OrderChanged(order))
        self.bus.publish(FillBooked(fill, order.instance, realised))

    def arm(self, seconds: int | None) -> None:
        self.calls.append(("arm", seconds))
        self.hand_until_ns = self.time_ns + (seconds or 0) * NS_PER_S
        self._set_status(TradingStatus(TradingMode.ARMED, "operator", "", self.time_ns))

    def open_hand(self, seconds: int) -> None:
        self.hand_until_ns = self.time_ns + seconds * NS_PER_S

    def lock_hand(self) -> None:
        self.calls.append(("lock_hand",))
        self.hand_until_ns = 0

    def hand_left_s(self) -> int:
        return max(0, (self.hand_until_ns - self.time_ns) // NS_PER_S)

    def disarm(self, reason: str) -> None:
        self.calls.append(("disarm", reason))
        self._set_status(TradingStatus(TradingMode.DISARMED, "operator", reason, self.time_ns))

    def panic(self) -> str:
        self.calls.append(("panic", None))
        self._set_status(TradingStatus(TradingMode.HALTED, "operator", "panic", self.time_ns))
        resting = self.working_orders()
        for order in resting:
            order.advance(OrderState.CANCELED, self.time_ns, "panic")
            self.bus.publish(OrderChanged(order))
        return f"paper: {len(resting)} cancelled, none rests"

    def rearm(self, reason: str) -> None:
        self.calls.append(("rearm", reason))
        self._set_status(TradingStatus(TradingMode.ARMED, "operator", reason, self.time_ns))

    def strategies(self):
        return self.classes

    def instances(self) -> list[InstanceRow]:
        return list(self.rows)

    def params(self, instance: str) -> Params:
        return self.instance_params[instance]

    def launch(self, strategy, params, symbols, name) -> str:
        self.calls.append(("launch", (strategy, dict(params), symbols, name)))
        if strategy not in self.classes:
            raise UnknownStrategy(f"no strategy {strategy!r}; known: {', '.join(self.classes)}")
        name = name or f"{strategy[:2]}1"
        self.instance_params[name] = self.classes[strategy].params_model()
        self.rows.append(
            InstanceRow(name, strategy, (symbols or "BTC-USDT-PERP",), "running", "", "", D(0), D(0), 0, "", 0)
        )
        return name

    def _change(self, instance: str, **fields: Any) -> None:

        self.rows = [structs.replace(row, **fields) if row.name == instance else row for row in self.rows]

    def pause(self, instance: str) -> None:
        self.calls.append(("pause", instance))
        self._change(instance, state="paused", reason="by the operator")

    def resume(self, instance: str) -> None:
        self.calls.append(("resume", instance))
        self._change(instance, state="running", reason="")

    def preview_amend(self, instance, changes) -> list[Change]:
        params = self.instance_params[instance]
        merged = type(params).model_validate({**params.model_dump(), **changes})
        names = type(params).model_fields
        return [
            Change(n, str(getattr(params, n)), str(getattr(merged, n)))
            for n in names
            if getattr(params, n) != getattr(merged, n)
        ]

    def amend(self, instance, changes) -> list[Change]:
        self.calls.append(("amend", (instance, dict(changes))))
        found = self.preview_amend(instance, changes)
        params = self.instance_params[instance]
        self.instance_params[instance] = type(params).model_validate({**params.model_dump(), **changes})
        return found

    def stop(self, instance: str, policy: StopPolicy | None) -> None:
        self.calls.append(("stop", (instance, policy)))
        self._change(instance, state="stopped", reason=str(policy))

    def act(self, instance: str, action: str) -> str:
        return f"{instance} {action}"

    def anomalies(self):
        return list(self.anomaly_rows)

    def acknowledge(self, anomaly: str) -> None:
        self.calls.append(("acknowledge", anomaly))

        self.anomaly_rows = [
            structs.replace(row, acknowledged=True) if row.id == anomaly else row for row in self.anomaly_rows
        ]

    def mute(self, anomaly: str, seconds: float) -> None:
        self.calls.append(("mute", anomaly, seconds))

    def decide(self, anomaly: str, reason: str) -> None:
        self.calls.append(("decide", anomaly, reason))

    def save_history(self, text: str) -> None:
        self.saved_history = text

    def say(self, source: str, text: str, level: str = "info") -> None:
        self.bus.publish(LogLine(self.time_ns, level, source, text))


BTC, ETH, SOL = "BTC-USDT-PERP", "ETH-USDT-PERP", "SOL-USDT-PERP"


class GridParams(Params):
    """Parameters of a grid."""

    base_amount: Decimal = Field(D("8.88"), ge=1, le=10_000, description="size of each order, USD")
    buy_grid_step: Decimal = Field(D("0.966"), ge=D("0.5"), le=D("0.9999"), description="buy price, x baseline")
    sell_grid_step: Decimal = Field(D("1.018"), ge=D("1.0001"), le=2, description="sell price, x baseline")
    max_inventory: Decimal = Field(D("88.8"), gt=0, description="largest position per symbol, USD")
    guard_action: str = Field("freeze", pattern="^(freeze|flatten)$", description="at the guard")


class Grid(Strategy[GridParams]):
    """Rests one buy below and one sell above a baseline that moves with each execution.

    More is written elsewhere.
    """

    name = "dyn_grid"
    title = "two orders around a moving baseline"
    params_model = GridParams


class Reversion(Strategy[Params]):
    """Buys what has fallen far below its mean, and sells it again at the mean."""

    name = "mean_reversion"
    title = "buys below the mean of the last bars"


def busy_port(seed: int = 1, **options: Any) -> ScriptedPort:
    """A system in the middle of a day: positions, orders, fills, strategies, anomalies."""
    port = ScriptedPort(seed, **options)
    port.classes = {"dyn_grid": Grid, "mean_reversion": Reversion}
    return port


def populate(port: ScriptedPort) -> None:
    """Fill the account; call it once the console listens, so that it sees the events."""
    port.held[BTC] = (D("0.045"), D("64120.0"))
    port.held[ETH] = (D("-0.4"), D("3420.50"))
    for index in range(6):
        order = port.add_order(BTC, (Side.BUY, Side.SELL)[index % 2], "0.0100", D("64244.0") + index * 3, instance="g1")
        port.fill(order, order.price, realised=D("0.42") * (index % 2))
        port.step(3)
    port.held[BTC] = (D("0.045"), D("64120.0"))
    done = port.add_order(SOL, Side.SELL, "2.0", "183.10")
    done.advance(OrderState.REJECTED, port.time_ns, "price_band_bp: 312 bp exceeds the limit 200 bp")
    done.error = "RiskReject"
    price = port.all[BTC].price_from_float(port.books[BTC].best_ask)
    bid = port.all[BTC].price_from_float(port.books[BTC].best_bid)
    port.add_order(BTC, Side.SELL, "0.0020", price + D("4.2"), OrderType.POST_ONLY, "g1", 12)
    port.add_order(BTC, Side.BUY, "0.0020", bid - D("3.4"), OrderType.POST_ONLY, "g1", 12)
    port.add_order(BTC, Side.BUY, "0.0100", bid - D("11.0"), OrderType.LIMIT, "manual", 340)
    port.add_order(ETH, Side.BUY, "0.400", "3398.50", OrderType.LIMIT, "manual", 75)
    port.instance_params = {
        "g1": port.classes["dyn_grid"].params_model(),
        "g2": port.classes["dyn_grid"].params_model(),
    }
    port.rows = [
        InstanceRow(
            "g1",
            "dyn_grid",
            (BTC,),
            "running",
            "",
            "",
            D("3.20"),
            D("289.1"),
            2,
            "sold 0.0100 @ 64,259.0, baseline 64,901.6",
            port.time_ns // 10**6 - 400,
        ),
        InstanceRow(
            "g2",
            "dyn_grid",
            (SOL,),
            "paused",
            "by the operator",
            "paused by the operator",
            D("-0.40"),
            D(0),
            0,
            "waiting",
            port.time_ns // 10**6 - 93_000,
        ),
    ]
    now = port.time_ns // 10**6
    port.anomaly_rows = [
        AnomalyRow(
            "a2",
            now - 61_000,
            "WARN",
            "position_drift",
            SOL,
            "",
            "1.2",
            "1.0",
            "SOL-USDT-PERP: the venue holds 1.2, our ledgers 1.0; 36.48 USD apart",
            3,
            "new entries blocked",
            title="Position Value Anomaly",
            peak="36.48",
            clear="1.82",
            proposal="sell 0.2 SOL-USDT-PERP would restore our ledgers; never sent: nothing proves that it is our own",
            proposal_reason="no trade explains it",
            decision="book the venue's quantity: +0.2 goes to the ledger 'manual'",
            raised_ms=now - 300_000,
        ),
        AnomalyRow(
            "a1",
            now - 900_000,
            "CRIT",
            "stale_data",
            ETH,
            "",
            "61 s",
            "60 s",
            "no message for 61 s",
            1,
            "entries blocked",
            acknowledged=True,
            active=False,
        ),
    ]
    port.say("engine", "journal opened, 214 records replayed")
    port.say("g1", "filled B 0.0100 @ 64,244.0 maker")
    port.say("monitor", "position_drift SOL ledger 1.0 venue 1.2", "warn")
    port.say("g2", "spread too wide: waiting")
    port.say("g1", "\x1b]52;c;ZXZpbA==\x07[bold]not markup[/] ‮reversed", "info")
    for _ in range(30):
        port.step(0.7)

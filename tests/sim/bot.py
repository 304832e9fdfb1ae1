"""A small trader that gives every kind of command at seeded moments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import CtosError
from engine.kernel.instruments import Instrument
from engine.kernel.orders import OrderType, Side
from engine.kernel.strategy import RiskParams
from engine.runtime.accounts import MANUAL
from engine.runtime.execution import ExecutionEngine
from engine.runtime.trading_state import TradingMode

NAME = "bot"
OF_THE_LIMIT = Decimal("0.92")
"""Share of the account's limit that the bot may use: a little less than all."""
_CAPITAL = Decimal(50_000)
_CLIP_USD = 700.0
_MOST_WORKING = 8


class Bot:
    """Trades through one engine until it is stopped.

    Args:
        engine: The engine; started and armed.
        clock: The engine's clock.
        rng: Chooses.
        symbols: What it trades.
        pace_s: Mean time between two commands.
        counts: Counts commands by kind, and refusals by the name of their error.
        limit_usd: The account's limit of worst-case exposure.
    """

    def __init__(
        self,
        engine: ExecutionEngine,
        clock: Clock,
        rng: Rng,
        symbols: list[str],
        pace_s: float,
        counts: Counter[str],
        limit_usd: Decimal,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._rng = rng
        self._symbols = symbols
        self._pace_s = pace_s
        self._counts = counts
        self.idle = True
        params = RiskParams(
            max_notional_usd=limit_usd * OF_THE_LIMIT,
            max_order_usd=min(Decimal(5_000), limit_usd * OF_THE_LIMIT),
            max_cmds_per_min=600,
            stop_loss_pct=Decimal(1),
            daily_loss_pct=Decimal(1),
            max_drawdown_pct=Decimal(1),
        )
        engine.register_instance(NAME)
        engine.risk.admit(NAME, params, _CAPITAL)

    def start(self) -> None:
        """Begin to trade."""
        if self.idle:
            self.idle = False
            self._plan()

    def stop(self) -> None:
        """Give no more commands; what works goes on."""
        self.idle = True

    def _plan(self) -> None:
        self._clock.call_later(0.05 + self._rng.expovariate(1 / self._pace_s), self._act)

    def _act(self) -> None:
        if self.idle:
            return
        actions: list[tuple[float, Callable[[], object]]] = [
            (30, self._limit),
            (6, self._post_only),
            (14, self._amend),
            (16, self._cancel),
            (8, self._ioc),
            (6, self._market),
            (8, self._stop_order),
            (3, self._flat),
            (3, self._soft),
            (3, self._incremental),
            (3, self._target),
            (1, self._cancel_all),
            (2, self._by_hand),
            (1, self._flatten_by_hand),
            (0.3, self._disarm),
        ]
        draw = self._rng.random() * sum(weight for weight, _ in actions)
        chosen = actions[-1][1]
        for weight, action in actions:
            draw -= weight
            if draw < 0:
                chosen = action
                break
        self._counts[chosen.__name__.strip("_")] += 1
        try:
            chosen()
        except CtosError as error:
            rule = getattr(error, "rule", "")
            self._counts[f"refused {type(error).__name__} {rule}".rstrip()] += 1
        self._plan()

    def _limit(self) -> None:
        if len(self._engine.tracker.working(instance=NAME)) >= _MOST_WORKING:
            self._cancel()
            return
        side = self._side()
        self._send(side, OrderType.LIMIT, self._rng.choice((0, 1, 2, 5, 20, 100)) * -side.sign)

    def _post_only(self) -> None:
        side = self._side()
        self._send(side, OrderType.POST_ONLY, self._rng.choice((0, 2, 10)) * -side.sign)

    def _ioc(self) -> None:
        side = self._side()
        self._send(side, OrderType.IOC, 3 * side.sign)

    def _market(self) -> None:
        instrument = self._instrument()
        self._engine.submit(NAME, instrument.symbol, self._side(), OrderType.MARKET, self._quantity(instrument))

    def _send(self, side: Side, kind: OrderType, ticks: int) -> None:
        instrument = self._instrument()
        quote = self._engine.market.quote(instrument.symbol)
        if quote is None:
            return
        touch = instrument.price_from_float(quote.bid if side is Side.BUY else quote.ask)
        price = touch + ticks * instrument.tick_size
        self._engine.submit(NAME, instrument.symbol, side, kind, self._quantity(instrument), price)

    def _stop_order(self) -> None:
        for symbol in self._symbols:
            held = self._engine.portfolio.tradable(NAME, symbol).quantity
            mark = self._engine.portfolio.mark(symbol)
            instrument = self._engine.instrument(symbol)
            if not held or mark is None or abs(held) < instrument.min_quantity:
                continue
            side = Side.SELL if held > 0 else Side.BUY
            distance = Decimal(str(round(self._rng.uniform(0.0002, 0.003), 5)))
            trigger = instrument.price_from_float(float(mark * (1 - side.opposite.sign * distance)))
            self._engine.submit(NAME, symbol, side, OrderType.STOP, abs(held), trigger_price=trigger, reduce_only=True)
            return

    def _amend(self) -> None:
        working = [order for order in self._engine.tracker.working(instance=NAME) if order.type is OrderType.LIMIT]
        if not working:
            return
        order = self._rng.choice(working)
        instrument = self._engine.instrument(order.symbol)
        price = quantity = None
        if order.price is not None and self._rng.random() < 0.7:
            price = order.price + self._rng.randint(-10, 10) * instrument.tick_size
        if price is None or self._rng.random() < 0.3:
            quantity = self._quantity(instrument)
        self._engine.amend(order.client_id, price, quantity)
        if self._rng.random() < 0.2:
            self._engine.cancel(order.client_id)  # while the amendment is on its way

    def _cancel(self) -> None:
        working = self._engine.tracker.working(instance=NAME)
        if working:
            self._engine.cancel(self._rng.choice(working).client_id)

    def _cancel_all(self) -> None:
        self._engine.cancel_all(instance=NAME)

    def _by_hand(self) -> None:
        """Give an order as the operator does."""
        instrument, side = self._instrument(), self._side()
        quote = self._engine.market.quote(instrument.symbol)
        if quote is not None:
            price = instrument.price_from_float(quote.bid if side is Side.BUY else quote.ask)
            self._engine.submit(MANUAL, instrument.symbol, side, OrderType.LIMIT, self._quantity(instrument), price)

    def _flatten_by_hand(self) -> None:
        self._engine.cancel_all(instance=MANUAL)
        self._engine.close(MANUAL, self._rng.choice(self._symbols), soft=False)

    def _disarm(self) -> None:
        """Shut the gate for a moment, as the operator does, while an order is on its way to the disk."""
        self._limit()
        self._engine.disarm("simulation", "for a moment")
        self._clock.call_later(self._rng.uniform(1.0, 10.0), self._arm)

    def _arm(self) -> None:
        if self._engine.trading.mode is TradingMode.DISARMED:
            self._engine.arm("simulation")

    def _flat(self) -> None:
        self._engine.close(NAME, self._rng.choice(self._symbols), soft=self._rng.random() < 0.5)

    def _soft(self) -> None:
        instrument = self._instrument()
        self._engine.soft(NAME, instrument.symbol, self._side(), self._quantity(instrument), deadline_s=20.0)

    def _incremental(self) -> None:
        soft = self._rng.random() < 0.5
        self._engine.place_incremental_orders(
            NAME,
            Decimal(self._rng.randint(300, 2_000)),
            self._rng.choice(self._symbols),
            self._side(),
            soft,
            3,
            None,
            2.0,
        )

    def _target(self) -> None:
        amount = Decimal(self._rng.randint(-3_000, 3_000))
        self._engine.set_coin_position(NAME, self._rng.choice(self._symbols), amount, self._rng.random() < 0.5)

    def _side(self) -> Side:
        return self._rng.choice((Side.BUY, Side.SELL))

    def _instrument(self) -> Instrument:
        return self._engine.instrument(self._rng.choice(self._symbols))

    def _quantity(self, instrument: Instrument) -> Decimal:
        price = self._engine.portfolio.mark(instrument.symbol) or Decimal(1)
        wanted = Decimal(str(round(self._rng.uniform(0.15, 2.0) * _CLIP_USD, 2))) / price
        lots = max(int(wanted / instrument.lot_size), 1)
        return max(lots * instrument.lot_size, instrument.min_quantity)

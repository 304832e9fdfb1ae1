"""Mean reversion by z-score: fades stretched closes back to their mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal

from pydantic import Field, model_validator

from engine.kernel.errors import BelowMinimum, CtosError, Paused
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Side
from engine.kernel.strategy import Context, DeadlinePolicy, Done, DoneStatus, Params, Purpose, RiskParams, Strategy
from engine.runtime.indicators import ZScore, zscore

ONE = Decimal(1)
_ENTRY_DEADLINE_S = 120
_EXIT_DEADLINE_S = 60
_STOP_RETRY_S = 5


class MeanReversionParams(Params):
    """Parameters of mean reversion."""

    period: int = Field(20, ge=5, le=500, description="bars in the window, 5-500")
    entry_z: float = Field(2.0, gt=0, le=10, description="enter beyond this, standard deviations; exit < entry < stop")
    exit_z: float = Field(0.5, ge=0, le=10, description="leave inside this, standard deviations")
    stop_z: float = Field(3.5, gt=0, le=20, description="give up beyond this, standard deviations")
    trigger: str = Field(
        "close", pattern="^(close|reenter)$", description="close: beyond the band; reenter: back inside"
    )
    max_slope_z: float = Field(1.5, ge=0, le=20, description="no entry in a trend steeper than this, std (0 = off)")
    max_hold: int = Field(40, ge=0, le=10000, description="longest time in a position, bars (0 = off)")
    cooldown: int = Field(5, ge=0, le=1000, description="idle after a stop, bars (0 = off)")
    stop_pct: Decimal = Field(Decimal("0.03"), gt=0, lt=1, description="stop distance from entry, ratio")
    amount: Decimal = Field(Decimal(100), gt=0, description="size of the position, USD")
    timeframe: str = Field("15m", description="candle length", json_schema_extra={"restart": True})
    direction: str = Field("both", pattern="^(both|long_only|short_only)$", description="both, long_only, short_only")

    @model_validator(mode="after")
    def _check(self) -> MeanReversionParams:
        if not self.exit_z < self.entry_z < self.stop_z:
            raise ValueError(f"exit_z {self.exit_z} < entry_z {self.entry_z} < stop_z {self.stop_z} must hold")
        if self.timeframe not in TIMEFRAME_MS:
            raise ValueError(f"timeframe {self.timeframe!r} must be one of {', '.join(TIMEFRAME_MS)}")
        return self


@dataclass(slots=True)
class Trade:
    """What is remembered of one symbol over a restart.

    Attributes:
        entry_bar: Opening time (ms) of the bar that gave the entry, 0 when flat.
        last_bar: Opening time of the last bar that was handled.
        entering: Handle of the entry at work.
        leaving: Handle of the exit at work.
        stop_id: Client id of the resting stop.
        retired: Client id of a stop that is being cancelled.
        cooldown_left: Bars to stay out after a stop.
        waits_inside: Whether a close inside the band is needed first.
        beyond: Side of the band (-1, +1) that a `reenter` waits to come back from.
    """

    entry_bar: int = 0
    last_bar: int = 0
    entering: str = ""
    leaving: str = ""
    stop_id: str = ""
    retired: str = ""
    cooldown_left: int = 0
    waits_inside: bool = False
    beyond: int = 0


class MeanReversion(Strategy[MeanReversionParams]):
    """Buys closes far below their mean and sells closes far above it, and leaves near the mean.

    The distance is the z-score of the last close over `period` closed bars. A position is entered by a soft order
    beyond entry_z, left inside exit_z, and protected by a resting reduce-only stop at stop_pct from entry; beyond
    stop_z it is given up too. After a stop it stays out for `cooldown` bars and until a close inside the band.
    """

    name = "mean_reversion"
    title = "fades stretched closes (Bollinger z-score)"
    params_model = MeanReversionParams

    def __init__(self, ctx: Context, params: MeanReversionParams) -> None:
        super().__init__(ctx, params)
        self._trades: dict[str, Trade] = {}

    @classmethod
    def limits(cls, params: MeanReversionParams, n_symbols: int) -> RiskParams:
        """Return the limits: 1.1 x amount for each symbol."""
        risk = params.risk
        return risk.model_copy(
            update={
                "max_notional_usd": risk.max_notional_usd or params.amount * Decimal("1.1") * n_symbols,
                "max_order_usd": risk.max_order_usd or params.amount * Decimal("1.1"),
            }
        )

    @classmethod
    def timeframes(cls, params: MeanReversionParams) -> tuple[str, ...]:
        """Return the one candle length."""
        return (params.timeframe,)

    @classmethod
    def warmup_bars(cls, params: MeanReversionParams) -> int:
        """Return the window, twice when the trend filter compares it with the one before."""
        return params.period * (2 if params.max_slope_z else 1)

    def on_start(self, reason: str) -> None:
        """Put the stops back first, then wait for bars."""
        self._load()
        for symbol in self.symbols:
            trade = self._trades.setdefault(symbol, Trade())
            if reason == "restart":
                trade.entering = trade.leaving = trade.retired = ""
            self._protect(symbol, trade)
        self._save()

    def on_bar(self, bar: Bar) -> None:
        """Decide on a closed bar."""
        self._load()
        trade = self._trades.setdefault(bar.symbol, Trade())
        if bar.open_time <= trade.last_bar:
            return
        trade.last_bar = bar.open_time
        if trade.cooldown_left:
            trade.cooldown_left -= 1
        score = self._score(bar.symbol)
        held = self.ctx.position(bar.symbol).quantity
        if held:
            self._manage(bar, trade, score, held)
        elif score is not None and not trade.entering:
            self._seek_entry(bar, trade, score)
        self._explain(bar.symbol, trade, score, held)
        self._save()

    def on_fill(self, fill: Fill) -> None:
        """Let the stop follow the position."""
        self._load()
        self._protect(fill.symbol, self._trades.setdefault(fill.symbol, Trade()))
        self._save()

    def on_order(self, order: Order) -> None:
        """Follow the stop: filled means stopped out; lost means it is put back."""
        self._load()
        trade = self._trades.get(order.symbol)
        if trade is None or order.client_id not in (trade.stop_id, trade.retired) or not order.state.is_final:
            return
        if order.client_id == trade.retired:
            trade.retired = ""
            self._protect(order.symbol, trade)
        else:
            trade.stop_id = ""
            if order.state is OrderState.FILLED or (order.filled and not self.ctx.position(order.symbol).quantity):
                self._stopped_out(order.symbol, trade)
            elif order.state in (OrderState.REJECTED, OrderState.EXPIRED):
                self._stop_refused(order)
            else:
                self.ctx.timer.after(f"protect:{order.symbol}", _STOP_RETRY_S)
        self._save()

    def on_done(self, done: Done) -> None:
        """Note that an entry or exit has ended."""
        self._load()
        trade = self._trades.get(done.symbol)
        if trade is None:
            return
        if done.handle == trade.entering:
            trade.entering = ""
            if not self.ctx.position(done.symbol).quantity:
                trade.entry_bar = 0
                self.ctx.log(f"{done.symbol} entry ended without a fill: {done.status.value} {done.reason}".rstrip())
        elif done.handle == trade.leaving:
            trade.leaving = ""
            if done.status in (DoneStatus.ERROR, DoneStatus.FAILED):
                self.ctx.log(f"{done.symbol} exit failed, again at the next bar: {done.reason}", "warn")
        self._protect(done.symbol, trade)
        self._save()

    def on_timer(self, name: str, payload: object) -> None:
        """Put a lost stop back."""
        if name.startswith("protect:"):
            symbol = name.removeprefix("protect:")
            self._protect(symbol, self._trades[symbol])
            self._save()

    def on_params(self, old: MeanReversionParams, new: MeanReversionParams) -> None:
        """Move the stops to the amended distance."""
        for symbol, trade in self._trades.items():
            self._protect(symbol, trade)
        self._save()

    def _load(self) -> None:
        if not self._trades and self.ctx.state.get("trades"):
            self._trades = {symbol: Trade(**data) for symbol, data in self.ctx.state["trades"].items()}

    def _save(self) -> None:
        self.ctx.state["trades"] = {symbol: asdict(trade) for symbol, trade in self._trades.items()}

    def _score(self, symbol: str) -> ZScore | None:
        bars = self.ctx.bars(symbol, self.params.timeframe, self.params.period)
        if len(bars) < self.params.period or any(bar.missing for bar in bars):
            return None
        return zscore([bar.close for bar in bars], self.params.period)

    def _is_trending(self, symbol: str, score: ZScore) -> bool:
        """Return whether the mean has moved too far in one window for a reversion to be likely."""
        if not self.params.max_slope_z:
            return False
        period = self.params.period
        before = self.ctx.bars(symbol, self.params.timeframe, 2 * period)[:-period]
        if len(before) < period or any(bar.missing for bar in before):
            return True
        mean_before = sum(bar.close for bar in before) / period
        return abs(score.mean - mean_before) / score.std > self.params.max_slope_z

    def _seek_entry(self, bar: Bar, trade: Trade, score: ZScore) -> None:
        inside = abs(score.z) < self.params.entry_z
        if inside and not trade.cooldown_left:
            trade.waits_inside = False
        side = self._signal(trade, score, inside)
        if not side or trade.cooldown_left or trade.waits_inside:
            return
        if (side > 0 and self.params.direction == "short_only") or (side < 0 and self.params.direction == "long_only"):
            return
        if self._is_trending(bar.symbol, score):
            self.ctx.log(f"{bar.symbol} z {score.z:+.2f}: no entry, the mean itself is moving")
            return
        try:
            trade.entering = self.ctx.set_position(
                bar.symbol, side * self.params.amount, deadline_s=_ENTRY_DEADLINE_S, policy=DeadlinePolicy.CANCEL
            )
        except (Paused, BelowMinimum) as error:
            self.ctx.log(f"{bar.symbol} z {score.z:+.2f}: no entry, {error}")
            return
        trade.entry_bar = bar.open_time
        self.ctx.log(f"{bar.symbol} z {score.z:+.2f}: {'buys' if side > 0 else 'sells'} {self.params.amount} USD")

    def _signal(self, trade: Trade, score: ZScore, inside: bool) -> int:
        """Return +1 to buy, -1 to sell, 0 for nothing."""
        if self.params.trigger == "close":
            return 0 if inside else (1 if score.z < 0 else -1)
        if not inside:
            trade.beyond = -1 if score.z < 0 else 1
            return 0
        side, trade.beyond = -trade.beyond, 0
        return side

    def _manage(self, bar: Bar, trade: Trade, score: ZScore | None, held: Decimal) -> None:
        """Leave near the mean, beyond the stop, or after the longest time."""
        if trade.leaving:
            return
        side = 1 if held > 0 else -1
        bars_held = (bar.open_time - trade.entry_bar) // TIMEFRAME_MS[self.params.timeframe] if trade.entry_bar else 0
        if score is not None and score.z * side <= -self.params.stop_z:
            self._leave(bar.symbol, trade, f"z {score.z:+.2f} beyond the stop", soft=False)
            self._begin_cooldown(trade)
        elif score is not None and score.z * side >= -self.params.exit_z:
            self._leave(bar.symbol, trade, f"z {score.z:+.2f} near the mean", soft=score.z * side < 0)
        elif self.params.max_hold and bars_held >= self.params.max_hold:
            self._leave(bar.symbol, trade, f"held for {bars_held} bars", soft=True)

    def _leave(self, symbol: str, trade: Trade, why: str, soft: bool) -> None:
        if trade.entering:
            self.ctx.cancel(trade.entering)
        trade.leaving = self.ctx.close(symbol, ONE, soft=soft, deadline_s=_EXIT_DEADLINE_S, policy=DeadlinePolicy.CROSS)
        self.ctx.log(f"{symbol} closes: {why}")

    def _stopped_out(self, symbol: str, trade: Trade) -> None:
        if trade.entering:
            self.ctx.cancel(trade.entering)
        self._begin_cooldown(trade)
        self.ctx.log(f"{symbol} stopped out; idle for {self.params.cooldown} bars")

    def _begin_cooldown(self, trade: Trade) -> None:
        trade.cooldown_left = self.params.cooldown
        trade.waits_inside = True

    def _stop_refused(self, order: Order) -> None:
        """A position without its stop is closed at once."""
        if self.ctx.position(order.symbol).quantity:
            self.ctx.anomaly("stop_refused", order.symbol, order.reason, "", f"stop refused: {order.reason}", "CRIT")
            self._leave(order.symbol, self._trades[order.symbol], "its stop was refused", soft=False)

    def _protect(self, symbol: str, trade: Trade) -> None:
        """Bring the resting stop to the position's size and distance."""
        ledger = self.ctx.position(symbol)
        held = ledger.quantity
        stop = self.ctx.order(trade.stop_id) if trade.stop_id else None
        working = stop is not None and stop.is_open
        if not held:
            if working and stop is not None:
                self._retire(trade)
            if not trade.entering:
                trade.entry_bar = 0
            return
        if trade.retired or (trade.stop_id and stop is None):
            return
        side = Side.SELL if held > 0 else Side.BUY
        distance = -self.params.stop_pct if held > 0 else self.params.stop_pct
        trigger = self.ctx.instrument(symbol).round_trigger(side, ledger.entry_price * (ONE + distance))
        if working and stop is not None:
            if stop.remaining != abs(held) or stop.trigger_price != trigger:
                self._retire(trade)
            return
        send = self.ctx.sell if held > 0 else self.ctx.buy
        try:
            trade.stop_id = send(
                symbol,
                quantity=abs(held),
                type=OrderType.STOP,
                trigger_price=trigger,
                reduce_only=True,
                purpose=Purpose.STOP,
            )
        except CtosError as error:
            self.ctx.log(f"{symbol}: the stop cannot be placed: {error}", "error")
            self.ctx.timer.after(f"protect:{symbol}", _STOP_RETRY_S)

    def _retire(self, trade: Trade) -> None:
        trade.retired, trade.stop_id = trade.stop_id, ""
        self.ctx.cancel(trade.retired)

    def _explain(self, symbol: str, trade: Trade, score: ZScore | None, held: Decimal) -> None:
        if held or trade.entering:
            self.ctx.why("")
        elif score is None:
            self.ctx.why(f"{symbol}: no signal, bars are missing or do not move")
        elif trade.cooldown_left:
            self.ctx.why(f"{symbol}: cooling down, {trade.cooldown_left} bars left")
        elif trade.waits_inside:
            self.ctx.why(f"{symbol}: waits for a close inside the band, z {score.z:+.2f}")
        else:
            self.ctx.why(f"{symbol}: z {score.z:+.2f}, enters beyond {self.params.entry_z:g}")

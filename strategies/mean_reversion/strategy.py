"""Mean reversion by z-score: fades stretched closes back to their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

from engine.kernel.errors import BelowMinimum, ConfigError, CtosError, Paused, TradingHalted
from engine.kernel.instruments import Instrument
from engine.kernel.market import TIMEFRAME_MS, Bar
from engine.kernel.orders import Fill, Order, OrderState, OrderType, Pending, Side
from engine.kernel.strategy import Context, DeadlinePolicy, Done, DoneStatus, Purpose, RiskParams, Strategy
from engine.runtime.indicators import ZScore, zscore
from strategies.mean_reversion.params import MeanReversionParams, Trade

ONE = Decimal(1)
_ENTRY_DEADLINE_S = 120
_EXIT_DEADLINE_S = 60
_STOP_RETRY_S = 5
_REPLACE_AFTER_S = 30
_REPLACE_LIMIT = (3, 600)
"""Cancellations of a stop from outside that are answered, in so many seconds."""


class MeanReversion(Strategy[MeanReversionParams]):
    """Buys closes far below their mean, sells closes far above it, and leaves near the mean.

    The distance is the z-score of the last close over `period` closed bars. Beyond entry_z a soft order works the
    position for two minutes; what filled by then is kept. It is closed inside exit_z, after max_hold bars, or beyond
    stop_z, and a reduce-only stop rests at stop_pct from the entry all the time. After a stop nothing is entered for
    `cooldown` bars and until a close inside the band. While the mean itself moves fast there are no entries.
    """

    name = "mean_reversion"
    title = "fades stretched closes (Bollinger z-score)"
    params_model = MeanReversionParams

    def __init__(self, ctx: Context, params: MeanReversionParams) -> None:
        super().__init__(ctx, params)
        self._trades: dict[str, Trade] = {symbol: Trade(**data) for symbol, data in ctx.state.get("trades", {}).items()}

    @classmethod
    def limits(cls, params: MeanReversionParams, n_symbols: int) -> RiskParams:
        """Return the limits: 1.1 x amount for each symbol."""
        changes: dict[str, object] = {}
        if params.risk.max_notional_usd is None:
            changes["max_notional_usd"] = params.amount * Decimal("1.1") * n_symbols
        return params.risk.model_copy(update=changes)

    @classmethod
    def check(cls, params: MeanReversionParams, instruments: Sequence[Instrument]) -> None:
        """Refuse to sell short what cannot be sold short.

        Raises:
            ConfigError: Names the instrument and what would work.
        """
        for instrument in instruments:
            if params.direction == "short_only" and not instrument.is_perp:
                raise ConfigError(f"direction: {instrument.symbol} is spot and cannot be sold short; use long_only")

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
        for symbol in self.symbols:
            trade = self._trades.setdefault(symbol, Trade())
            trade.entering = trade.entering if self.ctx.active(trade.entering) else ""
            trade.leaving = trade.leaving if self.ctx.active(trade.leaving) else ""
            if reason == "resume":
                trade.stop_replaced, trade.stop_wait_until = [], 0
            self._adopt_stop(symbol, trade)
            self._protect(symbol, trade)
        self._save()

    def on_bar(self, bar: Bar) -> None:
        """Decide on a closed bar."""
        trade = self._trades.setdefault(bar.symbol, Trade())
        if bar.open_time <= trade.last_bar:
            return
        trade.last_bar = bar.open_time
        score = self._score(bar.symbol)
        held = self.ctx.position(bar.symbol).quantity
        if held:
            self._manage(bar, trade, score, held)
        elif score is None:
            trade.note = "no signal: bars are missing or do not move"
        elif not trade.entering and not trade.leaving:
            self._seek_entry(bar, trade, score)
        self._save()

    def on_fill(self, fill: Fill) -> None:
        """Let the stop follow the position."""
        trade = self._trades.get(fill.symbol)
        if trade is not None:
            self._protect(fill.symbol, trade)
            self._save()

    def on_order(self, order: Order) -> None:
        """Follow the stop: filled means stopped out; lost means it is put back."""
        trade = self._trades.get(order.symbol)
        if trade is None or order.client_id != trade.stop_id:
            return
        held = self.ctx.position(order.symbol).quantity
        if not order.state.is_final:
            if order.error:
                self.ctx.timer.after(f"protect:{order.symbol}", _STOP_RETRY_S)
            elif order.pending is Pending.NONE:
                self._protect(order.symbol, trade)
        else:
            trade.stop_id = ""
            if order.filled:
                self._stopped_out(order.symbol, trade)
            elif not held:
                self._protect(order.symbol, trade)
            elif order.state is OrderState.CANCELED:
                self._stop_cancelled(order.symbol, trade)
            else:
                self._adopt_stop(order.symbol, trade)  # the engine may hold another in its place
                if not trade.stop_id:
                    self._stop_refused(order, trade)
        self._save()

    def on_done(self, done: Done) -> None:
        """Note that an entry or exit has ended."""
        trade = self._trades.get(done.symbol)
        if trade is None:
            return
        if done.handle == trade.entering:
            trade.entering = ""
            if not self.ctx.position(done.symbol).quantity:
                trade.note = f"entry ended without a fill: {done.status.value} {done.reason}".rstrip()
                self.ctx.log(f"{done.symbol} {trade.note}")
        elif done.handle == trade.leaving:
            trade.leaving = ""
            if done.status in (DoneStatus.ERROR, DoneStatus.FAILED):
                self.ctx.log(f"{done.symbol} exit failed, again at the next bar: {done.reason}", "warn")
        self._protect(done.symbol, trade)
        self._save()

    def on_timer(self, name: str, payload: object) -> None:
        """Put a lost stop back, at its time or when trading opens."""
        waiting = self.symbols if name == "armed" else (name.removeprefix("protect:"),)
        for symbol in waiting:
            self._protect(symbol, self._trades[symbol])
        self._save()

    def on_params(self, old: MeanReversionParams, new: MeanReversionParams) -> None:
        """Move the stops to the amended distance."""
        for symbol, trade in self._trades.items():
            self._protect(symbol, trade)
        self._save()

    def _save(self) -> None:
        self.ctx.state["trades"] = {symbol: asdict(trade) for symbol, trade in self._trades.items()}
        flat = [
            f"{symbol}: {trade.note}"
            for symbol in self.symbols
            if (trade := self._trades[symbol]).note and not trade.entering and not self.ctx.position(symbol).quantity
        ]
        self.ctx.why("; ".join(flat))

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
        is_idle = bar.open_time < trade.cooldown_until
        waits = trade.waits_inside
        if inside:
            trade.waits_inside = False
        side = self._signal(trade, score, inside)
        if is_idle:
            left = (trade.cooldown_until - bar.open_time) // TIMEFRAME_MS[self.params.timeframe]
            trade.note = f"cooling down after a stop, {left} bars left"
        elif waits:
            trade.note = f"waits for a close inside the band after a stop, z {score.z:+.2f}"
        elif not side or not self._may_take(bar.symbol, side):
            trade.note = f"z {score.z:+.2f}, enters beyond {self.params.entry_z:g}"
        elif self._is_trending(bar.symbol, score):
            trade.note = f"z {score.z:+.2f}, but the mean itself is moving or not known long enough"
        else:
            self._enter(bar, trade, score, side)

    def _may_take(self, symbol: str, side: int) -> bool:
        """Return whether positions of this sign are allowed."""
        if side > 0:
            return self.params.direction != "short_only"
        return self.params.direction != "long_only" and self.ctx.instrument(symbol).is_perp

    def _enter(self, bar: Bar, trade: Trade, score: ZScore, side: int) -> None:
        try:
            trade.entering = self.ctx.set_position(
                bar.symbol, side * self.params.amount, deadline_s=_ENTRY_DEADLINE_S, policy=DeadlinePolicy.CANCEL
            )
        except (Paused, BelowMinimum) as error:
            trade.note = f"z {score.z:+.2f}, no entry: {error}"
            self.ctx.log(f"{bar.symbol} {trade.note}")
            return
        trade.entry_bar, trade.note = bar.open_time, ""
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
            self._cool_down(trade)
        elif score is not None and score.z * side >= -self.params.exit_z:
            self._leave(bar.symbol, trade, f"z {score.z:+.2f} near the mean", soft=score.z * side < 0)
        elif self.params.max_hold and bars_held >= self.params.max_hold:
            self._leave(bar.symbol, trade, f"held for {bars_held} bars", soft=True)

    def _leave(self, symbol: str, trade: Trade, why: str, soft: bool) -> None:
        if trade.entering:
            self.ctx.cancel(trade.entering)
        trade.leaving = self.ctx.close(symbol, ONE, soft=soft, deadline_s=_EXIT_DEADLINE_S, policy=DeadlinePolicy.CROSS)
        trade.note = f"left: {why}"
        self.ctx.log(f"{symbol} closes: {why}")

    def _stopped_out(self, symbol: str, trade: Trade) -> None:
        if trade.entering:
            self.ctx.cancel(trade.entering)
        self._cool_down(trade)
        trade.note = f"stopped out, idle for {self.params.cooldown} bars"
        self.ctx.log(f"{symbol} {trade.note}")
        self._protect(symbol, trade)

    def _cool_down(self, trade: Trade) -> None:
        step = TIMEFRAME_MS[self.params.timeframe]
        trade.cooldown_until = (self.ctx.now_ms() // step + self.params.cooldown) * step
        trade.waits_inside, trade.beyond = True, 0

    def _stop_refused(self, order: Order, trade: Trade) -> None:
        """Close a position that cannot have its stop at once; while trading is closed there is only waiting."""
        if order.error == TradingHalted.__name__:
            self.ctx.log(f"{order.symbol}: no stop yet: {order.reason}", "warn")
            self.ctx.timer.after(f"protect:{order.symbol}", _STOP_RETRY_S)
            return
        trade.stop_wait_until = self.ctx.now_ms() + _STOP_RETRY_S * 1000
        text = f"{order.symbol}: its stop was refused, the position is closed: {order.reason}"
        self.ctx.anomaly("stop_refused", order.symbol, order.error or order.state.value, "", text, "CRIT")
        if not trade.leaving:
            self._leave(order.symbol, trade, "its stop was refused", soft=False)

    def _stop_cancelled(self, symbol: str, trade: Trade) -> None:
        """Put a stop that somebody cancelled back after a while, but never fight a person."""
        now = self.ctx.now_ms()
        limit, window_s = _REPLACE_LIMIT
        trade.stop_replaced = [when for when in trade.stop_replaced if when > now - window_s * 1000]
        if len(trade.stop_replaced) < limit:
            trade.stop_replaced.append(now)
            trade.stop_wait_until = now + _REPLACE_AFTER_S * 1000
            self.ctx.log(f"{symbol}: its stop was cancelled from outside, again in {_REPLACE_AFTER_S} s", "warn")
            self._protect(symbol, trade)
            return
        trade.stop_wait_until = now + window_s * 1000
        self.ctx.pause_symbol(symbol, window_s, "its stop was cancelled from outside")
        text = f"{symbol}: its stop was cancelled from outside {limit + 1} times; the position has none for 10 min"
        self.ctx.anomaly("external_cancel", symbol, limit + 1, limit, text, "CRIT")
        self._protect(symbol, trade)

    def _adopt_stop(self, symbol: str, trade: Trade) -> None:
        """Know the one stop that rests after a restart; others of ours are taken back."""
        if trade.stop_id and self.ctx.order(trade.stop_id) is None:
            trade.stop_id = ""
        for order in self.ctx.orders(symbol):
            if order.type is not OrderType.STOP or order.client_id == trade.stop_id:
                continue
            if trade.stop_id:
                self.ctx.cancel(order.client_id)
            else:
                trade.stop_id = order.client_id

    def _protect(self, symbol: str, trade: Trade) -> None:
        """Bring the resting stop to the position's size and distance."""
        ledger = self.ctx.position(symbol)
        held = ledger.quantity
        stop = self.ctx.order(trade.stop_id) if trade.stop_id else None
        if not held:
            if stop is not None and stop.is_open:
                self.ctx.cancel(trade.stop_id)
            if not trade.entering:
                trade.entry_bar = 0
            return
        if trade.stop_id and stop is None:
            return
        distance = -self.params.stop_pct if held > 0 else self.params.stop_pct
        side = Side.SELL if held > 0 else Side.BUY
        trigger = self.ctx.instrument(symbol).round_trigger(side, ledger.entry_price * (ONE + distance))
        if stop is None or stop.state.is_final:
            self._place_stop(symbol, trade, held, trigger)
        elif stop.side is not side:
            self.ctx.cancel(trade.stop_id)
        elif stop.remaining != abs(held) or stop.trigger_price != trigger:
            stands = stop.held or stop.state in (OrderState.OPEN, OrderState.PARTIAL)
            if stands and stop.pending is Pending.NONE:
                self.ctx.amend(trade.stop_id, price=trigger, quantity=stop.filled + abs(held))
            self.ctx.timer.after(f"protect:{symbol}", _STOP_RETRY_S)

    def _place_stop(self, symbol: str, trade: Trade, held: Decimal, trigger: Decimal) -> None:
        wait_ms = trade.stop_wait_until - self.ctx.now_ms()
        if wait_ms > 0:
            self.ctx.timer.after(f"protect:{symbol}", wait_ms / 1000)
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

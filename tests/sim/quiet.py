"""What is looked at once the faults are over and nobody trades: everything must be known, agree, and go on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from engine.io.database import JournalDamaged
from engine.kernel.anomaly import AnomalyKind
from engine.kernel.clock import NS_PER_S, Clock, sleep
from engine.kernel.errors import CtosError, RiskReject
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.state_digest import replay, state_digest
from engine.runtime.trading_state import TradingMode
from tests.sim.bot import NAME
from tests.sim.life import Life, Place
from tests.sim.report import Report
from tests.sim.truth import differences, settled

SETTLE_S = 90.0
"""How long after the last fault everything must agree, the waits of the resolver included."""
_LOOK_S = 1.03
"""Between two looks: not in step with what strategies save each second, or the disk would seem busy all the time."""
_PATIENCE_S = 45.0
"""After so long what works by itself is taken back: closing softly may take hours."""
_STALE_S = 30
"""A book may lose its line once more: it was opened while the venue was gone."""
_REPLAY_EVERY = 4
"""A replay of the whole journal after every so many rounds."""


class Quiet:
    """Compares an engine with its venue, and lets it go on.

    Args:
        place: Where it lives.
        clock: Time.
        report: Takes counts.
    """

    def __init__(self, place: Place, clock: Clock, report: Report) -> None:
        self._place = place
        self._clock = clock
        self._report = report
        self._violated = place.on_violation

    async def judge(self, life: Life, began_ns: int) -> None:
        """Stop the bot, wait until everything is known, compare, release what is halted, and trade again."""
        place, engine = self._place, life.engine
        life.call(life.rest)
        trouble = ["not looked yet"]
        while trouble:
            await sleep(self._clock, _LOOK_S)
            waited_s = (self._clock.now_ns() - began_ns) / NS_PER_S
            open_work = [item.handle for item in engine.active_work()]
            if _PATIENCE_S < waited_s <= _PATIENCE_S + _LOOK_S:
                for handle in open_work:
                    life.call(engine.end, handle)
            waiting = (
                settled(engine, place.symbols)
                or (f"work {open_work[0]} goes on" if open_work else "")
                or self._drifts(life)
                or ("the disk is busy" if life.disk.is_busy else "")
            )
            trouble = [f"I15: {waiting}"] if waiting else differences(engine, place.truth, place.emulator)
            trouble = trouble or list(life.claims.troubles())
            if trouble and waited_s > SETTLE_S:
                self._violated(f"{waited_s:.0f} s after the faults ended: {'; '.join(trouble)}")
        if self._report.rounds % _REPLAY_EVERY == 0:
            self._check_replay(life)
        place.trace.note(f"agreed after {(self._clock.now_ns() - began_ns) / NS_PER_S:.0f} s")
        if engine.risk.is_halted:
            await self._confirmed(life)
            await self._check_halt(life)
        elif engine.trading.mode is not TradingMode.ARMED:
            self._report.counts[f"found {engine.trading.mode.value}"] += 1
            await self._rearm(life)
        symbol = self._fullest(life)
        if blocked := life.monitor.entry_block(NAME, symbol):
            self._report.counts["blocked by the monitor"] += 1
            place.trace.note(f"no order can be given: {blocked}")
        else:
            life.call(life.release)
            await self._check_liveness(life, symbol)
        life.call(life.go_on)

    def _drifts(self, life: Life) -> str:
        """Return which position the monitor holds for wrong; where it corrects itself, the rest is a person's."""
        if self._place.beside.correction == "on":
            return ""
        drifts = (one for one in life.monitor.anomalies.active() if one.kind == AnomalyKind.POSITION_DRIFT)
        return next((f"{one.severity} {one.text}" for one in drifts), "")

    def _check_replay(self, life: Life) -> None:
        """The journal alone must lead to the state that the engine has."""
        core = life.engine.core
        live = state_digest(core.state)
        try:
            replayed = replay(life.journal, life.engine.account.key, life.clock)
        except JournalDamaged as error:
            self._violated(f"I16: {error}")
            return
        if replayed.digest != live:
            self._violated(
                f"I16: {replayed.records} records lead to {replayed.digest[:12]}, the engine has {live[:12]}"
            )

    async def _confirmed(self, life: Life) -> None:
        """The report of a halt must come to an end; after "too many requests" the rate is halved for a minute."""
        for _ in range(80):
            report = life.engine.panic_switch.report
            if report is not None and report.confirmed:
                return
            await sleep(self._clock, 1.0)
        self._violated(f"I7: the halt is not confirmed in quiet: {'no report' if report is None else report.text}")

    async def _check_halt(self, life: Life) -> None:
        """Nothing of ours but stops and later reductions by hand may rest; then the operator releases the halt."""
        if resting := life.claims.resting(life.engine.trading.status.since_ns):
            self._violated(f"I7: halted, but {resting[0].client_id} still rests")
        await self._rearm(life)

    async def _rearm(self, life: Life) -> None:
        """Release a halt or a restriction, as the operator does who finds everything in order."""
        for patience_s in range(40, -1, -1):  # what the venue holds is asked for every 30 s
            try:
                if life.engine.trading.mode is not TradingMode.DISARMED:
                    life.call(life.engine.rearm, "simulation", "looked at it")
                life.call(life.engine.arm, "simulation")
                return
            except CtosError as error:
                if not patience_s:
                    self._violated(f"I15: it cannot be armed again: {error}")
            await sleep(self._clock, 1.0)

    def _fullest(self, life: Life) -> str:
        """Return the perpetual of which the bot holds most: what is full there can still be reduced."""
        return max(self._place.perps, key=lambda name: abs(life.engine.portfolio.ledger(NAME, name).cost))

    async def _check_liveness(self, life: Life, symbol: str) -> None:
        """An order, far from the touch, must reach the venue and go again."""
        engine = life.engine
        life.call(engine.cancel_all, None, NAME)
        await self._gone(life)
        instrument, quote = engine.instrument(symbol), engine.market.quote(symbol)
        if quote is None:
            self._violated(f"I15: {symbol} has no quote in quiet")
            return
        own = engine.portfolio.ledger(NAME, symbol).quantity
        side = Side.SELL if own > 0 else Side.BUY
        price = instrument.price_from_float(quote.bid * 0.99 if side is Side.BUY else quote.ask * 1.01)
        lots = int(Decimal(100) / price / instrument.lot_size) + 1
        quantity = max(lots * instrument.lot_size, instrument.min_quantity)
        reduces = abs(own) >= quantity
        client_id = await self._submitted(life, NAME, symbol, side, OrderType.LIMIT, quantity, price, None, reduces)
        if not client_id:
            return
        await self._expect(life, client_id, OrderState.OPEN)
        life.call(engine.cancel, client_id)
        await self._expect(life, client_id, OrderState.CANCELED)

    async def _submitted(self, life: Life, *order: Any) -> str:
        """Return the client id of an order that is given, "" where no order can be but for a good reason."""
        for patience_s in range(_STALE_S, -1, -1):
            try:
                return life.call(life.engine.submit, *order)
            except RiskReject as error:
                if error.rule == "max_notional_usd" and self._place.beside.spot and not order[-1]:
                    self._report.counts["full of spot"] += 1  # which this order does not reduce
                    return ""
                if error.rule != "stale_data" or not patience_s:
                    self._violated(f"I15: no order can be given in quiet: {error}")
                    return ""
            except CtosError as error:
                self._violated(f"I15: no order can be given in quiet: {error}")
                return ""
            await sleep(self._clock, 1.0)
        raise AssertionError("patience ends in the loop")

    async def _gone(self, life: Life) -> None:
        """Every order of the bot that is cancelled must end; one on its way still counts against the limits."""
        for _ in range(100):
            if not life.engine.tracker.working(instance=NAME):
                return
            await sleep(self._clock, 0.1)
        self._violated("I15: what is cancelled in quiet is not gone after 10 s")

    async def _expect(self, life: Life, client_id: str, state: OrderState) -> None:
        for _ in range(100):
            order = life.engine.tracker.get(client_id)
            if order is not None and order.state is state:
                return
            await sleep(self._clock, 0.1)
        self._violated(f"I15: {client_id} is {order.state.value if order else 'gone'}, not {state.value}, after 10 s")

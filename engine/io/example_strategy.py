"""An example of a strategy of your own: buys a dip, sells the rebound.

It keeps one post-only buy order below the middle of the market. When the buy has filled, it keeps one post-only sell
order above the entry price. Copy this file, change `name`, and start it in the console with `run NAME btc`.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from engine.kernel.errors import BelowMinimum, Paused
from engine.kernel.orders import Fill, Order, Side
from engine.kernel.strategy import Params, Purpose, Strategy

BP = Decimal("0.0001")


class DipBuyerParams(Params):
    """Parameters; the description is shown to whoever starts the strategy."""

    amount: Decimal = Field(Decimal(100), gt=0, description="size of the buy order, USD")
    dip_bp: Decimal = Field(Decimal(20), gt=0, le=5000, description="buy this far below the middle, basis points")
    rebound_bp: Decimal = Field(Decimal(20), gt=0, le=5000, description="sell this far above the entry, basis points")
    requote_s: float = Field(15, ge=1, le=3600, description="seconds between looks at the price")


class DipBuyer(Strategy[DipBuyerParams]):
    """One buy order below the market, one sell order above the entry."""

    name = "dip_buyer"
    title = "Buys a dip, sells the rebound"
    params_model = DipBuyerParams

    def on_start(self, reason: str) -> None:
        """Begin: look at once, then at regular times."""
        self.ctx.timer.every("look", self.params.requote_s)
        self._look_all()

    def on_timer(self, name: str, payload: object) -> None:
        """Look again, so that the buy order follows the market."""
        self._look_all()

    def on_fill(self, fill: Fill) -> None:
        """A buy was filled: offer the coins; a sell was filled: bid again."""
        self._look(fill.symbol)

    def on_order(self, order: Order) -> None:
        """Say why an order was refused; the next look tries again."""
        if order.error:
            self.ctx.why(f"{order.side.value} refused: {order.reason}")

    def _look_all(self) -> None:
        for symbol in self.symbols:
            self._look(symbol)

    def _look(self, symbol: str) -> None:
        middle = self.ctx.price(symbol)
        if middle is None or self.ctx.is_stale(symbol):
            self.ctx.why("waiting for prices")
            return
        held = self.ctx.position(symbol)
        if held.quantity > 0:
            self._keep(
                symbol, Side.SELL, max(middle, held.entry_price) * (1 + self.params.rebound_bp * BP), held.quantity
            )
        else:
            self._keep(symbol, Side.BUY, middle * (1 - self.params.dip_bp * BP), None)

    def _keep(self, symbol: str, side: Side, price: Decimal, quantity: Decimal | None) -> None:
        """Have exactly one order on this side, and none on the other."""
        wanted = self.ctx.instrument(symbol).round_price(side, price)
        working = self.ctx.orders(symbol)
        for order in working:
            if order.side is not side or (side is Side.BUY and order.price != wanted and not order.filled):
                self.ctx.cancel(order.client_id)
        if any(order.side is side for order in working):
            return
        try:
            if side is Side.BUY:
                self.ctx.buy(symbol, amount=self.params.amount, price=wanted)
            else:
                self.ctx.sell(symbol, quantity=quantity, price=wanted, reduce_only=True, purpose=Purpose.EXIT)
        except Paused:
            self.ctx.why("paused: no new entries")
        except BelowMinimum as error:
            self.ctx.why(str(error))
        else:
            self.ctx.why("")

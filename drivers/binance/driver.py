"""Binance as a driver: USD-M futures for perpetuals, spot for pairs, behind one account.

One balance a currency covers both wallets. A key that only one of the two interfaces accepts trades there alone.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

from drivers.binance import funding, market_data
from drivers.binance.fills import AccountFills, FillPages, TradedSymbols
from drivers.binance.hosts import endpoints
from drivers.binance.keyed import KeyedAccount
from drivers.binance.listing import funding_periods, instruments
from drivers.binance.orders import OrderNotes, Orders
from drivers.binance.private import PrivateData
from drivers.binance.products import PERP as FUTURES
from drivers.binance.products import SPOT as COINS
from drivers.binance.public import PublicData
from drivers.binance.rest import Rest
from drivers.binance.signer import RECV_WINDOW_MS, Params
from drivers.binance.symbols import arch
from drivers.binance.wire import ExchangeInfo, FundingInfoRow
from drivers.transport.asking import asking
from drivers.transport.funding import FundingWatch, after_each_hour
from drivers.transport.setup import VenueSetup
from drivers.transport.venue_driver import Topic, VenueDriver
from engine.kernel.account import Balance, KeyRights, Position
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError, InvalidOrder, Unsupported
from engine.kernel.instruments import Instrument, InstrumentKind
from engine.kernel.links import LinkStatus
from engine.kernel.market import Bar
from engine.kernel.orders import Fill, OrderRequest, OrderUpdate
from engine.kernel.syscalls import BookLevels, Fees, PriceNow

PERP, SPOT = InstrumentKind.PERP, InstrumentKind.SPOT
LIVE_WITHIN_S = 15.0
WARM_EVERY_S = 7.0
"""How often a quiet connection is used, so that an order finds it open: just before it would count as stale."""
_COINS_ASKED_NS = 600 * NS_PER_S
"""How often executions are looked for in pairs of coins that are held but were never seen to trade."""
_COIN_QUOTES = ("USDT", "USDC")


class BinanceDriver(VenueDriver):
    """One Binance account.

    The dead-man timer covers futures orders only: spot has none.

    Args:
        setup: What the driver needs from outside.
    """

    def __init__(self, setup: VenueSetup) -> None:
        super().__init__(setup, arch())
        addresses = endpoints(setup.hosts)
        self._rests = {
            PERP: Rest(FUTURES, addresses.perp_rest, setup),
            SPOT: Rest(COINS, addresses.spot_rest, setup),
        }
        for rest in self._rests.values():
            self.follow_health(rest.limiter, rest.time, RECV_WINDOW_MS)
        self._by_native: dict[tuple[InstrumentKind, str], Instrument] = {}
        self._strange: set[str] = set()
        self._account = KeyedAccount(self._rests, setup, self.require_keys, self._find, self._say_once)
        self._notes = OrderNotes()
        self._fills = AccountFills(self._pages_of, TradedSymbols(setup.store), self._notes, setup.clock)
        self._pages = {kind: FillPages(rest, self._notes) for kind, rest in self._rests.items()}
        self._orders: dict[InstrumentKind, Orders] = {}
        self._timed_until_ns: dict[str, int] = {}
        self._coins_asked_ns: int | None = None
        self._public = PublicData(
            self._rests,
            addresses,
            setup,
            self._find,
            self.on_market,
            self.on_raw,
            self.books.lose,
            self.in_background,
        )
        self._funding = FundingWatch(
            self.venue,
            partial(funding.payments, self._rests[PERP], partial(self._listed, PERP)),
            setup,
            self._rests[PERP].time.now_ms,
            self.on_account,
            lambda: self.streams.account_heard,
            after_each_hour,
            reach_days=funding.REACH_DAYS,
        )
        self._private = PrivateData(
            self._rests,
            addresses,
            setup,
            self._find,
            self._account.leverages,
            self._account.wallets,
            self._notes,
            self._fills,
            self.on_account,
            self.in_background,
        )

    # Connecting.

    @asking
    async def load_instruments(self) -> list[Instrument]:
        """Ask both interfaces for what they list, and for their request budgets."""
        perp, spot = self._rests[PERP], self._rests[SPOT]
        await asyncio.gather(perp.http.start(), spot.http.start())
        listed = await perp.get("exchangeInfo", {}, ExchangeInfo, weight=1)
        coins, periods = await asyncio.gather(
            spot.get("exchangeInfo", {"showPermissionSets": "false"}, ExchangeInfo, weight=20),
            perp.get("fundingInfo", {}, list[FundingInfoRow], weight=1, bucket="funding"),
        )
        perp.take_limits(listed.rateLimits)
        spot.take_limits(coins.rateLimits)
        found = instruments(listed.symbols, PERP, funding_periods(periods)) + instruments(coins.symbols, SPOT, {})
        self._by_native = {(each.kind, each.native): each for each in found}
        return found

    def on_unlisted(self, instrument: Instrument) -> None:
        """Understand what the account still tells of it."""
        self._by_native.setdefault((instrument.kind, instrument.native), instrument)

    async def open(self) -> None:
        """Measure the time, open the streams, and with keys find out what they may use."""
        await self._keep_time()
        await self._public.start(LIVE_WITHIN_S)
        if self.setup.credentials is None:
            return
        await self._account.try_key()
        kinds = self._account.usable()
        await self._private.start(kinds, LIVE_WITHIN_S)
        for kind in kinds:
            rest = self._rests[kind]
            rest.http.keep_warm(rest.server_time, WARM_EVERY_S)
        self._take_orders()
        if PERP in kinds:
            self.lasting(self._funding.run, "funding payments")

    async def open_requests(self) -> None:
        """Measure the time and find out which interfaces the key may use; orders go by REST without the sockets."""
        await self._keep_time()
        await self._account.try_key()
        self._take_orders()

    async def _keep_time(self) -> None:
        await asyncio.gather(*(rest.time.sync() for rest in self._rests.values()))
        for rest in self._rests.values():
            rest.time.start()

    def _take_orders(self) -> None:
        for kind, rest in self._rests.items():
            listed = partial(self._listed, kind)
            self._orders[kind] = Orders(rest, self._notes, listed, self._private.trade_sockets.get(kind))

    async def close(self) -> None:
        """Disconnect."""
        await self._private.stop()
        await self._public.stop()
        for rest in self._rests.values():
            rest.time.stop()
            await rest.http.stop()

    def links(self) -> list[LinkStatus]:
        """Return the state of every connection."""
        perp, spot = self._rests[PERP].http.status, self._rests[SPOT].http.status
        spot = LinkStatus("rest spot", spot.state, spot.since_ns, spot.rtt_ms, spot.detail)
        return [perp, spot, *self._public.links(), *self._private.links()]

    def clock_offset_ms(self) -> float | None:
        """Return the venue's time less ours, in ms: of the interface that is furthest off; None until it was asked."""
        offsets = [rest.time.known_offset_ms for rest in self._rests.values()]
        return max((offset for offset in offsets if offset is not None), key=abs, default=None)

    # Public streams.

    def follow(self, topic: Topic) -> None:
        """Subscribe to a topic."""
        self._public.follow(topic, self.instrument(topic.symbol))

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribe from a topic."""
        self._public.unfollow(topic, self.instrument(topic.symbol))

    def resync(self, symbol: str, reason: str) -> None:
        """Ask for a symbol's book anew."""
        self._public.resync(self.instrument(symbol))

    # Questions about the market.

    @asking
    async def get_price_now(self, symbol: str) -> PriceNow:
        """Return the current prices."""
        instrument = self.instrument(symbol)
        return await market_data.price_now(self._rests[instrument.kind], instrument)

    @asking
    async def get_orderbook(self, symbol: str, level: int = 20) -> BookLevels:
        """Return the best `level` levels of each side."""
        instrument = self.instrument(symbol)
        return await market_data.order_book(self._rests[instrument.kind], instrument, level)

    @asking
    async def get_klines(
        self,
        symbol: str,
        timeframe: str,
        limit: int = 500,
        start_time: int | None = None,
        end_time: int | None = None,
    ) -> list[Bar]:
        """Return candles, oldest first; with a start the first `limit`, else the last."""
        instrument = self.instrument(symbol)
        rest = self._rests[instrument.kind]
        return await market_data.klines(rest, instrument, timeframe, limit, start_time, end_time)

    @asking
    async def fees(self, symbol: str) -> Fees:
        """Return fees, the account's own where there are keys, and funding."""
        instrument = self.instrument(symbol)
        maker, taker = await self._account.commission(instrument)
        if not instrument.is_perp:
            return Fees(symbol, maker, taker, None, None, None, None)
        told = await market_data.premium(self._rests[PERP], instrument)
        rate = Decimal(told.lastFundingRate) if told.lastFundingRate else None
        period_h = instrument.funding_period_h
        per_hour = None if rate is None else rate / period_h
        return Fees(symbol, maker, taker, rate, per_hour, period_h, told.nextFundingTime or None)

    @asking
    async def server_time(self) -> int:
        """Return the futures interface's time in ms."""
        return await self._rests[PERP].server_time()

    # Orders.

    async def submit(self, request: OrderRequest) -> OrderUpdate:
        """Send a new order; see `OrderCalls`."""
        instrument = self.instrument(request.symbol)
        orders = self._orders_of(instrument.kind)
        self._fills.is_active(instrument.symbol)
        return await orders.submit(instrument, request)

    async def change(self, order_id: str, symbol: str, price: Decimal | None, quantity: Decimal | None) -> OrderUpdate:
        """Change a working futures order; see `Orders.change`."""
        instrument = self.instrument(symbol)
        return await self._orders_of(instrument.kind).change(instrument, order_id, price, quantity)

    async def withdraw(self, order_id: str, symbol: str) -> OrderUpdate:
        """Cancel a working order."""
        instrument = self.instrument(symbol)
        return await self._orders_of(instrument.kind).withdraw(instrument, order_id)

    @asking
    async def look_up(self, order_id: str, symbol: str) -> OrderUpdate:
        """Return what became of an order, open or closed."""
        instrument = self.instrument(symbol)
        return await self._orders_of(instrument.kind).look_up(instrument, order_id)

    @asking
    async def get_open_orders(self, symbol: str | None = None) -> list[OrderUpdate]:
        """Return the working orders, oldest first."""
        if symbol is not None:
            instrument = self.instrument(symbol)
            return await self._orders_of(instrument.kind).open_orders(instrument)
        parts = await asyncio.gather(*(self._orders_of(kind).open_orders(None) for kind in self._account.usable()))
        return sorted((order for part in parts for order in part), key=lambda order: order.ts)

    async def cancel_all_after(self, seconds: int) -> None:
        """Let the venue cancel futures orders unless called again within `seconds`; 0 switches it off.

        The timer is a symbol's own: it is set for those with working orders, so that an order in a new symbol is
        covered from the next call on, and switched off for those that have none any more: else it would cancel the
        next order there. Spot has no such timer.

        Raises:
            CtosError: A symbol's timer could not be set or switched off; all symbols were tried.
        """
        if seconds < 0:
            raise InvalidOrder(f"cancel_all_after: {seconds} must not be negative")
        rest = self._account.rest(PERP)
        now_ns = self.clock.now_ns()
        running = {symbol for symbol, until_ns in self._timed_until_ns.items() if until_ns > now_ns}
        self._timed_until_ns = {symbol: self._timed_until_ns[symbol] for symbol in running}
        working = self._notes.working_symbols()
        failures: list[CtosError] = []
        for symbol in sorted(working) + sorted(running - working):
            try:
                instrument = self.instrument(symbol)
                if instrument.is_perp:
                    await self._set_timer(rest, instrument, seconds if symbol in working else 0)
            except CtosError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _set_timer(self, rest: Rest, instrument: Instrument, seconds: int) -> None:
        if seconds:  # noted first, for longer than it can run: it may be set though no answer comes
            self._timed_until_ns[instrument.symbol] = self.clock.now_ns() + 2 * seconds * NS_PER_S
        params: Params = {"symbol": instrument.native, "countdownTime": seconds * 1000}
        await rest.signed("POST", "countdownCancelAll", params, dict[str, Any], weight=10)
        if not seconds:
            self._timed_until_ns.pop(instrument.symbol, None)

    # The account.

    @asking
    async def get_fills(self, symbol: str | None = None, since: int | None = None) -> list[Fill]:
        """Return executions, oldest first; `since` in ms. The venue keeps six months."""
        if symbol is not None:
            instrument = self.instrument(symbol)
            self._account.rest(instrument.kind)
            return await self._pages_of(instrument).read(instrument, since)
        usable = self._account.usable()
        reachable = {name: each for name, each in self.instruments.items() if each.kind in usable}
        return await self._fills.read(reachable, self._coin_symbols(), since)

    def _coin_symbols(self) -> list[str]:
        """Return pairs of the coins that are held, from time to time: they may have been bought elsewhere."""
        now_ns = self.clock.now_ns()
        if self._coins_asked_ns is not None and now_ns - self._coins_asked_ns < _COINS_ASKED_NS:
            return []
        self._coins_asked_ns = now_ns
        return [f"{coin}-{quote}" for coin in self._account.wallets.coins(SPOT) for quote in _COIN_QUOTES]

    @asking
    async def fetch_balance(self, currency: str | None = None) -> list[Balance]:
        """Return balances over both wallets, in order of currency."""
        balances = await self._account.balances()
        return [balance for balance in balances if currency is None or balance.currency == currency]

    @asking
    async def get_position(self, symbol: str | None = None) -> list[Position]:
        """Return open positions, in order of name."""
        instrument = None if symbol is None else self.instrument(symbol)
        self.require_keys()
        if instrument is not None and not instrument.is_perp:
            return []
        native = None if instrument is None else instrument.native
        found = await self._account.positions(native, partial(self._listed, PERP))
        for position in found:
            self._fills.is_active(position.symbol)
        return found

    @asking
    async def set_leverage(self, symbol: str, leverage: Decimal) -> Decimal:
        """Set and return the leverage of a perpetual."""
        instrument = self.instrument(symbol)
        if not instrument.is_perp:
            raise Unsupported(f"{symbol}: spot has no leverage")
        return await self._account.set_leverage(instrument, leverage)

    def leverage(self, symbol: str) -> Decimal | None:
        """Return the leverage of an instrument as last heard of, 1 on spot."""
        return self._account.leverages.get(symbol) if self.instrument(symbol).is_perp else Decimal(1)

    @asking
    async def check_account(self) -> list[str]:
        """Return what forbids trading on this account, with remedies."""
        return await self._account.obstacles()

    @asking
    async def key_rights(self) -> KeyRights:
        """Return what the venue says the key may do; the answer is good for some minutes."""
        return await self._account.rights()

    # What the rest stands on.

    def _find(self, kind: InstrumentKind, native: str) -> Instrument | None:
        return self._by_native.get((kind, native))

    def _listed(self, kind: InstrumentKind, native: str) -> Instrument | None:
        """Return the instrument of a native symbol; what is not listed is said once and left out."""
        found = self._by_native.get((kind, native))
        if found is None:
            self._say_once(
                f"binance: {native} ({kind.value}) cannot be traded here; orders and positions in it are left out"
            )
        return found

    def _say_once(self, text: str) -> None:
        if text not in self._strange:
            self._strange.add(text)
            self.log("warning", text)

    def _pages_of(self, instrument: Instrument) -> FillPages:
        return self._pages[instrument.kind]

    def _orders_of(self, kind: InstrumentKind) -> Orders:
        self._account.rest(kind)
        return self._orders[kind]

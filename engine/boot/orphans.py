"""Cancels the orders of an engine that is gone, and looks until the venue shows none of them.

Only the orders that the engine told of are touched. What comes late is caught by looking twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.transport.setup import Credentials, MemoryStore
from engine.boot.venues import STATE_TABLE, make_driver, venue_setup
from engine.boot.watchdog import another_engine, is_relieved
from engine.io.database import journal_error, open_reader
from engine.io.paths import Paths
from engine.io.secrets import process_redactor
from engine.io.settings import Config, VenueConfig
from engine.io.watchdog_log import WatchdogLog
from engine.kernel.clock import NS_PER_S, LoopClock, Rng, sleep
from engine.kernel.errors import CtosError, JournalError, OrderNotFound
from engine.kernel.orders import OrderState, OrderUpdate
from engine.kernel.secret import Secret

if TYPE_CHECKING:
    from drivers.transport.venue_driver import VenueDriver
    from engine.boot.watchdog import Feed

LIMIT_NS = 600 * NS_PER_S
LOOK_GAP_S = 2.0
LOOKS = 2
AGAIN_S = 5.0


def cancel_orphans(feed: Feed) -> None:
    """Cancel what the engine told of; ends when that is confirmed, after ten minutes, or when an engine is there."""
    log = _open_log(feed)
    try:
        asyncio.run(_cancel(feed, log))
    except Exception as error:
        log.write("error", f"failed and could not confirm that nothing rests: {type(error).__name__}: {error}")
        raise


def give_up(feed: Feed, why: str) -> None:
    """Say that orders were left as they are."""
    _open_log(feed).write("error", f"cancelled none of {len(feed.orders)} orders of a crashed engine: {why}")


def _open_log(feed: Feed) -> WatchdogLog:
    for name in ("key", "secret", "passphrase"):
        if feed.charge.get(name):
            process_redactor.add(Secret(feed.charge[name]))
    return WatchdogLog(Path(feed.charge["log"]), process_redactor.clean)


async def _cancel(feed: Feed, log: WatchdogLog) -> None:
    await _Orphans(feed, log, LoopClock(asyncio.get_running_loop())).cancel()


class _Orphans:
    """One engine's orders, while they are being cancelled."""

    def __init__(self, feed: Feed, log: WatchdogLog, clock: LoopClock) -> None:
        self._feed = feed
        self._charge = feed.charge
        self._log = log
        self._orders = dict(feed.orders)
        self._client_ids = {venue_id: client_id for client_id, (_, venue_id) in self._orders.items() if venue_id}
        self._beats = feed.beats
        self._clock = clock
        self._end_ns = clock.now_ns() + LIMIT_NS
        self._driver: VenueDriver | None = None
        self._tried = False
        self._clear_looks = 0
        self._canceled: dict[str, str] = {}

    async def cancel(self) -> None:
        """Go on until it is done or none of our affairs any more."""
        count = len(self._orders)
        text = f"the engine (process {self._charge['engine']}) {self._how()}"
        self._log.write("info", f"{text}; cancelling {count} of its orders at {self._charge['venue']}")
        try:
            while self._clear_looks < LOOKS:
                why = self._why_stop()
                if why:
                    self._log.write("warn", f"stopped, {why}; {self._so_far()}")
                    return
                if self._clock.now_ns() > self._end_ns:
                    text = f"could not confirm within {LIMIT_NS // NS_PER_S} s that nothing rests, look at the venue"
                    self._log.write("error", f"{text}; {self._so_far()}")
                    return
                await sleep(self._clock, await self._round())
        finally:
            if self._driver is not None:
                await self._driver.stop()
        self._log.write("warn", f"{self._so_far()}; the venue shows none of its orders, looked at twice")

    def _how(self) -> str:
        if self._feed.is_left:
            return "has ended before the venue had confirmed that they are cancelled"
        how = "has ended without a word" if self._feed.engine_is_gone else "stands still"
        return f"{how} for {self._charge['patience_s']:g} s"

    def _is_minded(self) -> bool:
        """Return whether another engine of this account is there: it takes the orders over unless its start fails."""
        return another_engine(self._charge) is not None

    async def _round(self) -> float:
        """Do what can be done now; return after how many seconds to go on."""
        if self._is_minded():
            self._log.write("info", "another engine of this account starts; waiting for it to take the orders over")
            self._clear_looks = 0
            return LOOK_GAP_S
        try:
            if self._driver is None:
                self._driver = await _reach(self._charge, self._clock, self._log)
            if not self._tried:
                for client_id, (symbol, venue_id) in self._orders.items():
                    await self._withdraw(self._driver, client_id, symbol, venue_id or client_id)
                self._tried = True
            resting = [order for order in await self._driver.get_open_orders() if self._ours(order)]
            for order in resting:
                await self._withdraw(self._driver, self._ours(order), order.symbol, order.venue_order_id)
        except CtosError as error:
            self._clear_looks = 0
            self._log.write("info", f"{self._charge['venue']} cannot be asked, going on: {error}")
            return AGAIN_S
        self._clear_looks = 0 if resting else self._clear_looks + 1
        return LOOK_GAP_S if self._clear_looks < LOOKS else 0.0

    async def _withdraw(self, driver: VenueDriver, client_id: str, symbol: str, order_id: str) -> None:
        if self._why_stop() or self._is_minded():
            return
        try:
            update = await driver.withdraw(order_id, symbol)
        except OrderNotFound:
            return
        except CtosError as error:
            self._log.write("info", f"{symbol} {client_id} is not cancelled yet: {error}")
            return
        if update.state is not OrderState.FILLED and client_id not in self._canceled:
            self._canceled[client_id] = f"{symbol} {client_id}"
            text = f"cancelled {symbol} {client_id} (venue id {update.venue_order_id or 'not known'})"
            self._log.write("info", text, client_id)

    def _ours(self, order: OrderUpdate) -> str:
        """Return the client id of an order that the engine told of, nothing for anybody else's."""
        return order.client_id if order.client_id in self._orders else self._client_ids.get(order.venue_order_id, "")

    def _why_stop(self) -> str:
        """Return why the orders are none of our affairs any more."""
        feed = self._feed
        feed.read()
        if feed.is_over:
            return "the engine has ended in good order after all"
        if feed.beats > self._beats:
            return "the engine lives again"
        if is_relieved(self._charge):
            return "the watchdog of another engine is on duty by now"
        return ""

    def _so_far(self) -> str:
        names = ", ".join(self._canceled.values())
        return f"cancelled {len(self._canceled)} of {len(self._orders)} orders" + (f": {names}" if names else "")


async def _reach(charge: dict[str, Any], clock: LoopClock, log: WatchdogLog) -> VenueDriver:
    """Return the venue's driver, ready for requests; raises `CtosError`."""
    venue, passphrase = charge["venue"], charge.get("passphrase")
    config = Config.model_validate({"venues": {venue: VenueConfig.model_validate(charge["settings"])}})
    paths = Paths(Path(charge["config"]), Path(charge["state"]))
    credentials = Credentials(
        Secret(charge["key"]), Secret(charge["secret"]), Secret(passphrase) if passphrase else None
    )
    store = MemoryStore()
    try:
        _recall(paths.database, charge["owner"], store)
    except JournalError as error:
        log.write("info", f"orders without a venue id may not be found: {error}")
    rng = Rng.from_system()
    driver = make_driver(venue, venue_setup(venue, config, paths, clock, rng, store, credentials, _teller(log)))
    await driver.start_requests()
    return driver


def _recall(database: Path, owner: str, store: MemoryStore) -> None:
    """Take over what the engine's driver must not forget: bans, and under which ids the venue knows our orders."""
    reader = open_reader(database)
    try:
        sql = f"SELECT key, value FROM {STATE_TABLE} WHERE substr(key, 1, ?) = ?"
        for key, value in reader.execute(sql, (len(owner) + 1, f"{owner}/")):
            store.save(key[len(owner) + 1 :], bytes(value))
    except sqlite3.Error as error:
        raise journal_error(database, error) from error
    finally:
        reader.close()


def _teller(log: WatchdogLog) -> Any:
    def tell(level: str, text: str) -> None:
        if level in ("warning", "error"):
            log.write("info", text)

    return tell

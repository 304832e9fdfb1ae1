"""Is this account ready to trade: files, keys, rights, the account's settings, and one order there and back."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal

import msgspec

from engine.boot.calling import CallDesk
from engine.boot.fitness import day_of, withdraw_obstacle
from engine.boot.options import SystemOptions
from engine.boot.recovering import journal_note, verify_journal
from engine.boot.system import System, running
from engine.boot.venues import credentials_of, venue_arch, venue_config
from engine.io.audit import Record, audit_note, audit_path, verify
from engine.io.config import AccountEntry, Config, Paths, find_account, find_paths, load_accounts, load_config
from engine.io.logs import iso_time
from engine.kernel.account import KeyRights
from engine.kernel.errors import CtosError, OrderNotFound, StateLocked, StorageError, VenueError
from engine.kernel.instruments import Instrument, InstrumentStatus
from engine.kernel.orders import OrderType, OrderUpdate, Side
from engine.runtime.accounts import Mode
from engine.runtime.trading_state import TradingMode

PAPER = "paper"
AWAY = Decimal("0.04")
"""How far below the best bid the trial order rests: out of the market's reach, inside the venues' price bands."""

_LARGEST_TRIAL_USD = Decimal(250)


class Finding(msgspec.Struct, frozen=True):
    """One thing that was checked.

    Attributes:
        name: What was looked at.
        ok: Whether it is as it must be; None when it was not tried or cannot be told.
        detail: What was seen.
        advice: What to do about it.
    """

    name: str
    ok: bool | None
    detail: str
    advice: str = ""


class CheckTarget(msgspec.Struct, frozen=True):
    """The account that is checked, and what trading on it means."""

    paths: Paths
    config: Config
    entry: AccountEntry
    environment: str
    is_live: bool
    """Whether an order costs real money: live mode on the venue's live hosts."""


def find_target(options: SystemOptions) -> CheckTarget:
    """Return the account that the options mean.

    Raises:
        CtosError: A file is wrong, others may read it, or there is no such account.
    """
    paths = find_paths(options.config, os.environ)
    config = load_config(paths)
    entry = find_account(load_accounts(paths, config), options.account, options.exchange or config.exchange)
    if entry.venue == PAPER:
        return CheckTarget(paths, config, entry, PAPER, False)
    venue_arch(entry.venue)
    environment = venue_config(config, entry.venue).environment
    lowered = options.mode == Mode.PAPER or entry.mode != Mode.LIVE
    return CheckTarget(paths, config, entry, environment, not lowered and environment.startswith("live"))


async def check(target: CheckTarget, options: SystemOptions, trade: bool) -> AsyncGenerator[Finding, None]:
    """Yield what is found, one by one; `trade` says whether a trial order may be sent."""
    entry = target.entry
    yield Finding("files", True, f"ctos.yaml and accounts.yaml in {target.paths.config} can be read by nobody else")
    yield Finding("account", True, f"{entry.venue} {entry.index} ({entry.name}), {_money(target, options)}")
    journal = _journal(target.paths)
    yield journal
    if entry.venue != PAPER:
        for finding in _key_shape(entry):
            yield finding
    yield _audit(target, journal.ok is True)
    try:
        async with running(options) as system:
            yield Finding("connection", True, _connected(system))
            trading = _trading(system)
            yield trading
            async with aclosing(_check_account(system, entry)) as findings:
                async for finding in findings:
                    yield finding
            if not trading.ok:
                yield Finding("order", None, "no trial order was sent: a person has to release the account first")
            elif trade:
                async with aclosing(_round_trip(system)) as findings:
                    async for finding in findings:
                        yield finding
            else:
                advice = "add --live and type the account's name to send one small order, far from the market"
                yield Finding("order", None, "no trial order was sent: this account trades real money", advice)
    except CtosError as error:
        yield Finding("connection", False, str(error))


def _journal(paths: Paths) -> Finding:
    """Look at every page of the journal and replay it: it must lead to the state that the engine stored."""
    try:
        replays = verify_journal(paths)
    except StateLocked as error:
        return Finding("journal", None, str(error))
    except CtosError as error:
        return Finding("journal", False, str(error))
    count = sum(one.records for one in replays.values())
    digests = ", ".join(f"{account} {one.digest[:12]}" for account, one in replays.items())
    seen = f"{count} records replayed, all as stored: {digests}" if replays else "empty"
    return Finding("journal", True, f"{paths.database}: {seen}")


def _audit(target: CheckTarget, with_journal: bool) -> Finding:
    """Verify the account's audit before anything appends to it; `running` will put a broken one aside."""
    path = audit_path(target.paths.logs, target.entry.venue, target.entry.index)
    try:
        known = journal_note(target.paths, audit_note(path)) if with_journal else None
        last = verify(path, None if known is None else msgspec.json.decode(known, type=Record))
    except StorageError as error:
        advice = "find out who changed it; the engine, which this check starts as well, puts it aside as .broken"
        return Finding("audit", False, str(error), advice)
    return Finding("audit", True, f"{last.seq} records in {path}, an unbroken chain" if last.seq else "nothing yet")


def _money(target: CheckTarget, options: SystemOptions) -> str:
    if target.is_live:
        return "real money"
    if target.entry.venue == PAPER or options.mode == Mode.PAPER or target.entry.mode != Mode.LIVE:
        return "paper money"
    return f"{target.environment} money"


def _connected(system: System) -> str:
    links = ", ".join(f"{link.name} {link.state.value}" for link in system.driver.links())
    return f"{len(system.instruments)} instruments" + (f"; {links}" if links else "")


def _trading(system: System) -> Finding:
    """Tell of a halt or restriction that outlived the last run; it is a person's to release, and no fault."""
    trading = system.engine.trading
    status = trading.status
    if status.mode not in (TradingMode.HALTED, TradingMode.REDUCE_ONLY):
        return Finding("trading", True, "not halted; it comes up disarmed")
    since = f", since {iso_time(status.since_ns)}" if status.since_ns else ""
    name = system.account.name
    advice = f"compare positions and open orders with the venue, then in the console: rearm {name} REASON"
    return Finding("trading", None, f"{trading.describe()}{since}", advice)


def _key_shape(entry: AccountEntry) -> list[Finding]:
    """Compare the keys with what the venue's look like; nothing of them is shown."""
    if not entry.written:
        if entry.mode == Mode.LIVE:
            advice = (
                f"write key: and secret: below {entry.venue}.{entry.name} in accounts.yaml, as ${{NAME}} or encrypted"
            )
            return [Finding("keys", False, "no keys are configured for this live account", advice)]
        return [Finding("keys", None, "none configured, and paper needs none")]
    try:
        credentials = credentials_of(entry)
    except CtosError as error:
        return [Finding("keys", False, str(error))]
    assert credentials is not None
    findings = []
    for name, shape in venue_arch(entry.venue).credentials.items():
        secret = getattr(credentials, name)
        if secret is None:
            advice = f"add {name}: to {entry.where}"
            findings.append(Finding(f"keys: {name}", False, f"{entry.venue} needs it and it is missing", advice))
        elif re.fullmatch(shape.pattern, secret.reveal()) is None:
            advice = f"it should be {shape.form}; look for a cut or doubled copy, blanks and quotes"
            findings.append(Finding(f"keys: {name}", None, f"does not look like one of {entry.venue}", advice))
    return findings or [Finding("keys", True, "look like the venue's")]


async def _check_account(system: System, entry: AccountEntry) -> AsyncGenerator[Finding, None]:
    driver = system.driver
    if system.account.mode is Mode.LIVE:
        rights = await driver.key_rights()
        note = f" ({rights.note})" if rights.note else ""
        if rights.trade is False:
            yield Finding("right to trade", False, f"the key may not trade{note}", "make a key with the right to trade")
        else:
            yield Finding("right to trade", rights.trade, "yes" if rights.trade else f"the venue does not say{note}")
        yield _right_to_withdraw(rights, entry, day_of(system.clock))
    obstacles = await driver.check_account()
    for text in obstacles:
        yield Finding("settings", False, text)
    if not obstacles:
        yield Finding("settings", True, "position and margin mode are fit for trading")
    balances = [balance for balance in await driver.fetch_balance() if balance.total]
    shown = ", ".join(f"{balance.total.normalize():f} {balance.currency}" for balance in balances[:5])
    if balances:
        yield Finding("balance", True, shown)
    else:
        yield Finding("balance", None, "the account is empty", "deposit before trading")


def _right_to_withdraw(rights: KeyRights, entry: AccountEntry, today: datetime.date) -> Finding:
    """Judge as arming does: what forbids it is a fault, what was accepted is not."""
    name, note = "no right to withdraw", f" ({rights.note})" if rights.note else ""
    obstacle = withdraw_obstacle(rights, entry, today)
    if obstacle is not None:
        advice = "whoever gets a key that may withdraw can take the money"
        return Finding(name, False, f"{obstacle}{note}", advice)
    if rights.withdraw:
        advice = "make a key without it: whoever gets this key can take the money"
        return Finding(name, None, f"the key may withdraw; accepted until {entry.withdraw_ok_until}{note}", advice)
    if rights.withdraw is None:
        return Finding(name, True, f"confirmed on {entry.no_withdraw_confirmed}: the venue does not say{note}")
    return Finding(name, True, f"the key may not withdraw{note}")


async def _round_trip(system: System) -> AsyncGenerator[Finding, None]:
    """Place one small order far from the market, read it back, change it, cancel it."""
    desk = CallDesk(system)
    try:
        instrument = _trial_instrument(system)
    except CtosError as error:
        yield Finding("order", False, f"no instrument for a trial order: {error}")
        return
    try:
        system.engine.arm("check", 60)
        price, quantity = await _trial_terms(system, instrument)
        placed: OrderUpdate = await desk.call(
            "place_order",
            {
                "symbol": instrument.symbol,
                "side": Side.BUY,
                "order_type": OrderType.POST_ONLY,
                "size": quantity,
                "price": price,
            },
        )
    except CtosError as error:
        yield Finding("order: place", False, str(error))
        return
    what = f"buy {quantity.normalize():f} {instrument.symbol} at {price.normalize():f}"
    book, symbol = system.engine.tracker, instrument.symbol
    others = {order.client_id for order in book.working(symbol)} - {placed.client_id}
    try:
        yield Finding("order: place", True, f"{what}, {placed.state.value}")
        yield await _read_back(system, placed.client_id, instrument, price)
        yield await _amend(desk, placed.client_id, instrument, price - instrument.tick_size)
        ours = [order.client_id for order in book.working(symbol) if order.client_id not in others]
        order_id = ours[-1] if ours else placed.client_id
        yield await _cancel(desk, order_id, symbol)
        left = [order.client_id for order in await system.driver.get_open_orders(symbol)]
        if order_id in left:
            advice = f"cancel it by hand: ctos-tui call revoke_order order_id={order_id} symbol={symbol}"
            yield Finding("order: gone", False, "the trial order still rests", advice)
        else:
            yield Finding("order: gone", True, "the venue lists it no more")
    finally:
        for order in book.working(symbol):  # whoever reads may have gone in the middle of it
            if order.client_id not in others:
                await _cancel(desk, order.client_id, symbol)


async def _read_back(system: System, order_id: str, instrument: Instrument, price: Decimal) -> Finding:
    try:
        read = await system.driver.get_order_status(order_id, instrument.symbol)
    except CtosError as error:
        return Finding("order: read back", False, str(error))
    is_same = read.price == price and read.side is Side.BUY
    return Finding("order: read back", is_same, f"{read.state.value} at {read.price}")


async def _amend(desk: CallDesk, order_id: str, instrument: Instrument, price: Decimal) -> Finding:
    try:
        amended = await desk.call("amend_order", {"order_id": order_id, "symbol": instrument.symbol, "price": price})
    except CtosError as error:
        return Finding("order: amend", False, str(error))
    how = "" if amended.client_id == order_id else ", by a new order in its place"
    return Finding("order: amend", amended.price == price, f"now at {amended.price}{how}")


async def _cancel(desk: CallDesk, order_id: str, symbol: str) -> Finding:
    advice = f"cancel it by hand: ctos-tui call revoke_order order_id={order_id} symbol={symbol}"
    try:
        canceled: OrderUpdate = await desk.call("revoke_order", {"order_id": order_id, "symbol": symbol})
    except OrderNotFound:
        return Finding("order: cancel", False, "the order was gone before it was cancelled", "look at get_fills")
    except CtosError as error:
        return Finding("order: cancel", False, str(error), advice)
    return Finding(
        "order: cancel", canceled.state.is_final, canceled.state.value, "" if canceled.state.is_final else advice
    )


def _trial_instrument(system: System) -> Instrument:
    """Return the first of the watched or best-known instruments that trades."""
    quote = system.account.default_quote
    watched = [system.resolve(text).symbol for text in system.config.console.watchlist]
    for name in (*watched, f"BTC-{quote}-PERP", f"BTC-{quote}", *system.instruments):
        instrument = system.instruments.get(name)
        if instrument is not None and instrument.status is InstrumentStatus.TRADING:
            return instrument
    raise VenueError("the venue lists nothing that trades")


async def _trial_terms(system: System, instrument: Instrument) -> tuple[Decimal, Decimal]:
    """Return price and quantity of the smallest order that rests far below the market.

    Raises:
        VenueError: There is no price, or the smallest order is too large for a trial.
    """
    now = await system.driver.get_price_now(instrument.symbol)
    touch = now.bid or now.last
    if touch is None:
        raise VenueError(f"{instrument.symbol} has no price now; try again")
    price = instrument.round_price(Side.BUY, touch * (1 - AWAY))
    quantity = instrument.minimum_order_quantity(price - instrument.tick_size)
    if quantity * price > _LARGEST_TRIAL_USD:
        raise VenueError(
            f"the smallest order of {instrument.symbol} is {quantity * price:.2f} {instrument.quote}, too large for "
            "a trial; put another instrument first in console.watchlist"
        )
    return price, quantity

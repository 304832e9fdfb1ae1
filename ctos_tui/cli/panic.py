"""`ctos-tui panic`: halt a running engine from another shell, or cancel what one that has ended left behind.

Exit code 0 says that the venue has confirmed, twice, that none of our orders rests; 1 that it could not be confirmed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import click

from ctos_tui.cli.options import names_account, system_options
from ctos_tui.failing import harmless
from engine.boot.left_behind import left_behind
from engine.boot.options import SystemOptions
from engine.boot.panicking import LIMIT_S, PanicFollower, PanicNews, PanicOrder
from engine.boot.reaching import require_account_to_halt
from engine.boot.system import build_system
from engine.io.control_client import ANSWER_S, ControlClient
from engine.io.control_wire import NoAnswer, NotRunning, PeerLeft, user_name
from engine.io.files import make_private_dir
from engine.io.paths import find_paths
from engine.kernel.clock import LoopClock, sleep
from engine.kernel.errors import CtosError, StateLocked, StorageError
from engine.runtime.halt_mark import leave_mark

_GRACE_S = 10.0
"""How much longer than the engine the command waits for the last word."""

_TRY_AGAIN_S = 0.5
_TRIES = 40
"""A process that ends takes at most 20 s for it."""


@click.command("panic", help="Halt the account at once and cancel its orders; exit 1 when that is not confirmed.")
@system_options
@click.option("--reason", default="", metavar="TEXT", help="Kept with the halt.")
@click.option("--flatten", is_flag=True, help="Also cancel protective stops and close all positions, reduce-only.")
@click.pass_context
def command(context: click.Context, reason: str, flatten: bool, **options: Any) -> None:
    """Tell what becomes of it, line by line."""
    chosen = SystemOptions(**options)
    state = find_paths(chosen.config, os.environ).state
    order = PanicOrder(reason, flatten)
    is_named = names_account(context) or chosen.market is not None or chosen.mode is not None
    try:
        is_confirmed = _panic(state, order, chosen, is_named)
    except (NoAnswer, StateLocked) as error:
        _tell(PanicNews(str(error), "error"))
        is_confirmed = _leave_mark(state, order)
    sys.exit(0 if is_confirmed else 1)


def _panic(state: Path, order: PanicOrder, options: SystemOptions, is_named: bool) -> bool:
    """Halt the engine that runs, else start one that comes up halted; return whether the venue has confirmed.

    Raises:
        NoAnswer: An engine runs and is frozen.
        StateLocked: A process holds the state that can neither be asked nor ends.
        CtosError: Another account runs, the engine refused, or a file is wrong.
    """
    for tries_left in range(_TRIES, -1, -1):
        try:
            return _through_socket(state, order, options if is_named else None)
        except PeerLeft as error:
            _tell(PanicNews(f"{error} before the venue had confirmed; once more", "error"))
        except NotRunning:
            try:
                if is_named:
                    return asyncio.run(_start_and_halt(state, order, options))
                return _halt_what_is_left(state, order, options)
            except StateLocked:
                if not tries_left:
                    raise
        asyncio.run(_rest())
    return False


def _halt_what_is_left(state: Path, order: PanicOrder, options: SystemOptions) -> bool:
    """Halt each account that an engine may have left orders of; return whether the venues have confirmed all."""
    try:
        found = left_behind(options)
    except CtosError as error:
        _tell(PanicNews(f"which accounts have traded from {state} is not known: {error}", "error"))
        asyncio.run(_start_and_halt(state, order, options))
        return False
    for key in found.nameless:
        text = f"{key} has traded from here, and accounts.yaml does not describe it: look at the venue yourself"
        _tell(PanicNews(text, "error"))
    if not found.accounts:
        text = (
            f"no engine runs on {state}, and no account that could be halted has traded there: NOTHING IS CONFIRMED; "
            "name its folder with --config, or the account with --exchange and --account"
        )
        _tell(PanicNews(text, "error"))
        return False
    confirmed = not found.nameless
    for account in found.accounts:
        try:
            confirmed &= asyncio.run(_start_and_halt(state, order, account))
        except StateLocked:
            raise
        except CtosError as error:
            _tell(PanicNews(f"{account.exchange}:{account.account} is not confirmed: {error}", "error"))
            confirmed = False
    return confirmed


async def _rest() -> None:
    """Give a process that is just starting or ending a moment."""
    await sleep(LoopClock(asyncio.get_running_loop()), _TRY_AGAIN_S)


def _through_socket(state: Path, order: PanicOrder, account: SystemOptions | None) -> bool:
    """Let the engine that runs do it; whoever types no account means the one that runs.

    Raises:
        NotRunning: No engine runs.
        PeerLeft: It ended while it was asked.
        NoAnswer: It is frozen.
        CtosError: Another account runs, or the engine refused.
    """
    begun = False
    with ControlClient(state) as client:
        if account is not None:
            unreadable = require_account_to_halt(client.hello, account)
            if unreadable is not None:
                _tell(PanicNews(f"{unreadable}; halting what runs", "error"))
        _tell(PanicNews(f"halting {client.hello.text}"))
        number = client.send("panic", order)
        while True:
            reply = client.read(LIMIT_S + _GRACE_S if begun else ANSWER_S)
            if reply is None:
                raise NoAnswer(f"{client.hello.text} does not answer")
            if reply.number == number:
                begun = True
                news = reply.decode(PanicNews)
                _tell(news)
                if not reply.more:
                    return news.confirmed


async def _start_and_halt(state: Path, order: PanicOrder, options: SystemOptions) -> bool:
    """Start a system that comes up halted, follow until the venue has confirmed, and stop it.

    Args:
        state: The state folder.
        order: What is to be done.
        options: What chooses the account.

    Raises:
        StateLocked: Another process holds the state by now.
        CtosError: What was done could not be stored; the file that halts the account's next start is there.
    """
    loop = asyncio.get_running_loop()
    try:
        system = build_system(options, loop, "panic")
    except StateLocked:
        raise
    except CtosError as error:
        _tell(PanicNews(f"no engine runs on {state}, and none can be started", "error"))
        make_private_dir(state)
        return _nothing_cancelled(error, _mark(state, order))
    account = system.account.key.partition("@")[0]
    _tell(PanicNews(f"no engine runs on {system.paths.state}; starting one of {account} without a screen, halted"))
    outcome: asyncio.Future[PanicNews] = loop.create_future()
    follower = PanicFollower(system, _tell, outcome.set_result, ends=True)
    mark = _mark(system.paths.state, order, system.account.key)
    try:
        try:
            await system.start()
        except CtosError as error:
            return _nothing_cancelled(error, mark)
        follower.begin(_who(), order)
        news = await outcome
        _tell(news)
    finally:
        follower.stop()
        await system.stop()
    if mark is not None:
        mark.unlink(missing_ok=True)  # the journal, closed without an error, has the halt by now
    return news.confirmed


def _mark(state: Path, order: PanicOrder, account: str = "") -> Path | None:
    """Leave the file that halts the next start; where that fails, say so and go on: cancelling matters more."""
    try:
        return leave_mark(state, _who(), order.reason or "panic", account)
    except StorageError as error:
        _tell(PanicNews(f"the file that halts the next start could not be left: {error}", "error"))
        return None


def _nothing_cancelled(error: CtosError, mark: Path | None) -> bool:
    """Tell why no order could be cancelled, and what the file that was left does."""
    _tell(PanicNews(f"{type(error).__name__}: {error}", "error"))
    after = "the next start may trade" if mark is None else f"{mark} lets the next start come up halted"
    _tell(PanicNews(f"nothing was cancelled: look at the venue yourself; {after}", "error"))
    return False


def _leave_mark(state: Path, order: PanicOrder) -> bool:
    """Leave the file that halts the engine as soon as it looks; nothing is confirmed by that."""
    path = _mark(state, order)
    if path is not None:
        text = f"{path} was left: the engine halts within a second when it wakes, or at its next start"
        _tell(PanicNews(text, "error"))
    text = (
        "NOTHING IS CONFIRMED: its orders may rest at the venue. If it does not wake, end it with kill -9 and run this "
        "command again, or cancel at the venue"
    )
    _tell(PanicNews(text, "error"))
    return False


def _who() -> str:
    return f"{user_name(os.getuid())} pid {os.getpid()} by ctos-tui panic"


def _tell(news: PanicNews) -> None:
    mark = {"info": "", "warn": "! ", "error": "!! "}[news.level]
    click.echo(harmless(f"{mark}{news.text}"))
    sys.stdout.flush()

"""Run one emulator for a console by hand: `python -m tests.venues.emulators okx --port 9001 --market synthetic:1`."""

from __future__ import annotations

import asyncio
from importlib import import_module

import click

from drivers.paper.markets.model import MarketModel
from drivers.paper.markets.synthetic import SyntheticMarket
from engine.kernel.clock import LoopClock
from tests.venues.emulators.binance import BinanceEmulator
from tests.venues.emulators.core import Emulator
from tests.venues.emulators.okx import OkxEmulator

_CLASSES = {"okx": "OkxEmulator", "binance": "BinanceEmulator", "backpack": "BackpackEmulator"}


def emulator_class(venue: str) -> type[Emulator]:
    """Return the emulator of a venue."""
    found: type[Emulator] = getattr(import_module(f"tests.venues.emulators.{venue}"), _CLASSES[venue])
    return found


def _model(market: str, clock: LoopClock) -> MarketModel:
    kind, _, seed = market.partition(":")
    if kind != "synthetic" or not seed.isdecimal():
        raise click.BadParameter(f"{market!r} must be synthetic:SEED, for example synthetic:1", param_hint="--market")
    return SyntheticMarket(int(seed), clock.now_ns())


def _lines(emulator: Emulator) -> str:
    hosts = "\n".join(f"    {field}: {url}" for field, url in emulator.overrides.items())
    phrase = f"\n    passphrase: {emulator.passphrase}" if emulator.passphrase else ""
    return f"""{emulator.name} emulator on {emulator.rest_url}, until Ctrl-C.

ctos.yaml:
venues:
  {emulator.name}:
{hosts}
    trusted_hosts: [127.0.0.1]

accounts.yaml (chmod 600):
{emulator.name}:
  emulated:
    mode: live
    key: {emulator.key}
    secret: {emulator.secret}{phrase}
"""


def _set_up(emulator: Emulator, account: str) -> None:
    """Make the account or its key unfit for trading, as the venue has it."""
    match emulator, account:
        case OkxEmulator(), "hedge":
            emulator.pos_mode = "long_short_mode"
        case OkxEmulator(), "withdraw":
            emulator.perm = "read_only,trade,withdraw"
        case OkxEmulator(), "read-only":
            emulator.perm = "read_only"
        case BinanceEmulator(), "hedge":
            emulator.account.dual_side = True
        case BinanceEmulator(), "withdraw":
            emulator.account.can_withdraw = True
        case BinanceEmulator(), "read-only":
            emulator.account.can_trade = False
        case _, "plain":
            pass
        case _:
            raise click.BadParameter(f"{emulator.name} has no {account} account", param_hint="--account")


async def _run(venue: str, port: int, market: str, skew_ms: int, account: str) -> None:
    clock = LoopClock(asyncio.get_running_loop())
    emulator = emulator_class(venue)(market=_model(market, clock), clock=clock)
    _set_up(emulator, account)
    emulator.skew_ms = skew_ms
    await emulator.start(port)
    try:
        click.echo(_lines(emulator))
        await asyncio.Event().wait()
    finally:
        await emulator.stop()


@click.command(help=__doc__)
@click.argument("venue", type=click.Choice(sorted(_CLASSES)))
@click.option("--port", default=0, show_default="a free one", help="port of the loopback")
@click.option("--market", default="synthetic:1", show_default=True, help="synthetic:SEED")
@click.option("--skew", default=0, show_default=True, help="milliseconds by which the venue's clock is ahead")
@click.option(
    "--account", type=click.Choice(("plain", "hedge", "withdraw", "read-only")), default="plain", show_default=True
)
def main(venue: str, port: int, market: str, skew: int, account: str) -> None:
    """Serve until Ctrl-C."""
    try:
        asyncio.run(_run(venue, port, market, skew, account))
    except OSError as error:
        raise click.ClickException(f"port {port} cannot be served ({error.strerror}); choose another --port") from error
    except KeyboardInterrupt:
        click.echo("stopped")


if __name__ == "__main__":
    main()

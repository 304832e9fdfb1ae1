"""What an account trades on: the paper venue with some market, or the real venue with its keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from drivers.paper.config import PaperConfig, PaperStore, QueueModel
from drivers.paper.driver import PaperDriver
from engine.boot.markets import MarketSource
from engine.boot.options import SystemOptions
from engine.boot.venues import (
    JournalVenueStore,
    credentials_of,
    make_driver,
    venue_arch,
    venue_setup,
)
from engine.io.config import AccountEntry, Config, Paths
from engine.io.journal import Journal
from engine.kernel.clock import Clock, Rng
from engine.kernel.errors import ConfigError
from engine.kernel.syscalls import Driver
from engine.runtime.accounts import Account, Mode

_PAPER_TABLE = "paper_state"

Log = Callable[[str, str], None]


class JournalPaperStore:
    """Keeps the paper venue's state beside the journal, in order with it."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal = journal
        self._key = key

    def load(self) -> bytes | None:
        """Return what was saved last, None when nothing was."""
        return self._journal.get(_PAPER_TABLE, self._key)

    def save(self, state: bytes) -> None:
        """Keep the state with the next commit."""
        self._journal.put(_PAPER_TABLE, self._key, state)


@dataclass(slots=True, frozen=True)
class Choice:
    """Everything that was chosen for one running account.

    Attributes:
        account: Who trades, with which limits.
        entry: The account as it stands in the file.
        accounts: Names of all configured accounts of its venue.
        config: Settings of `ctos.yaml`.
        paths: Where files are.
        source: The market.
        options: Choices of the command line.
    """

    account: Account
    entry: AccountEntry
    accounts: tuple[str, ...]
    config: Config
    paths: Paths
    source: MarketSource
    options: SystemOptions

    @property
    def is_live(self) -> bool:
        """Return whether orders go to the real venue."""
        return self.account.mode is Mode.LIVE


def make_trading_driver(choice: Choice, clock: Clock, rng: Rng, journal: Journal, log: Log) -> Driver:
    """Return the driver of the chosen account, not yet started.

    Args:
        choice: What was chosen.
        clock: The engine's time.
        rng: Randomness of the venue.
        journal: Keeps what must outlive the program.
        log: Takes lines for the operator, as (level, text).

    Raises:
        CtosError: Keys, hosts or the saved account are wrong.
    """
    account, source = choice.account, choice.source
    if choice.is_live:
        return _real_driver(choice, clock, rng, journal, log)
    config = paper_config(choice)
    store: PaperStore = JournalPaperStore(journal, account.key)
    if source.model is not None:
        return PaperDriver(source.model, clock, rng, config, store)

    from drivers.paper.live import LivePaperDriver

    memory = JournalVenueStore(journal, f"{source.venue}:public")
    setup = venue_setup(source.venue, choice.config, choice.paths, clock, rng.fork("public"), memory, log=log)
    return LivePaperDriver(make_driver(source.venue, setup), clock, rng, config, store)


def _real_driver(choice: Choice, clock: Clock, rng: Rng, journal: Journal, log: Log) -> Driver:
    account, entry = choice.account, choice.entry
    keys = credentials_of(entry)
    if keys is None:
        raise ConfigError(f"{entry.where}: mode: live needs key: and secret:; without keys write mode: paper")
    store = JournalVenueStore(journal, account.key)
    return make_driver(
        account.venue, venue_setup(account.venue, choice.config, choice.paths, clock, rng, store, keys, log)
    )


def paper_config(choice: Choice) -> PaperConfig:
    """Return the paper venue's settings; on live data the venue's own fees stand in where it tells none."""
    paper, fees, coin_fees = choice.config.paper, choice.config.paper.fees.model_dump(), False
    if choice.source.venue:
        arch = venue_arch(choice.source.venue)
        coin_fees = arch.coin_fees
        for kind, rates in arch.fees.items():
            fees |= {f"{kind}_{role}": Decimal(rate) for role, rate in rates.items()}
    return PaperConfig(
        balances=paper.balances,
        coin_fees=coin_fees,
        latency_ms=paper.latency_ms,
        jitter_ms=paper.jitter_ms,
        queue=QueueModel(paper.queue),
        leverage=paper.leverage,
        speed=choice.options.speed_factor,
        perp_maker=fees["perp_maker"],
        perp_taker=fees["perp_taker"],
        spot_maker=fees["spot_maker"],
        spot_taker=fees["spot_taker"],
    )

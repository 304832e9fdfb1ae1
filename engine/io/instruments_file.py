"""`instruments.yaml`: what a recording trades, with ticks, lots and minimums.

A list of entries such as
`{venue: binance, symbol: BTC-USDT-PERP, native: BTCUSDT, recordings: [file.gz], tick: "0.1", lot: "0.001"}`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator

from engine.io.files import write_atomic
from engine.io.model_errors import FileModel, build
from engine.io.yaml_file import read_yaml_list
from engine.kernel.instruments import Instrument, InstrumentKind, is_canonical

FILE_NAME = "instruments.yaml"
READABLE_FILE = 0o644
DEFAULT_PERP_LEVERAGE = Decimal(20)

Step = Annotated[Decimal, Field(gt=0, le=10**12)]
Amount = Annotated[Decimal, Field(ge=0, le=10**12)]
Share = Annotated[Decimal, Field(gt=-1, lt=1)]


@dataclass(slots=True, frozen=True)
class Fees:
    """Fees taken where a file names none, as shares of notional."""

    perp_maker: Decimal = Decimal("0.0002")
    perp_taker: Decimal = Decimal("0.0005")
    spot_maker: Decimal = Decimal("0.001")
    spot_taker: Decimal = Decimal("0.001")


@dataclass(slots=True, frozen=True)
class ListedInstrument:
    """An entry: the instrument, and which recordings beside the file hold it (none named: all)."""

    instrument: Instrument
    recordings: tuple[str, ...] = ()

    def is_in(self, recording: Path) -> bool:
        """Return whether a recording holds this instrument."""
        return not self.recordings or recording.name in self.recordings


class _Entry(FileModel):
    venue: str = Field(min_length=1)
    symbol: str
    native: str = ""
    settle: str = ""
    recordings: list[str] = Field(default_factory=list)
    tick: Step
    lot: Step
    min_qty: Amount = Decimal(0)
    min_notional: Amount = Decimal(0)
    contract_size: Step = Decimal(1)
    multiplier: Step = Decimal(1)
    max_leverage: Annotated[Decimal, Field(ge=1, le=1000)] | None = None
    maintenance_margin_rate: Share | None = None
    maker_fee: Share | None = None
    taker_fee: Share | None = None
    funding_period_h: Annotated[int, Field(ge=1, le=24)] = 8

    @field_validator("symbol")
    @classmethod
    def _canonical(cls, symbol: str) -> str:
        if not is_canonical(symbol):
            raise ValueError("must be a canonical symbol such as BTC-USDT-PERP or BTC-USDT")
        return symbol

    def instrument(self, fees: Fees) -> Instrument:
        base, quote, *perp = self.symbol.split("-")
        kind = InstrumentKind.PERP if perp else InstrumentKind.SPOT
        maker = fees.perp_maker if perp else fees.spot_maker
        taker = fees.perp_taker if perp else fees.spot_taker
        optional: dict[str, Any] = {}
        if self.maintenance_margin_rate is not None:
            optional["maintenance_margin_rate"] = self.maintenance_margin_rate
        return Instrument(
            symbol=self.symbol,
            venue=self.venue,
            base=base,
            quote=quote,
            settle=self.settle or quote,
            kind=kind,
            tick_size=self.tick,
            lot_size=self.lot,
            min_quantity=self.min_qty,
            min_notional=self.min_notional,
            contract_size=self.contract_size,
            multiplier=self.multiplier,
            max_leverage=self.max_leverage or (DEFAULT_PERP_LEVERAGE if perp else Decimal(1)),
            maker_fee=maker if self.maker_fee is None else self.maker_fee,
            taker_fee=taker if self.taker_fee is None else self.taker_fee,
            funding_period_h=self.funding_period_h if perp else 0,
            native=self.native,
            **optional,
        )


class _File(FileModel):
    instruments: list[_Entry] = Field(min_length=1)


def read_instruments(path: Path, fees: Fees | None = None) -> list[ListedInstrument]:
    """Read an instruments file.

    Args:
        path: The file.
        fees: Taken where an entry names none.

    Raises:
        ConfigError: The file, an entry or a field of it is missing or wrong; the message names line, field and value.
    """
    document = read_yaml_list(path, "instruments")
    entries = build(_File, document, document.data).instruments
    return [ListedInstrument(e.instrument(fees or Fees()), tuple(e.recordings)) for e in entries]


def add_recording(path: Path, recording: str, instruments: Iterable[Instrument]) -> None:
    """Write that a recording beside an instruments file holds these; what the file says of others stays.

    Raises:
        ConfigError: There is such a file, and it is wrong.
        OSError: The disk refused.
    """
    known = read_instruments(path) if path.exists() else []
    _write(path, [*known, *(ListedInstrument(one, (recording,)) for one in instruments)])


def write_instruments(path: Path, instruments: Iterable[Instrument]) -> None:
    """Write an instruments file that `read_instruments` reads back as the same instruments.

    Raises:
        OSError: The disk refused.
    """
    _write(path, [ListedInstrument(one) for one in instruments])


def _write(path: Path, listed: Iterable[ListedInstrument]) -> None:
    lines = ["# Filters of the recorded markets.\n"]
    for item in listed:
        one = item.instrument
        entry: dict[str, Any] = {
            "venue": one.venue,
            "symbol": one.symbol,
            "native": one.native,
            "settle": one.settle,
            "tick": f"{one.tick_size:f}",
            "lot": f"{one.lot_size:f}",
            "min_qty": f"{one.min_quantity:f}",
            "min_notional": f"{one.min_notional:f}",
            "contract_size": f"{one.contract_size:f}",
            "multiplier": f"{one.multiplier:f}",
            "max_leverage": f"{one.max_leverage:f}",
            "maintenance_margin_rate": f"{one.maintenance_margin_rate:f}",
            "maker_fee": f"{one.maker_fee:f}",
            "taker_fee": f"{one.taker_fee:f}",
        }
        if one.is_perp:
            entry["funding_period_h"] = str(one.funding_period_h)
        if item.recordings:
            entry["recordings"] = list(item.recordings)
        lines.append(yaml.safe_dump([entry], default_flow_style=None, sort_keys=False, width=1000))
    write_atomic(path, "".join(lines).encode(), READABLE_FILE)

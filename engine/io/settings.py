"""The models behind `ctos.yaml`."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, StringConstraints, field_validator, model_validator

from engine.io.model_errors import FileModel, nearest, wrong
from engine.io.notify_schemes import url_problem
from engine.io.secrets import is_written_out
from engine.kernel.anomaly import DEFAULT_LEVELS, Levels
from engine.kernel.instruments import is_canonical
from engine.kernel.secret import Secret

Positive = Annotated[Decimal, Field(gt=0)]
Share = Annotated[Decimal, Field(gt=0, le=1)]
Rate = Annotated[Decimal, Field(ge=Decimal("-0.01"), le=Decimal("0.1"))]
Venue = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{1,15}$")]
Currency = Annotated[str, StringConstraints(to_upper=True, pattern=r"^[A-Za-z0-9]{2,10}$")]
Size = Annotated[str, StringConstraints(pattern=r"^\d{1,12}(\.\d{1,12})?\$?$")]
OnStop = Literal["keep", "cancel"]
OnLost = Literal["detach", "stop"]
Chords = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class RiskConfig(FileModel):
    """Limits of an account; a file that names none gets these, never none at all."""

    max_notional_usd: Positive = Field(Decimal(10_000), description="largest sum of positions and entries, USD")
    max_order_usd: Positive = Field(Decimal(5_000), description="largest single order, USD; at most max_notional_usd")
    max_leverage: Decimal = Field(
        Decimal(3), gt=0, le=125, description="gross notional over equity, above 0 and up to 125"
    )
    daily_loss_pct: Share = Field(Decimal("0.03"), description="loss since 00:00 UTC that halts, a fraction of equity")
    max_drawdown_pct: Share = Field(Decimal("0.25"), description="loss from the best equity that halts, a fraction")
    price_band_bp: Decimal = Field(Decimal(200), gt=0, le=10_000, description="furthest beyond the touch, basis points")
    max_open_orders: int = Field(200, ge=1, le=10_000, description="working orders at once")
    max_orders_per_min: int = Field(600, ge=1, le=60_000, description="order commands in 60 s")

    @model_validator(mode="after")
    def _orders_fit(self) -> RiskConfig:
        if "max_order_usd" not in self.model_fields_set:
            object.__setattr__(self, "max_order_usd", min(self.max_order_usd, self.max_notional_usd))
        if self.max_order_usd > self.max_notional_usd:
            raise wrong(
                f"{self.max_order_usd} is more than max_notional_usd {self.max_notional_usd}; lower the first or raise "
                "the second",
                "max_order_usd",
            )
        return self


class LevelsConfig(FileModel):
    """Levels of one kind of anomaly; what is not given keeps its default."""

    warn: Positive | None = Field(None, description="value of a warning")
    crit: Positive | None = Field(None, description="value of a critical anomaly")
    clear: Decimal | None = Field(None, ge=0, description="value beyond which it clears")

    def over(self, levels: Levels) -> Levels:
        """Return `levels` with what is given here."""
        return Levels(
            levels.warn if self.warn is None else self.warn,
            levels.crit if self.crit is None else self.crit,
            levels.clear if self.clear is None else self.clear,
            levels.falling,
        )


LevelsByKind = dict[str, LevelsConfig]


def _check_levels(kinds: LevelsByKind, base: dict[str, Levels], *place: str) -> dict[str, Levels]:
    merged = dict(base)
    for kind, config in kinds.items():
        if kind not in base:
            raise wrong(f"unknown kind{nearest(kind, base)} (kinds: {', '.join(sorted(base))})", *place, kind)
        merged[kind] = levels = config.over(base[kind])
        if not levels.is_consistent():
            order = "crit <= warn <= clear" if levels.falling else "clear <= warn <= crit"
            values = f"clear {levels.clear}, warn {levels.warn}, crit {levels.crit}"
            raise wrong(f"needs {order}; it has {values}", *place, kind)
    return merged


def _switch_word(value: object) -> object:
    """Return the word that a person meant where YAML reads `on` and `off` as true and false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class MonitorConfig(FileModel):
    """How the system monitor judges."""

    interval_s: float = Field(10, ge=1, le=10, description="seconds between evaluations without an event, 1 to 10")
    clear_after: int = Field(3, ge=1, le=100, description="evaluations beyond the clear level before it clears")
    cooldown_s: float = Field(
        900, ge=0, le=86_400, description="seconds during which a cleared one is not raised again"
    )
    correction: Annotated[Literal["off", "dry_run", "on"], BeforeValidator(_switch_word)] = Field(
        "dry_run", description="off, dry_run (says what it would send) or on: takes back own unwanted quantities"
    )
    auto_reduce: bool = Field(
        False, description="closes a quarter of a position a minute while liquidation or margin is critical"
    )
    levels: LevelsByKind = Field(default_factory=dict, description="warn, crit and clear by kind")
    symbols: dict[str, LevelsByKind] = Field(default_factory=dict, description="levels by symbol, then kind")
    strategies: dict[str, LevelsByKind] = Field(default_factory=dict, description="levels by instance, then kind")

    @model_validator(mode="after")
    def _levels_stand_in_order(self) -> MonitorConfig:
        base = _check_levels(self.levels, DEFAULT_LEVELS, "levels")
        for symbol, kinds in self.symbols.items():
            if not is_canonical(symbol):
                raise wrong("not a symbol; write it as BTC-USDT-PERP or BTC-USDT", "symbols", symbol)
            _check_levels(kinds, base, "symbols", symbol)
        for instance, kinds in self.strategies.items():
            _check_levels(kinds, base, "strategies", instance)
        return self

    def levels_for(self, kind: str, symbol: str = "", instance: str = "") -> Levels:
        """Return the levels of a kind: the instance's before the symbol's before the general ones."""
        levels = DEFAULT_LEVELS[kind]
        for kinds in (self.levels, self.symbols.get(symbol, {}), self.strategies.get(instance, {})):
            if kind in kinds:
                levels = kinds[kind].over(levels)
        return levels


class ConsoleConfig(FileModel):
    """How the console looks and listens."""

    theme: str | None = Field(None, description="name of a theme; by default what suits the terminal")
    layout: str | None = Field(None, description="name of a layout; by default what fits the size")
    fps: int = Field(10, ge=1, le=30, description="most frames a second, 1 to 30")
    watchlist: list[str] = Field(default_factory=list, description="symbols of the markets pane")
    sizes: list[Size] = Field(
        default_factory=lambda: ["10$", "50$", "100$", "500$", "1000$"],
        min_length=1,
        max_length=20,
        description="size presets: base coins (0.01) or quote amounts (100$)",
    )
    bell: Literal["off", "crit", "warn"] = Field("crit", description="severity that rings the terminal's bell")
    keys: dict[str, Chords] = Field(default_factory=dict, description="chords by action, as `panic: f9`")
    on_terminal_lost: OnLost | None = Field(
        None,
        description="detach: the engine goes on; stop: it ends in good order; by default detach live, stop on paper",
    )


RestUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$")]
WsUrl = Annotated[str, StringConstraints(pattern=r"^wss?://[^\s/?#@]+([/?#]\S*)?$")]
_REST, _WS = "http:// or https:// address, no user or password in it", "ws:// or wss:// address, no user or password"


class VenueConfig(FileModel):
    """How one venue is reached: its environment, and other hosts (a proxy, an emulator)."""

    environment: str = Field("live", pattern=r"^[a-z][a-z0-9_]{1,15}$", description="live, demo or testnet")
    rest_url: RestUrl | None = Field(None, description=_REST)
    ws_public_url: WsUrl | None = Field(None, description=_WS)
    ws_private_url: WsUrl | None = Field(None, description=_WS)
    ws_trade_url: WsUrl | None = Field(None, description=_WS)
    ws_business_url: WsUrl | None = Field(None, description=_WS)
    spot_rest_url: RestUrl | None = Field(None, description=_REST)
    spot_ws_public_url: WsUrl | None = Field(None, description=_WS)
    spot_ws_private_url: WsUrl | None = Field(None, description=_WS)
    spot_ws_trade_url: WsUrl | None = Field(None, description=_WS)
    trusted_hosts: list[str] = Field(
        default_factory=list, description="host names that may get keys beside the venue's own"
    )
    ca_file: str | None = Field(None, min_length=1, description="PEM file of the authority to trust, from this folder")
    trade_over_ws: bool = Field(False, description="orders go over the trading socket while it is up")
    dead_man: bool = Field(
        True,
        description="live: our orders are cancelled when this program is gone, by the venue after 60 s, or where it "
        "has no timer by a process after watchdog_s",
    )
    watchdog_s: float = Field(15, ge=2, le=600, description="seconds without a sign of life before the watchdog acts")

    def overrides(self) -> dict[str, str]:
        """Return the hosts that are given, by field."""
        given = self.model_dump(exclude_none=True)
        return {name: url for name, url in given.items() if name.endswith("_url")}


class PaperFees(FileModel):
    """Fees of the paper venue, shares of the notional."""

    perp_maker: Rate = Field(Decimal("0.0002"), description="resting orders on perpetuals")
    perp_taker: Rate = Field(Decimal("0.0005"), description="taking orders on perpetuals")
    spot_maker: Rate = Field(Decimal("0.001"), description="resting orders on spot")
    spot_taker: Rate = Field(Decimal("0.001"), description="taking orders on spot")


class PaperSettings(FileModel):
    """The paper venue."""

    balances: dict[Currency, Annotated[Decimal, Field(ge=0)]] = Field(
        default_factory=lambda: {"USDT": Decimal(10_000), "USDC": Decimal(10_000)},
        min_length=1,
        description="first deposits by currency",
    )
    fees: PaperFees = Field(default_factory=PaperFees)
    latency_ms: float = Field(5, ge=0, le=10_000, description="from a request to its being carried out")
    jitter_ms: float = Field(0, ge=0, le=10_000, description="largest random addition to the latency")
    queue: Literal["fifo", "touch"] = Field(
        "fifo", description="fifo waits behind the size before it; touch fills at once"
    )
    leverage: Decimal = Field(Decimal(20), ge=1, le=125, description="of every perpetual until it is set")


class StrategiesConfig(FileModel):
    """Where the operator's own strategies are."""

    folder: str = Field("strategies", min_length=1, description="a folder, from the configuration folder")


class DataConfig(FileModel):
    """Where recorded market data is kept."""

    folder: str = Field("market", min_length=1, description="a folder, from the state folder")


def _address(written: object) -> Secret:
    """Take an address, or where it is kept; what stands there in the clear must have the form of one."""
    if not isinstance(written, str) or not written.strip():
        raise wrong("must be an address such as slack://..., ${NAME}, keyring:SERVICE/NAME or an encrypted value")
    problem = url_problem(written) if is_written_out(written) else ""
    if problem:
        raise wrong(problem)
    return Secret(written)


class NotificationConfig(FileModel):
    """One place to which the operator is told what happens."""

    url: Annotated[Secret, PlainValidator(_address)] = Field(description="address of the service, with its token")
    min: Literal["info", "warn", "crit"] = Field("crit", description="least severity that is sent")
    name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$", description="1-32 letters, digits, - and _"
    )


class Config(FileModel):
    """Everything in `ctos.yaml`."""

    exchange: Venue = Field("paper", description="venue of the account when --exchange is not given")
    mode: Literal["paper"] | None = Field(
        None, description="paper makes every account trade on paper; live is said by each account in accounts.yaml"
    )
    market: str = Field("synthetic:1", min_length=1, description="synthetic:SEED, replay:FILE, live or live:VENUE")
    on_stop: OnStop | None = Field(
        None, description="what becomes of resting orders when the program stops; by default cancel live, keep on paper"
    )
    log_level: Literal["debug", "info", "warn", "error"] = Field("info", description="least level that is logged")
    risk: RiskConfig = Field(default_factory=RiskConfig)
    monitor: MonitorConfig = Field(default_factory=MonitorConfig)
    console: ConsoleConfig = Field(default_factory=ConsoleConfig)
    notifications: list[NotificationConfig] = Field(
        default_factory=list,
        max_length=16,
        description="- url: slack://..., with min: and name: below it",
        json_schema_extra={"secret": True},
    )
    venues: dict[Venue, VenueConfig] = Field(default_factory=dict, description="environment and hosts by venue")
    paper: PaperSettings = Field(default_factory=PaperSettings)
    strategies: StrategiesConfig = Field(default_factory=StrategiesConfig)
    data: DataConfig = Field(default_factory=DataConfig)

    @field_validator("market")
    @classmethod
    def _known_market(cls, value: str) -> str:
        source, _, detail = value.partition(":")
        if source == "synthetic" and detail.isdecimal():
            return value
        if (source == "replay" and detail) or (source == "live" and value != "live:"):
            return value
        raise wrong(f"{value!r} must be synthetic:SEED with a whole number, replay:FILE, live or live:VENUE")

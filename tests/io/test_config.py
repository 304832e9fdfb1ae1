"""Configuration: every mistake is one clear message, and nothing wrong ever passes as valid."""

from __future__ import annotations

import os
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.io.config import (
    SECRETS,
    AccountEntry,
    Config,
    Paths,
    find_account,
    find_paths,
    load_accounts,
    load_config,
)
from engine.io.settings import RiskConfig
from engine.io.templates import template, write_templates
from engine.io.yaml_file import read_yaml
from engine.kernel.errors import ConfigError, UnknownAccount

CANARY = "c4narySecretValue"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    folder = tmp_path / "config"
    folder.mkdir(mode=0o700)
    return Paths(folder, folder / "state")


def config_of(paths: Paths, text: str | bytes) -> Config:
    paths.config_file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(paths)


def accounts_of(paths: Paths, text: str, config: Config | None = None) -> list[AccountEntry]:
    paths.accounts_file.write_text(text)
    paths.accounts_file.chmod(0o600)
    return load_accounts(paths, config or Config())


def test_without_files_there_is_the_built_in_paper_account(paths: Paths) -> None:
    config = load_config(paths)
    assert config == Config()
    (account,) = load_accounts(paths, config)
    assert (account.venue, account.index, account.name, account.mode) == ("paper", 0, "paper", "paper")
    assert config.market == "synthetic:1"
    assert config.paper.balances == {"USDT": Decimal(10_000), "USDC": Decimal(10_000)}


def test_the_templates_say_the_defaults(paths: Paths) -> None:
    written = write_templates(paths)
    assert [(path.name, new) for path, new in written] == [
        ("ctos.yaml", True), ("accounts.yaml", True), ("dip_buyer.py", True),
    ]  # fmt: skip
    assert paths.accounts_file.stat().st_mode & 0o777 == 0o600
    config = load_config(paths)
    assert config.model_copy(update={"monitor": Config().monitor, "console": Config().console}) == Config()
    for kind in config.monitor.levels:
        assert config.monitor.levels_for(kind) == Config().monitor.levels_for(kind)
    assert config.console.sizes == Config().console.sizes
    (account,) = load_accounts(paths, config)
    assert (account.venue, account.name, account.limits) == ("paper", "paper", RiskConfig())


def test_templates_never_overwrite(paths: Paths) -> None:
    paths.config_file.write_text("exchange: okx\n")
    assert [new for _, new in write_templates(paths)] == [False, True, True]
    assert paths.config_file.read_text() == "exchange: okx\n"
    assert [new for _, new in write_templates(paths)] == [False, False, False]


def uncommented(name: str, first: str) -> str:
    """Return the commented example of a template that begins with a line, every field of it in force."""
    lines = template(name).decode().splitlines()
    example = []
    for line in lines[lines.index(first) :]:
        if not line.startswith("#"):
            break
        text = re.sub(r"^( *)# ", r"\1", line[2:])
        if re.match(r"^ *[a-z_]+:", text):
            example.append(text)
    return "\n".join(example)


def test_every_commented_example_of_the_templates_is_valid(paths: Paths) -> None:
    accounts = accounts_of(paths, uncommented("accounts.yaml", "# okx:"))
    account = find_account(accounts, "main", "okx")
    assert set(account.written) == {"key", "secret", "passphrase"}
    assert (account.mode, account.limits.max_order_usd, account.leverage) == ("live", 200, 3)
    assert find_account(accounts, "main", "binance").withdraw_ok_until == date(2026, 12, 31)
    backpack = find_account(accounts, "0", "backpack")
    assert (backpack.no_withdraw_confirmed, backpack.default_quote) == (date(2026, 11, 21), "USDC")
    paths.config_file.write_text(uncommented("ctos.yaml", "# venues:"))
    venues = load_config(paths).venues
    assert (venues["okx"].environment, venues["binance"].trade_over_ws) == ("demo", True)
    assert venues["backpack"].overrides() == {"rest_url": "https://proxy.example.com"}
    assert venues["okx"].dead_man and not venues["binance"].dead_man


@pytest.mark.parametrize("mode", [0o770, 0o777])
def test_g05_x02_a_folder_that_others_may_change_holds_no_keys(paths: Paths, mode: int) -> None:
    accounts_of(paths, "okx: {main: {mode: live, key: abcdef, secret: abcdef}}")
    paths.config.chmod(mode)
    with pytest.raises(ConfigError, match=r"may be changed by others.*chmod 700"):
        load_accounts(paths, Config())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; delete it"),
        ("  \n", "is empty"),
        ("risk:\n\tmax_order_usd: 5", ":2: a tab before the first word"),
        ("risk:\n  max_ordr_usd: 5", ":2: risk.max_ordr_usd: unknown field; did you mean max_order_usd?"),
        ("rsk: {}", "rsk: unknown field; did you mean risk?"),
        ("risk:\n  max_order_usd: -5", ":2: risk.max_order_usd: '-5' must be greater than 0"),
        ("risk:\n  max_order_usd: 0", "must be greater than 0"),
        ("risk:\n  max_order_usd: lots", "risk.max_order_usd: 'lots' must be a valid decimal"),
        ("risk:\n  max_order_usd: NaN", "'NaN' must be a finite number"),
        ("risk:\n  max_notional_usd: 10\n  max_order_usd: 11", ":3: risk.max_order_usd: 11 is more than"),
        ("risk: 5", "risk: '5' must be a block of 'name: value' lines"),
        ("risk: [5]", "must be a block"),
        ("exchange: a1\nmode: paper\nexchange: b2", ":3: exchange: given twice (first in line 1)"),
        ("mode: live", "mode: 'live' must be 'paper'"),
        ("market: synthetic", "market: 'synthetic' must be synthetic:SEED"),
        ("market: 'replay:'", "must be synthetic:SEED"),
        ("console:\n  fps: 100", ":2: console.fps: '100' must be less than or equal to 30"),
        ("console:\n  sizes:\n    - 10$\n    - 1e5", ":4: console.sizes[1]: '1e5' does not have the right form"),
        ("console: {sizes: []}", "console.sizes: must have at least 1 item"),
        ("console: {watchlist: btc}", "must be a list"),
        ("paper: {balances: {USDT: -1}}", "paper.balances.USDT: '-1' must be greater than or equal to 0"),
        ("paper: {balances: {U$: 1}}", "paper.balances.U$: 'U$' does not have the right form"),
        ("paper: {queue: best}", "must be 'fifo' or 'touch'"),
        ("venues: {okx: {rest_url: 'ftp://me:pw@x'}}", "venues.okx.rest_url: 'ftp://***@x' does not"),
        ("venues: {okx: {rest_url: 'https://me:pw@127.0.0.1:1/p'}}", "***@127.0.0.1:1/p' does not have the right form"),
        ("venues: {okx: {ws_public_url: 'wss://me:pw@x'}}", "venues.okx.ws_public_url: 'wss://***@x' does not"),
        ("monitor: {levels: {price_jmp: {warn: 1}}}", "did you mean price_jump?"),
        ("monitor: {levels: {price_jump: {warn: 0.2}}}", "monitor.levels.price_jump: needs clear <= warn <= crit"),
        ("monitor: {levels: {liq_distance: {warn: 0.2}}}", "needs crit <= warn <= clear"),
        ("monitor: {symbols: {btc: {}}}", "monitor.symbols.btc: not a symbol"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: *x", "aliases"),
        ("log_level: !!python/name:os.system x", "tags (!name) are not read here"),
        ("- a", "expected 'name: value' lines"),
        ("just words", "expected 'name: value' lines"),
        ("a: 'x", "not valid YAML"),
        ("? [a]\n: b", "a name must be one word"),
        ("a: \x00", "not YAML text"),
        ("[" * 5000, "nested deeper"),
        ("a: " + "[" * 30 + "]" * 30, "nested deeper"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", ":1: not UTF-8 text"),
        (b"a: 1\n" * 300_000, "larger than 1 MB"),
    ],
)  # fmt: skip
def test_g01_g02_what_is_wrong_is_named(paths: Paths, text: str | bytes, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(paths, text)
    assert says in str(caught.value)
    assert str(paths.config_file) in str(caught.value)


def test_g02_bom_windows_lines_and_comments_are_read(paths: Paths) -> None:
    assert config_of(paths, b"\xef\xbb\xbfexchange: okx\r\nrisk:\r\n  max_order_usd: 7\r\n").risk.max_order_usd == 7
    assert config_of(paths, "# nothing yet\n") == Config()
    assert config_of(paths, "risk:\nconsole: ~\n") == Config()


def test_all_mistakes_are_told_at_once(paths: Paths) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(paths, "risk:\n  max_order_usd: x\nconsole:\n  fps: y\n")
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["risk.max_order_usd", "console.fps"]


def test_decimals_are_exact_and_a_small_account_limit_lowers_the_order_limit(paths: Paths) -> None:
    config = config_of(paths, "risk: {max_notional_usd: 1000.10}\npaper: {fees: {perp_taker: 0.1}}")
    assert config.risk.max_order_usd == config.risk.max_notional_usd == Decimal("1000.10")
    assert config.paper.fees.perp_taker == Decimal("0.1")


def test_levels_of_a_strategy_go_before_those_of_a_symbol(paths: Paths) -> None:
    config = config_of(
        paths,
        "monitor:\n  symbols: {BTC-USDT-PERP: {price_jump: {warn: 0.06, crit: 0.2}}}\n"
        "  strategies: {g1: {price_jump: {warn: 0.07}}}\n",
    )
    levels = config.monitor.levels_for("price_jump", "BTC-USDT-PERP", "g1")
    assert (levels.warn, levels.crit, levels.clear) == (Decimal("0.07"), Decimal("0.2"), Decimal("0.025"))


@pytest.mark.parametrize("kind", ["folder", "fifo", "unreadable"])
def test_g02_something_else_in_place_of_the_file(paths: Paths, kind: str) -> None:
    if kind == "folder":
        paths.config_file.mkdir()
    elif kind == "fifo":
        os.mkfifo(paths.config_file)
    else:
        paths.config_file.symlink_to(paths.config / "gone")
    with pytest.raises(ConfigError, match=r"ctos\.yaml"):
        load_config(paths)


def test_accounts_are_counted_within_their_venue(paths: Paths) -> None:
    accounts = accounts_of(
        paths,
        "okx:\n  main: {mode: live, key: 00123, secret: 'true', limits: {max_order_usd: 50}}\n  second:\n"
        "binance:\n  hedge: {default_quote: USDC, default_kind: spot}\n",
    )
    assert [(one.venue, one.index, one.name, one.mode) for one in accounts] == [
        ("okx", 0, "main", "live"), ("okx", 1, "second", "paper"), ("binance", 0, "hedge", "paper"),
        ("paper", 0, "paper", "paper"),
    ]  # fmt: skip
    main = accounts[0]
    assert main.limits.max_order_usd == 50 and main.limits.max_notional_usd == 10_000
    secrets = main.secrets({})
    assert {name: secret.reveal() for name, secret in secrets.items()} == {"key": "00123", "secret": "true"}
    assert "00123" not in repr(main) + str(secrets)
    assert find_account(accounts, "second", "okx").index == 1
    assert find_account(accounts, "1", "okx").name == "second"


@pytest.mark.parametrize("text", ["00123", "true", "no", "1e5", "0x1F", "12:30:00", "2026-11-21", "1_000", "0.10"])
def test_g04_a_secret_that_looks_like_another_type_stays_the_text_it_is(paths: Paths, text: str) -> None:
    fields = f"mode: live, key: {text}, secret: '{text}', passphrase: '${{PASS}}'"
    account = accounts_of(paths, f"okx: {{main: {{{fields}}}}}")[0]
    secrets = account.secrets({"PASS": text})
    assert {name: secret.reveal() for name, secret in secrets.items()} == dict.fromkeys(SECRETS, text)


@pytest.mark.parametrize("wanted", ["2", "-1", "", "secnd", "²", "0x1"])
def test_an_unknown_account_is_an_error_and_never_the_first(paths: Paths, wanted: str) -> None:
    accounts = accounts_of(paths, "okx:\n  main:\n  second:\n")
    with pytest.raises(UnknownAccount, match=r"okx 0 \(main\), okx 1 \(second\), paper 0 \(paper\)"):
        find_account(accounts, wanted, "okx")


def test_mode_paper_in_the_settings_lowers_live_accounts(paths: Paths) -> None:
    (account, _) = accounts_of(paths, "okx: {main: {mode: live}}", Config(mode="paper"))
    assert account.mode == "paper"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("okx:\n  main:\n    kee: x", ":3: okx.main.kee: unknown field; did you mean key?"),
        ("okx:\n  main:\n    mode: demo", ":3: okx.main.mode: 'demo' must be 'paper' or 'live'"),
        ("okx:\n  main:\n    limits: {max_order_usd: 99999}", ":3: okx.main.limits.max_order_usd: 99999 is more than"),
        ("okx:\n  main:\n    limits: {max_ordr: 9}", "okx.main.limits.max_ordr: unknown field; did you mean max_order"),
        ("okx: 5", ":1: okx: must be a block of accounts"),
        ("okx: {main: 5}", ":1: okx.main: must be a block"),
        ("okx: {'ma in': {}}", "okx.ma in: not a name"),
        ("okx: {main: {}, '0': {}}", "okx.0: this account is number 1 here"),
        ("OKX: {}", "OKX: not the name of a venue"),
        ("paper: {x: {mode: live}}", "paper.x.mode: the venue paper has no live accounts"),
        (f"okx: {{main: {{key: [{CANARY}]}}}}", "okx.main.key: *** must be a valid string"),
        (f"okx: {{main: {{key: *{CANARY}}}}}", "aliases"),
        (f"okx: {{main: {{key: !{CANARY} x}}}}", "tags"),
        (f"okx:\n  main:\n    key: '{CANARY}", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_accounts_is_named_without_secrets(paths: Paths, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        accounts_of(paths, text)
    assert says in str(caught.value)
    assert CANARY not in str(caught.value)


def test_g05_x02_the_accounts_file_must_be_private(paths: Paths, tmp_path: Path) -> None:
    accounts_of(paths, "okx: {main: {key: abcdef}}")
    paths.accounts_file.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"run: chmod 600 {paths.accounts_file}"):
        load_accounts(paths, Config())
    paths.accounts_file.chmod(0o600)
    paths.config.chmod(0o770)
    with pytest.raises(ConfigError, match=rf"run: chmod 700 {paths.config}"):
        load_accounts(paths, Config())
    paths.config.chmod(0o700)
    paths.accounts_file.rename(tmp_path / "elsewhere")
    paths.accounts_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        load_accounts(paths, Config())


def test_folders_are_found_by_option_then_variable_then_platform(tmp_path: Path) -> None:
    environment = {"CTOS_HOME": str(tmp_path / "home")}
    assert find_paths(tmp_path / "a", environment) == Paths(tmp_path / "a", tmp_path / "a" / "state")
    assert find_paths(None, environment) == Paths(tmp_path / "home", tmp_path / "home" / "state")
    platform = find_paths(None, {})
    assert platform.config.name == platform.state.name == "ctos" and platform.config != platform.state
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"--config .*is a file"):
        find_paths(tmp_path / "file", {})
    assert platform.strategies("/elsewhere") == Path("/elsewhere")
    assert platform.market() == platform.state / "market"


PIECES = st.sampled_from(
    [
        *("", " ", "\n", "\t", ":", "- ", "*", "&a ", "!!", "{", "}", "[", "]", "'", '"', "|", ">", "#", "%", "@"),
        *("\x00", "\x1b", "\u202e", "1e999", "-1", ".nan", "null", "yes", "risk", "? ", "<<: ", "---\n", "...\n"),
        *("\ufeff", "x" * 5000),
    ]
)


@settings(max_examples=400)
@given(data=st.data())
def test_g07_random_edits_of_valid_files_never_trace_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(mode=0o700, exist_ok=True)
    paths = Paths(folder, folder / "state")
    for name in ("ctos.yaml", "accounts.yaml"):
        text = template(name).decode()
        for _ in range(data.draw(st.integers(0, 3))):
            start = data.draw(st.integers(0, len(text)))
            end = min(len(text), start + data.draw(st.integers(0, 12)))
            text = text[:start] + data.draw(PIECES) + text[end:]
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        path.chmod(0o600)
    try:
        config = load_config(paths)
        load_accounts(paths, config)
    except ConfigError as error:
        assert str(folder) in str(error)
        assert all(line.isprintable() for line in str(error).splitlines()), error
    else:
        written = {place for place, value in _leaves(read_yaml(paths.config_file).data) if value not in (None, {})}
        taken = {place for place, _ in _leaves(config.model_dump(exclude_unset=True, mode="json"))}
        assert written <= taken, "what stands in a valid file is in force"


def _leaves(value: object, place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in _leaves(item, (*place, key))]
    return [(place, value)]


def test_g07_no_field_of_a_valid_file_is_dropped(paths: Paths) -> None:
    write_templates(paths)
    loaded = load_config(paths).model_dump(exclude_unset=True, mode="json")
    written = _leaves(read_yaml(paths.config_file).data)
    assert {place for place, _ in written} == {place for place, _ in _leaves(loaded)}


def test_an_entry_becomes_an_account_with_its_limits(paths: Paths) -> None:
    from engine.kernel.instruments import InstrumentKind
    from engine.runtime.accounts import AccountLimits, Mode, account_of

    text = "okx: {main: {mode: live, default_kind: spot, default_quote: USDC, limits: {max_open_orders: 7}}}"
    account = account_of(accounts_of(paths, text)[0])
    assert (account.key, account.mode, account.default_kind) == ("okx:main", Mode.LIVE, InstrumentKind.SPOT)
    assert account.limits == AccountLimits(max_open_orders=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("on_terminal_lost: stop\n", "on_terminal_lost belongs under console:"),
        ("console:\n  on_stop: keep\n", "on_stop belongs to the top level"),
    ],
)
def test_a_field_in_the_wrong_place_is_told_where_it_belongs(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "ctos.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_config(find_paths(str(tmp_path), {}))

"""The same system on a real venue: paper on its live data, and live with keys, armed by a person only."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.boot.calling import CallDesk
from engine.boot.checking import check, find_target
from engine.boot.choosing import choose
from engine.boot.options import SystemOptions
from engine.boot.resetting import reset_account
from engine.boot.summary import Tally, summary
from engine.boot.system import System, build_system, running
from engine.boot.trading import paper_config
from engine.boot.winding_down import wind_down
from engine.kernel.account import KeyRights
from engine.kernel.errors import AuthError, ConfigError, RiskReject, TradingHalted, UnknownVenue, VenueUnavailable
from engine.kernel.links import LinkState
from engine.kernel.orders import OrderState, OrderType, Side
from engine.runtime.accounts import MANUAL, Mode
from engine.runtime.events import LogLine
from engine.runtime.proc import DANGER, Probe
from tests.boot.conftest import LIVE, write_accounts
from tests.boot.fake_venue import Behaviour, FakeDriver
from tests.engine.floor import d

PERP = "BTC-USDT-PERP"


def options(home: Path, **values: str) -> SystemOptions:
    return SystemOptions(config=str(home), **({"exchange": "okx"} | values))


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    loop = asyncio.get_running_loop()
    met = asyncio.Event()

    def look() -> None:
        if condition():
            met.set()
        else:
            loop.call_later(0.005, look)

    look()
    await asyncio.wait_for(met.wait(), seconds)


async def quoted(system: System, symbol: str = PERP) -> None:
    system.engine.market.watch(symbol)
    await until(lambda: system.engine.market.quote(symbol))


def driver_of(system: System) -> FakeDriver:
    assert isinstance(system.driver, FakeDriver)
    return system.driver


class TestPaperOnLiveData:
    async def test_orders_are_matched_here_and_nothing_private_is_asked(self, venue: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            assert system.account.key == "okx:paper@live"
            assert system.market_label == "live data"
            assert system.account.mode is Mode.PAPER
            await quoted(system)
            system.engine.arm("test")
            size = system.engine.size_for_amount(PERP, Side.BUY, d("500"))[0]
            order = system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, size)
            await until(lambda: system.engine.tracker.get(order).state is OrderState.FILLED)  # type: ignore[union-attr]
            assert system.engine.portfolio.quantity(PERP) == size
            [public] = venue.made
            assert public.setup.credentials is None
            assert public.exchange.positions() == []
            fill = system.engine.portfolio.fills.recent()[-1].fill
            assert abs(fill.fee - fill.price * fill.quantity * d("0.0005")) <= d("1e-8"), "money has eight decimals"
        assert public.stopped == 1

        async with running(options(home)) as again:
            assert again.engine.portfolio.quantity(PERP) == size
            assert [row.venue_quantity for row in again.engine.portfolio.positions()] == [size]

    async def test_a_resting_order_fills_by_the_venues_prints(self, venue: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            await quoted(system)
            system.engine.arm("test")
            quote = system.engine.market.quote(PERP)
            assert quote is not None
            price = system.instruments[PERP].price_from_float(quote.bid)
            sent = system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
            await until(lambda: (order := system.engine.tracker.get(sent)) and order.state is OrderState.OPEN)
            bid = quote.bid
            from engine.kernel.market import Trade

            system.paper.on_market(Trade(PERP, 1, bid * 0.999, 1e6, Side.SELL, "x"))  # type: ignore[union-attr]
            await until(lambda: (order := system.engine.tracker.get(sent)) and order.state is OrderState.FILLED)

    async def test_the_venue_is_left_alone_when_nobody_listens(self, venue: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            await quoted(system)
            [public] = venue.made
            heard = public._channels[PERP]
            assert heard.books and len(heard.trades) == 2 and heard.ticks
            late: list[object] = []
            leave = system.driver.subscribe_orderbook(PERP, late.append)
            await until(lambda: late)
            assert system.driver.book(PERP).bids.keys() == public.book(PERP).bids.keys()
            system.engine.market.unwatch_depth(PERP)
            assert heard.books and len(heard.trades) == 1
            leave()
            leave()
            assert not heard.books and heard.ticks
            assert not system.driver.book(PERP).valid
            system.engine.market.watch(PERP)
            await until(lambda: system.driver.book(PERP).valid)
            assert system.driver.book(PERP).bids.keys() == public.book(PERP).bids.keys()

    async def test_the_built_in_paper_account_can_trade_on_a_venues_data(self, venue: Behaviour, home: Path) -> None:
        async with running(SystemOptions(config=str(home), market="live:okx")) as system:
            assert system.account.key == "paper:paper@live:okx"
            await quoted(system)

    async def test_a_watch_list_of_another_venue_is_left_out(self, venue: Behaviour, home: Path) -> None:
        (home / "ctos.yaml").write_text("console: {watchlist: [NOPE-USDC-PERP, eth]}\n")
        async with running(options(home)) as system:
            assert system.manager.focus == ("ETH-USDT-PERP",)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"exchange": "paper", "market": "live"}, "live:okx"),
            ({"market": "live:binance"}, "the account is of okx"),
            ({"speed": "max"}, "--speed max: live data"),
            ({"mode": "live"}, "can only lower"),
        ],
    )
    async def test_what_makes_no_sense_is_told(
        self, venue: Behaviour, home: Path, given: dict[str, str], says: str
    ) -> None:
        with pytest.raises(ConfigError, match=says):
            build_system(options(home, **given), asyncio.get_running_loop())

    @pytest.mark.parametrize(("venue", "in_coins"), [("okx", True), ("binance", True), ("backpack", False)])
    def test_spot_is_charged_on_paper_as_the_venue_whose_data_it_is_does(self, home: Path, venue: str, in_coins: bool):
        assert paper_config(choose(options(home, exchange=venue))).coin_fees is in_coins
        assert not paper_config(choose(options(home, exchange="paper"))).coin_fees

    @pytest.mark.parametrize("name", ["bybit", "gmocoin", "okex"])
    async def test_an_unknown_venue_names_the_ones_there_are(self, home: Path, name: str) -> None:
        with pytest.raises(UnknownVenue, match="paper, okx, binance, backpack"):
            build_system(options(home, exchange=name), asyncio.get_running_loop())


class TestLive:
    @pytest.fixture
    def live(self, venue: Behaviour, home: Path) -> Behaviour:
        write_accounts(home)
        return venue

    async def test_a_live_account_trades_with_its_keys_once_a_person_arms_it(self, live: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            driver = driver_of(system)
            credentials = driver.setup.credentials
            assert credentials is not None and credentials.secret.reveal() == "canary-secret-0815"
            assert system.account.key == "okx:main"
            assert not system.may_arm_itself
            await quoted(system)
            with pytest.raises(TradingHalted):
                system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
            system.engine.arm("operator", 60)
            system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: system.engine.portfolio.quantity(PERP) == d("0.01"))
            closing = summary(system, Tally(system.bus))
            assert closing["ledgers_agree"] and "money" not in closing and closing["balances"]
        assert driver.stopped == 1

    async def test_mode_paper_lowers_it(self, live: Behaviour, home: Path) -> None:
        async with running(options(home, mode="paper")) as system:
            assert system.account.key == "okx:main@live"
            assert live.made[0].setup.credentials is None

    async def test_call_refuses_orders_and_answers_questions(self, live: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            desk = CallDesk(system)
            order = {"symbol": PERP, "side": Side.BUY, "order_type": OrderType.MARKET, "size": d("0.01")}
            with pytest.raises(TradingHalted, match="main is live and call arms nothing"):
                await desk.call("place_order", order)
            assert await desk.call("fetch_balance", {"currency": "USDT"})
            assert await desk.call("set_leverage", {"symbol": PERP, "leverage": d("5")}) == 5
            assert await desk.call("cancel_all", {}) == []

    async def test_a_venue_that_refuses_leaves_one_error_and_nothing_behind(self, live: Behaviour, home: Path) -> None:
        live.start_error = AuthError("okx refused the key", code="50111")
        with pytest.raises(AuthError, match="50111"):
            async with running(options(home)):
                pytest.fail("it must not start")
        live.start_error = None
        async with running(options(home)) as system:
            assert system.ready

    async def test_without_keys_it_says_what_to_write(self, venue: Behaviour, home: Path) -> None:
        write_accounts(home, "okx: {main: {mode: live}}\n")
        with pytest.raises(ConfigError, match="mode: live needs key: and secret:"):
            build_system(options(home), asyncio.get_running_loop())
        write_accounts(home, "okx: {main: {mode: live, key: abcd}}\n")
        with pytest.raises(ConfigError, match="secret missing"):
            build_system(options(home), asyncio.get_running_loop())

    async def test_market_and_reset_are_for_paper(self, live: Behaviour, home: Path) -> None:
        with pytest.raises(ConfigError, match="--market is for paper"):
            build_system(options(home, market="synthetic:1"), asyncio.get_running_loop())
        with pytest.raises(ConfigError, match="only paper accounts begin anew"):
            reset_account(options(home))

    @pytest.mark.parametrize(
        ("rights", "more", "says"),
        [
            (KeyRights(False, False), "", "may not trade"),
            (KeyRights(True, True), "", "may withdraw"),
            (KeyRights(True, True), "    withdraw_ok_until: 2020-01-01\n", "may withdraw"),
            (KeyRights(True, True), "    withdraw_ok_until: 2199-01-01\n", ""),
            (KeyRights(True, None), "", "no_withdraw_confirmed: 20"),
            (KeyRights(True, None), "    no_withdraw_confirmed: 2199-01-01\n", "no_withdraw_confirmed: 20"),
            (KeyRights(True, None), "    no_withdraw_confirmed: 2024-02-03\n", ""),
            (KeyRights(True, False), "    leverage: 20\n", ""),
            (KeyRights(True, False), "    leverage: 3\n", "call set_leverage symbol=BTC-USDT-PERP leverage=3"),
        ],
    )
    async def test_an_account_that_is_not_fit_is_not_armed(
        self, venue: Behaviour, home: Path, rights: KeyRights, more: str, says: str
    ) -> None:
        write_accounts(home, LIVE + more)
        venue.rights = rights
        async with running(options(home)) as system:
            told = [anomaly.text for anomaly in system.monitor.anomalies.active()]
            assert any("may withdraw; accepted until 2199-01-01" in text for text in told) == (
                "2199" in more and not says
            )
            if not says:
                system.engine.arm("operator", 60)
                return
            with pytest.raises(TradingHalted, match=says):
                system.engine.arm("operator", 60)

    @pytest.mark.parametrize(
        ("rights", "more", "ok", "says"),
        [
            (KeyRights(True, True), "", False, "withdraw_ok_until"),
            (KeyRights(True, True), "    withdraw_ok_until: 2199-01-01\n", None, "accepted until 2199-01-01"),
            (KeyRights(True, None), "", False, "no_withdraw_confirmed: 20"),
            (KeyRights(True, None), "    no_withdraw_confirmed: 2024-02-03\n", True, "confirmed on 2024-02-03"),
            (KeyRights(True, False), "", True, "may not withdraw"),
        ],
    )
    async def test_check_judges_the_right_to_withdraw_as_arming_does(
        self, venue: Behaviour, home: Path, rights: KeyRights, more: str, ok: bool | None, says: str
    ) -> None:
        write_accounts(home, LIVE + more)
        venue.rights = rights
        found = [finding async for finding in check(find_target(options(home)), options(home), trade=False)]
        [judged] = [finding for finding in found if finding.name == "no right to withdraw"]
        assert judged.ok is ok and says in judged.detail

    async def test_no_entry_while_the_account_stream_is_broken(self, live: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            driver, probe = driver_of(system), Probe(system.engine)
            await quoted(system)
            system.engine.arm("operator", 60)

            def entry() -> str:
                return system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.LIMIT, d("0.01"), bid)

            quote = system.engine.market.quote(PERP)
            assert quote is not None
            bid = system.instruments[PERP].price_from_float(quote.bid)
            first = entry()
            driver.break_stream(False, "socket closed")
            with pytest.raises(RiskReject, match="account_stream: account stream down: socket closed"):
                entry()
            [links] = [part for part in probe.view().parts if part.name == "links"]
            assert (links.level, links.text) == (DANGER, "account stream down: socket closed")
            driver.break_stream(True, "logged in again")
            with pytest.raises(RiskReject, match="being asked for"):
                entry()
            await until(lambda: not system.engine.stream.trouble())
            system.engine.cancel(first)
            driver.private = LinkState.STALE
            with pytest.raises(RiskReject, match="account stream stale: log-in refused"):
                entry()

    async def test_the_venues_cancel_timer_runs_and_ends_with_us(self, live: Behaviour, home: Path) -> None:
        lines: list[str] = []
        async with running(options(home)) as system:
            driver, dead_man = driver_of(system), system.cover.dead_man
            assert dead_man is not None
            system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
            await quoted(system)
            assert driver.timers == []
            system.engine.arm("operator", 60)
            await until(lambda: driver.timers == [60] and dead_man.is_set)
            system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: system.engine.portfolio.quantity(PERP))
            quote = system.engine.market.quote(PERP)
            assert quote is not None
            trigger = system.instruments[PERP].price_from_float(quote.bid * 0.9)
            stop = system.engine.submit(MANUAL, PERP, Side.SELL, OrderType.STOP, d("0.01"), None, trigger)
            await until(lambda: (order := system.engine.tracker.get(stop)) and order.state is OrderState.OPEN)
            dead_man._beat()
            await until(lambda: driver.timers == [60, 0] and not dead_man.is_set)
            assert any("cancel timer is off while it keeps stop" in line for line in lines)
            system.engine.cancel(stop)
            await until(lambda: not system.engine.tracker.working())
            driver.timer_error = VenueUnavailable("no answer")
            for failures in (1, 2, 3):
                dead_man._beat()
                await until(lambda failures=failures: dead_man._failures == failures)  # type: ignore[misc]
            [anomaly] = system.monitor.anomalies.active()
            assert "orders would outlive a crash" in anomaly.text
            driver.timer_error = None
            dead_man._beat()
            await until(lambda: driver.timers == [60, 0, 60])
            await until(lambda: not system.monitor.anomalies.active())
        assert driver.timers == [60, 0, 60, 0]

    async def test_the_timer_stays_on_when_a_stop_cannot_confirm_that_orders_are_gone(
        self, live: Behaviour, home: Path
    ) -> None:
        async with running(options(home)) as system:
            driver, dead_man = driver_of(system), system.cover.dead_man
            assert dead_man is not None
            await quoted(system)
            system.engine.arm("operator", 60)
            await until(lambda: dead_man.is_set)
            quote = system.engine.market.quote(PERP)
            assert quote is not None
            low = system.instruments[PERP].price_from_float(quote.bid * 0.9)
            own = system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.LIMIT, d("0.01"), low)
            await until(lambda: (order := system.engine.tracker.get(own)) and order.state is OrderState.OPEN)
            driver.gateway.cancel = lambda client_id, symbol, reply: None  # type: ignore[method-assign]
            report = await wind_down(system, "cancel", asyncio.Event(), 0.1)
        assert [order.client_id for order in report.unconfirmed] == [own]
        assert report.lines[-1] == "  the venue's timer cancels what rests within 60 s"
        assert driver.timers == [60]

    async def test_the_timer_is_not_kept_for_orders_of_others(self, live: Behaviour, home: Path) -> None:
        async with running(options(home)) as system:
            driver, dead_man = driver_of(system), system.cover.dead_man
            assert dead_man is not None
            await quoted(system)
            quote = system.engine.market.quote(PERP)
            assert quote is not None
            low = system.instruments[PERP].price_from_float(quote.bid * 0.9)
            await driver.place_order(PERP, Side.BUY, OrderType.LIMIT, d("0.01"), low, client_id="byhand")
            await until(lambda: [order.external for order in system.engine.tracker.working()] == [True])
            dead_man._beat()
            system.engine.arm("operator", 60)
            await until(lambda: dead_man.is_set)
            own = system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.LIMIT, d("0.01"), low)
            await until(lambda: (order := system.engine.tracker.get(own)) and order.state is OrderState.OPEN)
            system.engine.disarm("operator")
            dead_man._beat()
            await until(lambda: driver.timers == [60, 60])
            system.engine.cancel(own)
            await until(lambda: len(system.engine.tracker.working()) == 1)
            dead_man._beat()
            await until(lambda: driver.timers == [60, 60, 0] and not dead_man.is_set)

    async def test_the_timer_can_be_switched_off(self, live: Behaviour, home: Path) -> None:
        (home / "ctos.yaml").write_text("venues: {okx: {dead_man: false}}\n")
        async with running(options(home)) as system:
            assert system.cover.dead_man is None and system.cover.watchdog is None

    async def test_a_demo_account_is_kept_apart(self, live: Behaviour, home: Path) -> None:
        (home / "ctos.yaml").write_text("venues: {okx: {environment: demo}}\n")
        async with running(options(home)) as system:
            assert (system.account.key, system.account.is_trial) == ("okx:main@demo", True)
            assert driver_of(system).setup.hosts["rest_url"] == "https://demo.fake.example"


class TestHosts:
    @pytest.mark.parametrize(
        ("block", "says"),
        [
            ("rest_url: http://api.fake.example", "venues.okx.rest_url: .*in the clear; write https://"),
            ("ws_public_url: ws://ws.fake.example", "venues.okx.ws_public_url: .*write wss://"),
            ("rest_url: https://evil.example", "add it to venues.okx.trusted_hosts"),
            ("rest_url: https://api.fake.example.evil.example", "trusted_hosts"),
            ("rest_url: http://127.0.0.1:9001", ""),
            ("rest_url: http://localhost:9001", ""),
            ("rest_url: https://proxy.example, trusted_hosts: [proxy.example]", ""),
            ("environment: mars", "venues.okx.environment.*demo, live"),
            ("ca_file: missing.pem", "venues.okx.ca_file: cannot read"),
        ],
    )
    async def test_keys_go_only_where_they_may(self, venue: Behaviour, home: Path, block: str, says: str) -> None:
        write_accounts(home)
        (home / "ctos.yaml").write_text(f"venues: {{okx: {{{block}}}}}\n")
        loop = asyncio.get_running_loop()
        if says:
            with pytest.raises(ConfigError, match=says) as caught:
                build_system(options(home), loop)
            assert str(home / "ctos.yaml") in str(caught.value)
        else:
            build_system(options(home), loop).close()

    async def test_a_mistyped_venue_is_refused(self, venue: Behaviour, home: Path) -> None:
        (home / "ctos.yaml").write_text("venues:\n  okex:\n    rest_url: http://127.0.0.1:1\n")
        with pytest.raises(ConfigError, match=r"venues\.okex: .*did you mean okx\?"):
            build_system(options(home), asyncio.get_running_loop())

    async def test_public_data_may_come_from_anywhere(self, venue: Behaviour, home: Path) -> None:
        (home / "ctos.yaml").write_text("venues: {okx: {rest_url: http://emulator.example}}\n")
        async with running(options(home)):
            assert venue.made[0].setup.hosts["rest_url"] == "http://emulator.example"


class TestSecrets:
    FORMS = ("canary-key-4711", "canary-secret-0815", "canary pass+phrase/", "canary%20pass", "63616e617279")

    async def test_x01_no_file_and_no_child_sees_a_key(
        self, venue: Behaviour, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CANARY", "canary-secret-0815")
        write_accounts(home, LIVE.replace("canary-secret-0815", "${CANARY}"))
        lines: list[str] = []
        async with running(options(home)) as system:
            system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
            driver = driver_of(system)
            driver.setup.log("error", "the venue echoed canary-secret-0815 and Y2FuYXJ5LXNlY3JldC0wODE1")
            system.logs.operation("Error", det="canary-key-4711")
            await quoted(system)
            system.engine.arm("operator", 60)
            system.engine.submit(MANUAL, PERP, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: system.engine.portfolio.quantity(PERP))
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", "import os; print(dict(os.environ))", stdout=asyncio.subprocess.PIPE
            )
            assert b"canary" not in (await child.communicate())[0]
        assert "***" in lines[0]
        assert not any(form in line for line in lines for form in self.FORMS)
        for path in (home / "state").rglob("*"):
            if path.is_file():
                content = path.read_bytes().decode("latin-1")
                assert not any(form in content for form in self.FORMS), path
        assert "CANARY" not in os.environ

    async def test_representations_hide_keys(self, venue: Behaviour, home: Path) -> None:
        write_accounts(home)
        system = build_system(options(home), asyncio.get_running_loop())
        shown = f"{driver_of(system).setup!r} {system.choice!r}"
        system.close()
        assert "canary" not in shown

"""The whole system on wire-level emulators of the real venues: live, on paper, recorded and played back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from drivers.paper.markets.synthetic import SyntheticMarket
from engine.boot.decoding import decode_stream
from engine.boot.options import SystemOptions
from engine.boot.recordings import open_recording
from engine.boot.system import System, running
from engine.io.raw_files import open_raw, raw_lines
from engine.io.raw_recorder import RawRecorder
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock
from engine.kernel.errors import AuthError, RiskReject, TradingHalted, VenueUnavailable
from engine.kernel.market import BookUpdate, Trade
from engine.kernel.orders import Order, OrderState, OrderType, Side
from engine.kernel.strategy import StopPolicy
from engine.runtime.accounts import MANUAL
from engine.runtime.events import LogLine
from tests.boot.conftest import write_accounts
from tests.boot.test_real_venues import until
from tests.engine.floor import d
from tests.venues.emulators.__main__ import emulator_class
from tests.venues.emulators.core import Emulator


@pytest.fixture(params=["okx", "binance", "backpack"])
async def emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    clock = LoopClock(asyncio.get_running_loop())
    async with emulator_class(request.param)(market=SyntheticMarket(3, clock.now_ns()), clock=clock) as running_one:
        yield running_one


def configure(home: Path, emulator: Emulator, secret: str | None = None) -> SystemOptions:
    (home / "ctos.yaml").write_text(yaml.safe_dump({"venues": {emulator.name: dict(emulator.overrides)}}))
    account = {
        "mode": "live",
        "key": emulator.key,
        "secret": secret or emulator.secret,
        "no_withdraw_confirmed": "2024-02-03",
    }
    if emulator.passphrase:
        account["passphrase"] = emulator.passphrase
    write_accounts(home, yaml.safe_dump({emulator.name: {"main": account}}, default_style='"'))
    return SystemOptions(config=str(home), exchange=emulator.name)


def perp_of(system: System) -> str:
    return f"BTC-{system.account.default_quote}-PERP"


async def quoted(system: System) -> str:
    symbol = perp_of(system)
    system.engine.market.watch(symbol)
    await until(lambda: system.engine.market.quote(symbol) and system.engine.market.book(symbol).valid, 20)
    return symbol


def order(system: System, client_id: str) -> Order:
    found = system.engine.tracker.get(client_id)
    assert found is not None
    return found


class TestLive:
    async def test_orders_fills_and_positions_agree_with_the_venue_over_a_restart(
        self, emulator: Emulator, home: Path
    ) -> None:
        options = configure(home, emulator)
        async with running(options) as system:
            engine, symbol = system.engine, await quoted(system)
            engine.arm("operator", 600)
            bought = engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.02"))
            await until(lambda: order(system, bought).state is OrderState.FILLED, 20)
            await until(lambda: engine.portfolio.quantity(symbol) == d("0.02"), 20)
            quote = engine.market.quote(symbol)
            assert quote is not None
            price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
            resting = engine.submit(MANUAL, symbol, Side.BUY, OrderType.POST_ONLY, d("0.01"), price)
            await until(lambda: order(system, resting).state is OrderState.OPEN, 20)
            engine.amend(resting, price - 10)
            await until(
                lambda: (
                    [o.price for o in engine.tracker.working(symbol)] == [price - 10]
                    and all(o.state is OrderState.OPEN for o in engine.tracker.working(symbol))
                ),
                20,
            )
        [truth] = emulator.exchange.positions()
        assert (truth.symbol, truth.quantity) == (emulator.canonical(symbol), d("0.02"))
        [left] = emulator.exchange.open_orders()
        assert left.price == price - 10

        async with running(options) as system:
            engine = system.engine
            [found] = engine.tracker.working()
            assert (found.price, found.external) == (price - 10, False)
            [row] = [row for row in engine.portfolio.positions() if row.symbol == symbol]
            assert row.quantity == row.venue_quantity == d("0.02")
            await quoted(system)
            engine.cancel(found.client_id)
            await until(lambda: order(system, found.client_id).state is OrderState.CANCELED, 20)
            engine.flatten_all("operator")
            await until(lambda: not engine.portfolio.quantity(symbol), 20)
        assert emulator.exchange.positions() == [] and emulator.exchange.open_orders() == []

    async def test_a_strategy_runs_on_it_as_it_does_on_paper(self, emulator: Emulator, home: Path) -> None:
        async with running(configure(home, emulator)) as system:
            symbol = await quoted(system)
            system.engine.arm("operator", 600)
            grid = system.manager.launch("dyn_grid", {}, symbols=symbol)
            await until(lambda: len(system.engine.tracker.working(symbol, grid.name)) >= 2, 20)
            await until(lambda: len(emulator.exchange.open_orders()) >= 2, 20)
            system.manager.stop(grid.name, StopPolicy.FLATTEN)
            await until(lambda: not system.engine.tracker.working() and not emulator.exchange.open_orders(), 20)
            await until(lambda: not emulator.exchange.positions() and not system.engine.portfolio.quantity(symbol), 20)

    async def test_panic_cancels_at_the_venue_and_latches(self, emulator: Emulator, home: Path) -> None:
        options = configure(home, emulator)
        async with running(options) as system:
            symbol = await quoted(system)
            system.engine.arm("operator", 600)
            quote = system.engine.market.quote(symbol)
            assert quote is not None
            price = system.instruments[symbol].price_from_float(round(quote.bid * 0.99))
            system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.LIMIT, d("0.01"), price)
            await until(lambda: emulator.exchange.open_orders(), 20)
            system.engine.panic("operator")
            await until(lambda: not emulator.exchange.open_orders(), 20)
        async with running(options) as system:
            with pytest.raises(TradingHalted):
                system.engine.arm("operator", 600)

    async def test_a_cut_account_stream_stops_entries_and_comes_back(self, emulator: Emulator, home: Path) -> None:
        lines: list[str] = []
        async with running(configure(home, emulator)) as system:
            system.bus.subscribe(LogLine, lambda line: lines.append(line.text))
            symbol = await quoted(system)
            system.engine.arm("operator", 600)
            emulator.faults.cut_sockets("*")
            await until(lambda: system.engine.stream.trouble(), 20)
            with pytest.raises(RiskReject, match=r"account_stream|market_data"):
                system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: not system.engine.stream.trouble() and not system.engine.market.is_stale(symbol), 30)
            sent = system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: order(system, sent).state is OrderState.FILLED, 20)
        assert any(line.startswith("account stream: ") for line in lines)

    async def test_a_wrong_key_is_one_error_and_leaves_the_state_free(self, emulator: Emulator, home: Path) -> None:
        wrong = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" if emulator.name == "backpack" else "wrong-secret"
        with pytest.raises(AuthError) as refused:
            async with running(configure(home, emulator, secret=wrong)):
                pytest.fail("it must not start")
        assert "\n" not in str(refused.value) and wrong not in str(refused.value)
        async with running(configure(home, emulator)) as system:
            assert system.ready

    async def test_a_venue_that_is_away_names_probe(self, emulator: Emulator, home: Path) -> None:
        options = configure(home, emulator)
        await emulator.stop()
        with pytest.raises(VenueUnavailable, match=f"ctos-tui probe {emulator.name}"):
            async with running(options):
                pytest.fail("it must not start")


class TestPaper:
    async def test_live_data_needs_no_key_and_sends_no_order(self, emulator: Emulator, home: Path) -> None:
        options = configure(home, emulator)
        (home / "accounts.yaml").unlink()
        async with running(options) as system:
            symbol = await quoted(system)
            system.engine.arm("test")
            sent = system.engine.submit(MANUAL, symbol, Side.BUY, OrderType.MARKET, d("0.01"))
            await until(lambda: order(system, sent).state is OrderState.FILLED, 20)
            assert system.engine.portfolio.quantity(symbol) == d("0.01")
            assert await system.driver.get_klines(symbol, "1m", 5)
        assert emulator.exchange.positions() == []
        assert not any(seen.account for seen in emulator.requests)

    async def test_what_is_recorded_raw_decodes_and_plays_back(self, emulator: Emulator, home: Path) -> None:
        path = home / "raw.jsonl.gz"
        options = configure(home, emulator)
        async with running(SystemOptions(config=str(home), exchange=emulator.name, mode="paper")) as system:
            writer = WriterThread(system.loop, _raise)
            recorder = RawRecorder(path, system.clock, writer, lambda progress: None, _raise)
            system.driver.subscribe_raw(recorder.take)
            symbol = await quoted(system)
            heard: Counter[type] = Counter()
            system.driver.subscribe_trades(symbol, lambda trade: heard.update([type(trade)]))
            system.driver.subscribe_orderbook(symbol, lambda event: heard.update([type(event)]))
            await until(lambda: heard[Trade] >= 3 and heard[BookUpdate] >= 3, 30)
            recorder.close()
            writer.close()
        assert options.exchange == emulator.name
        with open_raw(path) as file:
            events = list(decode_stream(emulator.name, raw_lines(file, str(path))).events)
        kinds = {event["type"] for event in events if event["symbol"] == symbol}
        assert {"book_synced", "book", "trade", "quote"} <= kinds
        assert "unparsed" not in {event["type"] for event in events}, json.dumps(events[:3])
        market, _ = open_recording(path, loops=False)
        assert [instrument.venue for instrument in market.instruments()] == [emulator.name]
        assert symbol in {instrument.symbol for instrument in market.instruments()}


def _raise(error: Exception) -> None:
    raise error

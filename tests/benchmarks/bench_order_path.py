"""An order from the engine's call to its acknowledgement, beside a bare signed aiohttp POST and ccxt on one server.

CPU of this process only: risk check, journal, codec, signature, connection, and the engine's reading of the answer.
The server runs in a process of its own. "Up to the bytes" ends when the request is handed to the kernel: the answer is
not counted.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import json
import subprocess
import sys
import time
from asyncio.selector_events import _SelectorSocketTransport
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import connect

from drivers.okx import make_driver
from drivers.transport.setup import Credentials, MemoryStore, VenueSetup
from engine.io.journal import Journal
from engine.io.writer import WriterThread
from engine.kernel.clock import LoopClock, Rng
from engine.kernel.event_bus import EventBus
from engine.kernel.market import MarkPrice, Quote
from engine.kernel.orders import Order, OrderState, OrderType, OrderUpdate, Side
from engine.kernel.secret import Secret
from engine.runtime.accounts import MANUAL, Account, AccountLimits, Mode
from engine.runtime.events import OrderChanged
from engine.runtime.execution import ExecutionEngine
from engine.runtime.shell import LoopShell
from tests.benchmarks.peers import run_peer
from tests.benchmarks.table import Table

pytestmark = pytest.mark.bench

SYMBOL = "BTC-USDT-PERP"
ORDERS, ROUNDS, FLIGHT = 320, 7, 32
PRICE, TICK, QUANTITY = Decimal("30000.1"), Decimal("0.1"), Decimal("0.01")
KEY, SECRET, PHRASE = "k" * 36, "S" * 32, "passphrase"
ROOMY = AccountLimits(
    max_notional_usd=Decimal(10**9),
    max_order_usd=Decimal(10**6),
    max_leverage=Decimal(100),
    max_open_orders=10_000,
    max_orders_per_min=10**6,
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = Path(__file__).with_name("order_server.py")
    with subprocess.Popen([sys.executable, str(server)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


class NoJournal:
    """Says at once that everything is durable, and keeps nothing."""

    failed = None
    last_seq = 0

    def append(
        self, kind: str, account: str, ts_ns: int, body: Any, on_durable: Callable[[], object] | None = None
    ) -> int:
        self.last_seq += 1
        if on_durable is not None:
            on_durable()
        return self.last_seq

    def records(self, account: str, after_seq: int = 0) -> Iterator[Any]:
        return iter(())

    def has_fill(self, account: str, symbol: str, trade_id: str) -> bool:
        return False

    def save_checkpoint(self, account: str, seq: int, body: Any) -> None:
        return

    def load_checkpoint(self, account: str) -> None:
        return None

    def get(self, table: str, key: str) -> bytes | None:
        return None

    def put(self, table: str, key: str, value: bytes, on_durable: Callable[[], object] | None = None) -> None:
        if on_durable is not None:
            on_durable()


class Desk:
    """The engine on the OKX driver, connected to the server."""

    def __init__(self, port: int, journal: Any, trade_over_ws: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.clock = LoopClock(loop)
        ws = f"ws://127.0.0.1:{port}/ws/v5"
        hosts = {"rest_url": f"http://127.0.0.1:{port}", "ws_public_url": f"{ws}/public"}
        hosts |= {
            "ws_private_url": f"{ws}/private",
            "ws_business_url": f"{ws}/business",
            "ws_trade_url": f"{ws}/private",
        }
        keys = Credentials(Secret(KEY), Secret(SECRET), Secret(PHRASE))
        setup = VenueSetup(
            self.clock, Rng(1), MemoryStore(), hosts, credentials=keys, trade_over_ws=trade_over_ws, log=lambda *_: None
        )
        self.driver = make_driver(setup)
        self.driver._limiter.try_acquire = lambda cost, urgency: True  # the venue's own budget is not what is measured
        account = Account(0, "bench", "okx", Mode.LIVE, limits=ROOMY)
        self.bus = EventBus()
        self.engine = ExecutionEngine(account, self.driver, self.clock, Rng(2), self.bus, journal, LoopShell(loop))
        self.waiting: dict[str, asyncio.Future[Order]] = {}
        self.bus.subscribe(OrderChanged, self._changed)

    async def start(self) -> None:
        await self.driver.start()
        await self.engine.start()
        self.engine.market.watch(SYMBOL, depth=False)
        self.engine.arm("bench", 86_400)
        self.quote()

    def quote(self) -> None:
        now = self.clock.now_ms()
        quote, mark = Quote(SYMBOL, now, 30000.1, 1.0, 30000.2, 1.0), MarkPrice(SYMBOL, now, 30000.1, 30000.1)
        self.driver.on_market([quote, mark])

    def send(self, price: Decimal = PRICE) -> asyncio.Future[Order]:
        client_id = self.engine.submit(MANUAL, SYMBOL, Side.BUY, OrderType.LIMIT, QUANTITY, price)
        future: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        self.waiting[client_id] = future
        return future

    def _changed(self, event: OrderChanged) -> None:
        order = event.order
        if (
            order.venue_order_id
            and order.state is OrderState.SENT
            and (future := self.waiting.pop(order.client_id, None))
        ):
            future.set_result(order)

    def end(self, order: Order) -> None:
        """Tell the engine that the order is gone, so that the next one finds the same engine."""
        update = OrderUpdate(
            order.client_id,
            "",
            SYMBOL,
            Side.BUY,
            OrderType.LIMIT,
            OrderState.CANCELED,
            QUANTITY,
            PRICE,
            Decimal(0),
            self.clock.now_ms(),
        )
        self.driver.on_account(update)
        self.engine.tracker._by_venue_id.clear()  # every acknowledgement of this server names the same venue id

    async def stop(self) -> None:
        self.engine.stop()
        await self.driver.stop()

    async def one(self) -> None:
        """Send an order, wait for its acknowledgement, and end it."""
        self.end(await self.send())

    async def cpu_per_order(self, flight: int) -> float:
        """CPU seconds an order, `flight` of them in the air at once."""
        spent = 0.0
        prices = [PRICE - step * TICK for step in range(flight)]  # the same order twice in a second is refused
        for _ in range(ORDERS // flight):
            self.quote()
            began = time.process_time()
            orders = await asyncio.gather(*[self.send(price) for price in prices])
            spent += time.process_time() - began
            for order in orders:
                self.end(order)
        return spent / (ORDERS // flight * flight)


class Bare:
    """Signed POSTs of aiohttp's own session, with nothing around them."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._number = iter(range(10**9))

    async def one(self) -> None:
        body = msgspec.json.encode(
            {
                "instId": "BTC-USDT-SWAP",
                "tdMode": "cross",
                "side": "buy",
                "ordType": "limit",
                "px": "30000.1",
                "sz": "1",
                "clOrdId": f"x{next(self._number)}",
            }
        )
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        text = (stamp + "POST/api/v5/trade/order").encode() + body
        headers = {
            "OK-ACCESS-KEY": KEY,
            "OK-ACCESS-SIGN": base64.b64encode(hmac.digest(SECRET.encode(), text, "sha256")).decode(),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": PHRASE,
            "Content-Type": "application/json",
        }
        async with self._session.post("/api/v5/trade/order", data=body, headers=headers) as reply:
            assert msgspec.json.decode(await reply.read())["code"] == "0"

    async def cpu_per_order(self, flight: int) -> float:
        """CPU seconds a POST, `flight` of them in the air at once."""
        began = time.process_time()
        for _ in range(ORDERS // flight):
            await asyncio.gather(*[self.one() for _ in range(flight)])
        return (time.process_time() - began) / (ORDERS // flight * flight)

    async def cpu_after_pauses(self, pause_s: float) -> float:
        """CPU seconds a POST that comes after a pause: what ran before has left the processor's caches."""
        spent = 0.0
        for _ in range(ORDERS // 4):
            await asyncio.sleep(pause_s)
            began = time.process_time()
            await self.one()
            spent += time.process_time() - began
        return spent / (ORDERS // 4)


class Bytes:
    """Notes how much CPU was spent when a request had been handed to the kernel."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._at: float | None = None
        for name in ("write", "writelines"):
            monkeypatch.setattr(_SelectorSocketTransport, name, self._noting(getattr(_SelectorSocketTransport, name)))

    def _noting(self, original: Callable[..., None]) -> Callable[..., None]:
        def write(transport: Any, data: Any) -> None:
            original(transport, data)
            if self._at is None:
                self._at = time.process_time()

        return write

    async def cpu_per_order(self, one: Callable[[], Awaitable[None]]) -> float:
        """CPU seconds from the call until the bytes are written, one order at a time."""
        spent = 0.0
        for _ in range(ORDERS):
            self._at, began = None, time.process_time()
            await one()
            assert self._at is not None
            spent += self._at - began
        return spent / ORDERS


async def bare_socket_cpu(port: int) -> float:
    """CPU seconds of one message of an order's size and its answer over the websockets library alone."""
    order = {"instIdCode": 10459, "tdMode": "cross", "side": "buy", "ordType": "limit", "px": "30000.1", "sz": "1"}
    text = json.dumps({"id": "1", "op": "order", "args": [{**order, "clOrdId": "7g5omanuae00000001"}]})
    spent = []
    async with connect(f"ws://127.0.0.1:{port}/ws/v5/private", compression=None) as socket:
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(ORDERS):
                await socket.send(text)
                await socket.recv(decode=False)
            spent.append((time.process_time() - began) / ORDERS)
    return median(spent)


@asynccontextmanager
async def bare_posts(port: int) -> AsyncIterator[Bare]:
    connector = aiohttp.TCPConnector(limit=FLIGHT + 5)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session:
        yield Bare(session)


Figure = Callable[[], Awaitable[float]]


async def measure(ours: Figure, floor: Figure) -> tuple[float, float, float]:
    """Median CPU of ours and of the floor, and of the rounds' ratios, after a warm-up; the two alternate."""
    mine, floors = [], []
    for _ in range(ROUNDS + 1):
        gc.collect()
        floors.append(await floor())
        mine.append(await ours())
    ratios = [one / other for one, other in zip(mine[1:], floors[1:], strict=True)]
    return median(mine[1:]), median(floors[1:]), median(ratios)


CASES = [
    ("REST, no journal, one in flight", False, False, 1, 1.2),
    ("REST, durable intent, one in flight", True, False, 1, 2.0),
    ("REST, durable intent, 32 in flight", True, False, FLIGHT, 1.3),
    ("trading socket, no journal, one in flight", False, True, 1, 0.5),
]


@pytest.mark.parametrize(("name", "durable", "over_ws", "flight", "most"), CASES)
async def test_order_path(
    port: int, tmp_path: Path, table: Table, name: str, durable: bool, over_ws: bool, flight: int, most: float
):
    journal: Any = NoJournal()
    writer = None
    if durable:
        writer = WriterThread(asyncio.get_running_loop(), _raise)
        journal = Journal(tmp_path / "ctos.db", writer, ballast_bytes=0)
    desk = Desk(port, journal, over_ws)
    await desk.start()
    async with bare_posts(port) as bare:
        ours, floor, ratio = await measure(lambda: desk.cpu_per_order(flight), lambda: bare.cpu_per_order(flight))
        pause_s = 0.0
        if durable and flight == 1:
            began_ns = desk.clock.now_ns()
            await desk.cpu_per_order(1)
            pause_s = (desk.clock.now_ns() - began_ns) / ORDERS / 1e9
            rested = await bare.cpu_after_pauses(pause_s)
    await desk.stop()
    if writer is not None:
        journal.close()
        writer.close()
    table.add(f"order, {name}", f"{ours * 1e6:.0f} µs", f"<= {most} x", ratio <= most, f"{floor * 1e6:.0f} µs", ratio)
    if pause_s:
        name = f"  beside a bare POST every {pause_s * 1e3:.0f} ms, as the disk lets ours"
        table.note(name, f"{ours * 1e6:.0f} µs", f"{rested * 1e6:.0f} µs", ours / rested)


@pytest.mark.parametrize(("name", "over_ws"), [("REST", False), ("trading socket", True)])
async def test_order_path_up_to_the_bytes(
    port: int, table: Table, monkeypatch: pytest.MonkeyPatch, name: str, over_ws: bool
):
    desk = Desk(port, NoJournal(), over_ws)
    await desk.start()
    written = Bytes(monkeypatch)

    async def ours() -> float:
        desk.quote()
        return await written.cpu_per_order(desk.one)

    async with bare_posts(port) as bare:
        mine, floor, ratio = await measure(ours, lambda: written.cpu_per_order(bare.one))
    await desk.stop()
    table.note(f"order, {name}, no journal, up to the bytes", f"{mine * 1e6:.0f} µs", f"{floor * 1e6:.0f} µs", ratio)


async def test_websockets_alone(port: int, table: Table):
    async with bare_posts(port) as bare:
        floor = median([await bare.cpu_per_order(1) for _ in range(ROUNDS)])
    alone = await bare_socket_cpu(port)
    table.note(
        "the websockets library alone, message and answer",
        f"{alone * 1e6:.0f} µs",
        f"{floor * 1e6:.0f} µs",
        alone / floor,
    )


async def test_order_path_of_ccxt(port: int, table: Table):
    desk = Desk(port, NoJournal())
    await desk.start()
    await desk.cpu_per_order(1)
    rounds = [await desk.cpu_per_order(1) for _ in range(ROUNDS)]
    peer = median(run_peer("ccxt_orders.py", port, ORDERS, ROUNDS)["cpu_s"])
    rounds += [await desk.cpu_per_order(1) for _ in range(ROUNDS)]
    ours = median(rounds)  # of before and after: the machine may not be as quick at one time as at another
    await desk.stop()
    table.add(
        "order, REST, beside ccxt", f"{ours * 1e6:.0f} µs", "<= 1 x", ours <= peer, f"{peer * 1e6:.0f} µs", ours / peer
    )


def _raise(error: Exception) -> None:
    raise error

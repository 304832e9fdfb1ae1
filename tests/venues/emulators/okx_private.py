"""OKX's private pushes: orders, positions, account, balance_and_position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from engine.kernel.account import Balance, Position
from tests.venues.emulators.okx_listing import Units
from tests.venues.emulators.okx_order import OkxOrder
from tests.venues.emulators.okx_wire import Row

if TYPE_CHECKING:
    from tests.venues.emulators.okx import OkxEmulator


class PrivatePushes:
    """What the private socket is told.

    Args:
        emulator: Whose account.

    Attributes:
        page_size: Positions in one message of a snapshot.
    """

    def __init__(self, emulator: OkxEmulator) -> None:
        self._emulator = emulator
        self.page_size = 100

    def on_order(self, order: OkxOrder, row: Row) -> None:
        """Push an event of an order."""
        self._publish("orders", [row], {}, order.units)

    def on_position(self, position: Position, event: str = "event_update") -> None:
        """Push a position."""
        units = self._emulator.units_of_symbol(position.symbol)
        row = self._emulator.account.position_row(position)
        self._publish("positions", [row], {"eventType": event, "curPage": 1, "lastPage": True}, units)
        if event == "event_update":
            trades = [{"instId": units.native, "tradeId": row["tradeId"]}]
            self._publish("balance_and_position", [self._both("filled", [], [row], trades)], {})

    def on_balance(self, balance: Balance, event: str = "filled") -> None:
        """Push a balance."""
        account = self._emulator.account.account_row([balance])
        extra = {"eventType": "event_update", "curPage": 1, "lastPage": True}
        self._publish("account", [account], extra, currency=balance.currency)
        self._publish("balance_and_position", [self._both(event, account["details"], [], [])], {})

    def snapshot(self, channel: str, argument: Row) -> list[tuple[list[Row], Row]]:
        """Return the messages with which a private subscription begins, as (rows, fields); none for orders."""
        exchange, account = self._emulator.exchange, self._emulator.account
        positions = [account.position_row(position) for position in exchange.positions()]
        balances = [b for b in exchange.balances() if argument.get("ccy") in (None, "", b.currency)]
        if channel == "positions":
            rows = [row for row in positions if _wants(argument, row)]
            pages = [rows[start : start + self.page_size] for start in range(0, len(rows), self.page_size)] or [[]]
            return [
                (rows, {"eventType": "snapshot", "curPage": number, "lastPage": number == len(pages)})
                for number, rows in enumerate(pages, start=1)
            ]
        if channel == "account":
            return [([account.account_row(balances)], {"eventType": "snapshot", "curPage": 1, "lastPage": True})]
        if channel == "balance_and_position":
            return [([self._both("snapshot", account.account_row(balances)["details"], positions, [])], {})]
        return []

    def _both(self, event: str, details: list[Row], positions: list[Row], trades: list[Row]) -> Row:
        fields = (
            "posId",
            "tradeId",
            "instId",
            "instType",
            "mgnMode",
            "posSide",
            "pos",
            "ccy",
            "posCcy",
            "avgPx",
            "uTime",
        )
        return {
            "pTime": str(self._emulator.clock.now_ms()),
            "eventType": event,
            "balData": [{name: each[name] for name in ("ccy", "cashBal", "uTime")} for each in details],
            "posData": [{name: each[name] for name in fields} for each in positions],
            "trades": trades,
        }

    def _publish(
        self, channel: str, rows: list[Row], extra: Row, units: Units | None = None, currency: str | None = None
    ) -> None:
        topics = {
            topic: argument
            for socket in self._emulator.sockets
            for topic, argument in socket.topics.items()
            if topic.startswith(f"{channel}:")
        }
        for topic, argument in topics.items():
            if units is not None and not _wants(argument, rows[0]):
                continue
            if currency is not None and argument.get("ccy") not in (None, "", currency):
                continue
            self._emulator.publish(topic, text_of(argument, rows, extra))


def _wants(argument: Row, row: Row) -> bool:
    """Return whether a private subscription covers a row."""
    family = argument.get("instFamily")
    return (
        argument.get("instType") in ("ANY", row["instType"])
        and argument.get("instId") in (None, "", row["instId"])
        and (not family or row["instId"].startswith(f"{family}-"))
    )


def text_of(argument: Row, rows: list[Any], extra: Row | None = None) -> str:
    """Return a push."""
    return msgspec.json.encode({"arg": argument, **(extra or {}), "data": rows}).decode()

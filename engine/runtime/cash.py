"""Money that comes into an account or leaves it by no trade: asked for when something needs it, booked once."""

from __future__ import annotations

from engine.kernel.account import CashTransfer
from engine.kernel.clock import NS_PER_S
from engine.kernel.errors import CtosError
from engine.runtime.execution import ExecutionEngine
from engine.runtime.records import Cash

ASK_AGAIN_NS = 10 * NS_PER_S


class CashBook:
    """Books deposits, withdrawals and transfers of an account.

    Args:
        engine: The account's engine; its venue tells transfers.
    """

    def __init__(self, engine: ExecutionEngine) -> None:
        self._engine = engine
        self._asked_ns: int | None = None
        self._asking = False

    def ask(self, since_ms: int) -> None:
        """Ask the venue for transfers since a time, at most every 10 s; what it names is booked."""
        now_ns = self._engine.clock.now_ns()
        if self._asking or (self._asked_ns is not None and now_ns - self._asked_ns < ASK_AGAIN_NS):
            return
        self._asking, self._asked_ns = True, now_ns

        def found(transfers: list[CashTransfer]) -> None:
            self._asking = False
            for transfer in transfers:
                self._take(transfer)

        def failed(error: CtosError) -> None:
            self._asking = False
            self._engine.core.say(f"deposits and withdrawals could not be asked for: {error}", "warn", "monitor")

        self._engine.shell.run(self._engine.driver.get_transfers(since_ms), found, failed)

    def _take(self, transfer: CashTransfer) -> None:
        """Book a transfer unless it is booked; one in a coin without a price waits until it has one."""
        core = self._engine.core
        if core.state.books.cash_known(transfer):
            return
        try:
            value = transfer.amount * core.portfolio.fx(transfer.currency)
        except CtosError as error:
            core.say(f"a transfer of {transfer.amount} {transfer.currency} is not booked yet: {error}", "warn")
            return
        core.write(Cash(transfer, value))
        what = f"{transfer.amount:+f} {transfer.currency}"
        core.oplog(
            "LedgerTransfer",
            amount=str(transfer.amount),
            currency=transfer.currency,
            det=f"{transfer.note}, {what}, bill {transfer.id}",
        )
        core.say(f"{what} by {transfer.note}: it is no profit or loss", "info", "monitor")

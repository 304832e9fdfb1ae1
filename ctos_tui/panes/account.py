"""The account: worth, wallets, limits with their use, and how the system does."""

from __future__ import annotations

from ctos_tui.numbers import UNKNOWN, fixed, money, pnl
from ctos_tui.panes.base import Actions, Pane
from ctos_tui.panes.cells import Row, Span
from ctos_tui.panes.describe import signed, signed_role
from ctos_tui.panes.ladder_rows import bar_right
from ctos_tui.text import pad_right
from engine.runtime.risk.view import LimitUse

_LABEL = 18
_BAR = 12


class AccountPane(Pane):
    """Balances, exposure, limit bars and health."""

    TITLE = "ACCOUNT"
    CONTEXT = "account"
    HZ = 2

    def pull(self) -> None:
        """Show the account of now."""
        port = self.host.port
        account = port.account
        rows = [*self._worth(), *self._coins(), *self._wallets(), *self._limits(), *self._health()]
        info = ((f"{account.venue}·{account.name}#{account.index}", "label"), (port.market_label, "dim"))
        self.set_rows(rows, info)

    def _line(self, key: str, label: str, *spans: Span) -> Row:
        return Row(key, ((_label(label), "label"), *spans))

    def _worth(self) -> list[Row]:
        figures = self.host.port.figures()
        leverage = UNKNOWN if figures.leverage is None else f"{fixed(figures.leverage, 2)}×"
        day = figures.day_profit
        return [
            self._line("equity", "equity", (money(figures.equity), "bright")),
            self._line("day", "profit today", signed(pnl(day), day)),
            self._line("open", "open profit", signed(pnl(figures.unrealised), figures.unrealised)),
            self._line("free", "free", (money(figures.free), "text")),
            self._line(
                "gross",
                "exposure",
                (money(figures.gross, digits=0), "text"),
                ("  net ", "dim"),
                (fixed(figures.net, 0, sign=True), signed_role(figures.net)),
            ),
            self._line("lev", "leverage", (leverage, "text")),
        ]

    def _coins(self) -> list[Row]:
        """Show coins that are long in one instrument and short in another: there the sum of positions misleads."""
        return [
            self._line(
                f"coin {coin.coin}",
                f"net {coin.coin}",
                (fixed(coin.net, 0, sign=True), signed_role(coin.net)),
                ("  long ", "dim"),
                (money(coin.long, digits=0), "text"),
                ("  short ", "dim"),
                (money(coin.short, digits=0), "text"),
            )
            for coin in self.host.port.exposures()
            if coin.is_hedged
        ]

    def _wallets(self) -> list[Row]:
        rows = []
        for balance in self.host.port.balances():
            if not balance.total:
                continue
            digits = 2 if balance.currency.startswith("USD") else 6
            rows.append(
                self._line(
                    f"wallet {balance.currency}",
                    balance.currency,
                    (fixed(balance.total, digits), "bright"),
                    ("  free ", "dim"),
                    (fixed(balance.free, digits), "text"),
                )
            )
        return rows

    def _limits(self) -> list[Row]:
        return [self._limit(use) for use in self.host.port.limits()]

    def _limit(self, use: LimitUse) -> Row:
        share = use.share
        role = "danger" if share >= 1 else "warn" if share >= 0.8 else "good"
        name = use.rule if use.scope == "account" else f"{use.scope} {use.rule}"
        digits = 2 if use.unit == "x" else 0
        cells = _BAR if self.row_width >= 56 else _BAR // 3
        bar = bar_right(share, cells).ljust(cells)
        return Row(
            f"limit {use.scope} {use.rule}",
            (
                (_label(name.replace("_per_", "/").replace("_", " ")), "label"),
                (bar, role),
                (f" {fixed(use.used, digits)}", "text"),
                (f" / {fixed(use.limit, digits)} {use.unit}", "dim"),
            ),
        )

    def _health(self) -> list[Row]:
        return [
            self._line(f"health {part.name}", part.name, ("● ", part.level), (part.text, "text"))
            for part in self.host.port.health()
        ]

    def actions(self) -> Actions:
        """Return the moves of the selection."""
        return self.row_actions()


def _label(text: str) -> str:
    return pad_right(text, _LABEL - 1) + " "

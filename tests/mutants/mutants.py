"""Every mutant."""

from __future__ import annotations

from tests.mutants.about_orders import ORDERS
from tests.mutants.about_the_account import BOOKS, HALTS, LIMITS

MUTANTS = (*ORDERS, *BOOKS, *LIMITS, *HALTS)

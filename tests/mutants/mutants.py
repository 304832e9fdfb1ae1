"""Every mutant."""

from __future__ import annotations

from tests.mutants.about_halts import HALTS
from tests.mutants.about_limits import WORTH
from tests.mutants.about_orders import ORDERS
from tests.mutants.about_stops import STOPS
from tests.mutants.about_the_account import BOOKS, LIMITS

MUTANTS = (*ORDERS, *STOPS, *BOOKS, *LIMITS, *WORTH, *HALTS)

"""Work that takes more than one order: soft orders, incremental orders, position targets, replacements.

`WorkBook` is the door: the execution engine starts work through it and passes it the events of orders that carry a
`parent`. Each kind of work is a synchronous state machine that acts only through an `OrderDesk`.
"""

from engine.runtime.work.book import WorkBook
from engine.runtime.work.desk import OrderDesk
from engine.runtime.work.incremental import IncrementalPlan
from engine.runtime.work.pricing import SoftParams
from engine.runtime.work.targets import Basis, TargetPlan
from engine.runtime.work.ticket import Ticket

__all__ = ["Basis", "IncrementalPlan", "OrderDesk", "SoftParams", "TargetPlan", "Ticket", "WorkBook"]

"""What has to be cleared before a person may release a halt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.runtime.execution import ExecutionEngine


def why_not_rearm(engine: ExecutionEngine) -> list[str]:
    """Return every cause that still stands, in words: an unfit account, unknown or resting orders, journal, venue."""
    found = list(engine.core.obstacles)
    unknown = engine.tracker.unknown()
    if unknown:
        labels = ", ".join(f"#{order.label}" for order in unknown)
        found.append(f"{labels} has no known outcome yet; it is being looked for")
    report = engine.panic_switch.report
    if report is not None and engine.risk.is_halted:
        sought = {order.label for order in unknown}
        found += [f"not confirmed cancelled: {text}" for label, text in report.details.items() if label not in sought]
    if engine.journal.failed is not None:
        found.append(f"{engine.journal.failed}; it is being tried again now")
    if engine.reconciler.last_error:
        found.append(f"the venue does not answer: {engine.reconciler.last_error}")
    return [*found, *engine.risk.losses.reached(), *engine.conditions.causes(halting=True)]

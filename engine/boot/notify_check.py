"""Do notifications arrive: every target's address is parsed, and on request a trial message is sent to each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from engine.boot.checking import CheckTarget, Finding
from engine.io.notify import deliver, target_problem
from engine.io.notify_urls import open_targets
from engine.io.secrets import process_environment, process_redactor, take_password
from engine.kernel.anomaly import Severity
from engine.kernel.errors import CtosError


async def check_notifications(target: CheckTarget, send: bool) -> AsyncGenerator[Finding, None]:
    """Yield what is found about each target; nothing when none is configured and none was asked for."""
    written = target.config.notifications
    if not written:
        if send:
            advice = "write notifications: with a list of - url: lines into ctos.yaml; ctos-tui init shows examples"
            yield Finding("notifications", False, "no target is configured", advice)
        return
    try:
        targets = open_targets(
            written, target.paths.config_file, process_environment, take_password(), process_redactor
        )
    except CtosError as error:
        yield Finding("notifications", False, str(error))
        return
    for one in targets:
        name = f"notifications: {one.name}"
        what = f"{one.scheme}://, from {one.least.lower()} on"
        problem = await asyncio.to_thread(target_problem, one)
        if problem:
            yield Finding(name, False, problem)
        elif not send:
            yield Finding(name, True, f"{what}; add --notify to send a trial message")
        else:
            title = f"[{target.entry.venue} {target.entry.name}] trial message"
            text = "Sent by ctos-tui check: notifications arrive here."
            failure = await asyncio.to_thread(deliver, one, title, text, Severity.INFO)
            yield Finding(name, not failure, failure or f"{what}; the trial message was taken")

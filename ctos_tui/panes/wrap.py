"""Breaks one long line of spans into a few, at its separating dots where it can, else between words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ctos_tui.command.preview import SEPARATOR
from ctos_tui.panes.cells import Span, Spans, fit, spans_width
from ctos_tui.text import width

_DOT = SEPARATOR[0]
_WORD_ENDS = re.compile(r"(?<= )(?![$>])")
"""Where a line may break: an amount keeps its unit."""


def wrapped(spans: Spans, cells: int, most: int) -> list[Spans]:
    """Return at most so many lines; the last is cut where it is too long."""
    lines: list[list[Span]] = [[]]
    for part in _parts(spans):
        line = lines[-1]
        gap = [SEPARATOR] if line else []
        if spans_width((*line, *gap, *part)) <= cells or (len(lines) == most and not line):
            line += [*gap, *part]
            continue
        if line and len(lines) < most:
            lines.append([])
        else:
            line += gap
        _add_words(lines, part, cells, most)
    return [fit(_without_end_gap(line), cells) for line in lines]


def _without_end_gap(line: list[Span]) -> Spans:
    """Return a line without the blank behind its last word, which has no room where the word just fits."""
    if not line:
        return ()
    text, role = line[-1]
    return (*line[:-1], (text.rstrip(), role))


def _parts(spans: Spans) -> Iterator[list[Span]]:
    """Yield what stands between the dots, also those inside a text."""
    part: list[Span] = []
    for text, role in spans:
        first, *others = text.split(_DOT)
        if first:
            part.append((first, role))
        for other in others:
            if part:
                yield part
            part = [(other, role)] if other else []
    if part:
        yield part


def _add_words(lines: list[list[Span]], part: list[Span], cells: int, most: int) -> None:
    for text, role in part:
        for word in _WORD_ENDS.split(text):
            full = spans_width(tuple(lines[-1])) + width(word.rstrip()) > cells
            if full and lines[-1] and len(lines) < most:
                lines.append([])
            lines[-1].append((word, role))

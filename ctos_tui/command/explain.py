"""Shows a refused line: the line, a caret under what is wrong, the reason and what would do."""

from __future__ import annotations

from ctos_tui.command.words import GrammarError

Span = tuple[str, str]
"""Text and the theme role it is shown in."""


def caret_line(error: GrammarError) -> str:
    """Return the line that stands under the refused one: blanks, then carets under what is wrong."""
    return " " * error.start + "^" * (error.end - error.start)


def explain(error: GrammarError) -> str:
    """Return the whole explanation as plain text, one line for each part."""
    safe = "".join(sign if sign.isprintable() else "·" for sign in error.line)
    lines = [safe, caret_line(error), error.message]
    if error.suggestion:
        lines.append(f"try: {error.suggestion}")
    return "\n".join(lines)


def explain_spans(error: GrammarError) -> list[Span]:
    """Return the explanation for the one-line preview: the reason and what would do."""
    spans: list[Span] = [("✗ ", "danger"), (error.message, "danger")]
    if error.suggestion:
        spans += [("  try: ", "dim"), (error.suggestion, "bright")]
    return spans

"""Printing: JSON of any of our values, and aligned text."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable

from app.jsonform import plain


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(plain(value), sys.stdout, indent=2, ensure_ascii=False)
    print()


_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def painted(text: str, style: str) -> str:
    """The text in that style on a terminal; as it is elsewhere, and where NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def text_width() -> int:
    """Columns to write in: the terminal's, within what reads well."""
    return max(60, min(110, shutil.get_terminal_size((80, 24)).columns))


def print_wrapped(text: str, indent: int, first: str | None = None) -> None:
    """A paragraph, wrapped at words; `first` leads its first line in place of the indent."""
    lead = " " * indent
    print(textwrap.fill(text, text_width(), initial_indent=lead if first is None else first, subsequent_indent=lead,
                        break_long_words=False, break_on_hyphens=False))  # fmt: skip


def print_rows(rows: Iterable[tuple[str, str]], indent: int = 2) -> None:
    """Label and value in two columns."""
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        lead = f"{' ' * indent}{label:<{width}}  "
        print_wrapped(value, len(lead), lead) if value else print(lead.rstrip())


def narrate(text: str, *, end: str = "\n") -> None:
    """Tell a person what is going on, on stderr."""
    print(text, file=sys.stderr, end=end, flush=True)

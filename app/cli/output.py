"""Printing: JSON of any of our values, and aligned text."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from app.jsonform import plain


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    json.dump(plain(value), sys.stdout, indent=2, ensure_ascii=False)
    print()


def print_rows(rows: Iterable[tuple[str, str]], indent: int = 2) -> None:
    """Label and value in two columns."""
    rows = list(rows)
    width = max((len(label) for label, _ in rows), default=0)
    for label, value in rows:
        print(f"{' ' * indent}{label:<{width}}  {value}".rstrip())


def narrate(text: str, *, end: str = "\n") -> None:
    """Tell a person what is going on, on stderr."""
    print(text, file=sys.stderr, end=end, flush=True)

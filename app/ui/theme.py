"""The colour themes, read from `assets/themes/*.toml`. Nothing in the UI is told by colour alone."""

from __future__ import annotations

import tomllib

from textual.theme import Theme

from app.resources import ASSETS

DEFAULT_THEME = "moetune-night"


def themes() -> list[Theme]:
    """Every theme that ships with the program."""
    return [
        Theme(**tomllib.loads(path.read_text(encoding="utf-8"))) for path in sorted((ASSETS / "themes").glob("*.toml"))
    ]

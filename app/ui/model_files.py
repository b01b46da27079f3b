"""Completing a model's path, so that nobody has to type it at midnight."""

from __future__ import annotations

import os

from textual.suggester import Suggester

from app.models.catalog import model_names


class PathSuggester(Suggester):
    """Completes a path by the first folder or GGUF file that fits; Right accepts it."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The completion of what was typed, `None` without one."""
        import asyncio

        return await asyncio.to_thread(complete, value)


def complete(value: str) -> str | None:
    """The first folder (with a slash) or GGUF file whose path begins with `value`, else a name of the catalogue.

    `~` stays as typed.
    """
    head, _, tail = value.rpartition("/")
    folder = os.path.expanduser(head + "/" if "/" in value else ".")
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name + ("/" if entry.is_dir() else "")
                for entry in entries
                if entry.name.startswith(tail) and (entry.is_dir() or entry.name.endswith(".gguf"))
            )
    except OSError:
        return None
    names = [name for name in names if tail.startswith(".") or not name.startswith(".")]
    if not names and "/" not in value:
        names = [name for name in model_names() if name.startswith(tail)]
    if not tail or not names or names[0] == tail:
        return None
    return f"{head}/{names[0]}" if "/" in value else names[0]

"""Which model files lie in the usual places, so that nobody has to type a path at midnight."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from textual.suggester import Suggester

from app.models.catalog import model_names
from app.paths import data_dir

MAX_DEPTH = 5
"""Deep enough for the Hugging Face cache: hub/models--x/snapshots/y/file.gguf."""
MAX_FOLDERS = 2000
"""A home folder on a network drive must not keep the search busy for long."""
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


def usual_places() -> list[Path]:
    """Folders where models are kept by this and other programs."""
    home = Path.home()
    return [
        data_dir() / "models",
        Path.cwd(),
        home / "models",
        home / ".cache/llama.cpp",
        home / ".cache/huggingface/hub",
        home / ".lmstudio/models",
        Path("/models"),
    ]


def find_models(places: list[Path] | None = None, limit: int = 20) -> tuple[Path, ...]:
    """GGUF files in these folders, the first part of split ones, at most `limit`. Blocks."""
    found: dict[Path, None] = {}
    for place in usual_places() if places is None else places:
        for path in _gguf_files(place):
            found.setdefault(path)
            if len(found) >= limit:
                return tuple(found)
    return tuple(found)


def _gguf_files(place: Path) -> Iterator[Path]:
    for seen, (folder, folders, files) in enumerate(os.walk(place)):
        depth = len(Path(folder).relative_to(place).parts)
        if depth >= MAX_DEPTH or seen >= MAX_FOLDERS:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for name in sorted(files):
            if name.endswith(".gguf") and not name.startswith("mmproj") and not _LATER_PART.search(name):
                yield Path(folder) / name


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

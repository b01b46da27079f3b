"""Where models are kept by this and other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from app.paths import data_dir

MAX_DEPTH = 5
"""Deep enough for the Hugging Face cache: hub/models--x/snapshots/y/file.gguf."""
MAX_FOLDERS = 2000
"""A home folder on a network drive must not keep the search busy for long."""
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$")


def downloads_dir() -> Path:
    """Where moetune puts what it downloads or makes; the first of the usual places."""
    return data_dir() / "models"


def usual_places() -> list[Path]:
    """Folders where models are kept by this and other programs."""
    home = Path.home()
    return [
        downloads_dir(),
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
    for path in model_files(places):
        found.setdefault(path)
        if len(found) >= limit:
            break
    return tuple(found)


def model_files(places: list[Path] | None = None) -> Iterator[Path]:
    """GGUF files in these folders, the first part of split ones, place by place."""
    for place in usual_places() if places is None else places:
        yield from _gguf_files(place)


def _gguf_files(place: Path) -> Iterator[Path]:
    for seen, (folder, folders, files) in enumerate(os.walk(place)):
        depth = len(Path(folder).relative_to(place).parts)
        if depth >= MAX_DEPTH or seen >= MAX_FOLDERS:
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "node_modules")
        for name in sorted(files):
            if name.endswith(".gguf") and not name.startswith("mmproj") and not _LATER_PART.search(name):
                yield Path(folder) / name

"""Where models are kept by this and other programs, and the model files there."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from app.paths import data_dir

MAX_DEPTH = 6
"""Of folders: Hugging Face's cache needs hub/models--x/snapshots/y/quantization/file.gguf."""
MAX_FOLDERS = 5000
"""A home folder on a network drive must not keep the search busy for long."""
_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")
_SKIPPED_FOLDERS = {"blobs", "node_modules", "__pycache__"}
"""Hugging Face's `blobs` hold what `snapshots` link to by name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder where a program, or a person, keeps models."""

    name: str
    path: Path


def downloads_dir() -> Path:
    """Where moetune puts what it downloads or makes; the first of the usual places."""
    return data_dir() / "models"


def model_places() -> tuple[Place, ...]:
    """Where this and other programs keep models, whether or not the folders are there."""
    home, environment = Path.home(), os.environ
    caches = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    hub = environment.get("HF_HUB_CACHE") or Path(environment.get("HF_HOME") or caches / "huggingface") / "hub"
    return (
        Place("moetune", downloads_dir()),
        Place("this folder", Path.cwd()),
        Place("your models", home / "models"),
        Place("llama.cpp", Path(environment.get("LLAMA_CACHE") or caches / "llama.cpp")),
        Place("Hugging Face", Path(hub)),
        Place("LM Studio", home / ".lmstudio" / "models"),
        Place("LM Studio", caches / "lm-studio" / "models"),
        Place("models", Path("/models")),
    )


def first_models(limit: int = 20) -> tuple[Path, ...]:
    """The first model files of the usual places, at most `limit`. Blocks."""
    return tuple(path for _, path in islice(find_files(model_places()), limit))


def find_files(places: Iterable[Place]) -> Iterator[tuple[Place, Path]]:
    """Model files in these folders and below: the first part of split ones, each file once, vision towers left out."""
    found: set[tuple[int, int]] = set()
    for place in places:
        for path in _first_parts(_walk(place.path)):
            try:
                status = path.stat()
            except OSError:
                continue  # a link into nothing
            if (status.st_dev, status.st_ino) not in found:
                found.add((status.st_dev, status.st_ino))
                yield place, path


def _walk(folder: Path) -> Iterator[Path]:
    """The GGUF files below a folder, in alphabetical order; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    waiting = [(folder, 0)]
    while waiting and len(seen) < MAX_FOLDERS:
        current, depth = waiting.pop()
        try:
            status = current.stat()
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        below = []
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.name.endswith(".gguf") and "mmproj" not in entry.name.lower():
                yield Path(entry.path)
            elif depth < MAX_DEPTH and entry.name not in _SKIPPED_FOLDERS and entry.is_dir():
                below.append((Path(entry.path), depth + 1))
        waiting += reversed(below)


def _first_parts(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, and of each split model the first part that is there."""
    seen: set[tuple[Path, str, str]] = set()
    for path in paths:
        if match := _PART.match(path.name):
            key = path.parent, match["stem"], match["count"]
            if key in seen:
                continue
            seen.add(key)
        yield path

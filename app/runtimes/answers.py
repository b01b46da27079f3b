"""Answers of engines that are worth keeping, one small JSON file each in the cache folder.

The key holds everything that the answer depends on; a change of any of it is another file. A cache that cannot be
read or written costs time and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from app.paths import cache_dir

Key = Sequence[str | int]

_FORMAT = 1
"""Raised when the shape of an answer changes."""


def file_key(path: Path) -> tuple[str | int, ...]:
    """What changes when a file does: path, size in bytes, time of change in ns; the path alone if it is absent."""
    try:
        status = path.stat()
    except OSError:
        return (str(path),)
    return (str(path), status.st_size, status.st_mtime_ns)


def _path(kind: str, key: Key) -> Path:
    digest = sha256(json.dumps([_FORMAT, *key]).encode()).hexdigest()[:24]
    return cache_dir() / kind / f"{digest}.json"


def recall(kind: str, key: Key) -> object | None:
    """The answer that was kept under that key."""
    try:
        return json.loads(_path(kind, key).read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return None


def keep(kind: str, key: Key, answer: object) -> None:
    """Keep an answer (JSON values only). Written beside and renamed: a reader never sees half of it."""
    path = _path(kind, key)
    temporary = path.with_suffix(f".{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(answer))
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)

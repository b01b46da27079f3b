"""Symlinks of a recorded tree: followed inside it, wherever they say they lead."""

from __future__ import annotations

import errno
import os

_MOST_LINKS = 40  # as the kernel's own limit (MAXSYMLINKS)


def follow(root: str, path: str, links: dict[str, str] | None = None) -> str:
    """Where a host's path leads under `root`, every symlink followed as if `root` were `/`.

    Args:
        root: the folder that stands for `/`, without symlinks in it.
        path: a path of the host.
        links: gets the symlinks on the way, as paths of the host with what they say.

    Raises:
        OSError: the symlinks form a loop.
    """
    base = root.rstrip("/")
    current = base
    pending = [part for part in path.split("/") if part]
    followed = 0
    while pending:
        part = pending.pop(0)
        if part == ".":
            continue
        if part == "..":
            current = current if current == base else os.path.dirname(current)
            continue
        step = f"{current}/{part}"
        try:
            target = os.readlink(step)
        except OSError:
            current = step
            continue
        followed += 1
        if followed > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if links is not None:
            links[step[len(base) :]] = target
        if target.startswith("/"):
            current = base
        pending[:0] = [piece for piece in target.split("/") if piece]
    return current or "/"

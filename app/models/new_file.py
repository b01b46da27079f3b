"""A large file that is there whole or not at all: written beside its place, then renamed into it."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.errors import BusyError, ModelError
from app.units import MIB, bytes_text

SPARE_BYTES = 64 * MIB
"""Disk space that a write leaves free."""


@contextmanager
def new_file(path: Path, size: int, *, sparse: bool = False) -> Iterator[BinaryIO]:
    """Open a file to write; it appears as `path` when the block ends well and leaves nothing when it does not.

    Args:
        path: where it is to be; missing folders are made.
        size: bytes that will be written.
        sparse: whether the file takes next to no disk space, so that none has to be free.

    Raises:
        ModelError: the folder cannot be written to, or the disk has too little space.
        BusyError: another process writes the same file.
    """
    draft = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _check_space(path.parent, 0 if sparse else size)
        with _locked(draft) as file:
            try:
                yield file
                file.flush()
                draft.replace(path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ModelError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="Choose another place, or make room there.",
        ) from error


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise ModelError(
            f"{folder} has {bytes_text(free)} free, the file needs {bytes_text(size)}",
            hint="Free some space, choose another folder, or write fewer layers.",
        )


@contextmanager
def _locked(draft: Path) -> Iterator[BinaryIO]:
    """The draft, emptied and ours alone until the block ends."""
    with draft.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            current = draft.exists() and os.path.samestat(os.fstat(file.fileno()), draft.stat())
        except BlockingIOError:
            current = False
        if not current:  # locked by another, or just renamed into place by it
            raise BusyError(f"Another process is writing {draft}", hint="Wait for it, or stop it.")
        file.truncate(0)
        yield file

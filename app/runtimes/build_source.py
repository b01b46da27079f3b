"""Taking llama.cpp out of the package that carries it."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from app.errors import BuildFailedError
from app.paths import made

_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11.4 and later can be told to keep permissions and owners harmless."""


def unpack(archive: Path, folder: str, destination: Path, *, leave_out: tuple[str, ...] = ()) -> None:
    """Unpack one folder of a source package; `destination` appears whole or not at all.

    Args:
        archive: a `.tar.gz` with one folder at its top.
        folder: path below that folder.
        destination: where the contents of `folder` are to be.
        leave_out: entries of `folder` that are not needed.

    Raises:
        BuildFailedError: the archive is damaged or does not have that folder.
    """
    partial = destination.with_name(f".{destination.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    made(partial)
    wanted = PurePosixPath(folder).parts
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                parts = PurePosixPath(member.name).parts[1:]
                inner = parts[len(wanted) :]
                if parts[: len(wanted)] != wanted or not inner or inner[0] in leave_out:
                    continue
                # No links, devices or ways out of the folder: the source has none, and Debian 12's Python no filters.
                if (member.isreg() or member.isdir()) and ".." not in inner:
                    member.name = str(PurePosixPath(*inner))
                    tar.extract(member, partial, **_FILTER)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if getattr(error, "errno", None) is None:
            # The file is at fault, not the disk.
            archive.unlink(missing_ok=True)
        raise BuildFailedError(
            f"{archive} cannot be unpacked: {error}.", hint="Build again: a damaged file is fetched anew."
        ) from error
    if not (partial / "CMakeLists.txt").is_file():
        shutil.rmtree(partial, ignore_errors=True)
        raise BuildFailedError(f"{archive} has no {folder}.", hint="Remove that file, then build again.")
    partial.rename(destination)

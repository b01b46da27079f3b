"""A scenario's files from Hugging Face: what is there, room for it, resumed where it broke off, checked by its hash.

huggingface_hub's own download keeps nothing of a file when the process ends (1.33, `_download_to_tmp_and_move`). A part
of 30 GB has to survive that: parts are kept here, under the hash of what they are to become, and a file gets its name
only once it is whole and its hash is right.
"""

from __future__ import annotations

import fcntl
import fnmatch
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from app.errors import BusyError, ModelError, UsageError
from app.jobs.hub import RemoteFile, get, listing
from app.jobs.model_weights import target_dir
from app.jobs.scenarios import Scenario
from app.paths import made
from app.units import bytes_text

EXTRA = "pip install 'moetune[download]'"
PARTS = ".parts"
"""Folder of what is not whole, beside the files; searches leave it out."""
_CHUNK = 1 << 22

Progress = Callable[[int, int], None]


def is_installed() -> bool:
    """Whether files can be downloaded. Nothing is imported."""
    import importlib.util

    return importlib.util.find_spec("huggingface_hub") is not None


def download(scenario: Scenario, narrate: Callable[[str], None], on_progress: Progress) -> Path:
    """Download what the scenario needs; what is there already is not fetched again.

    Returns:
        The first file, or of a checkpoint the folder.

    Raises:
        UsageError: huggingface_hub is not installed.
        ModelError: the hub does not answer or has no such files, the disk is too small, or what came is not what the
            hub says it should be.
        BusyError: another process downloads the same file.
    """
    if not is_installed():
        raise UsageError("To download, moetune needs the package huggingface_hub.", hint=f"`{EXTRA}` installs it.")
    revision, there = listing(scenario)
    files = _chosen(scenario, there)
    folder = target_dir(scenario)
    total = sum(file.size for file in files)
    missing = [file for file in files if not _is_whole(folder / file.name, file)]
    done = total - sum(file.size for file in missing)
    _check_room(folder, missing)
    if missing:
        narrate(f"downloading {len(missing)} of {len(files)} files, {bytes_text(total - done)}, into {folder}")
    for file in missing:
        before = done

        def tell(bytes_of_file: int, before: int = before) -> None:
            on_progress(before + bytes_of_file, total)

        narrate(f"  {file.name}  {bytes_text(file.size)}")
        _fetch(scenario, revision, file, folder, tell)
        done += file.size
    return folder if scenario.weights.kind == "checkpoint" else folder / files[0].name


def _chosen(scenario: Scenario, files: dict[str, RemoteFile]) -> list[RemoteFile]:
    weights = scenario.weights
    if weights.kind == "checkpoint":
        names = [name for name in sorted(files) if _matches(name, weights.files)]
        if any(name.endswith(".safetensors") for name in names):
            return [files[name] for name in names]
    elif all(name in files for name in weights.files):
        return [files[name] for name in weights.files]
    else:
        for name in weights.also:
            if name in files:
                return [files[name]]
    there = ", ".join(sorted(name for name in files if name.endswith((".gguf", ".safetensors")))[:6]) or "none"
    raise ModelError(
        f"{weights.repository} at {weights.revision} does not have {weights.files[0]} (any more).",
        hint=f"It has: {there}. Download one by hand and give its path.",
    )


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file of the repository is wanted; never one whose name leads out of the folder."""
    inside = not name.startswith("/") and ".." not in name.split("/")
    return inside and any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _is_whole(path: Path, file: RemoteFile) -> bool:
    """A file has its name only once it was checked."""
    return path.is_file() and path.stat().st_size == file.size


def _part(folder: Path, file: RemoteFile) -> Path:
    return folder / PARTS / file.key


def _check_room(folder: Path, missing: list[RemoteFile]) -> None:
    parts = [_part(folder, file) for file in missing]
    needed = sum(file.size for file in missing) - sum(part.stat().st_size for part in parts if part.exists())
    free = shutil.disk_usage(made(folder)).free
    if needed > free:
        raise ModelError(
            f"{bytes_text(needed)} are still to be downloaded, and {folder} has {bytes_text(free)} left.",
            hint="Make room, or set MOETUNE_HOME or XDG_DATA_HOME to a folder on a larger disk.",
        )


def _fetch(scenario: Scenario, revision: str, file: RemoteFile, folder: Path, tell: Callable[[int], None]) -> None:
    """One file: the rest of its part, its hash, its name."""
    part, target = _part(folder, file), folder / file.name
    made(part.parent)
    made(target.parent)
    with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "rb+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"Another process downloads {file.name}.", hint="Wait for it, or end it.") from error
        have = stream.seek(0, os.SEEK_END)
        if have > file.size:
            have = stream.seek(0)
            stream.truncate()
        if have < file.size:
            get(scenario, revision, file, stream, have, tell)
    if not _is_right(part, file):
        part.unlink()
        raise ModelError(
            f"What came as {file.name} is not what the hub says it should be: its hash differs.",
            hint="It was thrown away; download it again.",
        )
    part.replace(target)


def _is_right(path: Path, file: RemoteFile) -> bool:
    """Whether size and hash are what the hub states; small files have Git's hash, `blob SIZE` and the content."""
    if path.stat().st_size != file.size:
        return False
    expected = file.sha256 or file.git_sha1
    if expected is None:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == expected

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.host import Host

_REPOSITORY = Path(__file__).parents[2]
_HOSTS = _REPOSITORY / "tests" / "fixtures" / "hosts"
RECORDINGS = Path(os.environ.get("MOETUNERECORDINGS", _REPOSITORY.parent / "shared" / "fixtures"))

HostOf = Callable[[str], Host]
Tree = Callable[[dict[str, str]], Host]
Unpacked = Callable[[str], Path]


@pytest.fixture
def recorded() -> HostOf:
    """A recorded host by the name of its folder."""
    return lambda name: Host(_HOSTS / name)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A host of the files given: path without its leading slash -> text."""

    def make(files: dict[str, str]) -> Host:
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Host(tmp_path)

    return make


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    """The folder into which a real machine's recording was unpacked; skips where there is none."""

    def unpack(name: str) -> Path:
        archive = RECORDINGS / name
        if not archive.is_file():
            pytest.skip(f"the recording {name} is not here; set MOETUNERECORDINGS to its folder")
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path, filter="data")
        return tmp_path

    return unpack

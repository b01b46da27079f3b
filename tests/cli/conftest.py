"""Machines that people have, written once, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli import main
from tests.fixtures.synthetic.machines import write

HALO = "debian13-strixhalo-w7900-p2p"
DESK = "mint22-ryzen7950x-rtx3090-x4"
PLAIN = "opensuse-ryzen5600-none"
SERVER = "ubuntu2404-2xxeon6430-rtx4090"

Plan = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Name of a synthetic machine -> its folder for `--host`."""
    root, written = tmp_path_factory.mktemp("hosts"), {}

    def folder(name: str) -> str:
        if name not in written:
            written[name] = write(name, root / name)
        path: Path = written[name]
        return str(path)

    return folder


@pytest.fixture
def plan(
    hosts: Callable[[str], str], home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Plan:
    """Run `moetune plan MODEL --host HOST WORDS` at that many columns: exit code, stdout, stderr."""

    def run(model: str, host: str, *words: str, columns: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        code = main(["plan", model, "--host", hosts(host), *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run

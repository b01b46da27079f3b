"""The wheel holds what it needs and nothing else, and runs from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    [path] = folder.glob("*.whl")
    return path


def test_it_holds_the_code_and_the_data_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"app", "detectors"}
    assert "app/_data/presets/models/demo.toml" in names
    assert "app/_data/assets/styles/app.tcss" in names
    assert not [name for name in names if name.startswith("tests") or name.endswith(".gguf")]


def test_it_runs_where_it_was_unpacked(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)
    env = {**os.environ, "PYTHONPATH": str(installed), "MOETUNE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import app, app.cli; print(app.__file__); app.cli.main(['slice', '--json'])"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    where, listed = done.stdout.split("\n", 1)
    assert where.startswith(str(installed))
    assert "gpt-oss-120b" in json.loads(listed)

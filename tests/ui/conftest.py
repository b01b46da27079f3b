"""An app whose edges are replaced, away from the developer's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.planning import PlannedRun
from app.ui.app import MoetuneApp
from tests.ui.fakes import FakeBackend
from tests.ui.values import make_planned


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the developer's state, models and engines out of the tests."""
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path / "moetune"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def backend() -> FakeBackend:
    """A machine with two GPUs and everything working."""
    return FakeBackend()


@pytest.fixture
def app(backend: FakeBackend) -> MoetuneApp:
    """The app on that backend."""
    return MoetuneApp(backend=backend)


@pytest.fixture
def planned() -> PlannedRun:
    """A split over two devices."""
    return make_planned()

"""The whole line for real: this machine, a small model, an engine in its own process, the keys a person presses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import psutil
import pytest

from app.jobs.planning import PlanRequest
from app.launch.ownership import running_engine
from app.models.slices import find_spec, write_slice
from app.solver.model import Workload
from app.ui.app import MoetuneApp
from tests.ui.reading import reads, settle

pytestmark = pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not there")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 MB in the shape of gpt-oss."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=4, vocabulary=512)
    return path


async def test_plan_launch_prompt_and_quit(model: Path) -> None:
    request = PlanRequest(str(model), Workload(context=2048), engine="embedded", port=0)
    app = MoetuneApp(request=request)
    async with app.run_test(size=(120, 40)) as pilot:
        await reads(pilot, "t/s decode")
        await settle(pilot)
        await pilot.press("enter")
        await reads(pilot, "● ready")
        record = running_engine()
        assert record is not None
        assert psutil.pid_exists(record.pid)
        await pilot.press("p", *"hello", "enter")
        await reads(pilot, "s to first token")
        assert app.timings is not None
        assert app.timings.predicted_tokens > 0
        assert any(sample.engine_reachable for sample in app.engine.history)
        await pilot.press("escape", "escape", "s")
        await reads(pilot, "The engine was stopped.")
        assert not psutil.pid_exists(record.pid)
        await pilot.press("r")
        await reads(pilot, "● ready")
        record = running_engine()
        assert record is not None
    assert not psutil.pid_exists(record.pid)

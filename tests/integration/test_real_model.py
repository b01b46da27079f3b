"""A real model with real weights through the whole program: planned, launched, prompted, charted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from app.jobs.planning import PlanRequest, make_plan
from app.solver.model import Workload
from app.ui.app import MoetuneApp
from app.ui.widgets.chart import Chart
from app.units import rate_text

PROMPT = "The capital city of France is called"
ENOUGH_SAMPLES = 3


@pytest.mark.parametrize("engine", ["embedded", "llama-server"])
async def test_it_generates_in_the_ui_and_the_chart_shows_it(gemma: Path, tools: Path, home: Path, engine: str) -> None:
    path = engine if engine == "embedded" else str(tools / engine)
    request = PlanRequest(model=str(gemma), workload=Workload(context=2048), engine=path, port=0)
    app = MoetuneApp(planned=make_plan(request), launch_now=True, prompts=(PROMPT,))
    async with app.run_test(size=(120, 40)) as pilot:
        async with asyncio.timeout(120):
            while len(_decode_rates(app)) < ENOUGH_SAMPLES:
                await pilot.pause(0.1)
        await pilot.press("escape")
        await pilot.pause()
        chart = app.screen.query_one("#decode-chart", Chart)
        drawn = "\n".join(chart.render_line(y).text for y in range(chart.size.height))
        assert f"max {rate_text(max(_decode_rates(app)))}" in drawn
        assert app.engine.status is not None
        pid = app.engine.status.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


def _decode_rates(app: MoetuneApp) -> list[float]:
    return [sample.decode_tps for sample in app.engine.history if sample.decode_tps is not None]

"""The plan's view: choosing a model, reading the plan, turning knobs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.widgets import Input

from app.errors import ModelError, NoFitError
from app.jobs.planning import PlannedRun, PlanRequest
from app.runtimes.base import Engine
from app.solver.model import Workload
from app.ui.app import MoetuneApp
from app.ui.plan_text import command_text
from app.ui.screens.plan import contexts_for
from app.ui.widgets.knob import Knob
from detectors.facts import Machine
from tests.ui.fakes import FakeBackend
from tests.ui.reading import screen_text, settle

REQUEST = PlanRequest("/models/gpt-oss-120b.gguf", Workload(context=8192))


async def test_a_typed_path_is_planned(app: MoetuneApp, backend: FakeBackend) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        assert "Which model?" in screen_text(app)
        assert "moetune slice demo" in " ".join(screen_text(app).split())
        await pilot.press(*"~/x.gguf", "enter")
        await settle(pilot)
        assert backend.requests[-1].model == str(Path.home() / "x.gguf")
        assert "Where it goes" in screen_text(app)


async def test_a_model_in_a_usual_place_needs_no_typing(app: MoetuneApp, backend: FakeBackend, own_home: Path) -> None:
    (own_home / "models").mkdir()
    (own_home / "models" / "tiny.gguf").touch()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("tab", "enter")
        await settle(pilot)
        assert backend.requests[-1].model == str(own_home / "models" / "tiny.gguf")


async def test_a_model_that_cannot_be_read_is_said_in_place(app: MoetuneApp, backend: FakeBackend) -> None:
    backend.plan_error = ModelError("/tmp is a folder.", hint="Give the path of a .gguf file.")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press(*"/tmp", "enter")
        await settle(pilot)
        text = screen_text(app)
        assert "✗ The model cannot be used: /tmp is a folder." in text
        assert "Give the path of a .gguf file." in text
        assert app.screen.query_one("#model-path", Input).has_focus
        backend.plan_error = None
        await pilot.press("enter")
        await settle(pilot)
        assert "Where it goes" in screen_text(app)


async def test_an_empty_path_is_not_planned(app: MoetuneApp, backend: FakeBackend) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "enter")
        await settle(pilot)
        assert backend.requests == []


@pytest.mark.parametrize("size", [(70, 20), (80, 24), (120, 40), (200, 60)])
async def test_the_plan_answers_where_how_fast_and_what_next(backend: FakeBackend, size: tuple[int, int]) -> None:
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        text = screen_text(app)
        for word in (
            "gpt-oss-120b",
            "context 8K",
            "KV auto f16",
            "ubatch auto 512",
            "44.7 t/s",
            "Where it goes",
            "Launch",
        ):
            assert word in text, word
        seen = text
        for _ in range(8):
            await pilot.press("pagedown")
            await pilot.pause()
            seen += screen_text(app)
        for word in (
            "Memory",
            "to spare",
            "Predicted speed",
            "13.1 ms",
            "612 t/s prefill",
            "13.1 s",
            "36.0 t/s",
            "does not see the NPU",
            "-ngl all",
        ):
            assert word in seen, word


async def test_knobs_solve_again_and_stop_at_their_ends(backend: FakeBackend) -> None:
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("right")
        await settle(pilot)
        assert backend.requests[-1].workload.context == 16384
        await pilot.press("left", "left")
        await settle(pilot)
        assert backend.requests[-1].workload.context == 4096
        await pilot.press("tab", "right", "right")
        await settle(pilot)
        assert backend.requests[-1].kv_type == "q8_0"
        assert "KV q8_0" in screen_text(app)
        await pilot.press("left", "left")
        await settle(pilot)
        assert backend.requests[-1].kv_type is None
        assert "KV auto f16" in screen_text(app)
        await pilot.press("tab", "right", "right")
        await settle(pilot)
        assert backend.requests[-1].ubatch == 256
        count = len(backend.requests)
        await pilot.press("left", "left", "left", "left")
        await settle(pilot)
        assert backend.requests[-1].ubatch is None
        assert "ubatch auto 512" in screen_text(app)
        assert len(backend.requests) <= count + 2
        assert backend.requests[-1].workload.context == 4096


async def test_while_one_request_is_solved_only_the_newest_waits() -> None:
    class SlowBackend(FakeBackend):
        def __init__(self) -> None:
            super().__init__()
            self.gate = threading.Event()

        def plan(self, request: PlanRequest, machine: Machine | None, engines: tuple[Engine, ...] | None) -> PlannedRun:
            answer = super().plan(request, machine, engines)
            if len(self.requests) == 2:
                self.gate.wait(10)
            return answer

    backend = SlowBackend()
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("right", "right", "right", "right")
        await pilot.pause()
        assert "solving…" in screen_text(app)
        backend.gate.set()
        await settle(pilot)
        await settle(pilot)
        assert [request.workload.context for request in backend.requests] == [8192, 16384, 49152]
        assert app.planned is not None
        assert app.planned.request.workload.context == 49152
        assert not app.solving


async def test_a_plan_that_does_not_fit_leaves_the_knobs_and_forbids_launching(backend: FakeBackend) -> None:
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        backend.plan_error = NoFitError("It needs 66.1 GiB, 60.0 GiB are free.", hint="Use a shorter context.")
        await pilot.press("right")
        await settle(pilot)
        text = screen_text(app)
        assert "✗ The model does not fit: It needs 66.1 GiB" in text
        assert "Use a shorter context." in text
        assert "context 16K" in text
        assert "44.7 t/s (" not in text.split("Where it goes")[0]
        await pilot.press("enter", "l")
        await settle(pilot)
        assert backend.engine is None
        backend.plan_error = None
        await pilot.press("left")
        await settle(pilot)
        assert "does not fit: It" not in screen_text(app)


async def test_a_request_that_cannot_be_planned_asks_for_another_model(backend: FakeBackend) -> None:
    backend.plan_error = ModelError("/models/x.gguf does not exist.")
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "does not exist" in screen_text(app)
        assert "Which model?" in screen_text(app)


async def test_a_model_that_does_not_fit_at_first_can_be_made_to_fit_with_the_knobs(backend: FakeBackend) -> None:
    backend.plan_error = NoFitError("It needs 66.1 GiB, 60.0 GiB are free.")
    app = MoetuneApp(request=REQUEST, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "✗ The model does not fit" in screen_text(app)
        backend.plan_error = None
        await pilot.press("left")
        await settle(pilot)
        assert backend.requests[-1].workload.context == 4096
        assert "Where it goes" in screen_text(app)


async def test_c_copies_the_command_and_o_asks_for_another_model(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("c")
        assert app.clipboard == command_text(planned.command)
        await pilot.press("o")
        await settle(pilot)
        assert "Which model?" in screen_text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "Where it goes" in screen_text(app)
        assert isinstance(app.focused, Knob)


async def test_the_digits_work_again_after_escape(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("1", "escape", "1")
        await settle(pilot)
        assert app.current_mode == "machine"


def test_contexts_reach_what_the_model_was_trained_for() -> None:
    assert contexts_for(40960, 8192)[-1] == 40960
    assert 5000 in contexts_for(131072, 5000)
    assert contexts_for(0, 8192)[-1] == 1048576


async def test_a_click_turns_a_knob_by_its_halves(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        width = app.screen.query_one("#kv", Knob).size.width
        await pilot.click("#kv", offset=(width - 1, 0))
        await settle(pilot)
        await pilot.click("#kv", offset=(1, 0))
        await settle(pilot)
        assert [request.kv_type for request in backend.requests] == ["q4_0", None]

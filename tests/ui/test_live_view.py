"""The running engine's view, with an engine that does as it is told."""

from __future__ import annotations

import threading

import pytest
from textual.widgets import Input

from app.errors import EngineFailedError, PortInUseError
from app.jobs.planning import PlannedRun
from app.launch.supervisor import EngineState
from app.ui.app import MoetuneApp
from app.ui.crash import ScreenFailedError
from app.ui.messages import SampleTaken
from tests.ui.fakes import FakeBackend, FakeSupervisor
from tests.ui.reading import reads, screen_text, settle
from tests.ui.values import URL, make_record, make_sample

SIZES = [(70, 20), (80, 24), (120, 40), (200, 60)]


def engine_of(backend: FakeBackend) -> FakeSupervisor:
    assert backend.engine is not None
    return backend.engine


async def test_without_an_engine_it_says_what_to_press(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await settle(pilot)
        assert "No engine is running." in screen_text(app)
        assert "Press 2 to plan a model, then Enter." in screen_text(app)
        await pilot.press("s", "r", "c", "p", "g", "escape")
        await settle(pilot)
        assert app.clipboard == ""


async def test_enter_on_the_plan_starts_the_engine(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        assert "r to start the plan for gpt-oss-120b" in screen_text(app)
        await pilot.press("2", "enter")
        await settle(pilot)
        assert app.current_mode == "live"
        assert "● ready" in screen_text(app)
        assert f"{URL}/v1" in screen_text(app)
        await pilot.press("c")
        assert app.clipboard == f"{URL}/v1"


async def test_while_it_starts_the_log_and_the_time_are_shown(planned: PlannedRun, backend: FakeBackend) -> None:
    class SlowStart(FakeBackend):
        async def launch(self, planned: PlannedRun, supervisor: object) -> PlannedRun:
            engine_of(self).may_be_ready.clear()
            await engine_of(self).start()
            return planned

    backend = SlowStart()
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        while app.status is None:
            await pilot.pause()
        engine_of(backend).on_line("load_tensors: offloaded 37/37 layers")
        text = await reads(pilot, "offloaded 37/37 layers")
        assert "◐ starting" in text
        assert "for 0 s" in text
        await pilot.press("s")
        await settle(pilot)
        assert "The engine was stopped." in screen_text(app)
        assert "✗" not in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_speed_devices_and_context_are_there_at_every_size(
    planned: PlannedRun, backend: FakeBackend, size: tuple[int, int]
) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for tick in range(30):
            app.engine.history.append(make_sample(tick / 2, 44.0 + tick % 3))
        app.post_message(SampleTaken(make_sample(15.0, 44.7, 612.0)))
        await settle(pilot)
        text = screen_text(app)
        for word in ("now 44.7", "now 612", "39.0 to 50.0", "61 %", "88 W", "54 °C", "5.0 of 48.0 GiB"):
            assert word in text, word
        assert "memory n/a" in text
        assert "% of 96K" in text
        assert "type a prompt" in text
        for key in ("Stop", "Start again", "Prompt", "Help", "Quit"):
            assert key in text, key


async def test_samples_replace_each_other_and_a_gap_stays_a_gap(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for tick in range(200):
            app.post_message(SampleTaken(make_sample(float(tick), None if tick == 199 else 44.0)))
        await settle(pilot)
        assert app.sample.at == 199
        assert "now -" in screen_text(app)


async def test_a_prompt_streams_its_answer_and_its_figures(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("p", *"Why tides?", "enter")
        await settle(pilot)
        text = await reads(pilot, "The moon pulls.")
        assert "› Why tides?" in text
        assert "TTFT 1.90 s" in text
        assert "prefill t/s 625" in text
        assert backend.prompts == ["Why tides?"]
        assert app.screen.query_one("#prompt", Input).value == ""


async def test_what_is_typed_ahead_after_p_is_no_command(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in "psq":
            app.simulate_key(key)
        await settle(pilot)
        assert engine_of(backend).stops == 0
        assert app.screen.query_one("#prompt", Input).has_focus


async def test_escape_cancels_an_answer_and_then_leaves_the_prompt(planned: PlannedRun, backend: FakeBackend) -> None:
    backend.hold_answer = threading.Event()
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("p", *"one", "enter")
        while not backend.prompts:
            await pilot.pause()
        await pilot.pause()
        assert "Esc cancels" in screen_text(app)
        await pilot.press(*"two", "enter")
        assert backend.prompts == ["one"], "a second prompt waits in its field"
        assert app.screen.query_one("#prompt", Input).value == "two"
        await pilot.press("escape")
        await settle(pilot)
        assert not app.generating
        await reads(pilot, "(cancelled)")
        await pilot.press("escape", "2")
        await settle(pilot)
        assert app.current_mode == "plan"


async def test_an_engine_that_dies_says_why_and_what_to_do(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        engine_of(backend).report(EngineState.EXITED, "The kernel killed it: out of memory.", "Use less context.", -9)
        await settle(pilot)
        text = screen_text(app)
        for part in (
            "✗ The engine has exited",
            "out of memory",
            "exit code -9",
            "Use less context.",
            "r starts it again",
        ):
            assert part in text, part
        assert backend.probe is not None
        assert backend.probe.stopped.wait(2), "nothing is sampled after the end"
        await pilot.press("r")
        await settle(pilot)
        assert "● ready" in screen_text(app)


@pytest.mark.parametrize(
    "error",
    [
        PortInUseError("Port 8080 is taken by nginx.", hint="Use --port."),
        EngineFailedError("The engine does not know -lm.", hint="Update it."),
    ],
)
async def test_an_engine_that_does_not_start_says_why(
    planned: PlannedRun, backend: FakeBackend, error: EngineFailedError | PortInUseError
) -> None:
    backend.launch_error = error
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert error.title in text
        assert error.message in text
        assert error.hint in text


async def test_starting_another_plan_asks_before_it_stops_the_first(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("r")
        await pilot.pause()
        assert "Stop and start" in screen_text(app)
        await pilot.press("n")
        await settle(pilot)
        assert engine_of(backend).stops == 0
        await pilot.press("r", "y")
        await settle(pilot)
        assert engine_of(backend).stops == 1
        assert "● ready" in screen_text(app)


async def test_given_prompts_are_answered_once_it_is_ready(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, prompts=("one", "two"), backend=backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await settle(pilot)
        assert backend.prompts == ["one", "two"]


async def test_the_log_takes_the_place_of_the_answer_in_a_small_terminal(
    planned: PlannedRun, backend: FakeBackend
) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("g")
        await reads(pilot, "loading model tensors")
        assert "Conversation" not in screen_text(app)
        await pilot.press("p")
        await settle(pilot)
        assert "Conversation" in screen_text(app)


async def test_a_flood_of_log_lines_is_bounded(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for number in range(10_000):
            engine_of(backend).on_line(f"\x1b[31mline {number}\x1b[0m")
        await reads(pilot, "line 9999")
        assert len(app.engine.log) == 2000
        for number in range(50):
            engine_of(backend).on_line(f"0.0{number}.000.000 I srv  update_slots: all slots are idle")
        text = await reads(pilot, "all slots are idle")
        assert text.count("all slots are idle") == 1


# -- leaving, and what was left behind --


async def test_q_stops_the_engine_before_it_leaves(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("q")
        await pilot.pause()
    assert engine_of(backend).stops == 1
    assert app.return_value == 0


async def test_an_app_that_breaks_stops_the_engine_and_shows_no_traceback(
    planned: PlannedRun, backend: FakeBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)

    def break_down() -> None:
        raise RuntimeError("a fault of ours")

    async def session() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            app.call_later(break_down)
            await pilot.pause()

    with pytest.raises(ScreenFailedError, match="a fault of ours"):
        await session()
    assert engine_of(backend).stops == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "moetune's screen failed: RuntimeError: a fault of ours." in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("key", "adopted", "stopped"), [("a", True, 0), ("s", False, 1), ("l", False, 0), ("escape", False, 0)]
)
async def test_an_engine_left_behind_is_asked_about(
    backend: FakeBackend, key: str, adopted: bool, stopped: int
) -> None:
    backend.left_behind = make_record()
    app = MoetuneApp(backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.pause()
        text = screen_text(app)
        assert "An engine was left running" in text
        assert "Adopt it" in text
        await pilot.press(key)
        await settle(pilot)
        assert (backend.engine is not None and backend.engine.adopted == backend.left_behind) is adopted
        assert len(backend.stopped_orphans) == stopped
        if adopted:
            assert app.current_mode == "live"
            assert app.predicted_band == (39.0, 50.0)
            assert "gpt-oss-120b" in screen_text(app)

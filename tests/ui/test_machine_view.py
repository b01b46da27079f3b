"""The machine's view, from the first frame on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from app.ui.app import MoetuneApp
from detectors.facts import Machine
from tests.ui.fakes import FakeBackend
from tests.ui.reading import screen_text, settle
from tests.ui.values import make_machine

SIZES = [(70, 20), (80, 24), (120, 40), (200, 60)]


class HeldBackend(FakeBackend):
    """Detectors that answer when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.rest = threading.Event(), threading.Event()

    def detect(self) -> Iterator[Machine]:
        self.first.wait(10)
        states = super().detect()
        yield next(states)
        self.rest.wait(10)
        yield from states


async def test_the_first_frame_does_not_wait_and_facts_stream_in() -> None:
    backend = HeldBackend()
    app = MoetuneApp(backend=backend)
    async with app.run_test(size=(120, 40)) as pilot:
        assert "detecting…" in screen_text(app)
        backend.first.set()
        while app.machine is None:
            await pilot.pause()
        await pilot.pause()
        assert "Ryzen AI Max+ 395" in screen_text(app)
        assert "W7900" not in screen_text(app)
        assert "Detecting…" in screen_text(app)
        backend.rest.set()
        await settle(pilot)
        assert "W7900" in screen_text(app)
        assert "GTT is 62 GiB" in screen_text(app)


@pytest.mark.parametrize("size", SIZES)
async def test_devices_findings_and_reasons_are_there_at_every_size(app: MoetuneApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        text = screen_text(app)
        for word in ("Radeon 8060S", "one pool", "Pro W7900", "1 block, 1 cost speed", "✗ blocks", "⏎ fix"):
            assert word in text, word
        for key in ("Plan a model", "Detect again", "Help", "Quit"):
            assert key in text, key
        await pilot.press("end")
        await pilot.pause()
        assert "n/a" in screen_text(app)


async def test_a_machine_without_gpus_and_problems_is_a_normal_machine() -> None:
    backend = FakeBackend(make_machine(gpus=False, problems=False))
    backend.findings, backend.found_engines = (), ()
    app = MoetuneApp(backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert "none found: plans will use the CPU" in text
        assert "Nothing is in the way" in text
        assert "runtime build" in text
        await pilot.press("enter")
        await pilot.pause()
        assert not app.screen.is_modal


async def test_enter_opens_a_finding_with_its_fix_and_c_copies_it(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await pilot.pause()
        text = screen_text(app)
        for part in ("Why it matters", "Fix (needs a reboot)", "ttm.pages_limit=29360128", "Undo", "Copy the fix"):
            assert part in text, part
        await pilot.press("c")
        assert app.clipboard == "ttm.pages_limit=29360128"
        await pilot.press("escape")
        await pilot.pause()
        assert not app.screen.is_modal


async def test_a_finding_without_a_fix_has_nothing_to_copy(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("down", "enter")
        await pilot.pause()
        assert "nothing to mend" in screen_text(app)
        await pilot.press("c")
        assert app.clipboard == ""


async def test_enter_on_a_missing_fact_gives_the_whole_reason(app: MoetuneApp) -> None:
    async with app.run_test(size=(70, 20)) as pilot:
        await settle(pilot)
        await pilot.press("end", "enter")
        await pilot.pause()
        assert "/proc/driver/nvidia is absent" in " ".join(screen_text(app).split())


async def test_a_shows_the_good_findings_and_hides_them_again(app: MoetuneApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "AVX-512" not in screen_text(app)
        await pilot.press("a")
        await pilot.pause()
        assert "The CPU has AVX-512" in screen_text(app)
        await pilot.press("a")
        await pilot.pause()
        assert "The CPU has AVX-512" not in screen_text(app)


async def test_r_detects_again(app: MoetuneApp, backend: FakeBackend) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        backend.machine = make_machine(gpus=False)
        await pilot.press("r")
        await settle(pilot)
        assert "W7900" not in screen_text(app)


async def test_a_detector_that_breaks_is_reported_and_the_app_goes_on() -> None:
    class BrokenBackend(FakeBackend):
        def detect(self) -> Iterator[Machine]:
            yield next(super().detect())
            raise RuntimeError("boom")

    app = MoetuneApp(backend=BrokenBackend())
    async with app.run_test(size=(80, 24)) as pilot:
        while not app.screen.is_modal:
            await pilot.pause()
        await pilot.pause()
        text = screen_text(app)
        assert "Detecting the machine: RuntimeError: boom" in text
        assert "crash.log" in text
        assert "Traceback" not in text
        await pilot.press("enter", "2")
        await pilot.pause()
        assert "Which model?" in screen_text(app)


async def test_an_engine_search_that_fails_is_na_with_its_reason() -> None:
    class NoSearch(FakeBackend):
        def engines(self, machine: Machine) -> tuple[()]:
            raise OSError("llama-server: permission denied")

    app = MoetuneApp(backend=NoSearch())
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert "n/a: llama-server: permission denied" in screen_text(app)


@pytest.mark.parametrize("size", [(69, 30), (100, 19), (20, 5)])
async def test_a_terminal_that_is_too_small_says_so(app: MoetuneApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "The terminal is too small." in " ".join(screen_text(app).split())
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "too small" not in screen_text(app)
        assert "✗ blocks" in screen_text(app)

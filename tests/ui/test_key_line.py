"""The bottom line."""

from __future__ import annotations

from app.jobs.planning import PlannedRun
from app.ui.app import MoetuneApp
from app.ui.widgets.key_line import KeyLine
from tests.ui.fakes import FakeBackend
from tests.ui.reading import screen_text, settle


async def test_keys_that_do_not_work_now_are_dim_and_light_up_when_they_do(
    planned: PlannedRun, backend: FakeBackend
) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("3")
        await settle(pilot)
        line = app.screen.query_one(KeyLine)
        states = {hint.meaning: hint.enabled for hint in line.hints()}
        assert states["Start again"]
        assert not states["Stop"]
        assert line.lines(80)[0].spans[0].style == "$faint"
        await pilot.press("r")
        await settle(pilot)
        states = {hint.meaning: hint.enabled for hint in line.hints()}
        assert states["Stop"]
        assert states["Prompt"]


async def test_a_click_presses_the_key(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        column = screen_text(app).splitlines()[-1].index("Plan a model")
        await pilot.click(KeyLine, offset=(column, 0))
        await settle(pilot)
        assert app.current_mode == "plan"

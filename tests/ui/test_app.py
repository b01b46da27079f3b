"""What holds everywhere: views, help, palette, themes, start-up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.jobs.planning import PlannedRun
from app.ui.actions import COMMANDS
from app.ui.app import MoetuneApp
from app.ui.screens.base import View
from tests.ui.fakes import FakeBackend
from tests.ui.reading import reads, screen_text, settle

MODULES_AT_FIRST_PAINT = 450


@pytest.mark.parametrize("size", [(70, 20), (80, 24), (120, 40)])
@pytest.mark.parametrize(("key", "title"), [("1", "Machine"), ("2", "Plan"), ("3", "Live")])
async def test_digits_go_to_the_views_and_the_footer_fits(
    planned: PlannedRun, backend: FakeBackend, key: str, title: str, size: tuple[int, int]
) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        await pilot.press(key)
        await settle(pilot)
        assert app.current_mode == title.lower()
        footer = screen_text(app).splitlines()[-1]
        assert "Quit" in footer
        assert "Help" in footer
        shown = [item for item in app.screen.active_bindings.values() if item.binding.show]
        assert len({item.binding.action for item in shown}) <= 8


@pytest.mark.parametrize(("view", "key"), [("1", "f1"), ("2", "question_mark"), ("3", "f1")])
async def test_help_lists_every_key_of_its_view(planned: PlannedRun, backend: FakeBackend, key: str, view: str) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(120, 90)) as pilot:
        await settle(pilot)
        await pilot.press(view)
        await settle(pilot)
        meanings = [item.binding.tooltip for item in app.screen.active_bindings.values() if item.binding.show]
        await pilot.press(key)
        await reads(pilot, "Keys")
        text = " ".join(screen_text(app).split())
        assert len(meanings) >= 5
        for meaning in meanings:
            assert meaning[:40] in text, meaning
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, View)


async def test_every_command_of_the_palette_runs(planned: PlannedRun, backend: FakeBackend) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        offers = list(app.get_system_commands(app.screen))
        assert [offer.title for offer in offers] == [command.title for command in COMMANDS]
        assert offers[-1].title == "app: Quit"
        for offer in offers[:-1]:
            offer.callback()
            await settle(pilot)
            if app.screen.is_modal:
                await pilot.press("escape")
        offers[-1].callback()
        while app.return_value is None:
            await pilot.pause()
    assert backend.engine is not None
    assert backend.engine.stops >= 1


async def test_the_palette_opens_and_finds_a_command(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"live: show")
        await reads(pilot, "Speed, devices")
        await pilot.press("enter")
        await settle(pilot)
        assert app.current_mode == "live"


async def test_a_picture_is_saved(app: MoetuneApp, own_home: Path) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.action_save_picture()
    pictures = [path for path in os.listdir(own_home) if path.endswith(".svg")]
    assert len(pictures) == 1
    assert "Radeon" in text_of(own_home / pictures[0])


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["moetune-day", "ansi-dark"])
async def test_every_theme_draws_every_view(planned: PlannedRun, backend: FakeBackend, theme: str) -> None:
    app = MoetuneApp(planned=planned, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.theme = theme
        for key in "123":
            await pilot.press(key)
            await settle(pilot)
        assert "No engine" in screen_text(app)


async def test_ctrl_c_leaves_even_from_a_field(app: MoetuneApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("ctrl+c")
        await pilot.pause()
    assert app.return_value == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_app_and_its_engine(
    planned: PlannedRun, backend: FakeBackend, number: signal.Signals
) -> None:
    app = MoetuneApp(planned=planned, launch_now=True, backend=backend)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        os.kill(os.getpid(), number)
        await pilot.pause()
    assert app.return_code == 128 + number
    assert backend.engine is not None
    assert backend.engine.stops == 1


PAINT = """
import sys
from pathlib import Path
from app.ui.app import MoetuneApp
from app.ui.backend import Backend

class Silent(Backend):
    def detect(self):
        return iter(())
    def orphan(self):
        return None

async def leave(pilot):
    await pilot.pause()
    Path(sys.argv[1]).write_text("\\n".join(sys.modules))
    pilot.app.exit()

MoetuneApp(backend=Silent()).run(headless=True, auto_pilot=leave, size=(120, 40))
"""
LATE_MODULES = (
    "app.jobs.planning",
    "app.launch.supervisor",
    "app.ui.screens.help",
    "app.ui.screens.live",
    "app.ui.screens.plan",
    "textual.widgets._log",
    "textual.widgets._markdown",
)


def test_the_first_paint_stays_within_its_modules(tmp_path: Path) -> None:
    listing = tmp_path / "modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", PAINT, listing], check=True, cwd=root, capture_output=True)
    modules = listing.read_text(encoding="utf-8").split()
    assert "app.ui.screens.machine" in modules
    assert len(modules) <= MODULES_AT_FIRST_PAINT
    assert [late for late in LATE_MODULES if late in modules] == []


async def test_a_captured_machine_is_shown_and_planned_for_but_not_launched(tmp_path: Path) -> None:
    from app.ui.app import MoetuneApp
    from tests.fixtures.synthetic.machines import write

    capture = str(write("debian13-strixhalo-w7900-p2p", tmp_path / "halo"))
    app = MoetuneApp(capture=capture)
    async with app.run_test(size=(120, 40)) as pilot:
        async with asyncio.timeout(30):
            while app.engines is None:
                await pilot.pause(0.05)
            assert app.machine is not None
            assert any("W7900" in device.name for device in app.machine.devices)
            app.plan_model("gpt-oss-120b")
            while app.planned is None:
                await pilot.pause(0.05)
        assert not app.planned.launchable
        assert app.check_action("launch", ()) is None

"""What have I got, and what is wrong with it?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from app.resources import ASSETS
from app.ui.machine_text import (
    SEVERITIES,
    device_lines,
    device_title,
    finding_lines,
    problem_line,
    system_lines,
)
from app.ui.screens.base import View
from app.ui.widgets.panel import Panel, TextPanel

if TYPE_CHECKING:
    from app.readiness import Finding
    from app.runtimes.base import Engine
    from detectors.facts import Device, Machine, Problem


class DeviceBox(Panel):
    """One device and its memory."""

    def __init__(self, machine: Machine, device: Device) -> None:
        super().__init__(classes=f"device {'-cpu' if device.kind == 'cpu' else '-gpu'}")
        self.machine, self.device = machine, device
        self.border_title = Content(device_title(device, machine.cpu))

    def lines(self, width: int) -> list[Content]:
        """Memory, instruction sets, speed."""
        return device_lines(self.machine, self.device, width)


class FindingsList(OptionList):
    """Everything that was judged, and what could not be found out; Enter opens one."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter", "select", "Open", tooltip="Evidence, reason and fix of the chosen finding.", id="machine.open"
        ),
    ]

    def __init__(self) -> None:
        super().__init__(id="findings")
        self.findings: tuple[Finding, ...] = ()
        self.problems: tuple[Problem, ...] = ()
        self.good_shown = False

    @property
    def shown(self) -> tuple[Finding, ...]:
        """The findings in the list: the good ones only when asked for."""
        return tuple(f for f in self.findings if self.good_shown or f.severity != "good")

    def draw(self) -> None:
        """Write the list for the present width, the highlight kept."""
        width = max(30, self.scrollable_content_region.width - 2)
        chosen = self.highlighted
        self.clear_options()
        self.add_options([Option(finding_lines(finding, width)) for finding in self.shown])
        self.add_options([Option(problem_line(problem, width)) for problem in self.problems])
        if self.option_count:
            self.highlighted = min(chosen or 0, self.option_count - 1)

    def on_resize(self, event: events.Resize) -> None:
        """Lines are cut to the width."""
        self.draw()


class MachineView(View):
    """Devices, system and findings."""

    MODE = "machine"
    CSS_PATH = ASSETS / "styles" / "machine.tcss"
    HELP_FILE = "machine.md"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "2",
            "app.show_mode('plan')",
            "Plan a model",
            tooltip="Choose a model and see where it would go.",
            id="machine.plan",
        ),
        Binding(
            "a",
            "toggle_good",
            "Show good",
            tooltip="Show or hide the checks that found nothing wrong.",
            id="machine.good",
        ),
        Binding("r", "app.detect", "Detect again", tooltip="Read the machine again.", id="machine.detect"),
        *View.ALWAYS,
    ]

    def compose_body(self) -> ComposeResult:
        """Devices over findings."""
        with VerticalScroll(id="devices", can_focus=False):
            yield Static("detecting…", id="skeleton")
        yield TextPanel(id="system")
        yield Static("", id="findings-title")
        yield FindingsList()

    def on_mount(self) -> None:
        """Follow what the app knows."""
        self.watch(self.app, "machine", self._show_machine)
        self.watch(self.app, "findings", self._show_findings)
        self.watch(self.app, "engines", self._show_engines)
        self.query_one(FindingsList).focus()

    async def _show_machine(self, machine: Machine | None) -> None:
        if machine is None:
            return
        devices = self.query_one("#devices", VerticalScroll)
        self._show_engines(self.moetune.engines)
        self._show_findings(self.moetune.findings)
        order = sorted(machine.devices, key=lambda device: device.kind == "cpu")
        boxes = [DeviceBox(machine, device) for device in order]
        devices.set_class(len(boxes) > 1, "-several")
        async with self.batch():
            await devices.remove_children()
            await devices.mount_all(boxes or [Static("no device found yet…", id="skeleton")])

    def _show_engines(self, engines: tuple[Engine, ...] | None) -> None:
        machine = self.moetune.machine
        if machine is not None:
            error = self.moetune.engines_error
            self.query_one("#system", TextPanel).show(lambda width: system_lines(machine, engines, error, width))

    def _show_findings(self, findings: tuple[Finding, ...] | None) -> None:
        machine = self.moetune.machine
        found = self.query_one(FindingsList)
        found.findings = findings or ()
        found.problems = machine.problems if machine is not None else ()
        found.draw()
        self.query_one("#findings-title", Static).update(self._title(findings, machine))
        self.refresh_bindings()

    def _title(self, findings: tuple[Finding, ...] | None, machine: Machine | None) -> Content:
        if findings is None or machine is None:
            done = len(machine.elapsed_ms) if machine is not None else 0
            return Content.assemble(("Detecting… ", "bold"), f"{done} detectors have answered")
        count = {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}
        if not count["blocks"] and not count["costs"]:
            head = Content.styled("✓ Nothing is in the way", "bold $success")
        else:
            head = Content.styled(f"{count['blocks']} block, {count['costs']} cost speed", "bold $warning")
        words = (("note", "to note"), ("unknown", "open"), ("good", "good (a shows them)"))
        more = "".join(f" · {count[severity]} {word}" for severity, word in words if count[severity])
        missing = f" · {len(machine.problems)} not known" if machine.problems else ""
        return Content.assemble(head, (more + missing, "$muted"))

    def action_toggle_good(self) -> None:
        """Show or hide the good findings."""
        found = self.query_one(FindingsList)
        found.good_shown = not found.good_shown
        found.draw()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Open what was chosen."""
        found = self.query_one(FindingsList)
        if event.option_index < len(found.shown):
            self.moetune.show_finding(found.shown[event.option_index])
        else:
            problem = found.problems[event.option_index - len(found.shown)]
            self.moetune.show_problem(problem)

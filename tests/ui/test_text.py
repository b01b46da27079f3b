"""What the panels say, without a screen."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from textual.binding import Binding

from app.runtimes.base import Command
from app.telemetry.sample import EMPTY, DeviceSample, Timings
from app.ui import live_text, machine_text, plan_text
from app.ui.model_files import complete
from app.ui.screens.help import keys_table
from app.ui.widgets.bars import Part, bar, cells
from tests.ui.values import DGPU, FINDINGS, GIB, IGPU, make_machine, make_planned, make_sample

WIDTHS = (30, 56, 76, 196)


def plain(lines: object) -> str:
    assert isinstance(lines, list | tuple)
    return "\n".join(line.plain for line in lines)


# -- bars --


@pytest.mark.parametrize("amounts", [[1, 1, 1], [0, 5, 0], [100, 0.001], [0, 0], [3e9, 5e6, 1e3, 7e9]])
@pytest.mark.parametrize("width", [1, 3, 10, 57])
def test_a_bar_never_exceeds_its_width(amounts: list[float], width: int) -> None:
    total = max(1.0, sum(amounts))
    assert sum(cells(amounts, total, width)) <= width
    assert bar([Part(amount, "█", "") for amount in amounts], total, width).cell_length == width


def test_the_least_amount_is_still_seen() -> None:
    assert cells([1000, 1], 2000, 20) == [10, 1]


def test_nothing_has_no_cell() -> None:
    assert cells([0, 10], 10, 8) == [0, 8]


def test_an_unknown_total_draws_an_empty_bar() -> None:
    assert cells([5], 0, 10) == [0]


# -- machine --


def test_a_shared_pool_is_called_shared_on_both_sides() -> None:
    machine = make_machine()
    cpu, igpu, _ = machine.devices
    assert "shared with 8060S" in plain(machine_text.device_lines(machine, cpu, 100))
    assert "one pool with the CPU" in plain(machine_text.device_lines(machine, igpu, 60))


def test_unknown_use_of_memory_is_not_drawn_as_empty() -> None:
    machine = make_machine()
    ram = replace(machine.pools[0], available_bytes=None)
    text = plain(machine_text.device_lines(replace(machine, pools=(ram,)), machine.devices[0], 60))
    assert "n/a" in text
    assert "0.0 of" not in text


def test_no_gpu_is_said_in_words() -> None:
    lines = machine_text.system_lines(make_machine(gpus=False), (), "", 80)
    assert "GPU" in plain(lines)
    assert "none found" in plain(lines)
    assert "runtime build" in plain(lines)


def test_a_finding_with_a_fix_says_so_at_any_width() -> None:
    for width in WIDTHS:
        lines = machine_text.finding_lines(FINDINGS[0], width).plain.split("\n")
        assert "⏎ fix" in lines[0]
        assert max(len(line) for line in lines) <= max(width, 30)
    assert "⏎ fix" not in machine_text.finding_lines(FINDINGS[1], 80).plain


# -- plan --


def test_the_picture_tells_attention_from_experts_without_colour() -> None:
    plan = make_planned().plan
    assert plan_text.layer_cells(plan, DGPU, 36) == plan_text.ATTENTION * 36
    assert plan_text.layer_cells(plan, IGPU, 36) == plan_text.EXPERTS * 36
    mixed = replace(plan, placement=replace(plan.placement, experts=(DGPU,) * 12 + (IGPU,) * 24))
    assert plan_text.layer_cells(mixed, DGPU, 36) == plan_text.BOTH * 12 + plan_text.ATTENTION * 24
    assert plan_text.layer_cells(mixed, IGPU, 36) == plan_text.NOTHING * 12 + plan_text.EXPERTS * 24
    assert plan_text.layer_cells(mixed, DGPU, 9) == plan_text.BOTH * 3 + plan_text.ATTENTION * 6


def test_memory_that_is_too_much_is_said() -> None:
    planned = make_planned()
    memory = tuple(replace(m, available_bytes=m.total_bytes // 2) for m in planned.plan.memory)
    tight = replace(planned, plan=replace(planned.plan, memory=memory))
    assert "✗" in plain(plan_text.memory_lines(tight, 76))
    assert "to spare" in plain(plan_text.memory_lines(planned, 76))
    unknown = replace(planned, plan=replace(planned.plan, memory=(replace(memory[0], available_bytes=None),)))
    assert "n/a" in plain(plan_text.memory_lines(unknown, 76))


def test_two_devices_of_one_pool_stand_under_one_heading() -> None:
    planned = make_planned()
    memory = (*planned.plan.memory, replace(planned.plan.memory[1], device_id="cpu"))
    shared = replace(planned, plan=replace(planned.plan, memory=memory))
    assert "one pool (ram): 8060S and CPU" in plain(plan_text.memory_lines(shared, 76))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_speed_comes_with_its_range_its_basis_and_its_terms(width: int) -> None:
    text = plain(plan_text.speed_lines(make_planned(), width))
    assert "44.7 t/s decode" in text
    assert "39.0 to 50.0, estimated" in text
    assert text.index("experts") < text.index("crossing") < text.index("attention")


@pytest.mark.parametrize("width", [40, 76, 200])
def test_the_command_over_several_lines_is_the_command(width: int) -> None:
    command = make_planned().command
    lines = [line.plain for line in plan_text.command_lines(command, width)]
    joined = "\n".join(lines)
    assert shlex.split(joined.replace("\\\n", " ")) == [
        "HSA_OVERRIDE_GFX_VERSION=11.0.0", *command.argv
    ]  # fmt: skip
    assert all(line.endswith("\\") for line in lines[:-1])


def test_a_copied_command_sets_and_unsets_what_the_plan_says() -> None:
    script = 'import os; print(os.environ.get("A"), os.environ.get("B"))'
    command = Command(("/usr/bin/env", "python3", "-c", script), {"A": "x y"}, ("B",), "")
    ran = subprocess.run(
        ["/bin/sh", "-c", plan_text.command_text(command)], env={"B": "1", "PATH": "/usr/bin:/bin:/usr/local/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split("\n")[0] == "x y None"


def test_an_alternative_that_does_not_fit_says_no_fit() -> None:
    text = plain(plan_text.alternative_lines(make_planned(), 76))
    assert "36.0 t/s" in text
    assert "no fit" in text


@pytest.mark.parametrize("width", WIDTHS)
def test_no_plan_line_needs_more_than_the_panel_cuts(width: int) -> None:
    planned = make_planned(make_machine(gpus=False))
    for lines in (plan_text.placement_lines, plan_text.memory_lines, plan_text.note_lines, plan_text.alternative_lines):
        assert lines(planned, width)


def test_no_speed_is_a_dash_and_never_a_zero() -> None:
    values = {name: value for name, value, _ in live_text.figures(EMPTY, None, None)}
    assert set(values.values()) == {"-"}


def test_figures_come_from_the_sample_and_the_last_request() -> None:
    figures = live_text.figures(make_sample(1.0, 44.7), 44.7, Timings(100, 160.0, 64, 1430.0, ttft_ms=1900.0))
    assert [value for _, value, _ in figures] == ["44.7", "625", "1.90", "32"]
    assert len(live_text.figures_line(figures).plain) <= 78


def test_what_a_device_does_not_say_is_na_with_its_reason() -> None:
    rows = live_text.device_rows(make_machine(), [DeviceSample(DGPU, reason="NVML is absent")], 100)
    assert "n/a" in rows[0].plain
    assert "NVML is absent" in rows[0].plain
    assert "0 %" not in rows[0].plain


def test_a_narrow_panel_takes_two_lines_for_a_device() -> None:
    sample = [DeviceSample(DGPU, 0.5, 5 * GIB, 48 * GIB, 88.0, 54.0)]
    assert len(live_text.device_rows(make_machine(), sample, 46)) == 2
    assert len(live_text.device_rows(make_machine(), sample, 78)) == 1
    assert len(live_text.device_rows(make_machine(), sample, 78)[0].plain) <= 78


def test_escape_sequences_of_an_engine_do_not_reach_the_terminal() -> None:
    assert live_text.plain_text("\x1b[31mred\x1b[0m\x07 a\tb\x1b]0;title\x07") == "red a    b"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (61, "1 min 01 s"), (7500, "2 h 05 min"), (-1, "0 s")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert live_text.duration_text(seconds) == text


# -- files and help --


def test_a_path_is_completed_to_folders_and_models_only(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "model.txt").touch()
    (tmp_path / "mine.gguf").touch()
    assert complete(f"{tmp_path}/mo") == f"{tmp_path}/models/"
    assert complete(f"{tmp_path}/mi") == f"{tmp_path}/mine.gguf"
    assert complete(f"{tmp_path}/x") is None
    assert complete("~/mo") == "~/models/"
    assert complete("/nowhere/at/all") is None


def test_keys_of_one_meaning_share_a_row() -> None:
    table = keys_table(
        [Binding("f1", "help", "Help", tooltip="Help."), Binding("question_mark", "help", tooltip="Help.")]
    )
    assert table.splitlines()[-1] == "| `F1` or `?` | Help. |"

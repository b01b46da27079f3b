"""`moetune presets`: every scenario preset with what it would come to here; one of them in full."""

from __future__ import annotations

import argparse

from app.cli.output import painted, print_json, print_rows, print_wrapped
from app.errors import ExitCode
from app.jobs.model_weights import download_lines
from app.jobs.preset_board import PresetRow, preset_rows
from app.jobs.scenarios import PREFIX, Scenario, find_scenario
from app.solver.explain import speed_text
from app.units import bytes_text, count_text, rate_text


def run(arguments: argparse.Namespace) -> int:
    """List all, or show one."""
    if arguments.preset is None:
        rows = preset_rows(arguments.capture)
        print_json(rows) if arguments.json else _print_list(rows)
        return ExitCode.OK
    scenario = find_scenario(PREFIX + arguments.preset.removeprefix(PREFIX))
    assert scenario is not None  # the prefix makes it a preset or an error
    [row] = preset_rows(arguments.capture, [scenario.id])
    print_json({"scenario": scenario, "here": row}) if arguments.json else _print_one(scenario, row)
    return ExitCode.OK


def _print_list(rows: tuple[PresetRow, ...]) -> None:
    widest = max(len(row.preset) for row in rows)
    for row in rows:
        size = ("" if row.size_published else "~") + bytes_text(row.size_bytes)
        print(f"{painted(f'{row.preset:<{widest}}', 'bold')}  {size:>10}  {_work(row):<10}  {_here(row)}")
        print_wrapped(row.name + ("; its model is here" if row.path else ""), 4)
        if not row.fits:
            print_wrapped(row.why_not, 4)
    print()
    print_wrapped("`moetune presets NAME` tells all of one; `moetune plan NAME` and `moetune run NAME` take it.", 0)


def _work(row: PresetRow) -> str:
    users = row.workload.parallel
    return count_text(row.workload.context) + (f" x {users}" if users > 1 else "")


def _here(row: PresetRow) -> str:
    if row.decode is None:
        return painted("does not fit", "yellow")
    prompt = f", {rate_text(row.prefill.tokens_per_s)} of prompts" if row.prefill else ""
    return f"{rate_text(row.decode.tokens_per_s)} t/s{prompt}"


def _print_one(scenario: Scenario, row: PresetRow) -> None:
    print(f"{painted(scenario.id, 'bold')}: {scenario.name}")
    work = scenario.workload
    users = f", {work.parallel} at once" if work.parallel > 1 else ""
    policy = scenario.policy
    chosen = [f"KV cache {policy.kv_type}"] if policy.kv_type else []
    chosen += [f"only {', '.join(policy.devices)}"] if policy.devices else []
    chosen += [policy.kt_method] if policy.kt_method else []
    here = row.why_not if row.decode is None else f"{speed_text(row.decode)}; {row.placement}"
    print_rows([
        ("why", scenario.why),
        ("machine", scenario.machine),
        ("model", f"{scenario.model}:{scenario.quantization}"),
        ("workload", f"{count_text(work.context)} of context{users}; {count_text(work.prompt_tokens)} in,"
                     f" {count_text(work.output_tokens)} out; best is {work.objective}"),
        ("runtime", ", ".join((*policy.runtimes, *chosen))),
        ("here", here),
        ("source", scenario.source),
        ("on disk", row.path or "not found in the usual places"),
    ])  # fmt: skip
    if scenario.weights.repository and not row.path:
        print("\nTo download:")
        for line in download_lines(scenario):
            print(f"  {line}")

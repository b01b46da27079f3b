"""`moetune plan`: where everything goes, how fast that will be, and why."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from app.cli.output import narrate, print_json, text_width
from app.cli.plan_text import brief_lines, plan_lines
from app.cli.spans import print_lines
from app.errors import ExitCode
from app.jobs.explaining import command_line as command_text
from app.jobs.explaining import report_of
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.solver.model import Workload

__all__ = ["command_text", "print_plan", "request_from", "run"]


def request_from(arguments: argparse.Namespace) -> PlanRequest:
    """The words of the command line as a request; of a preset, what they leave open is the preset's."""
    from app.jobs.scenarios import Choices, find_scenario, other_meaning

    if meaning := other_meaning(arguments.model):
        narrate(meaning)
    scenario = find_scenario(arguments.model)
    workload, policy = (scenario.workload, scenario.policy) if scenario else (Workload(), Choices(()))
    runtime: str | None = arguments.runtime
    kv_type = arguments.kv_type or policy.kv_type or "auto"
    asked: dict[str, Any] = {
        "context": arguments.context,
        "parallel": arguments.parallel,
        "prompt_tokens": arguments.prompt_tokens,
        "output_tokens": arguments.output_tokens,
        "objective": arguments.objective,
        "floor_tps": arguments.floor,
    }
    return PlanRequest(
        model=arguments.model,
        workload=replace(workload, **{name: value for name, value in asked.items() if value is not None}),
        rpc=arguments.rpc,
        devices=arguments.devices or policy.devices,
        limits=tuple(arguments.limit),
        reserve_bytes=arguments.reserve,
        kv_type=None if kv_type == "auto" else kv_type,
        ubatch=arguments.ubatch or policy.ubatch,
        threads=arguments.threads,
        engine=arguments.engine,
        port=arguments.port,
        capture=getattr(arguments, "capture", None),
        load_mode=arguments.load_mode,
        runtimes=("llama.cpp", "ktransformers")
        if runtime == "any"
        else (runtime,)
        if runtime
        else policy.runtimes or None,
        kt_method=policy.kt_method if runtime in (None, "ktransformers") else None,
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan, the derivation of one of its numbers, or what a change of the machine would do."""
    request = request_from(arguments)
    if arguments.what_if:
        return _compare(request, arguments.what_if, as_json=arguments.json)
    report = report_of(make_plan(request))
    if arguments.json:
        print_json(report)
    elif arguments.explain:
        from app.cli.explanation import explanation_lines

        print_lines(explanation_lines(report, arguments.explain, text_width()))
    else:
        print_lines((brief_lines if arguments.brief else plan_lines)(report, text_width()))
    return ExitCode.OK


def print_plan(planned: PlannedRun) -> None:
    """The whole plan as text."""
    print_lines(plan_lines(report_of(planned), text_width()))


def _compare(request: PlanRequest, words: list[str], *, as_json: bool) -> int:
    """NO_FIT where the model fits neither machine."""
    from app.cli.comparison import comparison_lines
    from app.hardware.what_if import changed_machine
    from app.jobs.supposing import suppose

    what_if = suppose(request, words, changed_machine)
    if as_json:
        print_json(what_if)
    else:
        print_lines(comparison_lines(what_if, text_width()))
    return ExitCode.OK if what_if.before.plan or what_if.after.plan else ExitCode.NO_FIT

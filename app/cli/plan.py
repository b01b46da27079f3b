"""`moetune plan`: where everything goes, how fast that will be, and why."""

from __future__ import annotations

import argparse
import shlex

from app.cli.output import painted, print_json, print_rows, print_wrapped
from app.errors import ExitCode
from app.jobs.planning import PlannedRun, PlanRequest, make_plan, memory_line
from app.runtimes.base import Command
from app.solver.explain import placement_text, speed_text
from app.solver.model import Workload
from app.units import bytes_text, count_text, rate_text


def request_from(arguments: argparse.Namespace) -> PlanRequest:
    """The words of the command line as a request."""
    runtime: str | None = arguments.runtime
    return PlanRequest(
        model=arguments.model,
        workload=Workload(
            context=arguments.context,
            parallel=arguments.parallel,
            prompt_tokens=arguments.prompt_tokens,
            output_tokens=arguments.output_tokens,
            objective=arguments.objective,
            floor_tps=arguments.floor,
        ),
        rpc=arguments.rpc,
        devices=arguments.devices,
        limits=tuple(arguments.limit),
        reserve_bytes=arguments.reserve,
        kv_type=None if arguments.kv_type == "auto" else arguments.kv_type,
        ubatch=arguments.ubatch,
        threads=arguments.threads,
        engine=arguments.engine,
        port=arguments.port,
        capture=getattr(arguments, "capture", None),
        load_mode=arguments.load_mode,
        runtimes=("llama.cpp", "ktransformers") if runtime == "any" else (runtime,) if runtime else None,
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    planned = make_plan(request_from(arguments))
    if arguments.json:
        print_json(planned)
    else:
        print_plan(planned)
    return ExitCode.OK


def command_text(command: Command) -> str:
    """The command as one could paste it into a shell."""
    unset = "".join(f"-u {name} " for name in command.unset)
    setting = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.env.items())
    prefix = f"env {unset}{setting} ".replace("  ", " ") if unset or setting else ""
    return prefix + shlex.join(command.argv)


def print_plan(planned: PlannedRun) -> None:
    """The plan as a person wants it, most important first."""
    plan, shape, machine = planned.plan, planned.shape, planned.machine
    kind = f"{shape.expert_used} of {shape.expert_count} experts" if shape.is_moe else "dense"
    size = bytes_text(shape.file_bytes)
    print(painted(f"{shape.name} · {shape.architecture} · {len(shape.layers)} layers, {kind} · {size}", "bold"))
    print_rows(
        [
            ("Placement", placement_text(machine, plan.placement, shape)),
            ("Decode", f"{speed_text(plan.decode)}, at {count_text(plan.decode.at_context)} tokens of context"),
            ("Engine", f"{planned.engine.runtime} {planned.engine.version}"),
        ]
    )
    print(painted(f"\nMemory ({'the engine was asked' if planned.engine_checked else 'by formula'})", "bold"))
    rows = []
    for memory in plan.memory:
        available = f" (of {bytes_text(memory.available_bytes)} available)" if memory.available_bytes else ""
        rows.append((machine.device(memory.device_id).label, f"{memory_line(memory)}{available}"))
    print_rows(rows)
    print(painted(f"\nA token takes {plan.decode.ms_per_token:.1f} ms", "bold"))
    print_rows(
        [
            (f"{term.value:6.2f} ms  {term.name}", f"{term.why} ({term.basis})")
            for term in sorted(plan.decode.terms, key=lambda term: -term.value)
        ]
    )
    if plan.alternatives:
        print(painted("\nOthers", "bold"))
        for other in plan.alternatives:
            speed = f"{rate_text(other.tokens_per_s)} t/s" if other.tokens_per_s else "no"
            print_wrapped(f"{other.label}: {other.why}", 13, f"  {speed:>9}  ")
    for note in plan.notes:
        print_wrapped(f"Note: {note}", 2, "\n")
    print(painted("\nCommand", "bold"))
    print(f"  {command_text(planned.command)}")
    if not planned.launchable:
        print("\nThis plan cannot be run here: it is for another machine, or the model is not downloaded.")

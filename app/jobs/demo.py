"""The demo job: the whole program once, on a small model made here. No GPU, no download."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.checking import READ_BANDWIDTH, known_machine, machine_key, measure, with_figures
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.jobs.running import RunReport, ask, launch, remember
from app.paths import data_dir, made
from app.solver.model import Workload
from app.telemetry.sample import Sample, Timings

if TYPE_CHECKING:
    from app.launch.supervisor import Supervisor

DEMO_MODEL = "demo"
DEMO_CONTEXT = 4096
DEMO_TOKENS = 192
"""Tokens of one answer."""

PROMPTS = (
    "Explain the tides as to a sailor who has seen them every day and never asked why they come twice, and what the"
    " sun has to do with it.",
    "Why does a mixture-of-experts model read so few of its weights for each token, and which of its parts does it"
    " read every time?",
    "Write a short letter from a lighthouse keeper to the keeper of the next lighthouse along the coast.",
)


def demo_model_path() -> Path:
    """Where the demo's model is kept."""
    return data_dir() / "models" / "moetune-demo.gguf"


def write_demo_model(on_progress: Callable[[int, int], None]) -> tuple[Path, bool]:
    """Write the small model, once. Returns its path and whether it was there already."""
    from app.models.catalog import find_spec
    from app.models.slices import write_slice

    path = demo_model_path()
    if path.exists():
        return path, True
    made(path.parent)
    write_slice(find_spec(DEMO_MODEL), path, on_progress=on_progress)
    return path, False


def plan_demo(path: Path, narrate: Callable[[str], None]) -> PlannedRun:
    """Detect, measure the RAM once, and plan the small model."""
    from app import store

    machine = known_machine()
    if store.latest_measurement(machine_key(machine), READ_BANDWIDTH) is None:
        narrate("measuring the RAM's read bandwidth (1 s, once)")
        measure(machine)
        machine = with_figures(machine)
    work = Workload(context=DEMO_CONTEXT, prompt_tokens=128, output_tokens=DEMO_TOKENS)
    return make_plan(PlanRequest(model=str(path), workload=work, port=0), machine)


async def drive(
    planned: PlannedRun,
    supervisor: Supervisor,
    *,
    seconds: float,
    on_sample: Callable[[Sample], None],
) -> RunReport:
    """Launch the plan, put prompts through it for about that long, and stop it.

    Raises:
        MoetuneError: what stopped it; nothing is left running.
    """
    from app.telemetry.contention import Contention
    from app.telemetry.sampler import Sampler

    samples: list[Sample] = []
    timings: list[Timings] = []
    answers: list[str] = []

    def take(sample: Sample) -> None:
        samples.append(sample)
        on_sample(sample)

    sampler = Sampler(planned.machine, on_sample=take)
    try:
        planned = await launch(planned, supervisor)
        sampler.watch(supervisor.status.url, supervisor.status.pid)
        sampler.start()
        contention = Contention(supervisor.status.pid)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or not timings:
            prompt = f"{len(timings) + 1}. {PROMPTS[len(timings) % len(PROMPTS)]}"
            pieces: list[str] = []
            url = supervisor.status.url or planned.command.url
            timings.append(await ask(url, prompt, tokens=DEMO_TOKENS, ignore_eos=True, on_text=pieces.append))
            answers.append("".join(pieces))
        other_cores = contention.other_cores()
    finally:
        await asyncio.to_thread(sampler.stop)
        await supervisor.stop()
    report = RunReport(planned, tuple(timings), tuple(samples), tuple(answers), other_cores)
    remember(report)
    return report

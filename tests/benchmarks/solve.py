"""How long solving takes: one plan, and the board of all catalogue models on one machine.

    python -m tests.benchmarks.solve [--runs N]

Each figure is the least processor time of the runs, so that other programs do not count.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable

from app.errors import NoFitError
from app.jobs.board import board
from app.jobs.planning import find_model
from app.models.catalog import model_names
from app.solver.model import Policy, Workload
from app.solver.search import solve
from app.units import GIB
from detectors.facts import Device, Machine, MemoryPool
from tests.solver.machines import desktop, plain, scene, strix_halo_with_radeon

SOLVE_BUDGET_MS, BOARD_BUDGET_MS = 30.0, 500.0
MODELS = ("gpt-oss-120b", "glm-4.5-air", "qwen3-30b-a3b", "glm-4.6", "deepseek-v3", "llama-3.1-70b")


def four_devices() -> Machine:
    """A workstation with three unlike GPUs beside the processor."""
    machine = desktop(ram_gib=256)
    extra = (("gpu:b", "RTX 3090", 24, 936.0), ("gpu:c", "RTX 5090", 32, 1792.0))
    return Machine(
        "work",
        cpu=machine.cpu,
        pools=(*machine.pools, *(MemoryPool(f"vram:{i}", i, gib * GIB, gib * GIB) for i, _, gib, _ in extra)),
        devices=(
            *machine.devices,
            *(
                Device(i, "dgpu", name, "NVIDIA", f"vram:{i}", bandwidth_gbps=gbps, bandwidth_basis="driver")
                for i, name, _, gbps in extra
            ),
        ),
    )


def least_ms(work: Callable[[], object], runs: int) -> float:
    """Processor milliseconds of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return 1000 * best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    machines = {
        "Strix Halo + W7900": strix_halo_with_radeon(), "RTX 4090": desktop(), "CPU": plain(ram_gib=256),
        "three GPUs + CPU": four_devices(),
    }  # fmt: skip
    shapes = {name: find_model(name) for name in model_names()}
    print(f"one solve (budget {SOLVE_BUDGET_MS:.0f} ms)")
    for title, machine in machines.items():
        row = []
        for name in MODELS:

            def one(machine: Machine = machine, name: str = name) -> None:
                with contextlib.suppress(NoFitError):
                    solve(scene(machine, shapes[name]), Workload(context=32768), Policy())

            row.append(f"{name} {least_ms(one, runs):.1f}")
        print(f"  {title}: {', '.join(row)}")
    print(f"the board of {len(shapes)} models (budget {BOARD_BUDGET_MS:.0f} ms)")
    for title, machine in machines.items():

        def all_of_them(machine: Machine = machine) -> None:
            board(machine, tuple(shapes.items()), Workload(), Policy())

        print(f"  {title}: {least_ms(all_of_them, runs):.0f} ms")


if __name__ == "__main__":
    main()

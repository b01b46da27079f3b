"""Budgets on an APU, whose processor and GPU draw on one pool in unequal parts."""

from __future__ import annotations

from pathlib import Path

from app.solver.budget import available_bytes
from app.solver.model import Policy
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host

GIB = 1 << 30
GPU = "gpu:0000:c5:00.0"


def test_the_carve_out_is_the_gpus_alone_and_counts_once(tmp_path: Path) -> None:
    machine = detect(host("bazzite-strixhalo-carveout", tmp_path), 30)
    ram, cpu, gpu = machine.pool("ram"), machine.device("cpu"), machine.device(GPU)
    assert machine.memory is not None
    assert machine.memory.available_bytes is not None
    for_cpu, for_gpu = available_bytes(machine, cpu, Policy()), available_bytes(machine, gpu, Policy())
    assert for_cpu == machine.memory.available_bytes  # 29 GiB, not the 124 that the pool has free
    assert 110 * GIB < for_gpu < 111 * GIB
    assert ram.available_bytes is not None
    assert for_cpu + for_gpu > ram.available_bytes  # so together they are held to the pool
    assert ram.available_bytes == for_cpu + (96 * GIB - (60 << 20))

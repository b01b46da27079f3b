"""Measurements that were never made, for tests of what follows from them."""

from __future__ import annotations

from app.runtimes.bench import Phase
from app.solver.coefficients import Coefficients
from app.solver.model import KvType, ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.scene import Engine
from app.tuner.evidence import trial_of
from app.tuner.measurement import Measurement
from app.tuner.slice_folder import Slice
from detectors.facts import Machine

SMALL = Slice("demo", 2, vocabulary=512)


def parameters(kv: KvType = "f16", threads: int = 2) -> Parameters:
    return Parameters(
        context=4096, parallel=1, ubatch=512, batch=2048, kv_type_k=kv, kv_type_v=kv, flash_attention=True,
        load_mode="mmap", threads=threads, threads_batch=threads,
    )  # fmt: skip


def made(
    samples_ms: tuple[float, ...] = (5.0, 5.0),
    *,
    shape: ModelShape | None = None,
    attention: str = "cpu",
    experts: str = "cpu",
    phase: Phase = "decode",
    tokens: int = 16,
    depth: int = 0,
    kv: KvType = "f16",
    threads: int = 16,
) -> Measurement:
    """A measurement of those samples."""
    shape = shape or SMALL.shape()
    placement = Placement.on(attention, tuple(experts if layer.expert_bytes else attention for layer in shape.layers))
    name = f"{shape.name} {attention} {experts} {phase} {tokens} {depth} {kv}"
    return Measurement(name, shape, placement, parameters(kv, threads), phase, tokens, depth, samples_ms)


def as_if(machine: Machine, true: Coefficients, measurement: Measurement, error: float = 1.0) -> Measurement:
    """The measurement as a machine with those constants would have made it."""
    from dataclasses import replace

    trial = trial_of(machine, Engine(), true, measurement)
    assert trial is not None
    ms = error * sum(cost.quantity * true[cost.coefficient] for cost in trial.costs)
    return replace(measurement, samples_ms=(ms, ms))

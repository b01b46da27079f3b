"""Machines, plans, engines and samples made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.jobs.planning import PlannedRun, PlanRequest
from app.launch.ownership import EngineRecord
from app.readiness import Finding, Fix
from app.runtimes.base import Command, Engine
from app.solver.model import LayerShape, ModelShape, Workload
from app.solver.plan import Alternative, DeviceMemory, Parameters, Placement, Plan, Prediction, Term
from app.telemetry.sample import DeviceSample, Sample, SlotSample
from detectors.facts import Cpu, Device, KernelFacts, Link, Machine, MemoryPool, Problem

GIB = 1024**3
IGPU, DGPU = "gpu:0000:c6:00.0", "gpu:0000:03:00.0"
URL = "http://127.0.0.1:8080"


def make_machine(*, gpus: bool = True, problems: bool = True) -> Machine:
    """An APU with unified memory and a discrete GPU on a slow link; or its CPU alone."""
    cpu = Cpu("AMD Ryzen AI Max+ 395", "AuthenticAMD", "x86_64", 1, 16, 32, ("avx2", "avx512f", "avx512_vnni"))
    ram = MemoryPool("ram", "RAM", 125 * GIB, 110 * GIB)
    processor = Device("cpu", "cpu", "AMD Ryzen AI Max+ 395", "AMD", "ram", bandwidth_gbps=112.0)
    kernel = KernelFacts("6.17.13", "quiet iommu=pt ttm.pages_limit=16777216", "Debian GNU/Linux 13", container=None)
    machine = Machine("halo", cpu, (ram,), (processor,), kernel=kernel, elapsed_ms={"cpu": 9.0, "memory": 2.0})
    if gpus:
        vram = MemoryPool("vram:0000:03:00.0", "VRAM", 48 * GIB, 39 * GIB)
        igpu = Device(
            IGPU, "igpu", "AMD Radeon 8060S", "AMD", "ram", 62 * GIB, "gfx1151", "0000:c6:00.0", 256.0, "driver", 59.0
        )
        dgpu = Device(
            DGPU, "dgpu", "AMD Radeon Pro W7900", "AMD", vram.id, None, "gfx1100", "0000:03:00.0", 864.0, "table", 61.0
        )
        link = Link(DGPU, IGPU, 7.9, 24.0, peer_to_peer=False, basis="driver")
        machine = replace(machine, pools=(ram, vram), devices=(processor, igpu, dgpu), links=(link,))
    if problems:
        missing = Problem("gpu_nvidia", "No NVIDIA driver is loaded: /proc/driver/nvidia is absent.")
        machine = replace(machine, problems=(missing,))
    return machine


FINDINGS = (
    Finding(
        "gtt",
        "blocks",
        "GTT is 62 GiB of 125 GiB: large models do not fit the integrated GPU",
        "ttm.pages_limit is 16777216 pages of 4 KiB",
        "The kernel hands the GPU no more than this, however much RAM is free.",
        Fix(
            "ttm.pages_limit=29360128",
            "remove the parameter",
            "cat /sys/module/ttm/parameters/pages_limit",
            reboot=True,
        ),
    ),
    Finding(
        "p2p", "costs", "The GPUs cannot reach each other", "HSA_AMD_P2P is not set", "Each crossing goes through RAM."
    ),
    Finding("slot", "note", "The slot is x4", "LnkSta: 16 GT/s x4", "Fine for decode."),
    Finding("isa", "good", "The CPU has AVX-512", "avx512f", "Experts on the CPU are fast."),
)


def make_engine() -> Engine:
    """An installed llama.cpp."""
    return Engine("llama_server", Path("/usr/bin/llama-server"), "path", "0.5.0 (0c1e57098)", ("ROCm", "CPU"), ())


def make_planned(machine: Machine | None = None, *, request: PlanRequest | None = None) -> PlannedRun:
    """gpt-oss-120b-like: attention on the discrete GPU, experts on the integrated one; on the CPU without GPUs."""
    machine = machine or make_machine()
    request = request or PlanRequest("/models/gpt-oss-120b.gguf", Workload(context=98304))
    split = any(device.id == DGPU for device in machine.devices)
    attention, experts = (DGPU, IGPU) if split else ("cpu", "cpu")
    layers = tuple(LayerShape(30 << 20, 1 << 16, 1 << 20, 0, 0, 1700 << 20, "full", 8, 64, 64) for _ in range(36))
    shape = ModelShape(
        "gpt-oss-120b", "gpt-oss", layers, 600 << 20, 600 << 20, False, 201088, 2880, 64, 128, 4, 2880, 128, 131072,
        63 * GIB, "MXFP4",
    )  # fmt: skip
    terms = (
        Term("experts", 13.1, "ms", "1.9 GiB of active experts at 221 GB/s", "driver"),
        Term("attention", 2.9, "ms", "attention, KV and head at 864 GB/s", "table"),
        Term("crossing", 3.5, "ms", "72 hops of 24 µs", "estimated"),
        Term("launches", 2.9, "ms", "36 layers at 81 µs", "calibrated"),
    )
    memory = [DeviceMemory(experts, 57 * GIB, 0, 300 << 20, 60 * GIB, 2 * GIB)]
    if split:
        memory.insert(0, DeviceMemory(attention, 2 * GIB, 2 * GIB, 600 << 20, 39 * GIB, 1 * GIB, "measured"))
    context, kv = request.workload.context, request.kv_type or "f16"
    plan = Plan(
        model_name="gpt-oss-120b",
        model_path=request.model,
        workload=request.workload,
        placement=Placement.on(attention, (experts,) * 36),
        parameters=Parameters(context, 1, request.ubatch or 512, 2048, kv, kv, True, "none", 16, 32),
        memory=tuple(memory),
        decode=Prediction(44.7, 39.0, 50.0, "estimated", 4096, terms),
        alternatives=(
            Alternative("all on Radeon 8060S", 36.0, "-19 %: experts takes 13.1 of 27.8 ms"),
            Alternative("all on Radeon Pro W7900", None, "does not fit Radeon Pro W7900: 21.3 GiB too little"),
        ),
        notes=("The engine does not see the NPU.",),
        prefill=Prediction(612.0, 420.0, 800.0, "estimated", 1024, (), 512),
        turn_s=13.1,
    )  # fmt: skip
    argv = (
        "/usr/bin/llama-server", "-m", request.model, "-dev", "ROCm0,ROCm1", "-ts", "1,0", "-ngl", "all", "-fit", "off",
        "-ot", r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=ROCm1", "-c", str(request.workload.context), "-ub",
        str(plan.parameters.ubatch), "-ctk", kv, "-ctv", kv, "--port", "8080",
    )  # fmt: skip
    command = Command(argv, {"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}, (), URL)
    return PlannedRun(request, machine, shape, make_engine(), plan, command, engine_checked=True)


def make_sample(at: float, decode: float | None = 44.0, prefill: float | None = None) -> Sample:
    """One tick of a busy engine."""
    slots = (SlotSample(0, True, 1000, 1000, 30000, 7, 98304),)
    devices = (
        DeviceSample(DGPU, 0.61, 5 * GIB, 48 * GIB, 88.0, 54.0),
        DeviceSample(IGPU, 0.93, 58 * GIB, 62 * GIB, 71.0, 63.0),
        DeviceSample("cpu", 0.12, None, None, reason="power: permission denied"),
    )
    return Sample(at, decode, prefill, slots, devices, 60 * GIB, engine_reachable=True)


def make_record() -> EngineRecord:
    """An engine whose moetune has gone."""
    facts: dict[str, object] = {"predicted_low": 39.0, "predicted_high": 50.0}
    return EngineRecord(
        4242, 1, 4000, 1, "gpt-oss-120b", ("llama-server",), URL, "/tmp/x.log", "2026-11-22T00:40:00", facts
    )

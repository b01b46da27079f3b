"""What must hold of every plan, on hundreds of machines and models drawn at random."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

import pytest

from app.errors import NoFitError
from app.solver.model import LayerShape, ModelShape, Policy, Workload
from app.solver.objectives import work_of
from app.solver.plan import Plan
from app.solver.prediction import decode_speed
from app.solver.prefill import prefill_ms
from app.solver.remedies import with_ram
from app.solver.scene import Scene
from app.solver.search import SAME, TIE, solve
from app.units import GIB, MIB
from detectors.facts import Cpu, Device, Link, Machine, MemoryPool
from tests.solver.machines import scene

WITHIN = (1 + TIE) * (1 + SAME)
"""As fast within what the solver tells apart: it may take fewer devices, or smaller parameters, instead."""


def any_machine(draw: random.Random) -> Machine:
    """A host with up to three GPUs, one of which may be an APU's."""
    total = draw.choice((16, 32, 64, 96, 128, 256)) * GIB
    pools = [MemoryPool("ram", "RAM", total, total - draw.randint(1, 6) * GIB)]
    devices = [Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=draw.uniform(40, 400))]
    if draw.random() < 0.4:
        limit = round(total * draw.uniform(0.4, 0.9))
        bandwidth = devices[0].bandwidth_gbps or 100.0
        devices.append(
            Device("gpu:i", "igpu", "8060S", "AMD", "ram", limit_bytes=limit, bandwidth_gbps=bandwidth * 1.5)
        )
    for index in range(draw.choice((0, 1, 1, 2))):
        size = draw.choice((8, 12, 16, 24, 32, 48, 96)) * GIB
        pools.append(MemoryPool(f"vram:{index}", "VRAM", size, size - draw.randint(0, 800) * MIB))
        name, gbps = draw.choice((("RTX 3060", 360.0), ("RTX 4090", 1008.0), ("W7900", 864.0)))
        maker = "AMD" if name == "W7900" else "NVIDIA"
        devices.append(Device(f"gpu:{index}", "dgpu", name, maker, f"vram:{index}", bandwidth_gbps=gbps))
    links = tuple(
        Link("cpu", device.id, draw.choice((7.9, 15.8, 31.5, 63.0)), None, None, "driver", "host")
        for device in devices
        if device.kind == "dgpu"
    )
    cores = draw.choice((6, 8, 16, 32))
    cpu = Cpu("CPU", "AMD", "x86_64", 1, cores, 2 * cores, draw.choice((("avx2",), ("avx2", "avx512f"))))
    return Machine("any", cpu=cpu, pools=tuple(pools), devices=tuple(devices), links=links)


def any_shape(draw: random.Random) -> ModelShape:
    """A model of 1 to 200 GiB, dense or not, with or without windows and leading dense layers."""
    moe = draw.random() < 0.75
    count = draw.randint(12, 62)
    width = draw.choice((2048, 2880, 4096, 5120))
    size = round(draw.uniform(1, 140) * GIB / count) if moe else round(draw.uniform(0.5, 40) * GIB / count)
    lead = draw.choice((0, 0, 1, 3)) if moe else 0
    pattern = draw.choice((1, 1, 2, 6))
    layers = tuple(
        LayerShape(
            round(width * width * 3.1), width * 8, width * 64 if moe else 0, 0,
            dense_bytes=round(width * width * 8) if index < lead else 0 if moe else size,
            expert_bytes=0 if not moe or index < lead else round(size * draw.choice((1, 1, 1, 1.3))),
            kind="full" if index % pattern == pattern - 1 else "swa", kv_heads=8,
            key_length=128, value_length=128,
        )
        for index in range(count)
    )  # fmt: skip
    table = round(150000 * width * 1.06)
    bytes_of_file = sum(layer.weight_bytes for layer in layers) + 2 * table
    experts, used = (draw.choice((32, 64, 128)), draw.choice((2, 4, 8))) if moe else (0, 0)
    return ModelShape(
        "any", "qwen3moe", layers, table, table, False, 150000, width, width // 128, experts, used, 1024 if moe else 0,
        1024 if pattern > 1 else 0, 131072, bytes_of_file, "Q4_K_M",
    )  # fmt: skip


def any_workload(draw: random.Random) -> Workload:
    return Workload(
        context=draw.choice((2048, 8192, 32768, 131072)),
        parallel=draw.choice((1, 1, 1, 4)),
        prompt_tokens=draw.choice((64, 1024, 8000)),
        output_tokens=draw.choice((64, 512, 2000)),
        objective=draw.choice(("turn", "turn", "throughput")),
    )


def cases(count: int, seed: int) -> list[tuple[Scene, Workload]]:
    draw = random.Random(seed)
    return [(scene(any_machine(draw), any_shape(draw)), any_workload(draw)) for _ in range(count)]


def planned(asked: Scene, workload: Workload, policy: Policy | None = None) -> Plan | None:
    try:
        return solve(asked, workload, policy or Policy())
    except NoFitError:
        return None


def seconds(asked: Scene, plan: Plan) -> float:
    """Of the work, at the depth that plans are judged at."""
    work = work_of(plan.workload)
    step = decode_speed(asked, plan.placement, plan.parameters, context=work.depth, batch=work.batch)
    prompt = prefill_ms(asked, plan.placement, plan.parameters, prompt_tokens=work.prompt_tokens)
    return work.seconds(prompt, 1000.0 * work.batch / step)


def test_bytes_add_up_and_no_pool_is_overfilled() -> None:
    fitting = 0
    for asked, workload in cases(200, 1):
        plan = planned(asked, workload)
        if plan is None:
            continue
        fitting += 1
        assert sum(one.weight_bytes for one in plan.memory) == asked.shape.file_bytes
        drawn: defaultdict[str, int] = defaultdict(int)
        for one in plan.memory:
            device = asked.machine.device(one.device_id)
            drawn[device.pool_id] += one.total_bytes
            assert one.available_bytes is not None
            assert one.total_bytes + one.reserve_bytes <= one.available_bytes
        for pool in asked.machine.pools:
            assert drawn[pool.id] <= (pool.available_bytes or 0)
        placement = plan.placement
        assert len(placement.attention) == len(placement.experts) == len(asked.shape.layers)
        blocks = [a for i, a in enumerate(placement.attention) if i == 0 or placement.attention[i - 1] != a]
        assert len(blocks) == len(set(blocks)), "one block of layers for each device"
        assert placement.head == blocks[-1]
        assert "cpu" not in blocks[1:]
    assert 100 < fitting < 200, "some of the models do not fit, most do"


@pytest.mark.parametrize("kind", ["vram", "ram", "gtt"])
def test_more_memory_never_makes_the_best_plan_slower(kind: str) -> None:
    compared = 0
    for asked, workload in cases(60, 2):
        machine = asked.machine
        if kind == "ram":
            larger = with_ram(machine, 32 * GIB)
        else:
            pools = tuple(
                replace(pool, total_bytes=pool.total_bytes + 8 * GIB,
                        available_bytes=(pool.available_bytes or 0) + 8 * GIB)
                if kind == "vram" and pool.id != "ram" else pool
                for pool in machine.pools
            )  # fmt: skip
            devices = tuple(
                replace(device, limit_bytes=device.limit_bytes + 8 * GIB)
                if kind == "gtt" and device.limit_bytes is not None else device
                for device in machine.devices
            )  # fmt: skip
            larger = replace(machine, pools=pools, devices=devices)
        if larger == machine:
            continue
        before, after = planned(asked, workload), planned(replace(asked, machine=larger), workload)
        if before is None:
            continue
        assert after is not None
        compared += 1
        assert seconds(asked, after) <= seconds(asked, before) * WITHIN
    assert compared >= 15


def test_a_wider_link_never_makes_the_best_plan_slower() -> None:
    for asked, workload in cases(60, 3):
        links = tuple(replace(link, bandwidth_gbps=2 * (link.bandwidth_gbps or 1)) for link in asked.machine.links)
        wider = replace(asked, machine=replace(asked.machine, links=links))
        before, after = planned(asked, workload), planned(wider, workload)
        if before is not None and after is not None:
            assert seconds(wider, after) <= seconds(asked, before) * WITHIN


def test_a_deeper_context_never_makes_decoding_faster() -> None:
    for asked, workload in cases(40, 4):
        plan = planned(asked, workload)
        if plan is None:
            continue
        speeds = [point.tokens_per_s for point in plan.curves.decode_by_context]
        assert speeds == sorted(speeds, reverse=True)
        if workload.context < 131072 and workload.objective == "turn":
            longer = planned(asked, replace(workload, context=4 * workload.context))
            if longer is not None:
                assert seconds(asked, longer) >= seconds(asked, plan) / WITHIN


def test_limits_and_allowed_devices_are_respected() -> None:
    draw = random.Random(5)
    for asked, workload in cases(60, 6):
        devices = asked.machine.devices
        allowed = tuple(device.id for device in devices if draw.random() < 0.7) or ("cpu",)
        limit = draw.randint(4, 40) * GIB
        plan = planned(asked, workload, Policy(devices=allowed, limits=((allowed[-1], limit),)))
        if plan is None:
            continue
        assert set(plan.placement.devices) <= set(allowed)
        for one in plan.memory:
            if one.device_id == allowed[-1]:
                assert one.total_bytes <= limit


def test_what_was_asked_is_what_is_planned() -> None:
    for asked, workload in cases(30, 7):
        plan = planned(asked, workload, Policy(kv_type="q4_0", ubatch=256, threads=3, load_mode="mmap"))
        if plan is not None:
            parameters = plan.parameters
            assert (parameters.kv_type_k, parameters.kv_type_v) == ("q4_0", "q4_0")
            assert (parameters.ubatch, parameters.threads, parameters.load_mode) == (256, 3, "mmap")


def test_the_cache_is_never_smaller_than_q8_0_unasked() -> None:
    kinds = {plan.parameters.kv_type_k for asked, work in cases(120, 8) if (plan := planned(asked, work))}
    assert kinds <= {"f16", "q8_0"}
    assert "f16" in kinds


def test_what_is_promised_to_fit_does_fit() -> None:
    """A remedy that names a context is tried: with it there is a plan."""
    tried = 0
    for asked, workload in cases(120, 9):
        try:
            solve(asked, workload, Policy())
        except NoFitError as error:
            words = error.hint.split("--context ")
            if len(words) > 1:
                tried += 1
                context = int(words[1].split(")")[0])
                assert solve(asked, replace(workload, context=context), Policy())
    assert tried

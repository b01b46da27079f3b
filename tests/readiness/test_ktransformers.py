"""What KTransformers needs of the machine, judged for its plans and for no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.planning import find_model
from app.readiness import Finding, judge
from app.solver.kt_methods import cpu_variant
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from app.units import GIB
from detectors.facts import Amx, Cpu, KernelFacts, Machine, MemoryFacts
from tests.solver.kt_machines import XEON, ZEN4, server
from tests.solver.machines import scene

MACHINE = replace(server(), memory=MemoryFacts(512 * GIB), kernel=KernelFacts("6.18.4", "ro", "Debian"))
AMX = Amx(("amx_tile", "amx_int8", "amx_bf16"), True, True)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return solve_ktransformers(
        scene(server(), find_model("qwen3-30b-a3b")), Workload(context=8192), Policy(kt_method="AMXINT8")
    )


def with_cpu(**facts: object) -> Machine:
    assert MACHINE.cpu is not None
    return replace(MACHINE, cpu=replace(MACHINE.cpu, **facts))  # type: ignore[arg-type]  # named in the calls


def with_kt(plan: Plan, **values: object) -> Plan:
    assert plan.parameters.kt is not None
    kt = replace(plan.parameters.kt, **values)  # type: ignore[arg-type]  # named in the calls
    return replace(plan, parameters=replace(plan.parameters, kt=kt))


def found(machine: Machine, plan: Plan | None) -> dict[str, Finding]:
    return {finding.id: finding for finding in judge(machine, plan) if finding.id.startswith("kt.")}


def test_a_machine_that_suits_the_plan_is_good_in_all(plan: Plan) -> None:
    told = found(with_cpu(amx=AMX, numa_nodes=_nodes(64)), plan)
    assert {name: one.severity for name, one in told.items()} == {
        "kt.variant": "good", "kt.gpu": "good", "kt.memory": "good", "kt.pools": "good",
    }  # fmt: skip
    assert "amx" in told["kt.variant"].title


def test_nothing_is_said_without_a_plan_of_ktransformers(plan: Plan) -> None:
    assert found(MACHINE, None) == {}
    assert found(MACHINE, replace(plan, parameters=replace(plan.parameters, kt=None))) == {}


@pytest.mark.parametrize(
    ("isa", "variant"),
    [(XEON, "amx"), (ZEN4, "avx512_bf16"), (XEON[:4], "avx512_vnni"), (XEON[:3], "avx512_base"), (("avx2",), "avx2"),
     ((), "avx2"), (tuple(f for f in XEON if f != "amx_bf16"), "avx512_bf16")],
)  # fmt: skip
def test_the_build_is_told_by_the_flags(isa: tuple[str, ...], variant: str) -> None:
    assert cpu_variant(Cpu("CPU", "X", "x86_64", 1, 8, 16, isa)) == variant


def test_amx_that_is_refused_would_crash_kt_kernel(plan: Plan) -> None:
    told = found(with_cpu(amx=replace(AMX, granted=False, why="EPERM")), plan)["kt.variant"]
    assert told.severity == "costs"
    assert "EPERM" in told.evidence
    assert told.fix is not None
    assert "KT_KERNEL_CPU_VARIANT=avx512_bf16" in told.fix.text


def test_a_method_that_the_processor_cannot_compute_blocks(plan: Plan) -> None:
    told = found(with_cpu(isa=("avx2",)), plan)["kt.method"]
    assert told.severity == "blocks"
    assert "avx512f" in told.evidence


@pytest.mark.parametrize(
    ("arch", "vendor", "method", "severity"),
    [
        ("sm_89", "NVIDIA", "FP8", "good"), ("sm_86", "NVIDIA", "AMXINT8", "good"),
        ("sm_86", "NVIDIA", "FP8", "blocks"), ("sm_75", "NVIDIA", "AMXINT8", "blocks"),
        (None, "NVIDIA", "AMXINT8", "unknown"), ("gfx1100", "AMD", "AMXINT8", "blocks"),
    ],
)  # fmt: skip
def test_cards_are_judged_by_their_compute_capability(
    plan: Plan, arch: str | None, vendor: str, method: str, severity: str
) -> None:
    host, card = MACHINE.devices
    machine = replace(MACHINE, devices=(host, replace(card, arch=arch, vendor=vendor)))
    assert found(machine, with_kt(plan, method=method))["kt.gpu"].severity == severity


def test_memory_has_to_hold_all_experts_and_each_node_its_share(plan: Plan) -> None:
    assert plan.parameters.kt is not None
    assert plan.parameters.kt.pools == 2
    needed = plan.memory_of("cpu").total_bytes
    small = replace(MACHINE, memory=MemoryFacts(needed - GIB))
    assert found(small, plan)["kt.memory"].severity == "blocks"
    assert "1.0 GiB more" in found(small, plan)["kt.memory"].title
    assert MACHINE.cpu is not None
    first, second = MACHINE.cpu.numa_nodes
    uneven = with_cpu(numa_nodes=(first, replace(second, memory_bytes=needed // 2 - GIB)))
    told = found(uneven, plan)["kt.memory"]
    assert (told.severity, told.title) == ("costs", "NUMA node 1 is too small for its pool")


def test_pools_are_held_against_the_nodes_and_their_cores(plan: Plan) -> None:
    machine = with_cpu(numa_nodes=_nodes(64))
    assert found(machine, with_kt(plan, pools=4, cpu_threads=32))["kt.pools"].title.startswith("4 pools are more")
    assert found(machine, with_kt(plan, pools=1, cpu_threads=32))["kt.pools"].severity == "note"
    assert found(machine, with_kt(plan, pools=2, cpu_threads=64))["kt.pools"].severity == "good"
    crowded = found(machine, with_kt(plan, pools=2, cpu_threads=128))["kt.pools"]
    assert (crowded.severity, crowded.title) == ("costs", "64 threads a pool are more than a node's 32 cores")


def test_containers_are_told_of_the_capability(plan: Plan) -> None:
    assert MACHINE.kernel is not None
    inside = replace(MACHINE, kernel=replace(MACHINE.kernel, container="docker"))
    told = found(inside, plan)["kt.binding"]
    assert told.severity == "unknown"
    assert told.fix is not None
    assert "SYS_NICE" in told.fix.text
    assert "kt.binding" not in found(MACHINE, plan)
    assert inside.cpu is not None
    one = replace(inside, cpu=replace(inside.cpu, numa_nodes=inside.cpu.numa_nodes[:1]))
    assert "kt.binding" not in found(one, with_kt(plan, pools=1))


def _nodes(threads: int) -> tuple[object, ...]:
    """The two nodes with that many CPUs each, two to a core."""
    assert MACHINE.cpu is not None
    return tuple(
        replace(node, cpus=tuple(range(index * threads, (index + 1) * threads)))
        for index, node in enumerate(MACHINE.cpu.numa_nodes)
    )

"""With a plan, only what matters to it is judged, and against what it needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.readiness import Finding, judge
from app.solver.model import ModelShape, Workload
from app.solver.plan import DeviceMemory, Parameters, Placement, Plan, Prediction
from app.units import GIB
from detectors.facts import Cpu, Device, KernelFacts, Link, Machine, MemoryFacts, MemoryPool, NumaNode, PcieLink

IGPU, DGPU = "gpu:0000:c5:00.0", "gpu:0000:03:00.0"
SHAPE = ModelShape("m", "gpt-oss", (), 0, 0, False, 0, 0, 0, 128, 4, 0, 0, 0, 0, "MXFP4")


def _machine(gtt_gib: float = 62.5, **facts: object) -> Machine:
    devices = (
        Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=110.0, bandwidth_basis="measured"),
        Device(IGPU, "igpu", "Radeon 8060S", "AMD", "ram", pci_bdf="0000:c5:00.0", arch="gfx1151", kfd_node=1,
               gtt_bytes=int(gtt_gib * GIB), carveout_bytes=GIB // 2, iommu="DMA", bandwidth_gbps=256.0),
        Device(DGPU, "dgpu", "W7900", "AMD", "vram:x", pci_bdf="0000:03:00.0", kfd_node=2, gtt_bytes=int(gtt_gib * GIB),
               visible_vram_bytes=48 * GIB, link=PcieLink(16.0, 4, 16.0, 4, 16.0, 16)),
    )  # fmt: skip
    pools = (MemoryPool("ram", "System memory", 125 * GIB, None), MemoryPool("vram:x", "W7900", 48 * GIB, None))
    kernel = KernelFacts(
        "6.18.4", "ro", "x", distribution_family="fedora", ttm_module="ttm", amd_p2p="off", firmware_version="20260110"
    )
    base = Machine(
        "host",
        cpu=Cpu("AMD RYZEN AI MAX+ 395", "AuthenticAMD", "x86_64", 1, 16, 32, isa=("avx2",)),
        pools=pools,
        devices=devices,
        links=(Link(IGPU, DGPU, 7.9, None, False, "driver"),),
        kernel=kernel,
        memory=MemoryFacts(125 * GIB, memlock_bytes=8 << 20),
    )
    return replace(base, **facts)  # type: ignore[arg-type]  # the fields are named in the calls


def _plan(held_gib: dict[str, float], *, load_mode: str = "none", speed: float = 20.0) -> Plan:
    first, *others = held_gib
    memory = tuple(DeviceMemory(d, int(gib * GIB), 0, 0, None, 0) for d, gib in held_gib.items())
    return Plan(
        "m", "/m.gguf", Workload(), Placement.on(first, tuple(others) or (first,)),
        Parameters(8192, 1, 512, 2048, "f16", "f16", True, load_mode, 8, 8), memory,
        Prediction(speed, speed, speed, "estimated", 0, ()), (),
    )  # fmt: skip


def _found(machine: Machine, plan: Plan, shape: ModelShape | None = None) -> dict[str, Finding]:
    return {finding.id: finding for finding in judge(machine, plan, shape=shape)}


@pytest.mark.parametrize(
    ("held", "finding", "severity"),
    [
        ({IGPU: 60.0}, "amd.gtt", "good"),
        ({IGPU: 61.0}, "amd.gtt", "note"),
        ({IGPU: 80.0}, "amd.gtt.low", "blocks"),
        ({IGPU: 55.0, "cpu": 20.0}, "amd.gtt.default", "costs"),
        ({"cpu": 75.0}, "amd.gtt.default", "costs"),
    ],
)
def test_gtt_is_judged_against_what_the_plan_needs(held: dict[str, float], finding: str, severity: str) -> None:
    assert _found(_machine(), _plan(held))[finding].severity == severity


@pytest.mark.parametrize(("held_gib", "pages"), [(75.0, 77 * 262144), (75.3, 78 * 262144), (110.0, 112 * 262144)])
def test_the_limit_is_sized_to_the_plan(held_gib: float, pages: int) -> None:
    fix = _found(_machine(), _plan({IGPU: 40.0, "cpu": held_gib - 40.0}))["amd.gtt.default"].fix
    assert fix is not None
    assert f'--args="ttm.pages_limit={pages}"' in fix.text


def test_a_contradiction_is_resolved_without_taking_memory_away() -> None:
    kernel = replace(_machine().kernel or KernelFacts("", None, None), command_line="ro amdgpu.gttsize=65536",
                     ttm_pages_limit=112 * 262144)  # fmt: skip
    fix = _found(_machine(64, kernel=kernel), _plan({IGPU: 20.0}))["amd.gtt.mismatch"].fix
    assert fix is not None
    assert f"ttm.pages_limit={112 * 262144}" in fix.text


def test_a_memory_limit_is_no_matter_to_a_plan_on_the_card() -> None:
    pools = (MemoryPool("ram", "System memory", 32 * GIB, 30 * GIB, physical_bytes=125 * GIB),
             MemoryPool("vram:x", "W7900", 48 * GIB, None))  # fmt: skip
    assert "mem.cgroup" not in _found(_machine(pools=pools), _plan({DGPU: 30.0}))


def test_the_cost_is_told_in_tokens_per_second_with_its_ground() -> None:
    plan = _plan({IGPU: 55.0, "cpu": 27.5}, speed=20.0)
    told = _found(_machine(), plan, SHAPE)["amd.gtt.default"].reason
    # 20 GiB, of which 4 of 128 experts are read: 0.67 GB at 110 instead of 256 GB/s are 3.5 ms of 50.
    assert "about 21.5 instead of 20.0 t/s (estimated from 256 and 110 GB/s)" in told
    assert "t/s" not in _found(_machine(), plan)["amd.gtt.default"].reason


def test_a_plan_on_the_card_alone_is_not_bothered_with_the_rest() -> None:
    found = _found(_machine(), _plan({DGPU: 30.0}))
    assert not {name for name in found if name.startswith(("amd.gtt", "iommu", "cpu.", "mem.", "p2p", "amd.uma"))}
    assert found["pcie.rebar"].severity == "good"


def test_peer_to_peer_is_a_note_for_a_plan_by_layers() -> None:
    found = _found(_machine(112), _plan({DGPU: 30.0, IGPU: 60.0}))["p2p.amd"]
    assert found.severity == "note"
    assert "Not needed when each layer has one device" in found.reason


def test_a_narrow_slot_is_told_in_seconds_per_batch() -> None:
    reason = _found(_machine(), _plan({DGPU: 30.0, "cpu": 40.0}))["pcie.width"].reason
    assert "40.0 GiB in 5.5 s per batch (estimated)" in reason


@pytest.mark.parametrize("possible", [4, 16], ids=["narrow slot", "lost lanes"])
def test_a_narrow_slot_costs_a_plan_without_host_experts_nothing(possible: int) -> None:
    machine = _machine()
    card = replace(machine.devices[2], link=PcieLink(16.0, 4, 16.0, possible, 16.0, 16))
    plan = _plan({DGPU: 30.0})
    plan = replace(plan, memory=(*plan.memory, DeviceMemory("cpu", GIB // 2, 0, 0, None, 0)))
    found = _found(replace(machine, devices=(*machine.devices[:2], card)), plan)["pcie.width"]
    assert found.severity == "note"
    assert "no experts on the host" in found.reason
    assert "per batch" not in found.reason


@pytest.mark.parametrize(("load_mode", "severity"), [("none", None), ("mmap", None), ("mmap+mlock", "costs")])
def test_locking_matters_only_where_the_plan_locks(load_mode: str, severity: str | None) -> None:
    found = _found(_machine(), _plan({"cpu": 40.0}, load_mode=load_mode)).get("mem.memlock")
    assert (found.severity if found else None) == severity


def test_enough_to_lock_is_good_and_not_known_is_unknown() -> None:
    plan = _plan({"cpu": 40.0}, load_mode="mlock")
    assert (
        _found(_machine(memory=MemoryFacts(125 * GIB, memlock_bytes=64 * GIB)), plan)["mem.memlock"].severity == "good"
    )
    assert _found(_machine(memory=MemoryFacts(125 * GIB)), plan)["mem.memlock"].severity == "unknown"


def test_mapping_the_file_is_named_on_strix_halo_only() -> None:
    assert "amd.mmap.apu" in _found(_machine(), _plan({IGPU: 40.0}, load_mode="mmap"))
    assert "amd.mmap.apu" not in _found(_machine(), _plan({IGPU: 40.0}))
    assert "amd.mmap.apu" not in _found(_machine(), _plan({DGPU: 40.0}, load_mode="mmap"))


@pytest.mark.parametrize(("host_gib", "severity"), [(50.0, "good"), (60.0, "costs")])
def test_host_buffers_have_to_fit_in_what_the_card_can_pin(host_gib: float, severity: str) -> None:
    assert _found(_machine(), _plan({DGPU: 30.0, "cpu": host_gib}))["amd.hostpin"].severity == severity


def test_a_memory_limit_is_judged_against_the_plan() -> None:
    pools = (MemoryPool("ram", "System memory", 32 * GIB, 30 * GIB, physical_bytes=125 * GIB),
             MemoryPool("vram:x", "W7900", 48 * GIB, None))  # fmt: skip
    machine = _machine(pools=pools)
    assert _found(machine, _plan({"cpu": 20.0}))["mem.cgroup"].severity == "good"
    assert _found(machine, _plan({"cpu": 40.0}))["mem.cgroup"].severity == "blocks"


def test_a_model_that_fits_one_node_is_told_to_stay_there() -> None:
    nodes = tuple(NumaNode(i, (i,), 62 * GIB) for i in range(2))
    cpu = Cpu("EPYC", "AuthenticAMD", "x86_64", 2, 16, 32, isa=("avx2",), numa_nodes=nodes)
    assert "fit in one node" in _found(_machine(cpu=cpu), _plan({"cpu": 40.0}))["numa.nodes"].reason
    assert "fit in one node" not in _found(_machine(cpu=cpu), _plan({"cpu": 80.0}))["numa.nodes"].reason

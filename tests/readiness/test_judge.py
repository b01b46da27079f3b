"""Machines made by hand, a fact at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.readiness import Finding, judge
from app.units import GIB
from detectors.facts import (
    Access,
    Amx,
    CoreType,
    CpuPower,
    Device,
    Dimm,
    Link,
    Machine,
    MemoryBus,
    MemoryFacts,
    MemoryPool,
    ModuleOption,
    NumaNode,
    PcieLink,
    Problem,
    SwapArea,
)
from tests.readiness.machines import APU, CARD, CPU, GEFORCE, KERNEL, machine_with


def _apu(gtt: int | None, memory: int = 125 * GIB, **kernel: object) -> Machine:
    facts = replace(KERNEL, **kernel)  # type: ignore[arg-type]  # as above
    return machine_with(replace(APU, gtt_bytes=gtt), memory=memory, kernel=facts)


def _kernel(**facts: object) -> Machine:
    return Machine("host", kernel=replace(KERNEL, **facts))  # type: ignore[arg-type]  # as above


def _memory(**facts: object) -> Machine:
    return Machine("host", memory=replace(MemoryFacts(64 * GIB), **facts))  # type: ignore[arg-type]  # as above


def _cpu(**facts: object) -> Machine:
    return Machine("host", kernel=KERNEL, cpu=replace(CPU, **facts))  # type: ignore[arg-type]  # as above


def _all(machine: Machine, finding_id: str) -> list[Finding]:
    return [finding for finding in judge(machine) if finding.id == finding_id]


def _one(machine: Machine, finding_id: str) -> Finding:
    (found,) = _all(machine, finding_id)
    return found


def _severity(machine: Machine, finding_id: str) -> str | None:
    found = _all(machine, finding_id)
    return found[0].severity if found else None


# --- GTT and TTM -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gtt_gib", "finding", "severity"),
    [
        (40, "amd.gtt.low", "costs"),
        (62.5, "amd.gtt.default", "costs"),
        (112, "amd.gtt", "good"),
        (118, "amd.gtt", "good"),
        (120, "amd.gtt.toobig", "costs"),
        (124, "amd.gtt.toobig", "costs"),
    ],
)
def test_gtt_thresholds(gtt_gib: float, finding: str, severity: str) -> None:
    assert _severity(_apu(int(gtt_gib * GIB)), finding) == severity


def test_gtt_that_is_not_known_is_unknown_and_says_why() -> None:
    machine = replace(_apu(None), problems=(Problem("gpu:0000:c5:00.0", "the driver denies it"),))
    finding = _one(machine, "amd.gtt")
    assert finding.severity == "unknown"
    assert "the driver denies it" in finding.evidence


def test_half_of_the_memory_is_the_default_and_its_fix_is_solved() -> None:
    finding = _one(_apu(125 * GIB // 2), "amd.gtt.default")
    assert finding.title == "The GPU may map only 62.5 GiB; 112.0 GiB is possible"
    assert finding.fix is not None
    assert "options ttm pages_limit=29360128" in finding.fix.text
    assert "+ ttm.pages_limit=29360128" in finding.fix.diff
    assert finding.fix.verify.splitlines() == [
        "cat /sys/module/ttm/parameters/pages_limit  # 29360128",
        "cat /sys/class/drm/card*/device/mem_info_gtt_total  # 120259084288",
    ]
    assert finding.fix.reboot
    assert 0.4 < finding.cost_share < 0.5


def test_a_small_laptop_is_left_alone() -> None:
    assert not [f for f in judge(_apu(8 * GIB, memory=16 * GIB)) if f.id.startswith("amd.gtt")]


def test_wsl_has_no_kernel_of_its_own() -> None:
    ids = {finding.id for finding in judge(_apu(8 * GIB, wsl=2, container="wsl"))}
    assert "env.wsl" in ids
    assert not ids & {"amd.gtt", "amd.gtt.low", "cmdline.lint", "amd.kernel", "env.container"}


def test_gttsize_that_disagrees_with_ttm_costs() -> None:
    machine = _apu(112 * GIB, command_line="ro amdgpu.gttsize=114688", ttm_pages_limit=16384000)
    finding = _one(machine, "amd.gtt.mismatch")
    assert finding.severity == "costs"
    assert "16384000, which is 62.5 GiB" in finding.evidence
    assert finding.fix is not None
    assert "- amdgpu.gttsize=114688\n+ ttm.pages_limit=29360128" in finding.fix.diff
    assert "allocations fail" in finding.reason


def test_a_gttsize_below_the_limit_fails_nothing() -> None:
    machine = _apu(64 * GIB, command_line="ro amdgpu.gttsize=65536", ttm_pages_limit=29360128)
    reason = _one(machine, "amd.gtt.mismatch").reason
    assert "64.0 GiB" in reason
    assert "fail" not in reason


def test_gttsize_in_modprobe_d_is_found_there() -> None:
    option = ModuleOption("amdgpu", "gttsize", "114688", "/etc/modprobe.d/amdgpu.conf")
    machine = _apu(112 * GIB, ttm_pages_limit=29360128, module_options=(option,))
    finding = _one(machine, "amd.gtt.deprecated")
    assert finding.evidence.startswith("/etc/modprobe.d/amdgpu.conf has amdgpu.gttsize=114688")
    assert finding.fix is not None
    assert "/etc/modprobe.d/amdgpu.conf" in finding.fix.text


@pytest.mark.parametrize(("release", "expected"), [("6.14.0-1018-oem", []), ("6.15.0", ["amd.gtt.deprecated"])])
def test_gttsize_is_deprecated_since_6_15(release: str, expected: list[str]) -> None:
    machine = _apu(112 * GIB, release=release, command_line="ro amdgpu.gttsize=114688", ttm_pages_limit=29360128)
    assert [f.id for f in judge(machine) if f.id in ("amd.gtt.deprecated", "amd.gtt.mismatch")] == expected


def test_a_limit_that_is_configured_and_not_in_effect_costs() -> None:
    option = ModuleOption("ttm", "pages_limit", "29360128", "/etc/modprobe.d/ttm.conf")
    machine = _apu(125 * GIB // 2, ttm_pages_limit=16384000, module_options=(option,))
    finding = _one(machine, "amd.ttm.pending")
    assert finding.severity == "costs"
    assert finding.fix is not None
    assert "update-initramfs" in finding.fix.text


def test_a_limit_written_at_run_time_came_too_late() -> None:
    finding = _one(_apu(125 * GIB // 2, ttm_pages_limit=29360128), "amd.ttm.pending")
    assert finding.title.startswith("TTM's limit of 112.0 GiB came too late")
    assert not _all(_apu(112 * GIB, ttm_pages_limit=29360128), "amd.ttm.pending")


def test_dkms_is_told_with_its_own_module() -> None:
    fix = _one(_apu(125 * GIB // 2, ttm_module="amdttm"), "amd.gtt.default").fix
    assert fix is not None
    assert "options amdttm pages_limit=29360128" in fix.text
    assert "/sys/module/amdttm/" in fix.verify


def test_in_a_container_the_fix_is_for_the_host() -> None:
    fix = _one(_apu(125 * GIB // 2, container="podman"), "amd.gtt.default").fix
    assert fix is not None
    assert "of the host (not in this container)" in fix.text
    assert {step.kind for step in fix.steps} == {"by hand"}


@pytest.mark.parametrize(("release", "severity", "gtt"), [("6.12.107", "costs", "costs"), ("6.18.4", "note", "note")])
def test_a_large_carve_out_is_lost_to_kernels_that_use_gtt_alone(release: str, severity: str, gtt: str) -> None:
    apu = replace(APU, carveout_bytes=96 * GIB, gtt_bytes=15 * GIB)
    machine = machine_with(apu, memory=31 * GIB, kernel=replace(KERNEL, release=release))
    assert _severity(machine, "amd.uma.carveout") == severity
    assert next(f.severity for f in judge(machine) if f.id.startswith("amd.gtt")) == gtt


# --- AMD -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "distribution", "finding", "severity"),
    [
        ("6.8.0-90-generic", "ubuntu", "amd.kernel.gtt", "costs"),
        ("6.9.9", None, "amd.kernel.gfx1151", "costs"),
        ("6.17.0-18-generic", "ubuntu", "amd.kernel.gfx1151", "costs"),
        ("6.17.0-19-generic", "ubuntu", "amd.kernel", "good"),
        ("6.17.0-19-generic", "debian", "amd.kernel.gfx1151", "costs"),
        ("6.14.0-1018-oem", "ubuntu", "amd.kernel", "good"),
        ("6.14.0-1017-oem", "ubuntu", "amd.kernel.gfx1151", "costs"),
        ("6.18.3", None, "amd.kernel.gfx1151", "costs"),
        ("6.18.4", None, "amd.kernel", "good"),
        ("7.3.4", None, "amd.kernel", "good"),
        ("custom", None, "amd.kernel", "unknown"),
    ],
)
def test_kernels_for_strix_halo(release: str, distribution: str | None, finding: str, severity: str) -> None:
    assert _severity(_apu(112 * GIB, release=release, distribution_id=distribution), finding) == severity


@pytest.mark.parametrize(
    ("version", "finding", "severity"),
    [("20251125-1.fc43", "amd.fw.20251125", "costs"), ("20260110", "amd.fw", "good"), (None, "amd.fw", "unknown")],
)
def test_firmware(version: str | None, finding: str, severity: str) -> None:
    assert _severity(_apu(112 * GIB, firmware_version=version), finding) == severity


@pytest.mark.parametrize(("gib", "severity"), [(0.5, "good"), (4, "good"), (48, "note"), (None, "unknown")])
def test_carve_out(gib: float | None, severity: str) -> None:
    apu = replace(APU, carveout_bytes=None if gib is None else int(gib * GIB))
    assert _severity(machine_with(apu), "amd.uma.carveout") == severity


@pytest.mark.parametrize(
    ("iommu", "severity"), [("off", "good"), ("DMA-FQ", "note"), ("identity", "note"), (None, "unknown")]
)
def test_the_iommu_is_never_more_than_a_tip(iommu: str | None, severity: str) -> None:
    finding = _one(machine_with(replace(APU, iommu=iommu)), "iommu.tip")
    assert finding.severity == severity
    assert finding.fix is None or "amd_iommu=off" in finding.fix.text


def test_the_tip_names_the_npu_that_it_would_take_away() -> None:
    machine = machine_with(
        replace(APU, iommu="DMA"), kernel=replace(KERNEL, npu="1022:17f0", command_line="ro iommu=pt")
    )
    finding = _one(machine, "iommu.tip")
    assert "loses its NPU" in finding.title
    assert finding.fix is not None
    assert "- iommu=pt\n+ amd_iommu=off" in finding.fix.diff


def _pair(peer: bool | None, why: str = "", **kernel: object) -> Machine:
    link = Link(CARD.id, APU.id, 7.9, None, peer, "driver", why=why)
    facts = replace(KERNEL, **kernel)  # type: ignore[arg-type]  # as above
    return machine_with(CARD, APU, links=(link,), kernel=facts)


@pytest.mark.parametrize(("peer", "severity"), [(True, "good"), (False, "note"), (None, "unknown")])
def test_peer_to_peer_is_a_note_where_it_is_missing(peer: bool | None, severity: str) -> None:
    assert _one(_pair(peer, amd_p2p="on"), "p2p.amd").severity == severity


@pytest.mark.parametrize(
    ("kernel", "cause"),
    [
        ({"amd_p2p": "not built"}, "built without CONFIG_HSA_AMD_P2P"),
        ({"amd_p2p": "off"}, "amdgpu.pcie_p2p is off"),
        ({"amd_p2p": None}, "could not be read"),
        ({"amd_p2p": "on"}, "the driver finds no path"),
    ],
)
def test_why_there_is_no_peer_to_peer(kernel: dict[str, object], cause: str) -> None:
    machine = replace(_pair(False), kernel=replace(KERNEL, **kernel))  # type: ignore[arg-type]  # as above
    assert cause in _one(machine, "p2p.amd").evidence


@pytest.mark.parametrize(("release", "named"), [("6.18.4", True), ("7.3.4", False)])
def test_a_symbol_that_is_gone_is_not_missed(release: str, named: bool) -> None:
    config = {"CONFIG_PCI_P2PDMA": "y", "CONFIG_HSA_AMD_P2P": "n"}
    machine = _pair(False, release=release, amd_p2p="not built", config=config, config_file="/boot/config")
    evidence = _one(machine, "p2p.amd").evidence
    assert "CONFIG_HSA_AMD_P2P is not set" in evidence
    assert ("CONFIG_DMABUF_MOVE_NOTIFY" in evidence) is named


def test_a_gpu_the_compute_driver_does_not_list_is_named() -> None:
    assert _severity(machine_with(APU, replace(CARD, kfd_node=None)), "amd.kfd") == "note"
    assert not _all(machine_with(APU, CARD), "amd.kfd")


# --- PCI Express -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "severity"),
    [
        (PcieLink(2.5, 16, 16.0, 16, 16.0, 16), "good"),
        (PcieLink(16.0, 4, 16.0, 16, 16.0, 16), "costs"),
        (PcieLink(16.0, 4, 16.0, 4, 16.0, 16), "note"),
        (PcieLink(16.0, 8, 16.0, 8, 16.0, 16), "note"),
        (PcieLink(2.5, 4, 2.5, 4, tunnelled=True), "note"),
        (PcieLink(why="asleep"), "unknown"),
        (None, "unknown"),
    ],
)
def test_lanes(link: PcieLink | None, severity: str) -> None:
    assert _one(machine_with(replace(CARD, link=link)), "pcie.width").severity == severity


@pytest.mark.parametrize(("gib", "severity"), [(48, "good"), (0.25, "costs"), (None, "unknown")])
def test_resizable_bar(gib: float | None, severity: str) -> None:
    card = replace(CARD, visible_vram_bytes=None if gib is None else int(gib * GIB))
    assert _one(machine_with(card), "pcie.rebar").severity == severity


def test_an_arc_card_loses_most_without_it() -> None:
    arc = replace(CARD, vendor="Intel", visible_vram_bytes=GIB // 4, name="Arc B580")
    assert _one(machine_with(arc), "pcie.rebar").cost_share == 0.5


def test_in_a_virtual_machine_the_bar_is_for_the_host() -> None:
    machine = machine_with(replace(CARD, visible_vram_bytes=GIB // 4), kernel=replace(KERNEL, virtual_machine="KVM"))
    fix = _one(machine, "pcie.rebar").fix
    assert fix is not None
    assert "the firmware of the host" in fix.text


# --- CPU -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "hypervisor", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8480+", "QEMU/KVM", "cpu.amx.masked"),
        ("Intel(R) Xeon(R) Gold 6548Y+", "VMware", "cpu.amx.masked"),
        ("Intel Xeon Processor (SapphireRapids)", "unknown", "cpu.amx.masked"),
        ("Intel(R) Xeon(R) w9-3495X", "unknown", "cpu.amx.masked"),
        ("Intel(R) Xeon(R) CPU Max 9460", "unknown", "cpu.amx.masked"),
        ("Intel(R) Xeon(R) 6980P", "unknown", "cpu.amx.masked"),
        ("Intel(R) Xeon(R) 6780E", "unknown", None),
        ("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz", "unknown", None),
        ("Intel(R) Xeon(R) Gold 6254 CPU @ 3.10GHz", "unknown", None),
        ("Intel(R) Xeon(R) Platinum 8480+", None, "cpu.amx.off"),
        ("AMD EPYC 9454 48-Core Processor", "unknown", None),
    ],
)
def test_amx_that_should_be_there(model: str, hypervisor: str | None, expected: str | None) -> None:
    found = [f.id for f in judge(_cpu(model=model, hypervisor=hypervisor)) if f.id.startswith("cpu.amx")]
    assert found == ([expected] if expected else [])


FLAGS = ("amx_tile", "amx_int8", "amx_bf16")


@pytest.mark.parametrize(
    ("amx", "finding", "severity"),
    [
        (Amx(FLAGS, True, True), "cpu.amx", "good"),
        (Amx(FLAGS, False, False, "Linux 5.15"), "cpu.amx.kernel", "costs"),
        (Amx(FLAGS, True, False, "seccomp"), "cpu.amx.denied", "costs"),
        (Amx(FLAGS, None, None, "recorded"), "cpu.amx", "unknown"),
        (Amx(FLAGS, True, None), "cpu.amx", "unknown"),
    ],
)
def test_amx_has_to_be_granted(amx: Amx, finding: str, severity: str) -> None:
    assert _severity(_cpu(amx=amx), finding) == severity


@pytest.mark.parametrize(
    ("power", "severity"),
    [
        (CpuPower("amd-pstate-epp", "powersave", "balance_performance", "active"), "good"),
        (CpuPower("intel_pstate", "powersave", "balance_performance", "active"), "good"),
        (CpuPower("intel_pstate", "powersave", None, "passive"), "costs"),
        (CpuPower("amd-pstate-epp", "powersave", "power", "active"), "costs"),
        (CpuPower("acpi-cpufreq", "powersave"), "costs"),
        (CpuPower("acpi-cpufreq", "schedutil"), "good"),
        (CpuPower("acpi-cpufreq", "performance", profile="low-power"), "costs"),
        (CpuPower(), "unknown"),
        (None, "unknown"),
    ],
)
def test_powersave_means_what_the_driver_means(power: CpuPower | None, severity: str) -> None:
    assert _one(_cpu(power=power), "cpu.epp").severity == severity


def test_on_battery_all_is_slower() -> None:
    assert _severity(_cpu(power=CpuPower("acpi-cpufreq", "performance", on_battery=True)), "cpu.battery") == "costs"


def test_cpus_withheld_by_a_cgroup_cost() -> None:
    finding = _one(_cpu(logical_cpus=8, online_cpus=32, quota_cpus=4.0), "cpu.cgroup")
    assert finding.title == "This process gets 4 of 32 CPUs"
    assert not _all(_cpu(logical_cpus=32, online_cpus=32), "cpu.cgroup")


def test_unlike_cores_are_told_apart() -> None:
    kinds = (CoreType("performance", 8, tuple(range(16))), CoreType("efficiency", 16, tuple(range(16, 32))))
    finding = _one(_cpu(core_types=kinds, decode_threads=8, prefill_threads=24), "cpu.threads")
    assert "-t 8 -tb 24" in finding.reason


@pytest.mark.parametrize(("balancing", "severity"), [(1, "costs"), (0, "good"), (None, "unknown")])
def test_numa_balancing(balancing: int | None, severity: str) -> None:
    nodes = tuple(NumaNode(i, (i,), 64 * GIB) for i in range(2))
    machine = Machine("host", cpu=replace(CPU, numa_nodes=nodes), kernel=replace(KERNEL, numa_balancing=balancing))
    assert _one(machine, "numa.balancing").severity == severity
    assert _one(machine, "numa.nodes").severity == "note"


def test_one_node_and_nodes_without_cpus_are_no_matter() -> None:
    nodes = (NumaNode(0, (0, 1), 64 * GIB), NumaNode(1, (), 96 * GIB), NumaNode(2, (2,), None))
    assert not [f for f in judge(_cpu(numa_nodes=nodes)) if f.id.startswith("numa.")]


# --- memory ----------------------------------------------------------------------------------------------


def test_a_cgroup_that_holds_memory_back_costs() -> None:
    pool = MemoryPool("ram", "System memory", 8 * GIB, 6 * GIB, physical_bytes=64 * GIB)
    finding = _one(Machine("host", pools=(pool,), kernel=replace(KERNEL, container="docker")), "mem.cgroup")
    assert finding.title == "A limit leaves 8.0 GiB of 64.0 GiB memory"
    assert finding.fix is not None
    assert "docker update --memory" in finding.fix.text
    session = _one(Machine("host", pools=(pool,)), "mem.cgroup").fix
    assert session is not None
    assert session.text.startswith("sudo systemctl set-property user-")


def _bus(**facts: object) -> Machine:
    module = Dimm(32 * GIB, "DDR5", 6000, 4800, 64)
    base = MemoryBus((module,) * 2, 4, 2, "locators", 128, "DDR5", 6000, 6000, 96.0, source="udev")
    bus = replace(base, **facts)  # type: ignore[arg-type]  # as above
    return Machine("host", cpu=CPU, kernel=KERNEL, memory=replace(MemoryFacts(64 * GIB), bus=bus))


def test_channels_and_speed() -> None:
    assert (_severity(_bus(), "mem.channels"), _severity(_bus(), "mem.speed")) == ("good", "good")
    assert _one(_bus(channels=1), "mem.channels").title == "1 of 2 memory channels are in use"
    assert _one(_bus(channels=1), "mem.channels").cost_share == 0.5
    assert _severity(_bus(channels=None), "mem.channels") == "unknown"
    assert _one(_bus(configured_mts=4800), "mem.speed").title == "The memory runs at 4800 of 6000 MT/s"
    assert _severity(_bus(rated_mts=None), "mem.speed") == "unknown"
    assert _severity(Machine("host", cpu=CPU, kernel=KERNEL), "mem.channels") == "unknown"


@pytest.mark.parametrize("model", ["Intel(R) Xeon(R) Gold 6430", "AMD EPYC 9554 64-Core Processor"])
def test_a_servers_modules_have_no_profile_to_switch_on(model: str) -> None:
    machine = _bus(rated_mts=4800, configured_mts=4400)
    finding = _one(replace(machine, cpu=replace(CPU, model=model)), "mem.speed")
    assert (finding.severity, finding.fix) == ("note", None)


def test_a_virtual_machines_modules_are_not_judged() -> None:
    machine = replace(_bus(channels=1), kernel=replace(KERNEL, virtual_machine="KVM"))
    assert not _all(machine, "mem.channels")


@pytest.mark.parametrize(
    ("gbps", "basis", "finding", "severity"),
    [
        (80.0, "measured", "mem.bw", "good"),
        (40.0, "measured", "mem.bw.low", "costs"),
        (None, "estimated", "mem.bw", "unknown"),
        (96.0, "table", "mem.bw", "unknown"),
    ],
)
def test_measured_bandwidth(gbps: float | None, basis: str, finding: str, severity: str) -> None:
    cpu = Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=gbps, bandwidth_basis=basis)  # type: ignore[arg-type]
    assert _severity(replace(_bus(), devices=(cpu,)), finding) == severity


@pytest.mark.parametrize(
    ("facts", "finding", "severity"),
    [
        ({"swap_total_bytes": 0}, "mem.swap", "note"),
        ({"swap_total_bytes": 8 * GIB, "swap_free_bytes": 8 * GIB}, "mem.swap", None),
        ({"swap_total_bytes": 8 * GIB, "swap_free_bytes": 4 * GIB}, "mem.swap", "costs"),
        ({"swap_total_bytes": GIB, "swap_free_bytes": GIB, "swap": (SwapArea("zram", GIB, 0),)}, "mem.swap", "note"),
        ({"overcommit": 2}, "mem.overcommit", "costs"),
        ({"overcommit": 0}, "mem.overcommit", None),
        ({"transparent_hugepages": "never"}, "mem.thp", "note"),
        ({"address_space_bytes": 16 * GIB}, "mem.address", "costs"),
        ({"address_space_bytes": (1 << 63) - 1}, "mem.address", None),
        ({"hugepages_total": 8192, "hugepage_bytes": 2 << 20}, "mem.hugepages", "costs"),
        ({"hugepages_total": 0, "hugepage_bytes": 2 << 20}, "mem.hugepages", None),
    ],
)
def test_paging(facts: dict[str, object], finding: str, severity: str | None) -> None:
    assert _severity(_memory(**facts), finding) == severity


@pytest.mark.parametrize(("count", "severity"), [(0, "good"), (1, "costs"), (None, None)])
def test_huge_pages_mislead_on_unified_cuda(count: int | None, severity: str | None) -> None:
    gb10 = replace(GEFORCE, kind="igpu", pool_id="ram", name="GB10")
    facts = MemoryFacts(119 * GIB, hugepages_total=count, hugepage_bytes=2 << 20)
    assert _severity(replace(machine_with(gb10), memory=facts), "mem.hugepages.uma") == severity


# --- NVIDIA ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "finding"),
    [
        ("NVML does not start: NVML_ERROR_LIB_RM_VERSION_MISMATCH (18)", "nv.mismatch"),
        ("NVML does not start: NVML_ERROR_DRIVER_NOT_LOADED (9)", "nv.driver"),
        ("the GPU cannot be asked: NVML_ERROR_GPU_IS_LOST (15)", "nv.lost"),
        ("NVML does not start: NVML_ERROR_NO_PERMISSION (4)", "nv.permission"),
        ("NVML does not start: NVML_ERROR_UNKNOWN (999)", "nv.unknown"),
    ],
)
def test_failures_of_the_driver_block_by_their_names(reason: str, finding: str) -> None:
    found = _one(Machine("host", problems=(Problem("gpu_nvidia", reason),)), finding)
    assert (found.severity, found.evidence) == ("blocks", reason)


def test_a_single_fact_that_is_denied_blocks_nothing() -> None:
    problem = Problem("gpu:0000:01:00.0", "its ECC mode is not known: NVML_ERROR_NO_PERMISSION (4)")
    assert not [f for f in judge(Machine("host", problems=(problem,))) if f.severity == "blocks"]


@pytest.mark.parametrize(
    ("facts", "finding", "severity"),
    [
        ({"power_limit_w": 300.0}, "nv.power", "note"),
        ({}, "nv.power", "good"),
        ({"power_limit_w": None}, "nv.power", "unknown"),
        ({"ecc": True}, "nv.ecc", "note"),
        ({"ecc": True, "arch": "sm_90"}, "nv.ecc", None),
        ({"persistence": False}, "nv.persist", "note"),
    ],
)
def test_settings_of_a_card(facts: dict[str, object], finding: str, severity: str | None) -> None:
    card = replace(GEFORCE, **facts)  # type: ignore[arg-type]  # as above
    assert _severity(machine_with(card), finding) == severity


# --- the system around it --------------------------------------------------------------------------------


def test_no_gpu_names_the_failures_that_led_to_it() -> None:
    reason = "NVML does not start: NVML_ERROR_DRIVER_NOT_LOADED (9)"
    machine = Machine("host", problems=(Problem("gpu_nvidia", reason), Problem("memory", "x")))
    assert _one(machine, "gpu.none").evidence == reason


@pytest.mark.parametrize(
    ("granted", "severity"),
    [((True, True), "good"), ((False, False), "blocks"), ((True, False), "costs"), ((None, None), "unknown")],
)
def test_device_files(granted: tuple[bool | None, bool | None], severity: str) -> None:
    access = (Access("/dev/dri/renderD128", granted[0], "render"), Access("/dev/kfd", granted[1], "render"))
    found = _all(machine_with(replace(CARD, access=access)), "gpu.access")
    assert found[0].severity == severity
    for finding in found:
        assert (finding.fix is not None) == (severity in ("blocks", "costs"))


def test_joining_a_group_adds_the_person_not_root() -> None:
    access = (Access("/dev/dri/renderD128", False, "render"),)
    fix = _one(machine_with(replace(CARD, access=access)), "gpu.access").fix
    assert fix is not None
    assert 'sudo usermod -aG render,video "${SUDO_USER:-$(id -un)}"' in fix.text


def test_a_sleeping_card_is_named() -> None:
    machine = machine_with(replace(CARD, asleep=True, link=None))
    assert _severity(machine, "gpu.asleep") == "note"
    assert "asleep" in _one(machine, "pcie.width").evidence


@pytest.mark.parametrize(
    ("kernel", "finding"),
    [
        ({"container": "podman"}, "env.container"),
        ({"virtual_machine": "KVM"}, "env.vm"),
        ({"wsl": 2, "container": "wsl"}, "env.wsl"),
        ({"system": "Darwin"}, "env.system"),
    ],
)
def test_where_this_runs(kernel: dict[str, object], finding: str) -> None:
    assert _severity(_kernel(**kernel), finding) == "note"


def test_the_most_costly_comes_first() -> None:
    machine = machine_with(replace(APU, gtt_bytes=62 * GIB), replace(CARD, visible_vram_bytes=GIB // 4), cpu=CPU)
    findings = judge(machine)
    order = ["blocks", "costs", "note", "unknown", "good"]
    keys = [(order.index(finding.severity), -finding.cost_share) for finding in findings]
    assert keys == sorted(keys)
    assert findings[0].id == "amd.gtt.default"

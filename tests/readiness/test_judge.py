from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from app.readiness import Finding, judge
from app.units import GIB
from detectors.facts import Cpu, Device, KernelFacts, Machine, MemoryPool, Problem

MachineOf = Callable[[str], Machine]

HALO = "fedora43-ryzenaimax395-rx7900xtx"
XEON = "debian13-xeonw32423-rtx4090"
VM = "debian12-epycvm-none"


def _one(machine: Machine, finding_id: str) -> Finding:
    (found,) = (finding for finding in judge(machine) if finding.id == finding_id)
    return found


def _ids(machine: Machine) -> list[tuple[str, str]]:
    return [(finding.id, finding.severity) for finding in judge(machine)]


def _apu(gtt: int, memory: int = 125 * GIB, **kernel: object) -> Machine:
    facts = KernelFacts("6.17.0", "ro quiet", "Debian", distribution_family="debian", ttm_module="ttm")
    device = Device("gpu:0000:c5:00.0", "igpu", "Radeon 8060S", "AMD", "ram", gtt_bytes=gtt)
    return Machine(
        "host",
        pools=(MemoryPool("ram", "System memory", memory, None),),
        devices=(device,),
        kernel=replace(facts, **kernel),  # type: ignore[arg-type]  # the fields are named in the calls
    )


def _kernel(line: str, **facts: object) -> Machine:
    base = KernelFacts("6.17.0", line, "Fedora", distribution_family="fedora")
    return Machine("host", kernel=replace(base, **facts))  # type: ignore[arg-type]  # as above


def test_recorded_hosts_are_judged_most_costly_first(machine_of: MachineOf) -> None:
    assert _ids(machine_of(HALO)) == [
        ("amd.gtt.default", "costs"),
        ("pcie.rebar", "costs"),
        ("cmdline.lint", "costs"),
    ]
    assert _ids(machine_of(XEON)) == [("cpu.amx", "good"), ("pcie.rebar", "good")]
    assert _ids(machine_of(VM)) == [("gpu.none", "note")]
    assert _ids(machine_of("ubuntu2404-gb10-gb10")) == []


def test_an_unknown_machine_is_not_judged_beyond_its_gpus() -> None:
    assert _ids(Machine("unknown")) == [("gpu.none", "note")]


def test_a_gpu_that_failed_is_the_evidence_for_none() -> None:
    reason = "NVML does not start: NVML_ERROR_DRIVER_NOT_LOADED (9)"
    machine = Machine("host", problems=(Problem("gpu_nvidia", reason), Problem("memory", "x")))
    assert _one(machine, "gpu.none").evidence == reason


def test_half_of_the_memory_is_the_default_and_costs(machine_of: MachineOf) -> None:
    finding = _one(machine_of(HALO), "amd.gtt.default")
    assert finding.title == "The GPU may map only 62.5 GiB; 112.0 GiB is possible"
    assert finding.fix is not None
    assert finding.fix.text == (
        'sudo grubby --update-kernel=ALL --args="ttm.pages_limit=29360128" --remove-args="amdgpu.gttsize"'
        " && sudo reboot"
    )
    assert 'remove-args="ttm.pages_limit"' in finding.fix.undo
    assert finding.fix.verify.startswith("cat /sys/module/ttm/parameters/pages_limit; cat /sys/class/drm/")
    assert finding.fix.reboot


@pytest.mark.parametrize(
    ("family", "command"),
    [
        (
            "debian",
            "echo 'options ttm pages_limit=29360128' | sudo tee /etc/modprobe.d/ttm.conf"
            " && sudo update-initramfs -u -k all && sudo reboot",
        ),
        (
            "arch",
            "echo 'options ttm pages_limit=29360128' | sudo tee /etc/modprobe.d/ttm.conf"
            " && sudo mkinitcpio -P && sudo reboot",
        ),
        ("ostree", "sudo rpm-ostree kargs --append-if-missing=ttm.pages_limit=29360128 && sudo systemctl reboot"),
        ("nixos", 'boot.kernelParams = [ "ttm.pages_limit=29360128" ];\nsudo nixos-rebuild boot && sudo reboot'),
        ("pop", 'sudo kernelstub -a "ttm.pages_limit=29360128" && sudo reboot'),
        (None, "add ttm.pages_limit=29360128 to the kernel's command line and reboot"),
    ],
)
def test_each_family_has_its_own_commands(family: str | None, command: str) -> None:
    fix = _one(_apu(125 * GIB // 2, distribution_family=family), "amd.gtt.default").fix
    assert fix is not None
    assert fix.text == command


def test_opensuse_is_told_for_both_of_its_boot_loaders() -> None:
    fix = _one(_apu(125 * GIB // 2, distribution_family="suse"), "amd.gtt.default").fix
    assert fix is not None
    assert 'sudo update-bootloader --add-option "ttm.pages_limit=29360128"' in fix.text
    assert "sdbootutil update-all-entries" in fix.text


def test_dkms_is_told_with_its_own_module() -> None:
    fix = _one(_apu(125 * GIB // 2, ttm_module="amdttm"), "amd.gtt.default").fix
    assert fix is not None
    assert "options amdttm pages_limit=29360128" in fix.text
    assert "/etc/modprobe.d/amdttm.conf" in fix.text
    assert "/sys/module/amdttm/" in fix.verify


def test_large_pages_count_as_fewer() -> None:
    fix = _one(_apu(125 * GIB // 2, page_bytes=65536), "amd.gtt.default").fix
    assert fix is not None
    assert "pages_limit=1835008" in fix.text


def test_a_limit_that_is_there_already_is_edited_where_it_is() -> None:
    fix = _one(_apu(40 * GIB, command_line="ro ttm.pages_limit=10485760"), "amd.gtt.low").fix
    assert fix is not None
    assert fix.text.startswith("set ttm.pages_limit=29360128 in /etc/default/grub")


def test_in_a_container_the_fix_is_for_the_host() -> None:
    fix = _one(_apu(125 * GIB // 2, container="podman"), "amd.gtt.default").fix
    assert fix is not None
    assert fix.text.startswith("# on the host, not in the container:\n")


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
    assert (finding, severity) in _ids(_apu(int(gtt_gib * GIB)))


def test_a_small_laptop_is_left_alone() -> None:
    assert _ids(_apu(8 * GIB, memory=16 * GIB)) == []


@pytest.mark.parametrize(("release", "expected"), [("6.14.0-1018-oem", []), ("6.15.0", ["amd.gtt.deprecated"])])
def test_gttsize_is_deprecated_since_6_15(release: str, expected: list[str]) -> None:
    machine = _apu(112 * GIB, release=release, command_line="ro amdgpu.gttsize=114688", ttm_pages_limit=29360128)
    assert [finding.id for finding in judge(machine) if "gtt." in finding.id] == expected


def test_gttsize_that_disagrees_with_ttm_costs() -> None:
    machine = _apu(112 * GIB, command_line="ro amdgpu.gttsize=114688", ttm_pages_limit=16384000)
    finding = _one(machine, "amd.gtt.mismatch")
    assert finding.severity == "costs"
    assert "16384000, which is 62.5 GiB" in finding.evidence
    assert finding.fix is not None
    assert "pages_limit=29360128" in finding.fix.text
    assert "take amdgpu.gttsize off the command line" in finding.fix.text


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("ro amd_iommu=pt", "amd_iommu=pt on the kernel's command line is no value that it knows"),
        ("amdgpu.gtt_size=1024", "amdgpu.gtt_size=1024 on the kernel's command line is not known"),
        ("amdgpu.ggtsize=1024", "amdgpu.ggtsize=1024 on the kernel's command line is not known"),
        ("amdttm.pages_limit=5", "amdttm.pages_limit=5 on the kernel's command line is not heeded"),
        (
            "ttm.pages_limit=5 ttm.pages_limit=6",
            "ttm.pages_limit=5 on the kernel's command line is overridden by ttm.pages_limit=6",
        ),
    ],
)
def test_wrong_words_are_named(line: str, title: str) -> None:
    finding = _one(_kernel(line, ttm_module="ttm"), "cmdline.lint")
    assert (finding.severity, finding.title) == ("costs", title)
    assert finding.fix is not None
    assert "sudo grubby --update-kernel=ALL --remove-args=" in finding.fix.text


def test_right_words_are_good() -> None:
    machine = _kernel("ro ttm.pages_limit=29360128 iommu=pt", ttm_module="ttm")
    assert ("cmdline.lint", "good") in _ids(machine)


@pytest.mark.parametrize("line", ["ro quiet console=tty0 console=ttyS0", "rdinit=/init -- amd_iommu=pt"])
def test_other_words_and_those_for_init_are_left_alone(line: str) -> None:
    assert [finding.id for finding in judge(_kernel(line))] == ["gpu.none"]


@pytest.mark.parametrize(
    ("model", "hypervisor", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8480+", "QEMU/KVM", True),
        ("Intel(R) Xeon(R) Gold 6548Y+", "VMware", True),
        ("Intel Xeon Processor (SapphireRapids)", "unknown", True),
        ("Intel(R) Xeon(R) w9-3495X", "unknown", True),
        ("Intel(R) Xeon(R) CPU Max 9460", "unknown", True),
        ("Intel(R) Xeon(R) 6980P", "unknown", True),
        ("Intel(R) Xeon(R) 6780E", "unknown", False),
        ("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz", "unknown", False),
        ("Intel(R) Xeon(R) Gold 6254 CPU @ 3.10GHz", "unknown", False),
        ("Intel(R) Xeon(R) Platinum 8480+", None, False),
        ("AMD EPYC 9454 48-Core Processor", "unknown", False),
    ],
)
def test_amx_hidden_by_a_hypervisor(model: str, hypervisor: str | None, expected: bool) -> None:
    cpu = Cpu(model, "GenuineIntel", "x86_64", 1, 8, 16, isa=("avx512f",), hypervisor=hypervisor)
    found = [finding for finding in judge(Machine("host", cpu=cpu)) if finding.id == "cpu.amx.masked"]
    assert bool(found) is expected
    assert all(finding.fix and "qm set VMID --cpu host" in finding.fix.text for finding in found)


def test_a_cgroup_that_holds_memory_back_costs() -> None:
    pool = MemoryPool("ram", "System memory", 8 * GIB, 6 * GIB, physical_bytes=64 * GIB)
    kernel = KernelFacts("6.12.0", None, None, container="docker")
    finding = _one(Machine("host", pools=(pool,), kernel=kernel), "mem.cgroup")
    assert finding.title == "A limit leaves 8.0 GiB of 64.0 GiB memory"
    assert finding.fix is not None
    assert "docker update --memory" in finding.fix.text
    session = _one(Machine("host", pools=(pool,)), "mem.cgroup").fix
    assert session is not None
    assert session.text.startswith("sudo systemctl set-property user-")


def test_a_small_bar_costs_and_says_how_to_check(machine_of: MachineOf) -> None:
    finding = _one(machine_of(HALO), "pcie.rebar")
    assert finding.evidence == "AMD Radeon RX 7900 XTX (0000:03:00.0): 256 MiB of 24.0 GiB are visible"
    assert finding.fix is not None
    assert finding.fix.verify == "cat /sys/bus/pci/devices/0000:03:00.0/mem_info_vis_vram_total"


def test_in_a_virtual_machine_the_bar_is_for_the_host(machine_of: MachineOf) -> None:
    machine = machine_of(HALO)
    assert machine.cpu is not None
    fix = _one(replace(machine, cpu=replace(machine.cpu, hypervisor="KVM")), "pcie.rebar").fix
    assert fix is not None
    assert "the firmware of the host" in fix.text


def test_every_finding_is_complete(machine_of: MachineOf) -> None:
    for name in (HALO, XEON, VM):
        for finding in judge(machine_of(name)):
            assert all((finding.title, finding.evidence, finding.reason))
            if finding.severity == "costs":
                assert finding.fix is not None
                assert all((finding.fix.text, finding.fix.undo, finding.fix.verify))

from __future__ import annotations

from collections.abc import Callable

import pytest

from detectors.cpu import detect_cpu
from detectors.cpulist import parse_cpulist
from detectors.host import Host

HostOf = Callable[[str], Host]
Tree = Callable[[dict[str, str]], Host]


def _processor(number: int, package: int, core: int, flags: str = "lm avx2") -> str:
    return (
        f"processor\t: {number}\nvendor_id\t: GenuineIntel\nmodel name\t: Some   CPU\n"
        f"physical id\t: {package}\ncore id\t: {core}\nflags\t: {flags}\n"
    )


def test_a_xeon_shows_amx_in_the_fixed_order(recorded: HostOf) -> None:
    cpu = detect_cpu(recorded("debian13-xeonw32423-rtx4090")).cpu
    assert cpu is not None
    assert cpu.model == "Intel(R) Xeon(R) w3-2423"
    assert (cpu.sockets, cpu.physical_cores, cpu.logical_cpus) == (1, 6, 12)
    assert cpu.isa[-4:] == ("avx512_fp16", "amx_tile", "amx_int8", "amx_bf16")
    assert cpu.isa.index("avx2") < cpu.isa.index("avx512f") < cpu.isa.index("amx_tile")
    assert cpu.hypervisor is None


def test_a_virtual_machine_names_its_hypervisor(recorded: HostOf) -> None:
    cpu = detect_cpu(recorded("debian12-epycvm-none")).cpu
    assert cpu is not None
    assert cpu.hypervisor == "QEMU/KVM"


def test_unlike_arm_cores_are_both_named(recorded: HostOf) -> None:
    cpu = detect_cpu(recorded("ubuntu2404-gb10-gb10")).cpu
    assert cpu is not None
    assert (cpu.model, cpu.vendor, cpu.architecture) == ("Cortex-A725 + Cortex-X925", "ARM", "aarch64")
    assert cpu.physical_cores == 20
    assert cpu.isa == ("asimd", "asimddp", "i8mm", "bf16", "sve", "sve2")


def test_cores_are_counted_by_cpuinfo_where_sysfs_has_no_topology(tree: Tree) -> None:
    text = "\n".join(_processor(cpu, cpu // 4, cpu % 2) for cpu in range(8))
    cpu = detect_cpu(tree({"proc/cpuinfo": text})).cpu
    assert cpu is not None
    assert (cpu.model, cpu.sockets, cpu.physical_cores, cpu.logical_cpus) == ("Some CPU", 2, 4, 8)


def test_offline_cpus_are_not_counted(tree: Tree) -> None:
    text = "\n".join(_processor(cpu, 0, cpu) for cpu in range(8))
    cpu = detect_cpu(tree({"proc/cpuinfo": text, "sys/devices/system/cpu/online": "0-3,6"})).cpu
    assert cpu is not None
    assert (cpu.physical_cores, cpu.logical_cpus) == (5, 5)


def test_flags_are_those_of_every_core(tree: Tree) -> None:
    text = _processor(0, 0, 0, "lm avx2 avx512f") + "\n" + _processor(1, 0, 1, "lm avx2")
    cpu = detect_cpu(tree({"proc/cpuinfo": text})).cpu
    assert cpu is not None
    assert cpu.isa == ("avx2",)


def test_unknown_cores_are_none_with_a_problem(tree: Tree) -> None:
    found = detect_cpu(tree({"proc/cpuinfo": "processor: 0\nvendor_id: X\nmodel name: Y\nflags: lm\n"}))
    assert found.cpu is not None
    assert found.cpu.physical_cores is None
    assert [problem.source for problem in found.problems] == ["cpu"]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("5", {5}),
        ("", set()),
        ("0-", {0}),
        ("a", None),
        ("3-1", None),
        ("0-99999999999", None),
        (None, None),
    ],
)
def test_cpu_lists(text: str | None, cpus: set[int] | None) -> None:
    assert parse_cpulist(text) == (None if cpus is None else frozenset(cpus))

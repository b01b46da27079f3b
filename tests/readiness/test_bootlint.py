from __future__ import annotations

import random

import pytest

from app.readiness.bootlint import lint
from app.readiness.bootparams import CommandLine
from app.units import GIB
from detectors.facts import KernelFacts


def _faults(line: str, release: str = "6.18.4", module: str | None = "ttm") -> list[tuple[str, str]]:
    kernel = KernelFacts(release, line, None, ttm_module=module)
    return [(fault.kind, fault.word) for fault in lint(CommandLine.parse(line), kernel, 125 * GIB)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("amd_iommu=pt", [("misspelt", "amd_iommu=pt")]),
        ("intel_iommu=pt", [("misspelt", "intel_iommu=pt")]),
        ("amd_iommu=off,force_isolation intel_iommu=on,sm_on iommu=pt", []),
        ("amdgpu.gtt_size=114688", [("misspelt", "amdgpu.gtt_size=114688")]),
        ("amdgpu.ggtsize=114688", [("misspelt", "amdgpu.ggtsize=114688")]),
        ("amdgpu.gtt-size=114688", [("misspelt", "amdgpu.gtt-size=114688")]),
        ("amdgpu.gartsize=512 amdgpu.gpu_recovery=1 amdgpu.runpm=0", []),
        ("ttm.page_limit=5", [("misspelt", "ttm.page_limit=5")]),
        ("amdttm.pages_limit=29360128", [("wrong module", "amdttm.pages_limit=29360128")]),
        ("amdgpu.gttsize=114688", [("deprecated", "amdgpu.gttsize=114688")]),
        ("amdgpu.gttsize=-1", []),
        ("ttm.page_pool_size=29360128", [("harmful", "ttm.page_pool_size=29360128")]),
        ("ttm.page_pool_size=1024", []),
        ("amdgpu.no_system_mem_limit=1", [("harmful", "amdgpu.no_system_mem_limit=1")]),
        ("mem=8G", [("harmful", "mem=8G")]),
        ("mem_sleep_default=deep mem=nopentium", []),
        ("ttm.pages_limit=114688", [("value", "ttm.pages_limit=114688")]),
        ("ttm.pages_limit=120259084288", [("value", "ttm.pages_limit=120259084288")]),
        ("ttm.pages_limit=112G", [("value", "ttm.pages_limit=112G")]),
        ("ttm.pages_limit=16384000 ttm.pages_limit=29360128", [("repeated", "ttm.pages_limit=16384000")]),
        ("ttm.pages_limit=29360128 ttm.pages_limit=29360128", []),
        ('a="b c', [("open quote", 'a="b c')]),
        ("ro quiet console=tty0 console=ttyS0", []),
        ("rdinit=/init -- amd_iommu=pt", []),
    ],
)
def test_faults_of_a_line(line: str, expected: list[tuple[str, str]]) -> None:
    assert _faults(line) == expected


def test_gttsize_and_pages_limit_that_differ_contradict_each_other() -> None:
    assert _faults("amdgpu.gttsize=114688 ttm.pages_limit=29360128", "6.12.0") == []
    assert _faults("amdgpu.gttsize=114688 ttm.pages_limit=16384000", "6.12.0") == [
        ("contradiction", "amdgpu.gttsize=114688")
    ]


@pytest.mark.parametrize(
    ("release", "deprecated"), [("6.14.0-1018-oem", False), ("6.15.0", True), ("7.3.4", True), ("", False)]
)
def test_gttsize_is_deprecated_since_6_15(release: str, deprecated: bool) -> None:
    assert (("deprecated", "amdgpu.gttsize=114688") in _faults("amdgpu.gttsize=114688", release)) is deprecated


def test_the_prefix_follows_the_module_in_use() -> None:
    assert _faults("ttm.pages_limit=29360128", module="amdttm") == [("wrong module", "ttm.pages_limit=29360128")]
    assert _faults("amdttm.pages_limit=29360128", module="amdttm") == []
    assert _faults("amdttm.pages_limit=29360128", module=None) == []


def test_mending_a_fault_leaves_no_fault() -> None:
    words = ("ro", "amd_iommu=pt", "amdgpu.gtt_size=1", "ttm.page_limit=29360128", "amdttm.pages_limit=29360128",
             "ttm.pages_limit=5", "ttm.pages_limit=29360128", "amdgpu.gttsize=7", "ttm.page_pool_size=29360128",
             "mem=1G", "iommu=pt", "quiet", "amd_iommu=off", "amdgpu.gttsize=x", "--", "amd_iommu=pt,off")  # fmt: skip
    rng = random.Random(6)
    kernel = KernelFacts("6.18.4", None, None, ttm_module="ttm")
    for _ in range(1000):
        line = CommandLine.parse(" ".join(rng.sample(words, rng.randrange(len(words)))))
        for _ in range(40):
            faults = lint(line, kernel, 125 * GIB)
            if not faults:
                break
            line = line.merge(dict(faults[0].wanted), faults[0].unwanted)
        assert not lint(line, kernel, 125 * GIB), str(line)

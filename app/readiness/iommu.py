"""The IOMMU: a tip for one APU, with what it takes away."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.bootparams import CommandLine
from app.readiness.case import Case, is_strix_halo
from app.readiness.finding import Finding
from app.readiness.parameters import line_fix

_GAIN = (
    "With amd_iommu=off a Strix Halo read prompts 5 % faster (pp512 692 against 652 to 658 t/s) and wrote 2 % faster "
    "(tg128 37.2 against 36.3 t/s); iommu=pt gained nothing (published measurements, 2026-05)."
)
_PRICE = " It takes away the NPU, passing devices to virtual machines, and some transfers between GPUs."


def check_iommu(case: Case) -> Iterator[Finding]:
    """Never more than a tip: the gain is small, and the price is not ours to pay."""
    kernel = case.kernel
    for apu in filter(is_strix_halo, case.gpus):
        if kernel is None or case.wsl or case.hypervisor:
            return
        if apu.iommu is None:
            why = case.why_unknown("kernel", "iommu", apu.id)
            yield Finding("iommu.tip", "unknown", "What the IOMMU does for the GPU is not known", why, _GAIN)
            continue
        evidence = f"iommu_group/type of {apu.pci_bdf} is {apu.iommu}"
        if apu.iommu == "off":
            reason = _GAIN + (" The NPU cannot be used like this." if kernel.npu else "")
            yield Finding("iommu.tip", "good", "The IOMMU is off: the fastest setting for this APU", evidence, reason)
            continue
        present = f"; the NPU is there: {kernel.npu}" if kernel.npu else "; no NPU was found"
        line = CommandLine.parse(kernel.command_line or "")
        useless = ("iommu",) if line.get("iommu") == "pt" else ()
        yield Finding(
            "iommu.tip",
            "note",
            "Without the IOMMU this APU is a little faster" + (", but loses its NPU" if kernel.npu else ""),
            evidence + present,
            _GAIN + _PRICE,
            line_fix(kernel, {"amd_iommu": "off"}, useless),
            0.02,
        )

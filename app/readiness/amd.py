"""Kernels, firmware and firmware settings that matter to AMD's GPUs and APUs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.readiness.case import Case, is_strix_halo
from app.readiness.finding import Finding, Fix
from app.readiness.gtt import own_bytes
from app.readiness.packages import firmware_fix, kernel_fix
from app.readiness.parameters import version_of
from app.units import GIB, bytes_text
from detectors.facts import Device, KernelFacts

_GTT_FOR_COMPUTE_SINCE = (6, 9, 9)
"""Before, the compute driver gave an APU's GPU its carve-out alone (6.10, backported to 6.9.9)."""
_STRIX_HALO_SINCE = (6, 18, 4)
"""Queue and register fixes for gfx1151; AMD's minimum for kernels other than Ubuntu's (ROCm documentation, RDNA 3.5
system optimization)."""
_UBUNTU_HWE = (6, 17, 0, 19)
_UBUNTU_OEM = (6, 14, 0, 1018)
"""Ubuntu's kernels that have the fixes: 6.17.0-19.19~24.04.2 and 6.14.0-1018-oem (the same page)."""
_BROKEN_FIRMWARE = "20251125"
_OEM_CARVEOUT_BYTES = 4 * GIB
"""Some machines can give the GPU no less."""
_PINNED_SHARE = 0.9


def check_kernel(case: Case) -> Iterator[Finding]:
    """The least kernel that an AMD APU needs."""
    kernel = case.kernel
    apu = next((gpu for gpu in case.gpus if gpu.kind == "igpu" and gpu.vendor == "AMD"), None)
    if apu is None or kernel is None or case.wsl:
        return
    version, evidence = version_of(kernel.release), f"{apu.name}; kernel {kernel.release}"
    if version == (0, 0, 0):
        reason = "The kernel's version decides how much memory the GPU can use."
        yield Finding("amd.kernel", "unknown", "The kernel's version is not known", evidence, reason)
    elif version < _GTT_FOR_COMPUTE_SINCE:
        yield Finding(
            "amd.kernel.gtt",
            "costs",
            f"With this kernel ROCm sees {bytes_text(apu.carveout_bytes)} of memory on the GPU",
            evidence,
            "Before 6.10 the compute driver gives an APU's GPU only what the firmware carved out for it, whatever GTT "
            "allows. Vulkan is not concerned.",
            kernel_fix(kernel, "6.10"),
            0.6,
        )
    elif is_strix_halo(apu) and not has_strix_halo_fixes(kernel):
        yield Finding(
            "amd.kernel.gfx1151",
            "costs",
            "This kernel lacks fixes for Strix Halo",
            evidence,
            "Compute queues and registers of gfx1151 are handled right from 6.18.4 on (Ubuntu: 6.17.0-19 HWE, "
            "6.14.0-1018 OEM); before, ROCm is known to hang or fault under load. Other distributions may have the "
            "fixes in an older version.",
            kernel_fix(kernel, "6.18.4 (Ubuntu: 6.17.0-19, OEM 6.14.0-1018)"),
            0.1,
        )
    else:
        yield Finding("amd.kernel", "good", "The kernel is recent enough for this APU", evidence, "Its fixes are in.")


def has_strix_halo_fixes(kernel: KernelFacts) -> bool:
    """Whether the release is at or above AMD's minimum for its line."""
    version = version_of(kernel.release)
    match = re.match(r"\d+\.\d+\.\d+-(\d+)", kernel.release)
    build = (*version, int(match[1][:9]) if match else 0)
    if kernel.distribution_id == "ubuntu" and version[:2] == (6, 17):
        return build >= _UBUNTU_HWE
    if kernel.distribution_id == "ubuntu" and version[:2] == (6, 14):
        return build >= _UBUNTU_OEM and kernel.release.endswith("oem")
    return version >= _STRIX_HALO_SINCE


def check_firmware(case: Case) -> Iterator[Finding]:
    """GPU firmware that is known to be broken on Strix Halo."""
    kernel, apu = case.kernel, next(filter(is_strix_halo, case.gpus), None)
    if apu is None or kernel is None or case.wsl:
        return
    version = kernel.firmware_version
    reason = f"linux-firmware {_BROKEN_FIRMWARE} makes ROCm fail on this GPU (reported with kyuz0's toolboxes)."
    if version is None or case.container:
        why = "the host's packages are not visible from a container" if case.container else case.why_unknown("kernel")
        yield Finding("amd.fw", "unknown", "The version of the GPU's firmware is not known", why, reason)
    elif _BROKEN_FIRMWARE in version:
        evidence = f"{kernel.firmware_package or 'linux-firmware'} {version}"
        fix = firmware_fix(kernel, "20251111, or 20260110 and later")
        yield Finding("amd.fw.20251125", "costs", "This GPU firmware is broken", evidence, reason, fix, 0.3)
    else:
        evidence = f"{kernel.firmware_package or 'linux-firmware'} {version}"
        yield Finding("amd.fw", "good", "The GPU's firmware is not one known to be broken", evidence, reason)


def check_carveout(case: Case) -> Iterator[Finding]:
    """Memory that the firmware gave to the GPU for good: GTT shares it with everything else."""
    for apu in case.gpus:
        if apu.kind != "igpu" or apu.vendor != "AMD":
            continue
        size = apu.carveout_bytes
        if size is None:
            why = case.why_unknown("gpu_amd", "gpu:", apu.id)
            reason = "What is carved out is lost to the CPU, and ROCm uses either it or GTT, not both."
            yield Finding("amd.uma.carveout", "unknown", f"The carve-out of {apu.name} is not known", why, reason)
        elif size > _OEM_CARVEOUT_BYTES:
            yield _large_carveout(case, apu, size)
        else:
            title = f"The firmware keeps only {bytes_text(size)} for the GPU"
            yield Finding("amd.uma.carveout", "good", title, _seen(apu, size), "The rest is shared, as it should be.")


def _large_carveout(case: Case, apu: Device, size: int) -> Finding:
    lost = not own_bytes(case, apu)
    return Finding(
        "amd.uma.carveout",
        "costs" if lost else "note",
        f"The firmware gives {bytes_text(size)} of memory to the GPU alone",
        _seen(apu, size),
        ("This kernel (6.10 to 6.14) lets ROCm use GTT alone: the carve-out is lost to it. " if lost else "")
        + f"ROCm uses either the carve-out or GTT ({bytes_text(apu.gtt_bytes)}), not both, and the CPU never gets it. "
        "With the smallest carve-out and a raised limit of TTM, all of it can serve both.",
        Fix(
            "in the firmware: set UMA Frame Buffer Size (iGPU memory) to its smallest value (512M or Auto), then run "
            "`moetune check` again: the limit of TTM follows from the memory that is free then",
            "set the former size again in the same place",
            f"cat /sys/bus/pci/devices/{apu.pci_bdf}/mem_info_vram_total",
            reboot=True,
        ),
        0.5 if lost else 0.0,
    )


def _seen(apu: Device, size: int) -> str:
    return f"{apu.name}: mem_info_vram_total is {bytes_text(size)}, mem_info_gtt_total {bytes_text(apu.gtt_bytes)}"


def check_mmap(case: Case) -> Iterator[Finding]:
    """Mapped files and the memory of a unified GPU do not go well together."""
    plan = case.plan
    for apu in filter(is_strix_halo, case.gpus):
        if plan is None or not plan.parameters.load_mode.startswith("mmap"):
            continue
        reason = (
            "On Strix Halo weights that are mapped from the file load slowly and may be held twice, once in the page "
            "cache (reported with kyuz0's toolboxes)."
        )
        evidence = f"the plan's load mode is {plan.parameters.load_mode}; {apu.name}"
        fix = Fix("start the engine with --no-mmap (-lm none)", "leave it out", "watch the load time", reboot=False)
        yield Finding("amd.mmap.apu", "note", "This plan maps the model from its file", evidence, reason, fix)


def check_pinned(case: Case) -> Iterator[Finding]:
    """Host buffers that an AMD card maps: Vulkan overcommits them and then loses the device."""
    host = case.host_bytes
    for gpu in case.gpus:
        if case.plan is None or gpu.kind != "dgpu" or gpu.vendor != "AMD" or not host:
            continue
        gtt = gpu.gtt_bytes
        evidence = f"the plan keeps {bytes_text(host)} in the CPU's memory; GTT of {gpu.name} is {bytes_text(gtt)}"
        reason = (
            "Vulkan pins what lies in host memory through GTT; beyond its size the device is lost (llama.cpp #29213)."
        )
        if gtt is None:
            yield Finding("amd.hostpin", "unknown", f"GTT of {gpu.name} is not known", evidence, reason)
        elif host <= _PINNED_SHARE * gtt:
            yield Finding("amd.hostpin", "good", "What lies in host memory can be pinned for the GPU", evidence, reason)
        else:
            pages = -(-round(host / _PINNED_SHARE) // GIB) * GIB // (case.kernel.page_bytes if case.kernel else 4096)
            fix = Fix(
                "start the engine with --no-host (HIP: GGML_CUDA_NO_PINNED=1), "
                f"or boot with ttm.pages_limit={pages} if the system can spare that",
                "leave it out again",
                f"cat /sys/bus/pci/devices/{gpu.pci_bdf}/mem_info_gtt_total",
                reboot=False,
            )
            title = "More lies in host memory than the GPU can pin"
            yield Finding("amd.hostpin", "costs", title, evidence, reason, fix, 0.4)

"""What NVIDIA's driver and cards say of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding, Fix, fix_of
from app.readiness.steps import run
from detectors.facts import Device, Problem

_HBM_ARCHES = ("sm_60", "sm_70", "sm_80", "sm_90", "sm_100", "sm_103")
"""Data-centre chips whose memory has ECC at no cost in bandwidth."""

_WHOLE = ("NVML does not start", "NVML cannot be asked", "the GPU cannot be asked")
"""How the detector speaks of failures of the driver or of a card, not of a single fact."""

_FAULTS = {
    "LIB_RM_VERSION_MISMATCH": (
        "nv.mismatch",
        "NVIDIA's library and kernel module are of different versions",
        "The driver was upgraded while the old module was loaded: no CUDA program starts.",
        "sudo reboot",
    ),
    "DRIVER_NOT_LOADED": (
        "nv.driver",
        "NVIDIA's kernel module is not loaded",
        "No CUDA program starts. With Secure Boot, a module that is not signed is refused without a word.",
        "sudo modprobe nvidia   # if it is refused: mokutil --sb-state, and sign the module or turn Secure Boot off",
    ),
    "GPU_IS_LOST": (
        "nv.lost",
        "An NVIDIA GPU has fallen off the bus",
        "It answers no more: power, heat, a riser or a cable.",
        "power off, look at power cables and riser, start again",
    ),
    "NO_PERMISSION": (
        "nv.permission",
        "This user may not open the NVIDIA devices",
        "No CUDA program of this user starts.",
        "ls -l /dev/nvidia*   # then add the user to the group of these files, or pass them into the container",
    ),
    "ERROR_UNKNOWN": (
        "nv.unknown",
        "NVIDIA's driver fails without a reason",
        "Often after the machine was suspended.",
        "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm   # or reboot",
    ),
}


def check_driver(case: Case) -> Iterator[Finding]:
    """Failures of NVML by their names; a machine without an NVIDIA driver is not concerned."""
    for problem in case.machine.problems:
        if problem.reason.startswith(_WHOLE):
            yield from _fault(problem)
    module = case.kernel.module("nouveau") if case.kernel else None
    if module is not None and not any(gpu.vendor == "NVIDIA" for gpu in case.machine.devices):
        yield Finding(
            "nv.nouveau",
            "blocks",
            "An NVIDIA GPU runs on nouveau",
            "the module nouveau is loaded, and NVML is not there",
            "nouveau has no CUDA, and its Vulkan is not made for this: the card is lost to the engine.",
            Fix("install NVIDIA's driver from your distribution", "remove it again", "nvidia-smi", reboot=True),
            1.0,
        )


def _fault(problem: Problem) -> Iterator[Finding]:
    for name, (identity, title, reason, text) in _FAULTS.items():
        if name in problem.reason.upper():
            fix = Fix(text, "nothing to undo", "nvidia-smi", reboot="reboot" in text)
            yield Finding(identity, "blocks", title, problem.reason, reason, fix, 1.0)
            return


def check_power(case: Case) -> Iterator[Finding]:
    """Power limits, ECC and persistence of each card."""
    for gpu in case.gpus:
        if gpu.vendor != "NVIDIA":
            continue
        yield from _power_limit(gpu)
        if gpu.ecc and gpu.arch is not None and gpu.arch not in _HBM_ARCHES:
            yield Finding(
                "nv.ecc",
                "note",
                f"ECC is on: {gpu.name} gives up memory and bandwidth for it",
                f"NVML: ECC mode is enabled ({gpu.arch}, GDDR)",
                "On GDDR, check bits are stored in the memory itself: about 6 % of it, and some bandwidth (NVIDIA).",
                fix_of((run(f"nvidia-smi -i {gpu.pci_bdf} -e 0", f"nvidia-smi -i {gpu.pci_bdf} -e 1"),),
                       "nvidia-smi -q -d ECC", reboot=True),
                0.04,
            )  # fmt: skip
        if gpu.persistence is False and gpu.kind == "dgpu":
            yield Finding(
                "nv.persist",
                "note",
                f"Persistence is off: {gpu.name} is set up anew for every program",
                "NVML: persistence mode is disabled",
                "Each start of an engine waits some seconds for it. It costs no speed afterwards.",
                fix_of((run(f"nvidia-smi -i {gpu.pci_bdf} -pm 1", f"nvidia-smi -i {gpu.pci_bdf} -pm 0"),),
                       "nvidia-smi -q | grep -i persistence", reboot=False),
            )  # fmt: skip


def _power_limit(gpu: Device) -> Iterator[Finding]:
    limit, default = gpu.power_limit_w, gpu.power_default_w
    if limit is None or default is None:
        if gpu.kind == "dgpu":
            reason = "A lowered power limit slows prompts."
            why = "NVML does not tell it"
            yield Finding("nv.power", "unknown", f"The power limit of {gpu.name} is not known", why, reason)
        return
    evidence = f"NVML: limit {limit:.0f} W, default {default:.0f} W"
    if limit >= default:
        reason = "Prompts are read at full speed."
        yield Finding("nv.power", "good", f"{gpu.name} has its full power limit", evidence, reason)
        return
    yield Finding(
        "nv.power",
        "note",
        f"{gpu.name} is limited to {limit:.0f} of {default:.0f} W",
        evidence,
        "Prompts slow down about as far; generation, which waits for memory, hardly does. It may be meant so.",
        fix_of((run(f"nvidia-smi -i {gpu.pci_bdf} -pl {default:.0f}", f"nvidia-smi -i {gpu.pci_bdf} -pl {limit:.0f}"),),
               "nvidia-smi -q -d POWER", reboot=False),
        0.1 * (1 - limit / default) if default > 0 else 0.0,
    )  # fmt: skip

"""The kernel's command line: words that do nothing, do harm, or have been replaced."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.readiness.finding import Finding, Fix
from app.readiness.ttm import limit_fix, removal, target_bytes
from app.units import GIB, MIB, bytes_text
from detectors.facts import KernelFacts, Machine

_GTTSIZE = "amdgpu.gttsize"
_DEPRECATED_SINCE = (6, 15)  # kernel commit 50e30e3a, "configuring gttsize via module parameter is deprecated"
_JUDGED = ("ttm.", "amdttm.", "amdgpu.", "amd_iommu", "iommu")
_MISSPELT = {"amdgpu.gtt_size": _GTTSIZE, "amdgpu.ggtsize": _GTTSIZE, "amdgpu.gttsz": _GTTSIZE}


def parameters(command_line: str) -> list[tuple[str, str]]:
    """Names and values in order; dashes and underscores are one, and what follows ` -- ` is for init."""
    words: list[tuple[str, str]] = []
    for word in command_line.split():
        if word == "--":
            break
        name, _, value = word.partition("=")
        words.append((name.replace("-", "_"), value))
    return words


def version_of(release: str) -> tuple[int, int]:
    """Major and minor of `6.14.0-1018-oem`; (0, 0) for what is no release."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def check_gttsize(machine: Machine) -> Iterator[Finding]:
    """`amdgpu.gttsize`: at odds with TTM's limit it costs memory, and since 6.15 it is on its way out."""
    kernel = machine.kernel
    values = dict(parameters(kernel.command_line)) if kernel and kernel.command_line else {}
    if kernel is None or _GTTSIZE not in values:
        return
    value = values[_GTTSIZE]
    evidence = f"the kernel's command line has {_GTTSIZE}={value}; kernel {kernel.release}"
    limit = kernel.ttm_pages_limit
    size = int(value) * MIB if value.isdecimal() else None
    if size is not None and limit is not None and size != limit * kernel.page_bytes:
        yield Finding(
            "amd.gtt.mismatch",
            "costs",
            f"{_GTTSIZE} and the limit of TTM disagree",
            f"{evidence}; TTM's pages_limit is {limit}, which is {bytes_text(limit * kernel.page_bytes)}",
            "The driver promises memory that the kernel then does not give; allocations fail under load.",
            _gttsize_fix(machine, kernel),
        )
    elif version_of(kernel.release) >= _DEPRECATED_SINCE:
        yield Finding(
            "amd.gtt.deprecated",
            "note",
            f"{_GTTSIZE} is deprecated",
            evidence,
            "A coming kernel will ignore it, and the GPU will be back at half of the memory. "
            "ttm.pages_limit takes its place.",
            _gttsize_fix(machine, kernel),
        )


def _gttsize_fix(machine: Machine, kernel: KernelFacts) -> Fix:
    memory = next((pool.physical_bytes or pool.total_bytes for pool in machine.pools if pool.id == "ram"), 0)
    if any(device.kind == "igpu" for device in machine.devices) and target_bytes(memory) > GIB:
        return limit_fix(kernel, target_bytes(memory))
    return Fix(
        text=f"take {_GTTSIZE} off the kernel's command line: {removal(kernel, _GTTSIZE)}",
        undo="put it back in the same place",
        verify="cat /proc/cmdline; cat /sys/class/drm/card*/device/mem_info_gtt_total",
        reboot=True,
    )


def check_words(machine: Machine) -> Iterator[Finding]:
    """Words that the kernel does not know or does not heed."""
    kernel = machine.kernel
    if kernel is None or not kernel.command_line:
        return
    words = parameters(kernel.command_line)
    wrong = [*_unknown(words), *_wrong_module(words, kernel), *_repeated(words)]
    for word, what, better in wrong:
        yield Finding(
            "cmdline.lint",
            "costs",
            f"{word} on the kernel's command line {what}",
            f"/proc/cmdline has {word}",
            "It looks as if something had been set that has not been set.",
            Fix(
                text=f"{better}: {removal(kernel, word.partition('=')[0])}",
                undo="put the word back in the same place",
                verify="cat /proc/cmdline",
                reboot=True,
            ),
        )
    if not wrong and any(name.startswith(_JUDGED) for name, _ in words):
        judged = " ".join(f"{name}={value}" for name, value in words if name.startswith(_JUDGED))
        title = "No mistake was found on the kernel's command line"
        yield Finding(
            "cmdline.lint", "good", title, judged, "Misspelt, repeated and replaced GPU parameters were looked for."
        )


def _unknown(words: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    for name, value in words:
        if name == "amd_iommu" and value == "pt":
            yield "amd_iommu=pt", "is no value that it knows", "write iommu=pt instead, if that was meant"
        elif name in _MISSPELT:
            yield f"{name}={value}", "is not known", f"the name is {_MISSPELT[name]}; better use ttm.pages_limit"


def _wrong_module(words: list[tuple[str, str]], kernel: KernelFacts) -> Iterator[tuple[str, str, str]]:
    if kernel.ttm_module is None:
        return
    other = "ttm" if kernel.ttm_module == "amdttm" else "amdttm"
    for name, value in words:
        if name.startswith(f"{other}."):
            right = name.replace(other, kernel.ttm_module, 1)
            yield f"{name}={value}", "is not heeded", f"the module in use is {kernel.ttm_module}: write {right}={value}"


def _repeated(words: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    values: dict[str, list[str]] = {}
    for name, value in words:
        if name.startswith(_JUDGED):
            values.setdefault(name, []).append(value)
    for name, given in values.items():
        if len(set(given)) > 1:
            yield f"{name}={given[0]}", f"is overridden by {name}={given[-1]}", f"keep only {name}={given[-1]}"

"""How TTM's limit is configured, against what is in effect; and the older parameter that is at odds with it."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.bootparams import CommandLine, number
from app.readiness.case import Case
from app.readiness.finding import Finding, Fix
from app.readiness.gtt import apus, solution_of
from app.readiness.parameters import COMMAND_LINE, GTTSIZE_DEPRECATED_SINCE, line_fix, solution_fix, version_of
from app.units import GIB, MIB, bytes_text
from detectors.facts import KernelFacts, ModuleOption

_GTTSIZE = "amdgpu.gttsize"


def check_gttsize(case: Case) -> Iterator[Finding]:
    """`amdgpu.gttsize`: at odds with TTM's limit it costs memory, and since 6.15 it is on its way out."""
    kernel = case.kernel
    option = _option(kernel, "amdgpu", "gttsize")
    value = number(option.value) if option else None
    if kernel is None or option is None or value is None or value < 0 or case.wsl:
        return
    evidence = f"{option.source} has {_name(option)}={option.value}; kernel {kernel.release}"
    limit, size = kernel.ttm_pages_limit, value * MIB
    if limit is not None and size != limit * kernel.page_bytes:
        module = kernel.ttm_module or "ttm"
        yield Finding(
            "amd.gtt.mismatch",
            "costs",
            f"{_GTTSIZE} and the limit of TTM disagree",
            f"{evidence}; {module}'s pages_limit is {limit}, which is {bytes_text(limit * kernel.page_bytes)}",
            _at_odds(size, limit * kernel.page_bytes),
            _fix(case, kernel),
            abs(size - limit * kernel.page_bytes) / max(size, limit * kernel.page_bytes, 1),
        )
    elif version_of(kernel.release) >= GTTSIZE_DEPRECATED_SINCE:
        yield Finding(
            "amd.gtt.deprecated",
            "note",
            f"{_GTTSIZE} is deprecated",
            evidence,
            "A coming kernel will ignore it, and the GPU will be back at half of the memory. "
            "ttm.pages_limit takes its place.",
            _fix(case, kernel),
        )


def check_pending(case: Case) -> Iterator[Finding]:
    """A limit that was written down but is not in effect: an initramfs that was not rebuilt, a reboot to come."""
    kernel = case.kernel
    if kernel is None or case.wsl or kernel.ttm_module is None:
        return
    option = _option(kernel, kernel.ttm_module, "pages_limit")
    configured = number(option.value) if option else None
    live = kernel.ttm_pages_limit
    if option is not None and configured is not None and live is None:
        yield Finding(
            "amd.ttm.pending",
            "unknown",
            "Whether the configured limit of TTM is in effect is not known",
            f"{option.source} has {_name(option)}={configured}; {case.why_unknown('kernel')}",
            "A limit counts from the next load of amdgpu on.",
        )
    elif option is not None and configured is not None and configured != live:
        yield Finding(
            "amd.ttm.pending",
            "costs",
            f"{_name(option)}={configured} is configured and not in effect",
            f"{option.source}; /sys/module/{option.module}/parameters/pages_limit is {live}",
            "The initramfs still holds the old options, or the machine was not started again since: "
            f"{bytes_text((live or 0) * kernel.page_bytes)} instead of {bytes_text(configured * kernel.page_bytes)}.",
            _fix(case, kernel),
            0.3,
        )
    else:
        yield from _written_at_run_time(case, kernel)


def _written_at_run_time(case: Case, kernel: KernelFacts) -> Iterator[Finding]:
    """Amdgpu reads the limit once, when it is loaded: a later write to /sys raises nothing."""
    limit = (kernel.ttm_pages_limit or 0) * kernel.page_bytes
    for device in apus(case):
        gtt = device.gtt_bytes
        if gtt is None or _option(kernel, "amdgpu", "gttsize") is not None or gtt + GIB >= limit:
            continue
        if case.memory_bytes is not None and gtt + GIB >= case.memory_bytes:
            continue  # the driver caps GTT at the memory there is
        yield Finding(
            "amd.ttm.pending",
            "costs",
            f"TTM's limit of {bytes_text(limit)} came too late for {device.name}",
            f"pages_limit is {kernel.ttm_pages_limit}, mem_info_gtt_total {bytes_text(gtt)}; no boot parameter is set",
            "The driver reads the limit once, when it is loaded; what is written to /sys later changes nothing, and "
            "is gone after a restart.",
            _fix(case, kernel),
            (limit - gtt) / limit,
        )


def _fix(case: Case, kernel: KernelFacts) -> Fix:
    """The solved parameters; on a machine without an APU, only the old one goes."""
    for device in apus(case):
        solution = solution_of(case, device)
        if solution is not None and solution.limit_bytes > GIB:
            return solution_fix(solution, kernel)
    return line_fix(kernel, {}, (_GTTSIZE,))


def _at_odds(size: int, limit: int) -> str:
    usable = f"The smaller of the two, {bytes_text(min(size, limit))}, is what can be used."
    if size > limit:
        return f"The driver promises memory that the kernel then does not give; allocations fail under load. {usable}"
    return f"The driver offers less than the kernel would give. {usable}"


def _option(kernel: KernelFacts | None, module: str, name: str) -> ModuleOption | None:
    """The configured option that wins; the command line itself where the detector listed none."""
    if kernel is None:
        return None
    found = kernel.option(module, name)
    if found is None and kernel.command_line:
        value = CommandLine.parse(kernel.command_line).get(f"{module}.{name}")
        return ModuleOption(module, name, value, COMMAND_LINE) if value is not None else None
    return found


def _name(option: ModuleOption) -> str:
    return f"{option.module}.{option.name}"

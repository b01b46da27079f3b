"""The words of the kernel's command line, each fault a finding with the whole line put right."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.bootlint import Fault, is_judged, lint
from app.readiness.bootparams import CommandLine
from app.readiness.case import Case
from app.readiness.finding import Finding, Fix
from app.readiness.parameters import line_fix
from detectors.facts import KernelFacts, ModuleOption

# Said better by the checks of GTT, which know the sizes.
_ELSEWHERE = ("deprecated", "contradiction")
_WORTH_KNOWING = ("harmful",)


def check_words(case: Case) -> Iterator[Finding]:
    """Words that the kernel does not know or does not heed, that do harm, or that stand twice."""
    kernel = case.kernel
    if kernel is None or case.wsl:
        return
    if kernel.command_line is None:
        if case.gpus:
            reason = "Parameters of GPU and IOMMU stand there, and mistakes in them are silent."
            why = case.why_unknown("kernel")
            yield Finding("cmdline.lint", "unknown", "The kernel's command line is not known", why, reason)
        return
    line = CommandLine.parse(kernel.command_line)
    memory = case.memory_bytes
    faults = [fault for fault in lint(line, kernel, memory) if fault.kind not in _ELSEWHERE]
    for fault in faults:
        yield _finding(fault, "/proc/cmdline", _fix(fault, kernel))
    for option, fault in _option_faults(kernel, memory):
        yield _finding(fault, option.source, _file_fix(option, fault))
    if not faults:
        yield from _no_fault(line, kernel, memory)


def _no_fault(line: CommandLine, kernel: KernelFacts, memory: int | None) -> Iterator[Finding]:
    judged = [word for word in line.parameters if is_judged(word.name)]
    evidence = " ".join(word.text for word in judged)
    if any(word.name.startswith(("ttm.", "amdttm.")) for word in judged) and (not kernel.ttm_module or memory is None):
        missing = "the module that amdgpu uses" if not kernel.ttm_module else "the size of the memory"
        why = f"{evidence}; {missing} is not known"
        reason = "ttm.* and amdttm.* count for one module each, and in pages."
        yield Finding("cmdline.lint", "unknown", "Whether the limit of TTM is heeded is not known", why, reason)
    elif judged:
        reason = "Misspelt, repeated and replaced GPU parameters were looked for."
        yield Finding("cmdline.lint", "good", "No mistake was found on the kernel's command line", evidence, reason)


def _finding(fault: Fault, source: str, fix: Fix | None) -> Finding:
    place = "on the kernel's command line" if source == "/proc/cmdline" else f"in {source}"
    return Finding(
        "cmdline.lint",
        "note" if fault.kind in _WORTH_KNOWING else "costs",
        f"{fault.word} {place} {fault.what}",
        f"{source} has {fault.word}",
        f"It looks as if something had been set that has not been set: {fault.advice}."
        if fault.kind not in _WORTH_KNOWING
        else f"Better {fault.advice}.",
        fix,
        0.05,
    )


def _fix(fault: Fault, kernel: KernelFacts) -> Fix | None:
    if not fault.wanted and not fault.unwanted:
        return None
    return line_fix(kernel, dict(fault.wanted), fault.unwanted)


def _file_fix(option: ModuleOption, fault: Fault) -> Fix:
    text = f"in {option.source}: {fault.advice}; then rebuild the initramfs and reboot"
    verify = f"grep -r {option.name} /etc/modprobe.d /run/modprobe.d /usr/lib/modprobe.d"
    return Fix(text, f"write {option.module} {option.name}={option.value} there again", verify, reboot=True)


def _option_faults(kernel: KernelFacts, memory: int | None) -> Iterator[tuple[ModuleOption, Fault]]:
    """The same mistakes in the files of modprobe.d."""
    for option in kernel.module_options:
        if option.source.startswith("/proc/"):
            continue
        word = f"{option.module}.{option.name}={option.value}"
        for fault in lint(CommandLine.parse(word), kernel, memory):
            if fault.kind not in _ELSEWHERE:
                yield option, fault

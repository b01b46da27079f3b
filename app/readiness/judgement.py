"""All checks, most costly findings first."""

from __future__ import annotations

from app.readiness import bootparams, cpu, gpu, gtt, memory
from app.readiness.finding import Finding, Severity
from detectors.facts import Machine

_ORDER: dict[Severity, int] = {"blocks": 0, "costs": 1, "note": 2, "good": 3}

# Within a severity, findings keep this order: what loses most memory or speed comes first.
_CHECKS = (
    gtt.check_gtt,
    bootparams.check_gttsize,
    memory.check_cgroup,
    cpu.check_amx,
    gpu.check_visible_vram,
    bootparams.check_words,
    gpu.check_any_gpu,
)


def judge(machine: Machine) -> tuple[Finding, ...]:
    """Judge everything that is known of the machine; what is not known is not judged.

    Args:
        machine: the facts.

    Returns:
        The findings, the most costly first. A check that came out well is a finding of severity `good`.
    """
    findings = [finding for check in _CHECKS for finding in check(machine)]
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))

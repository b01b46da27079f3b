"""All checks, most costly findings first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.readiness import (
    amd,
    clocks,
    cmdline,
    cpu,
    dimms,
    environment,
    gtt,
    iommu,
    memory,
    numa,
    nvidia,
    p2p,
    pcie,
    ttm,
)
from app.readiness.case import Case, Check
from app.readiness.finding import SEVERITIES, Finding
from detectors.facts import Machine

if TYPE_CHECKING:
    from app.solver.model import ModelShape
    from app.solver.plan import Plan


def check_ktransformers(case: Case) -> Iterator[Finding]:
    """What its plans alone need; other checks need not load it."""
    if case.plan is None or case.plan.parameters.kt is None:
        return
    from app.readiness.ktransformers import CHECKS as OWN

    for check in OWN:
        yield from check(case)


# Findings that cost alike keep this order.
CHECKS: tuple[Check, ...] = (
    nvidia.check_driver,
    environment.check_access,
    gtt.check_gtt,
    ttm.check_gttsize,
    ttm.check_pending,
    memory.check_cgroup,
    amd.check_kernel,
    amd.check_firmware,
    amd.check_pinned,
    dimms.check_bus,
    dimms.check_bandwidth,
    cpu.check_amx,
    cpu.check_threads,
    check_ktransformers,
    numa.check_numa,
    clocks.check_power,
    memory.check_hugepages,
    memory.check_paging,
    memory.check_locking,
    pcie.check_width,
    pcie.check_visible_vram,
    nvidia.check_power,
    cmdline.check_words,
    environment.check_any_gpu,
    environment.check_compute_driver,
    environment.check_asleep,
    environment.check_system,
    amd.check_carveout,
    amd.check_mmap,
    iommu.check_iommu,
    p2p.check_p2p,
)


def judge(machine: Machine, plan: Plan | None = None, *, shape: ModelShape | None = None) -> tuple[Finding, ...]:
    """Judge everything that is known of the machine, and say of the rest that it is not known.

    Args:
        machine: the facts.
        plan: what the machine is wanted for; then only what matters to it is judged, against what it needs.
        shape: the plan's model, so that costs can be told in tokens per second.

    Returns:
        The findings, the most costly first. A check that came out well is a finding of severity `good`.
    """
    case = Case(machine, plan, shape)
    findings = [finding for check in CHECKS for finding in check(case)]
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.cost_share)))

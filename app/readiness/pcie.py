"""The slot: how wide the way to each GPU is, and how much of its memory the CPU can reach."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding, Fix
from app.units import bytes_text
from detectors.facts import Device, PcieLink

_NARROW = 4
_NOT_COPIED = "The plan has no experts on the host: the link matters while the model loads, and hardly after that."
_ARC_LOSS = 0.5
"""Intel's own support pages: Arc cards without Resizable BAR lose much of their speed."""


def check_width(case: Case) -> Iterator[Finding]:
    """Lanes in use against lanes possible; the speed is not judged, as it falls when a card idles."""
    for gpu in case.gpus:
        if gpu.kind != "dgpu":
            continue
        link = gpu.link
        if link is not None and link.tunnelled:
            yield Finding(
                "pcie.width",
                "note",
                f"{gpu.name} is behind Thunderbolt or USB4",
                f"{gpu.pci_bdf}: the tunnel states made-up speeds",
                "It moves 3 to 5 GB/s at best: prompts through experts on the host wait for it, generation hardly.",
            )
        elif link is None or (link.current_width or 0) < 1 or (link.max_width or 0) < 1:
            why = (link.why if link else "") or case.why_unknown(gpu.id, "gpu:", "pcie", "gpu_")
            if gpu.asleep:
                why = "the card is asleep, and reading its link would wake it"
            reason = "A card in a narrow slot, or on a riser that lost lanes, is slow at prompts."
            yield Finding("pcie.width", "unknown", f"The link of {gpu.name} is not known", why, reason)
        else:
            yield _width(case, gpu, link, link.current_width or 0, link.max_width or 0)


def _width(case: Case, gpu: Device, link: PcieLink, width: int, possible: int) -> Finding:
    rate, gbps = link.max_gtps or link.current_gtps, link.bandwidth_gbps
    speed = f" ({gbps:.1f} GB/s)" if gbps else ""
    evidence = (
        f"{gpu.name} at {link.bridge_bdf or gpu.pci_bdf}: x{width} of x{possible}, up to {rate or '?'} GT/s{speed}"
    )
    if link.card_width:
        evidence += f"; the card has x{link.card_width}"
    copied = case.uses("cpu")
    copying = _copying(case, gpu, gbps)
    if width < possible:
        what = f"Prompts through experts on the host are copied over this link{copying}." if copied else _NOT_COPIED
        return Finding(
            "pcie.width",
            "costs" if copied else "note",
            f"{gpu.name} uses {width} of {possible} lanes",
            evidence,
            f"{what} Lanes are lost to bad contact, a riser, or to a second device that shares the slot's lanes.",
            Fix(
                "power off; seat the card (and its riser or cable) again; look for a shared M.2 slot, and for "
                "bifurcation in the firmware",
                "nothing to undo",
                f"cat /sys/bus/pci/devices/{link.bridge_bdf or gpu.pci_bdf}/current_link_width   # {possible}",
                reboot=True,
            ),
            0.2 * (1 - width / possible) if copied else 0.0,
        )
    if width <= _NARROW or (link.card_width or 0) > possible:
        return Finding(
            "pcie.width",
            "note",
            f"{gpu.name} has {width} lanes{speed}",
            evidence,
            "All that the slot or cable has. "
            + (
                f"Generation moves little over it; prompts through experts on the host wait for it{copying}: keep "
                "expert layers whole on one side, and use a larger -ub."
                if copied
                else _NOT_COPIED
            ),
        )
    return Finding("pcie.width", "good", f"{gpu.name} uses all {width} lanes of its slot", evidence, "Nothing is lost.")


def _copying(case: Case, gpu: Device, gbps: float | None) -> str:
    """How long one pass over the host's experts takes, where the plan says how many there are."""
    if case.plan is None or not case.uses("cpu") or not gbps or gpu.id not in case.plan.placement.attention_devices:
        return ""
    return f", {bytes_text(case.host_bytes)} in {case.host_bytes / 1e9 / gbps:.1f} s per batch (estimated)"


def check_visible_vram(case: Case) -> Iterator[Finding]:
    """Resizable BAR: the part of each discrete GPU's memory that the CPU can reach."""
    totals = {pool.id: pool.total_bytes for pool in case.machine.pools}
    for gpu in case.gpus:
        total, visible = totals.get(gpu.pool_id), gpu.visible_vram_bytes
        if gpu.kind != "dgpu":
            continue
        if visible is None or total is None:
            reason = "Without Resizable BAR, weights are uploaded in small windows."
            why = "the card is asleep" if gpu.asleep else case.why_unknown(gpu.id, "gpu:", "gpu_")
            yield Finding("pcie.rebar", "unknown", f"How much of {gpu.name} the CPU sees is not known", why, reason)
        else:
            yield _visible(case, gpu, visible, total)


def _visible(case: Case, gpu: Device, visible: int, total: int) -> Finding:
    evidence = f"{gpu.name} ({gpu.pci_bdf}): {bytes_text(min(visible, total))} of {bytes_text(total)} are visible"
    # NVIDIA's BAR is a power of two above the memory, AMD's figure is the memory itself.
    if visible >= total:
        title = f"All memory of {gpu.name} is visible to the CPU"
        return Finding("pcie.rebar", "good", title, evidence, "Uploads and transfers between GPUs need no detour.")
    where = (
        "the firmware of the host, and pass the whole BAR to the virtual machine" if case.hypervisor else "the firmware"
    )
    verify = {
        "NVIDIA": "nvidia-smi -q -d MEMORY | grep -A1 BAR1",
        "AMD": f"cat /sys/bus/pci/devices/{gpu.pci_bdf}/mem_info_vis_vram_total",
    }.get(gpu.vendor, f"head -3 /sys/bus/pci/devices/{gpu.pci_bdf}/resource")
    arc = gpu.vendor == "Intel"
    return Finding(
        "pcie.rebar",
        "costs",
        f"The CPU sees only {bytes_text(visible)} of {gpu.name}",
        evidence,
        "Without Resizable BAR, weights are uploaded in small windows and GPUs cannot reach each other's memory."
        + (" Arc cards are built for it and lose about half of their speed." if arc else ""),
        Fix(
            text=f"in {where}: enable Above 4G Decoding and Resizable BAR (Smart Access Memory), disable CSM",
            undo="disable Resizable BAR again in the same place",
            verify=verify,
            reboot=True,
        ),
        _ARC_LOSS if arc else 0.03,
    )

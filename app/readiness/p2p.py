"""Whether GPUs reach each other's memory, and why not.

Always a note where it is missing: moetune gives each layer to one device, and then megabytes per second pass between
GPUs. Only a split inside the layers (`-sm row`, `-sm tensor`) needs peer-to-peer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from app.readiness.case import Case
from app.readiness.finding import Finding, Fix
from app.readiness.parameters import version_of
from detectors.facts import Device, KernelFacts, Link

_MOVE_NOTIFY_GONE = (7, 0, 0)
"""CONFIG_DMABUF_MOVE_NOTIFY was there in 6.12 and is not in 7.3: its absence says nothing of a 7.x kernel."""
_NEEDED = (
    "Not needed when each layer has one device, as moetune plans it: only some megabytes per second pass between them. "
    "A split inside the layers (-sm row or tensor) gains from it."
)


def check_p2p(case: Case) -> Iterator[Finding]:
    """Every pair of GPUs of one maker."""
    if case.wsl:
        return
    for one, other in combinations([gpu for gpu in case.gpus if gpu.vendor in _IDS], 2):
        if one.vendor == other.vendor:
            yield _judge(case, one, other, case.machine.link(one.id, other.id))


def _judge(case: Case, one: Device, other: Device, link: Link | None) -> Finding:
    identity, pair = _IDS[one.vendor], f"{one.name} and {other.name}"
    if link is None or link.peer_to_peer is None:
        why = (link.why if link else "") or case.why_unknown("links", "kfd", "gpu_")
        return Finding(identity, "unknown", f"Whether {pair} reach each other is not known", why, _NEEDED)
    seen = f"{one.pci_bdf} and {other.pci_bdf}: {link.path}" + (f"; {link.why}" if link.why else "")
    if link.peer_to_peer:
        reason = "Transfers need no copy in the system's memory."
        if one.vendor == "NVIDIA":
            reason += (
                " llama.cpp uses it with GGML_CUDA_P2P=1 and -sm row or tensor; the driver's word is a grant, no "
                "proof: compare the output, and unset it if it turns to garbage."
            )
        return Finding(identity, "good", f"{pair} reach each other's memory", seen, reason)
    if one.vendor == "NVIDIA":
        return Finding(identity, "note", f"{pair} go through the host", seen, _NEEDED + _nvidia_cause(link.why))
    cause, fix = _amd_cause(case.kernel, one, other)
    return Finding(identity, "note", f"{pair} go through the host", f"{seen}; {cause}", _NEEDED, fix)


_IDS = {"AMD": "p2p.amd", "NVIDIA": "p2p.nv"}


def _nvidia_cause(why: str) -> str:
    lowered = why.lower()
    if "chipset" in lowered:
        return " The chipset refuses it (in a virtual machine: the emulated one); no setting changes that."
    if "gpu" in lowered:
        return " NVIDIA's driver refuses it to GeForce cards; that is normal."
    return ""


def _amd_cause(kernel: KernelFacts | None, one: Device, other: Device) -> tuple[str, Fix | None]:
    """The first reason that applies, in the order in which the driver asks."""
    if kernel is None or kernel.amd_p2p is None:
        return "amdgpu's parameter pcie_p2p could not be read", None
    if kernel.amd_p2p == "not built":
        missing = missing_symbols(kernel)
        cause = "this amdgpu was built without CONFIG_HSA_AMD_P2P"
        cause += f" ({kernel.config_file}: {', '.join(missing)})" if missing else ""
        fix = Fix(
            "install amdgpu-dkms from AMD's repository, or build a kernel with CONFIG_PCI_P2PDMA=y and "
            "CONFIG_HSA_AMD_P2P=y (up to 6.x also CONFIG_DMABUF_MOVE_NOTIFY=y)",
            "boot the former kernel, or remove amdgpu-dkms",
            "cat /sys/module/amdgpu/parameters/pcie_p2p   # Y",
            reboot=True,
        )
        return cause, fix
    if kernel.amd_p2p == "off":
        fix = Fix(
            "take amdgpu.pcie_p2p=0 off the kernel's command line and out of /etc/modprobe.d",
            "set it again",
            "cat /sys/module/amdgpu/parameters/pcie_p2p   # Y",
            reboot=True,
        )
        return "amdgpu.pcie_p2p is off", fix
    if any(gpu.iommu == "identity" for gpu in (one, other)):
        return (
            "the IOMMU passes through (iommu=pt): a BAR above the other card's address mask is out of reach then",
            None,
        )
    return (
        "the driver finds no path: not all VRAM visible (Resizable BAR), or a chipset that is not known to do it",
        None,
    )


def missing_symbols(kernel: KernelFacts) -> list[str]:
    """Build symbols that peer-to-peer needs and that this kernel's configuration lacks."""
    if kernel.config_file is None:
        return []
    needed = ["CONFIG_PCI_P2PDMA", "CONFIG_HSA_AMD_P2P"]
    if version_of(kernel.release) < _MOVE_NOTIFY_GONE:
        needed.append("CONFIG_DMABUF_MOVE_NOTIFY")
    return [f"{symbol} is not set" for symbol in needed if kernel.config.get(symbol) != "y"]

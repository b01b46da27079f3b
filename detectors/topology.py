"""The table of links: every pair of devices, how fast the way between them is, and whether the host is on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from detectors.facts import Basis, Device, KernelFacts, Link, MemoryPool

if TYPE_CHECKING:
    from detectors.registry import Peer

Peers = Mapping[frozenset[str], "Peer"]


def link_table(
    devices: Sequence[Device], pools: Mapping[str, MemoryPool], peers: Sequence[Peer], kernel: KernelFacts | None
) -> tuple[Link, ...]:
    """One link for each pair, in the order of the devices."""
    said = {frozenset((peer.from_id, peer.to_id)): peer for peer in peers}
    return tuple(_link(one, two, pools, said, kernel) for one, two in combinations(devices, 2))


def _link(one: Device, two: Device, pools: Mapping[str, MemoryPool], peers: Peers, kernel: KernelFacts | None) -> Link:
    if one.pool_id == two.pool_id:
        known = [device for device in (one, two) if device.bandwidth_gbps]
        slower = min(known, key=lambda device: device.bandwidth_gbps or 0, default=one)
        why, how = "both compute from the same memory: nothing is copied", f"the memory bandwidth of {slower.name}"
        memory_gbps, memory_basis = slower.bandwidth_gbps, slower.bandwidth_basis
        return Link(one.id, two.id, memory_gbps, None, True, memory_basis, "same memory", why, how)
    peer = peers.get(frozenset((one.id, two.id)))
    gbps, basis, how = _slots(one, two, peers)
    if "cpu" in (one.kind, two.kind):
        return Link(one.id, two.id, gbps, None, None, basis, "host", "", how)
    if peer is not None and peer.granted:
        if peer.path in ("xgmi", "nvlink"):
            fast = peer.bandwidth_gbps
            how = "the driver's figure" if fast else f"the {peer.path} bandwidth is not stated"
            return Link(one.id, two.id, fast, None, True, "driver", peer.path, peer.why, how)
        return Link(one.id, two.id, gbps, None, True, basis, "peer-to-peer", peer.why, how)
    granted, why = (peer.granted, peer.why) if peer else _why_not(one, two, pools, kernel)
    return Link(one.id, two.id, gbps, None, granted, basis, "through the host", why, how)


def _slots(one: Device, two: Device, peers: Peers) -> tuple[float | None, Basis, str]:
    """The slower of the two slots; a device in the system's memory has none."""
    slowest: tuple[float, str] | None = None
    for device in (one, two):
        if device.pool_id == "ram":
            continue
        gbps, how = _slot(device, peers)
        if gbps is None:
            return None, "estimated", how
        slowest = min(slowest or (gbps, how), (gbps, how))
    return (slowest[0], "driver", slowest[1]) if slowest else (None, "estimated", "not known")


def _slot(device: Device, peers: Peers) -> tuple[float | None, str]:
    link = device.link
    if link is not None and (gbps := link.bandwidth_gbps) is not None:
        width = link.current_width or link.max_width
        return gbps, f"{width} lanes at {link.max_gtps or link.current_gtps:g} GT/s of {device.name}"
    if link is not None and link.tunnelled:
        return None, f"{device.name} is on Thunderbolt or USB4, whose figures are made up"
    peer = peers.get(frozenset(("cpu", device.id)))
    if peer is not None and peer.bandwidth_gbps:
        return peer.bandwidth_gbps, f"KFD's figure for {device.name}"
    why = link.why if link is not None and link.why else "it states no link"
    return None, f"{device.name}: {why}"


def _why_not(
    one: Device, two: Device, pools: Mapping[str, MemoryPool], kernel: KernelFacts | None
) -> tuple[bool | None, str]:
    """Whether two GPUs of which no driver says anything reach each other, and why not."""
    if "remote" in (one.kind, two.kind):
        return False, "over the network"
    if one.vendor != two.vendor:
        return False, "the drivers of different makers do not reach into each other's memory"
    if one.vendor == "AMD":
        return False, _why_not_amd((one, two), pools, kernel)
    return None, f"nothing is known of peer-to-peer between {one.vendor} GPUs"


def _why_not_amd(pair: Sequence[Device], pools: Mapping[str, MemoryPool], kernel: KernelFacts | None) -> str:
    """What the kernel asks before it makes a link (amdgpu_device_is_peer_accessible), most likely reason first."""
    if kernel is not None and kernel.amd_p2p == "not built":
        return "amdgpu was built without CONFIG_HSA_AMD_P2P: it has no parameter pcie_p2p"
    if kernel is not None and kernel.amd_p2p == "off":
        return "amdgpu's parameter pcie_p2p is off"
    for device in pair:
        if device.kfd_node is None:
            return f"the compute driver (KFD) does not list {device.name}"
        total = pools[device.pool_id].total_bytes if device.kind == "dgpu" else device.carveout_bytes
        if device.visible_vram_bytes is not None and total is not None and device.visible_vram_bytes < total:
            return f"the bus sees only a part of the memory of {device.name} (no Resizable BAR)"
    if any(device.iommu == "identity" for device in pair):
        return (
            "the compute driver made no link: the chipset, or a BAR beyond the peer's reach without IOMMU translation"
        )
    return "the compute driver made no link: the chipset does not support it, or the kernel lacks CONFIG_PCI_P2PDMA"

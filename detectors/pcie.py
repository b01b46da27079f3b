"""What every PCI device has: the link to its slot, its IOMMU mode, its NUMA node, its sleep, and its device files."""

from __future__ import annotations

import re

from detectors.facts import Access, PcieLink
from detectors.host import Host
from detectors.pci import normal_bdf

_AMD = 0x1002
_INTEL = 0x8086
_BRIDGE = 0x0604
# AMD's cards since Vega 20 and Intel's Arc have a switch of two ports inside: upstream and downstream.
_MOST_INNER_PORTS = 2
_SPEED = re.compile(r"(\d+(?:\.\d+)?) GT/s")
_CURRENT_ROW = re.compile(r"([\d.]+)GT/s,? x(\d+).*\*")
_ASLEEP = "asleep: asking would wake it"


def asleep(host: Host, path: str) -> bool | None:
    """Whether the device is runtime-suspended; reading this wakes nothing."""
    status = host.text(f"{path}/power/runtime_status")
    return None if status is None else status in ("suspended", "suspending")


def numa_node(host: Host, path: str) -> int | None:
    """The node that the device hangs on; `None` where the firmware does not say (-1)."""
    return host.natural(f"{path}/numa_node")


def iommu_mode(host: Host, path: str) -> str | None:
    """`DMA-FQ`, `DMA`, `identity`; `off` without a group; `None` for a path that shows nothing at all."""
    mode = host.text(f"{path}/iommu_group/type")
    if mode:
        return mode
    if host.link(f"{path}/iommu_group") is not None or host.why(f"{path}/iommu_group") == "permission denied":
        return None
    return "off" if host.exists(f"{path}/power") else None


def access(host: Host, path: str) -> Access | None:
    """Whether this process may use a device file; `None` where there is no such file."""
    answer = host.ask("access", path)
    if isinstance(answer, list) and len(answer) == 2:
        return Access(path, answer[0] if isinstance(answer[0], bool) else None, str(answer[1]) if answer[1] else None)
    return Access(path, None) if host.exists(path) else None


def slot_link(host: Host, path: str, vendor: int) -> PcieLink:
    """The link between a GPU and its slot.

    The far side of a card's inner switch is looked for as the kernel does it (amdgpu_device_init_pcie_links): up
    from the GPU while the parent is of the same maker. The plain minimum over all bridges would be wrong: USB4 and
    Thunderbolt state 2.5 GT/s whatever they carry.
    """
    if asleep(host, path):
        return PcieLink(why=_ASLEEP)
    real = host.link(path) or path
    end = real
    for _ in range(_MOST_INNER_PORTS):
        parent = _parent(end)
        if parent is None or not _is_inner_port(host, parent, vendor):
            break
        end = parent
    partner = _parent(end)
    found = _read(host, end, partner)
    if vendor == _AMD and end == real:
        # Without its bridges (a partial tree, a container) an AMD card claims its inner link: ask the driver instead.
        return _by_driver(host, path, found)
    if vendor == _INTEL and end == real and found.max_width == 1:
        return PcieLink(why="the card's inner switch is not shown, and its own figure (x1) is that of the inside")
    return found


def _read(host: Host, end: str, partner: str | None) -> PcieLink:
    card_speed, card_width = _speed(host, f"{end}/max_link_speed"), _width(host, f"{end}/max_link_width")
    slot_speed = _speed(host, f"{partner}/max_link_speed") if partner else None
    slot_width = _width(host, f"{partner}/max_link_width") if partner else None
    speed, width = _speed(host, f"{end}/current_link_speed"), _width(host, f"{end}/current_link_width")
    known = any((card_speed, card_width, speed, width))
    return PcieLink(
        current_gtps=speed,
        current_width=width,
        max_gtps=min((value for value in (card_speed, slot_speed) if value), default=None),
        max_width=min((value for value in (card_width, slot_width) if value), default=None),
        card_gtps=card_speed,
        card_width=card_width,
        bridge_bdf=_bdf(end),
        partner_bdf=_bdf(partner) if partner else None,
        tunnelled=_tunnelled(host, end),
        source="pcie" if known else "",
        why="" if known else f"no link is stated ({host.why(f'{end}/current_link_width') or 'unknown'})",
    )


def _by_driver(host: Host, path: str, shown: PcieLink) -> PcieLink:
    """AMD's `pp_dpm_pcie`: the smaller of card and slot; the last row with a star is the present one."""
    rows = (host.text(f"{path}/pp_dpm_pcie") or "").splitlines()
    parsed = [(match, "*" in row) for row in rows if (match := _CURRENT_ROW.search(row + "*"))]
    if not parsed:
        return shown
    current = next((match for match, starred in reversed(parsed) if starred), None)
    widest = max((match for match, _ in parsed), key=lambda match: (float(match[1]), int(match[2])))
    return PcieLink(
        current_gtps=float(current[1]) if current else None,
        current_width=int(current[2]) if current else None,
        max_gtps=float(widest[1]),
        max_width=int(widest[2]),
        bridge_bdf=shown.bridge_bdf,
        partner_bdf=shown.partner_bdf,
        tunnelled=shown.tunnelled,
        source="pp_dpm_pcie",
    )


def _is_inner_port(host: Host, path: str, vendor: int) -> bool:
    """A port of the card's own switch: a bridge of the card's maker that is not the root port of the board."""
    if host.integer(f"{path}/vendor") != vendor:
        return False
    if vendor == _INTEL and _parent(path) is None:
        return False  # Intel makes root ports too
    kind = host.integer(f"{path}/class")
    return kind is None or kind >> 8 == _BRIDGE


def _tunnelled(host: Host, end: str) -> bool:
    """Whether the way to the slot goes through Thunderbolt or USB4."""
    path: str | None = end
    while path is not None:
        driver = (host.link(f"{path}/driver") or "").rpartition("/")[2]
        if host.text(f"{path}/removable") == "removable" or driver == "thunderbolt":
            return True
        path = _parent(path)
    return False


def _parent(path: str) -> str | None:
    """The bridge above; `None` where there is none (the host bridge, or a tree without its parents)."""
    parent = path.rpartition("/")[0]
    return parent if _bdf(parent) else None


def _bdf(path: str) -> str | None:
    return normal_bdf(path.rpartition("/")[2])


def _speed(host: Host, path: str) -> float | None:
    match = _SPEED.match(host.text(path) or "")  # "Unknown" on the root bus
    return float(match[1]) if match else None


def _width(host: Host, path: str) -> int | None:
    width = host.natural(path)
    return width if width and width <= 32 else None

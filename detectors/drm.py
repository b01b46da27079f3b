"""Graphics cards as the kernel's graphics layer lists them: /sys/class/drm."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.host import Host
from detectors.pci import normal_bdf

_DRM = "/sys/class/drm"
_CARD = re.compile(r"card[0-9]+")  # card1-DP-1 and the like are its connectors


@dataclass(frozen=True, slots=True)
class DrmCard:
    """One card by its place on the PCI bus."""

    bdf: str
    path: str
    driver: str | None
    device: int | None
    revision: int | None
    render_node: str | None


def drm_cards(host: Host, vendor: int) -> dict[str, DrmCard]:
    """A vendor's cards by PCI address; a partitioned GPU has several at one address, of which the first counts."""
    cards: dict[str, DrmCard] = {}
    for name in host.names(_DRM):
        path = f"{_DRM}/{name}/device"
        if not _CARD.fullmatch(name):
            continue
        lines = (line.partition("=") for line in (host.text(f"{path}/uevent") or "").splitlines())
        event = {key: value for key, equals, value in lines if equals}
        maker, _, device = event.get("PCI_ID", "").partition(":")
        if host.integer(f"{path}/vendor") != vendor and maker != f"{vendor:04X}":
            continue
        target = (host.link(path) or "").rpartition("/")[2]
        bdf = normal_bdf(event.get("PCI_SLOT_NAME", "")) or normal_bdf(target)
        if bdf is None or bdf in cards:
            continue
        number = host.integer(f"{path}/device")
        if number is None and re.fullmatch("[0-9A-Fa-f]{1,4}", device):
            number = int(device, 16)
        render = next((node for node in host.names(f"{path}/drm") if node.startswith("renderD")), None)
        cards[bdf] = DrmCard(bdf, path, event.get("DRIVER"), number, host.integer(f"{path}/revision"), render)
    return cards

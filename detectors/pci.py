"""Display and compute functions on the PCI bus, whatever drives them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.host import Host

_DEVICES = "/sys/bus/pci/devices"
_BDF = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
# Display controllers (3D controllers among them) and processing accelerators, the classes that GPUs come under.
_CLASSES = (0x03, 0x12)


@dataclass(frozen=True, slots=True)
class PciGpu:
    """A function of the bus that computes or displays."""

    bdf: str
    path: str
    device_id: int | None
    driver: str | None


def normal_bdf(text: str) -> str | None:
    """`00000000:01:00.0` as sysfs writes it, `0000:01:00.0`; `None` for what is no address."""
    lowered = text.strip().lower()
    if not _BDF.fullmatch(lowered):
        return None
    domain, _, rest = lowered.partition(":")
    return f"{int(domain, 16):04x}:{rest}"


@dataclass(frozen=True, slots=True)
class PciFunction:
    """A function of the bus by its ids, whose reading wakes nothing."""

    bdf: str
    path: str
    vendor: int
    device: int | None
    kind: int | None
    """Class, subclass and interface: 0x030000 is a VGA controller."""


def pci_functions(host: Host) -> list[PciFunction]:
    """All functions of the bus."""
    found: list[PciFunction] = []
    for name in host.names(_DEVICES):
        path = f"{_DEVICES}/{name}"
        vendor = host.integer(f"{path}/vendor")
        if vendor is not None and normal_bdf(name) is not None:
            found.append(PciFunction(name, path, vendor, host.integer(f"{path}/device"), host.integer(f"{path}/class")))
    return found


def pci_gpus(host: Host, vendor: int) -> list[PciGpu]:
    """The display and compute functions of a vendor."""
    found: list[PciGpu] = []
    for function in pci_functions(host):
        if function.vendor != vendor or (function.kind is not None and function.kind >> 16 not in _CLASSES):
            continue
        driver = (host.link(f"{function.path}/driver") or "").rpartition("/")[2]
        found.append(PciGpu(function.bdf, function.path, function.device, driver or None))
    return found

"""The devices that llama.cpp lists, and which detected device each of them is. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from app.runtimes.base import EngineDevice
from app.units import MIB
from detectors.facts import Device, Machine

_DEVICE_LINE = re.compile(r"^  (\S+): (.+) \((\d+) MiB, (\d+) MiB free\)$")
"""One line of `--list-devices`, as llama.cpp 0.1 to 0.6 prints it."""

CPU_DEVICE = EngineDevice(
    name="CPU",
    buffer_type="CPU",
    description="host memory",
    total_bytes=None,
    free_bytes=None,
    device_id="cpu",
)
"""Every llama.cpp has it and no `--list-devices` shows it."""

_VENDOR_BY_PREFIX = {"CUDA": "nvidia", "ROCm": "amd", "HIP": "amd", "SYCL": "intel", "MTL": "apple"}
_BACKEND_BY_PREFIX = {"MTL": "Metal", "HIP": "ROCm"}
_NO_BACKEND = ("CPU", "BLAS")


def prefix_of(name: str) -> str:
    """`CUDA` of `CUDA0`."""
    return name.rstrip("0123456789")


def parse_devices(text: str) -> tuple[EngineDevice, ...]:
    """Read the output of `--list-devices`; the CPU, which it leaves out, comes first.

    An RPC device is described by its server's `host:port`. Its buffer type counts the devices of that one server,
    while its name counts over all servers: the first device of the second server is `RPC1` and `RPC0[host:port]`.
    """
    devices = [CPU_DEVICE]
    per_endpoint: dict[str, int] = {}
    for line in text.splitlines():
        match = _DEVICE_LINE.match(line)
        if match is None:
            continue
        name, description, total, free = match.groups()
        buffer_type, device_id = name, None
        if prefix_of(name) == "RPC":
            index = per_endpoint.get(description, 0)
            per_endpoint[description] = index + 1
            buffer_type = f"RPC{index}[{description}]"
            device_id = f"remote:{description}" + (f"/{index}" if index else "")
        total_bytes = int(total) * MIB
        # Vulkan drivers may report a budget above the heap's size.
        free_bytes = min(int(free) * MIB, total_bytes)
        devices.append(EngineDevice(name, buffer_type, description, total_bytes, free_bytes, device_id))
    return tuple(devices)


def backends_of(devices: tuple[EngineDevice, ...], flags: frozenset[str]) -> tuple[str, ...]:
    """The backends that show: those with a device, and RPC where the option for it is there."""
    prefixes = (prefix_of(device.name) for device in devices)
    found = [_BACKEND_BY_PREFIX.get(prefix, prefix) for prefix in prefixes if prefix not in _NO_BACKEND]
    rpc = ["RPC"] if "--rpc" in flags else []
    return tuple(dict.fromkeys(["CPU", *(name for name in found if name != "RPC"), *rpc]))


def match_devices(devices: tuple[EngineDevice, ...], machine: Machine) -> tuple[EngineDevice, ...]:
    """Find the detected device behind each of the engine's.

    llama.cpp's list says neither kind nor PCI address, so the vendor that a backend implies, the words that the two
    names share and the sizes of the memories decide. Within a backend a detected device is given away once, the best
    pair first; cards that are alike go in the order of their index and their PCI address, as the drivers count them.
    """
    gpus = sorted((d for d in machine.devices if d.kind in ("igpu", "dgpu")), key=lambda d: d.pci_bdf or d.id)
    matched: dict[str, str] = {}
    for backend in dict.fromkeys(prefix_of(d.name) for d in devices if d.device_id is None):
        own = [d for d in devices if d.device_id is None and prefix_of(d.name) == backend]
        pairs = sorted(
            (-score, own.index(device), order, device.name, gpu.id)
            for order, gpu in enumerate(gpus)
            for device in own
            if (score := _likeness(device, gpu, machine)) > 0
        )
        taken: set[str] = set()
        for _, _, _, name, gpu_id in pairs:
            if name not in matched and gpu_id not in taken:
                matched[name] = gpu_id
                taken.add(gpu_id)
    return tuple(replace(d, device_id=d.device_id or matched.get(d.name)) for d in devices)


def _likeness(device: EngineDevice, gpu: Device, machine: Machine) -> float:
    """How much an engine's device looks like a detected one; 0: it is not that one."""
    vendor = _VENDOR_BY_PREFIX.get(prefix_of(device.name))
    theirs = gpu.vendor.lower()
    if vendor is not None and vendor not in theirs:
        return 0.0
    shared = _words(device.description) & (_words(gpu.name) | _words(gpu.vendor) | _words(gpu.arch or ""))
    memory = _memory_likeness(device, gpu, machine)
    if vendor is None and not shared:
        return 0.0
    # One shared word outweighs any difference in size: an APU's memory is whatever was set in the firmware.
    return len(shared) + memory + (0.5 if vendor is not None else 0.0)


def _memory_likeness(device: EngineDevice, gpu: Device, machine: Machine) -> float:
    """1 for the same size, towards 0 the further the sizes are apart, 0 where one is not known."""
    pool_bytes = next((pool.total_bytes for pool in machine.pools if pool.id == gpu.pool_id), None)
    size = gpu.limit_bytes or pool_bytes
    if not size or not device.total_bytes:
        return 0.0
    return min(size, device.total_bytes) / max(size, device.total_bytes)


def _words(name: str) -> set[str]:
    """The words that tell cards apart, lower case, `(RADV GFX1151)` included."""
    return {word for word in re.split(r"[^a-z0-9]+", name.lower()) if word} - {"graphics", "gpu", "corporation"}

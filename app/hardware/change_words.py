"""What may be changed of a machine, and how changes are written and told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from app.errors import UsageError
from app.hardware.cpu_facts import HOST_MEMORY
from app.hardware.cpus import nearest_cpus
from app.hardware.gpus import NamedGpu, nearest_gpus
from detectors.facts import Device, Machine, MemoryBus

Change = tuple[Machine, str]
"""The machine as it becomes, and a sentence that says what changed."""
EXAMPLES = {
    "ram": "ram=192",
    "cpu": 'cpu="EPYC 9355"',
    "memory": "memory=DDR5-6400",
    "channels": "channels=8",
    "gpu": 'gpu="RTX 5090"',
    "add-gpu": 'add-gpu="RTX 3090"',
    "gtt": "gtt=112",
    "pcie": "pcie=5x16",
    "p2p": "p2p=on",
}
"""Every key with an example, in the order in which changes are made."""


def without(machine: Machine, gone: Sequence[Device]) -> Machine:
    """The machine without these devices, their own memory and their links."""
    ids = {device.id for device in gone}
    own = {device.pool_id for device in gone} - {HOST_MEMORY}
    return replace(
        machine,
        devices=tuple(device for device in machine.devices if device.id not in ids),
        pools=tuple(pool for pool in machine.pools if pool.id not in own),
        links=tuple(link for link in machine.links if link.from_id not in ids and link.to_id not in ids),
    )


def bus_of(machine: Machine) -> MemoryBus | None:
    """The memory bus, where anything is known of it."""
    return machine.memory.bus if machine.memory is not None else None


def gibibytes(key: str, value: str) -> float:
    """A number of GiB.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:g|gb|gib)?", value, re.IGNORECASE)
    if match is None or float(match[1]) <= 0:
        raise UsageError(f"{key} is a number of GiB, not {value!r}", hint=f"Write it like {EXAMPLES[key]}.")
    return float(match[1])


def no_such(kind: str, text: str, nearest: tuple[str, ...]) -> UsageError:
    """The error for a name that no row answers to."""
    nearest = nearest or (nearest_gpus(text) if kind == "GPU" else nearest_cpus(text))
    hint = (
        f"Nearest are {', '.join(nearest)}."
        if nearest
        else f"Write it like {EXAMPLES['gpu' if kind == 'GPU' else 'cpu']}."
    )
    return UsageError(f"No {kind} is known as {text!r}", hint=hint)


def device_list(devices: Sequence[Device]) -> str:
    """Devices for a sentence: `2x NVIDIA GeForce RTX 3090 and AMD Radeon PRO W7900`."""
    counts: dict[str, int] = {}
    for device in devices:
        counts[device.name] = counts.get(device.name, 0) + 1
    return " and ".join(f"{count}x {name}" if count > 1 else name for name, count in counts.items())


def named_list(found: Sequence[NamedGpu]) -> str:
    """Entries of a list for a sentence."""
    return " and ".join(
        f"{named.count}x {named.model.full_name}" if named.count > 1 else named.model.full_name for named in found
    )

"""The whole of what was found out about a host."""

from __future__ import annotations

from dataclasses import dataclass, field

from detectors.facts.common import Problem
from detectors.facts.cpu import Cpu
from detectors.facts.device import Device, Link
from detectors.facts.kernel import KernelFacts
from detectors.facts.memory import MemoryFacts, MemoryPool


@dataclass(frozen=True, slots=True)
class Machine:
    """All that was found out about one host."""

    host_name: str
    cpu: Cpu | None = None
    pools: tuple[MemoryPool, ...] = ()
    devices: tuple[Device, ...] = ()
    links: tuple[Link, ...] = ()
    kernel: KernelFacts | None = None
    problems: tuple[Problem, ...] = ()
    elapsed_ms: dict[str, float] = field(default_factory=dict)
    """How long each detector took."""
    memory: MemoryFacts | None = None
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that change what an engine does without being asked: `LLAMA_ARG_*`, `CUDA_VISIBLE_DEVICES` ..."""
    engine_files: tuple[str, ...] = ()
    """Configuration files that llama.cpp reads on its own (`config.ini`)."""

    def pool(self, pool_id: str) -> MemoryPool:
        """The pool of that id.

        Raises:
            KeyError: there is none.
        """
        for pool in self.pools:
            if pool.id == pool_id:
                return pool
        raise KeyError(pool_id)

    def device(self, device_id: str) -> Device:
        """The device of that id.

        Raises:
            KeyError: there is none.
        """
        for device in self.devices:
            if device.id == device_id:
                return device
        raise KeyError(device_id)

    def label(self, device_id: str) -> str:
        """What a device is called: `RTX 4090`, or `RTX 4090 #2` where several are called so.

        Raises:
            KeyError: there is none.
        """
        label = self.device(device_id).label
        alike = [device.id for device in self.devices if device.label == label]
        return label if len(alike) == 1 else f"{label} #{alike.index(device_id) + 1}"

    def link(self, one_id: str, other_id: str) -> Link | None:
        """The link between two devices, whichever way round it is stated."""
        return next((link for link in self.links if {link.from_id, link.to_id} == {one_id, other_id}), None)

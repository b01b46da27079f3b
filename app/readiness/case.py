"""What is judged: a machine, and the plan it is judged for if there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.readiness.finding import Finding
from detectors.facts import Cpu, Device, KernelFacts, Machine

if TYPE_CHECKING:  # a check without a plan needs none of it
    from app.solver.model import ModelShape
    from app.solver.plan import Plan

STRIX_HALO = "gfx1151"
STRIX_HALO_PCI = "1002:1586"


@dataclass(frozen=True, slots=True)
class Case:
    """Facts, and what they are wanted for."""

    machine: Machine
    plan: Plan | None = None
    shape: ModelShape | None = None
    """The plan's model; without it nothing is said in tokens per second."""

    @property
    def cpu(self) -> Cpu | None:
        """The processor."""
        return self.machine.cpu

    @property
    def kernel(self) -> KernelFacts | None:
        """The kernel."""
        return self.machine.kernel

    @property
    def memory_bytes(self) -> int | None:
        """The system's own memory, limits and an APU's carve-out left aside (MemTotal)."""
        if self.machine.memory is not None:
            return self.machine.memory.total_bytes
        ram = next((pool for pool in self.machine.pools if pool.id == "ram"), None)
        return (ram.physical_bytes or ram.total_bytes - ram.carveout_bytes) if ram is not None else None

    @property
    def container(self) -> str | None:
        """The container we are in."""
        return self.kernel.container if self.kernel else None

    @property
    def hypervisor(self) -> str | None:
        """The hypervisor, if this is a virtual machine."""
        found = self.kernel.virtual_machine if self.kernel else None
        return found or (self.cpu.hypervisor if self.cpu else None)

    @property
    def wsl(self) -> bool:
        """Windows Subsystem for Linux: its kernel is Microsoft's, and no kernel check applies."""
        return self.kernel is not None and (self.kernel.wsl is not None or self.kernel.container == "wsl")

    @property
    def gpus(self) -> tuple[Device, ...]:
        """Integrated and discrete GPUs that the plan uses; without a plan, all."""
        return tuple(d for d in self.machine.devices if d.kind in ("igpu", "dgpu") and self.uses(d.id))

    @property
    def host_bytes(self) -> int:
        """What the plan holds in the CPU's memory."""
        return self.held_bytes("cpu")

    @property
    def uses_ram(self) -> bool:
        """Whether the plan computes from the system's memory, by the CPU or an integrated GPU."""
        return self.uses("cpu") or any(gpu.kind == "igpu" for gpu in self.gpus)

    def uses(self, device_id: str) -> bool:
        """Whether the plan puts anything there; without a plan, any device may be used."""
        return self.plan is None or device_id in self.plan.placement.devices

    def held_bytes(self, device_id: str) -> int:
        """What the plan puts on that device; 0 without a plan."""
        held = self.plan.memory if self.plan is not None else ()
        return sum(memory.total_bytes for memory in held if memory.device_id == device_id)

    def why_unknown(self, *sources: str) -> str:
        """What the detectors said of a fact that is missing.

        Args:
            sources: how the sources of the problems in question begin.
        """
        reasons = [p.reason for p in self.machine.problems if p.source.startswith(sources)]
        return "; ".join(reasons) or "the system does not tell"


Check = Callable[[Case], Iterator[Finding]]


def is_strix_halo(device: Device) -> bool:
    """AMD's Ryzen AI Max (PRO) 300 with its 256-bit memory."""
    return device.arch == STRIX_HALO or device.pci_id == STRIX_HALO_PCI

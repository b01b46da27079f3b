"""The way to an RPC server on another host: what of it was measured, and what is reckoned with where nothing was.

Everything that an engine exchanges with a server goes by the host that the engine runs on, so the way is a link of
the CPU's. A tensor that is fetched is waited for, one way there and back; what is sent is not waited for.
"""

from __future__ import annotations

from app.solver.constants import RPC_BANDWIDTH_GBPS, RPC_FETCHES_AHEAD
from detectors.facts import Basis, Device, Link, Machine


def network_link(machine: Machine, device: Device) -> Link | None:
    """The measured way to a remote device; `None` for any other device and where it was not measured."""
    link = machine.link("cpu", device.id) if device.kind == "remote" else None
    return link if link is not None and link.basis == "measured" else None


def network_gbps(machine: Machine, *devices: Device) -> tuple[float, Basis]:
    """GB/s of the way by way of those devices, one behind the other, and how it is known."""
    links = [network_link(machine, device) for device in devices if device.kind == "remote"]
    known = [link.bandwidth_gbps for link in links if link is not None and link.bandwidth_gbps]
    if not known:
        return RPC_BANDWIDTH_GBPS, "estimated"
    missing = len(links) - len(known)
    together = 1 / (sum(1 / gbps for gbps in known) + missing / RPC_BANDWIDTH_GBPS)
    return together, "estimated" if missing else "measured"


def there_and_back_ms(machine: Machine, device: Device) -> float | None:
    """What one fetch from that device waits for the network; `None` where it was not measured."""
    link = network_link(machine, device)
    return None if link is None or link.latency_us is None else 2 * link.latency_us / 1e3


def crossing_wait_ms(machine: Machine, owner: Device, attention: Device) -> float:
    """Waiting of one layer whose experts are on another device: their inputs are fetched, and then their output."""
    if "remote" not in (owner.kind, attention.kind):
        return 0.0
    ahead = RPC_FETCHES_AHEAD * (there_and_back_ms(machine, attention) or 0.0)
    return ahead + (there_and_back_ms(machine, owner) or 0.0)

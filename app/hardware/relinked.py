"""The table of links of a machine that is described or changed: what is known of its ways stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

from app.hardware.gpu_facts import with_figures
from app.hardware.pcie import PcieWords
from detectors.facts import Machine
from detectors.registry import Peer
from detectors.topology import link_table


def relinked(
    machine: Machine, slots: Mapping[str, PcieWords], *, peer_to_peer: bool | None = None, shared: bool = False
) -> Machine:
    """The machine with a link for every pair of its devices.

    Args:
        machine: its links may lack pairs, or have some of devices that are gone.
        slots: what is said of the slots of new or changed cards, by device id: links of these are made anew.
        peer_to_peer: whether GPUs of one maker reach each other, where their link does not say; `None`: not known.
        shared: whether links within one memory are made anew, as its bandwidth changed.
    """
    kept = {frozenset((link.from_id, link.to_id)): link for link in machine.links}
    pools = {pool.id: pool for pool in machine.pools}
    links = []
    for link in link_table(machine.devices, pools, tuple(_peers(machine, peer_to_peer)), machine.kernel):
        pair = frozenset((link.from_id, link.to_id))
        known = kept.get(pair)
        stale = bool(pair & slots.keys()) or (shared and link.path == "same memory")
        links.append(known if known is not None and not stale else with_figures(link, slots))
    return replace(machine, links=tuple(links))


def _peers(machine: Machine, peer_to_peer: bool | None) -> Iterator[Peer]:
    """What is known of GPUs reaching each other; of new ones no driver has said anything yet."""
    for one, two in combinations(machine.devices, 2):
        known = machine.link(one.id, two.id)
        if known is not None and known.peer_to_peer is not None and known.path not in ("same memory", "host"):
            fast = known.bandwidth_gbps if known.path in ("xgmi", "nvlink") else None
            yield Peer(one.id, two.id, known.peer_to_peer, known.why, known.path, fast)
        elif known is None and {one.kind, two.kind} <= {"dgpu", "igpu"} and one.vendor == two.vendor:
            yield Peer(one.id, two.id, peer_to_peer, "not stated" if peer_to_peer is None else "as described")

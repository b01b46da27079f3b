"""The facts of a machine in text: what computes, what it reads from and how fast, and how they are joined."""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.output import painted, print_rows
from app.units import bytes_text
from detectors.facts import Cpu, Device, Link, Machine, MemoryBus, PcieLink

_KINDS = {"cpu": "CPU memory", "igpu": "iGPU", "dgpu": "GPU", "remote": "Remote"}
_BASIS = {"measured": "measured", "calibrated": "calibrated", "driver": "from the driver", "table": "from a table",
          "estimated": "estimated"}  # fmt: skip


def print_machine(machine: Machine) -> None:
    """Processor, memory, devices, links, kernel, and what is not known."""
    print(painted(f"Machine {machine.host_name}", "bold"))
    print_rows(list(_rows(machine)))


def _rows(machine: Machine) -> Iterator[tuple[str, str]]:
    if machine.cpu is not None:
        yield from _cpu(machine.cpu)
    yield from _memory(machine)
    for device in machine.devices:
        yield _KINDS[device.kind], _device(machine, device)
    for link in machine.links:
        ends = {link.from_id, link.to_id}
        # Between the CPU and a card the card's own line says it; what joins two GPUs is said here.
        if "cpu" not in ends:
            yield "Link", _link(machine, link)
    yield from _kernel(machine)
    for problem in machine.problems:
        yield problem.source, f"n/a: {problem.reason}"


def _cpu(cpu: Cpu) -> Iterator[tuple[str, str]]:
    sockets = f"{cpu.sockets} sockets, " if cpu.sockets and cpu.sockets > 1 else ""
    cores = f"{sockets}{cpu.physical_cores or 'n/a'} cores, {cpu.logical_cpus} threads"
    kinds = " + ".join(f"{kind.cores} {kind.kind}" for kind in cpu.core_types)
    where = f" · virtual machine ({cpu.hypervisor})" if cpu.hypervisor else ""
    yield "CPU", f"{cpu.model} · {cores}{f' ({kinds})' if kinds else ''}{where}"
    hidden = f" · hidden by the kernel: {' '.join(cpu.isa_hidden)}" if cpu.isa_hidden else ""
    yield "", " ".join(cpu.isa) + hidden
    if cpu.amx is not None and cpu.amx.features:
        granted = {True: "granted", False: f"not granted: {cpu.amx.why}", None: f"grant n/a: {cpu.amx.why}"}
        yield "", f"AMX {granted[cpu.amx.granted]}"
    if cpu.decode_threads:
        yield "", f"threads for decode {cpu.decode_threads}, for prefill {cpu.prefill_threads or 'n/a'}"
    nodes = [node for node in cpu.numa_nodes if node.cpus]
    if len(nodes) > 1:
        yield "NUMA", f"{len(nodes)} nodes with CPUs, {cpu.nodes_per_socket or 'n/a'} a socket"


def _memory(machine: Machine) -> Iterator[tuple[str, str]]:
    for pool in machine.pools:
        if pool.id.startswith("vram"):
            continue
        free = f", {bytes_text(pool.available_bytes)} available" if pool.available_bytes is not None else ""
        yield pool.name, f"{bytes_text(pool.total_bytes)}{free}"
    facts = machine.memory
    if facts is not None and facts.bus is not None and facts.bus.theoretical_gbps is not None:
        yield "Memory bus", _bus(facts.bus)
    if facts is not None and facts.limit_bytes is not None:
        yield "", f"limited to {bytes_text(facts.limit_bytes)} by {facts.limit_file or 'its cgroup'}"


def _bus(bus: MemoryBus) -> str:
    kind = "-".join(str(part) for part in (bus.type, bus.configured_mts or bus.rated_mts) if part)
    channels = f"{bus.channels} channels" if bus.channels else f"{bus.bits} bit" if bus.bits else ""
    modules = f"{len(bus.modules)} modules" if bus.modules else ""
    parts = (kind, modules, channels, f"{bus.theoretical_gbps:.0f} GB/s in theory")
    return " · ".join(part for part in parts if part)


def _device(machine: Machine, device: Device) -> str:
    if device.bandwidth_gbps is None:
        unknown = "bandwidth n/a"
        speed = f"{unknown}: not measured yet (moetune check --measure)" if device.kind == "cpu" else unknown
    else:
        speed = f"{device.bandwidth_gbps:.0f} GB/s {_BASIS[device.bandwidth_basis]}"
    if device.kind == "cpu":
        return speed
    parts = [f"{device.name}{f' ({device.arch})' if device.arch else ''}", speed]
    parts.append(_gpu_memory(machine, device))
    if device.link is not None:
        parts.append(_slot(device.link))
    if device.asleep:
        parts.append("asleep")
    return " · ".join(part for part in parts if part)


def _gpu_memory(machine: Machine, device: Device) -> str:
    if device.pool_id == "ram":
        return f"up to {bytes_text(device.limit_bytes)} of the system's memory" if device.limit_bytes else ""
    pool = machine.pool(device.pool_id)
    free = f", {bytes_text(pool.available_bytes)} free" if pool.available_bytes is not None else ""
    return f"{bytes_text(pool.total_bytes)} VRAM{free}"


def _slot(link: PcieLink) -> str:
    if link.tunnelled:
        return "over Thunderbolt or USB4"
    width = link.current_width or link.max_width
    if link.bandwidth_gbps is None or width is None:
        return f"slot n/a: {link.why}" if link.why else ""
    return f"x{width} at {link.max_gtps or link.current_gtps:g} GT/s, {link.bandwidth_gbps:.1f} GB/s"


def _link(machine: Machine, link: Link) -> str:
    names = " – ".join(machine.device(one).name for one in (link.from_id, link.to_id))
    speed = f"{link.bandwidth_gbps:.1f} GB/s" if link.bandwidth_gbps is not None else "bandwidth n/a"
    direct = {True: "peer to peer", False: "through the host", None: "peer to peer n/a"}[link.peer_to_peer]
    return f"{names} · {speed} · {direct}{f': {link.why}' if link.why else ''}"


def _kernel(machine: Machine) -> Iterator[tuple[str, str]]:
    kernel = machine.kernel
    if kernel is None:
        return
    inside = f" · in a container ({kernel.container})" if kernel.container else ""
    if kernel.wsl:
        inside = f" · in Windows Subsystem for Linux {kernel.wsl}"
    loader = f" · boots by {kernel.boot_loader}" if kernel.boot_loader else ""
    yield "Kernel", f"{kernel.release} · {kernel.distribution or 'distribution n/a'}{inside}{loader}"

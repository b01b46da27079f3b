"""The machine in lines of text: devices, links, kernel, findings. Pure functions of facts and a width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from app.ui.widgets.bars import Part, bar, unknown_bar
from app.units import bytes_text

if TYPE_CHECKING:
    from app.readiness import Finding
    from app.runtimes.base import Engine
    from detectors.facts import Cpu, Device, Machine, MemoryPool, Problem

SEVERITIES = {
    "blocks": ("✗ blocks", "bold $error"),
    "costs": ("! costs ", "bold $warning"),
    "note": ("· note  ", "$primary"),
    "unknown": ("? open  ", "$secondary"),
    "good": ("✓ good  ", "$success"),
}
"""Severity -> its word with a glyph, and its style."""

KINDS = {"cpu": "CPU", "igpu": "integrated GPU", "dgpu": "GPU", "remote": "remote"}
BASES = {
    "measured": "measured",
    "calibrated": "calibrated",
    "driver": "from the driver",
    "table": "from a table",
    "estimated": "estimated",
}


def device_name(machine: Machine, device_id: str, limit: int = 16) -> str:
    """What a device is called in tables: `CPU`, `4090`, `host:port`."""
    if device_id == "cpu":
        return "CPU"
    for device in machine.devices:
        if device.id == device_id:
            if device.kind == "remote":
                return device_id.removeprefix("remote:")[:limit]
            return device.label if len(device.label) <= limit else device.label[: limit - 1] + "…"
    return device_id[:limit]


def device_title(device: Device, cpu: Cpu | None) -> str:
    """The heading of a device's box."""
    if device.kind == "cpu" and cpu is not None:
        cores = f"{cpu.physical_cores} cores, " if cpu.physical_cores else ""
        return f"{device.name} · {cores}{cpu.logical_cpus} CPUs usable"
    arch = f" {device.arch}" if device.arch else ""
    return f"{device.name} · {KINDS[device.kind]}{arch}"


def device_lines(machine: Machine, device: Device, width: int) -> list[Content]:
    """What stands in a device's box."""
    pool = next((pool for pool in machine.pools if pool.id == device.pool_id), None)
    lines = [_memory_line(machine, device, pool, width)]
    if device.kind == "cpu" and machine.cpu is not None:
        lines.append(_isa_line(machine.cpu))
    facts = [_bandwidth_text(device)]
    if device.fp16_tflops:
        facts.append(f"{device.fp16_tflops:.0f} TFLOPS fp16")
    if device.driver:
        facts.append(f"driver {device.driver}")
    if device.kind == "cpu" and machine.cpu and machine.cpu.hypervisor:
        facts.append(f"virtual machine ({machine.cpu.hypervisor})")
    lines.append(Content.styled(" · ".join(facts), "$muted"))
    return lines


def _memory_line(machine: Machine, device: Device, pool: MemoryPool | None, width: int) -> Content:
    if pool is None:
        return Content("memory n/a: the detector found none")
    label = "VRAM" if device.kind == "dgpu" else "RAM " if pool.id == "ram" else "mem "
    if device.kind == "igpu" and pool.id == "ram":
        most = bytes_text(device.limit_bytes or pool.total_bytes)
        return Content.assemble(
            ("one pool with the CPU: ", "bold"), f"up to {most} of {bytes_text(pool.total_bytes)} RAM"
        )
    if pool.available_bytes is None:
        text = f" {bytes_text(pool.total_bytes)}, how much is used: n/a"
        return Content.assemble(f"{label} ", unknown_bar(min(40, width - len(text) - 6)), text)
    used = pool.total_bytes - pool.available_bytes
    shared = [d for d in machine.devices if d.pool_id == pool.id and d.id != device.id]
    text = f" {used / 2**30:.1f} of {bytes_text(pool.total_bytes)} used"
    if shared and width >= 60:
        text += f", shared with {', '.join(device_name(machine, d.id) for d in shared)}"
    room = max(4, min(80, width - len(label) - 1 - len(text)))
    return Content.assemble(f"{label} ", bar([Part(used, "█", "$primary")], pool.total_bytes, room), text)


def _isa_line(cpu: Cpu) -> Content:
    if not cpu.isa:
        return Content(f"{cpu.architecture}, instruction sets n/a")
    names = " ".join(name.upper().replace("AVX512_", "").replace("_", "-") for name in cpu.isa)
    if cpu.architecture == "x86_64" and not any(name.startswith("amx") for name in cpu.isa):
        names += " · no AMX"
    return Content(names)


def _bandwidth_text(device: Device) -> str:
    if device.bandwidth_gbps is None:
        return "bandwidth n/a"
    return f"reads {device.bandwidth_gbps:.0f} GB/s ({BASES[device.bandwidth_basis]})"


def host_text(machine: Machine | None) -> str:
    """`halo · Debian 13 · Linux 6.17`, for the top line."""
    if machine is None:
        return "detecting…"
    kernel = machine.kernel
    parts = [machine.host_name]
    if kernel is not None:
        parts += [kernel.distribution or "", f"Linux {kernel.release}"]
    return " · ".join(part for part in parts if part)


def system_lines(machine: Machine, engines: tuple[Engine, ...] | None, engines_error: str, width: int) -> list[Content]:
    """Links, kernel and engines, one line each, labelled."""
    lines = []
    for link in machine.links:
        if link.path == "same memory":
            continue  # the boxes say that it is one pool: nothing passes between them
        speed = f"{link.bandwidth_gbps:.1f} GB/s" if link.bandwidth_gbps is not None else "bandwidth n/a"
        latency = f", {link.latency_us:.0f} µs" if link.latency_us is not None else ""
        peer = {True: ", peer to peer", False: ", through the host", None: ""}[link.peer_to_peer]
        ends = f"{device_name(machine, link.from_id)} ⇄ {device_name(machine, link.to_id)}"
        lines.append(_labelled("link", f"{ends}  {speed}{latency}{peer} ({BASES[link.basis]})"))
    if not any(device.kind in ("igpu", "dgpu") for device in machine.devices):
        lines.append(_labelled("GPU", "none found: plans will use the CPU and any remote devices"))
    if (kernel := machine.kernel) is not None:
        where = f"in a container ({kernel.container}) · " if kernel.container else ""
        boot = kernel.command_line if kernel.command_line is not None else "n/a"
        lines.append(_labelled("kernel", f"Linux {kernel.release} · {where}boot: {boot}"))
    lines.append(_labelled("engine", _engines_text(engines, engines_error)))
    return lines


def _engines_text(engines: tuple[Engine, ...] | None, error: str) -> str:
    if error:
        return f"n/a: {error}"
    if engines is None:
        return "looking…"
    if not engines:
        return "none found: `moetune runtime build` builds llama.cpp for this machine"
    best = engines[0]
    more = f" · and {len(engines) - 1} more" if len(engines) > 1 else ""
    return f"{best.runtime.replace('_', '-')} {best.version} ({best.origin}) · {', '.join(best.backends)}{more}"


def _labelled(label: str, text: str) -> Content:
    return Content.assemble((f"{label:<7}", "$muted"), text)


def finding_lines(finding: Finding, width: int) -> Content:
    """A finding as it stands in the list: two lines."""
    word, style = SEVERITIES[finding.severity]
    mark = "  ⏎ fix" if finding.fix else ""
    title = Content(finding.title).truncate(max(8, width - 10 - len(mark)), ellipsis=True)
    evidence = Content.styled(finding.evidence, "$muted").truncate(max(8, width - 10), ellipsis=True)
    first = Content.assemble((word, style), "  ", title.stylize("bold"), (mark, "$accent"))
    return Content.assemble(first, "\n", " " * 10, evidence) if finding.evidence else first


def problem_line(problem: Problem, width: int) -> Content:
    """A fact that could not be had, as it stands in the list."""
    text = Content(f"{problem.source}: {problem.reason}").truncate(max(8, width - 10), ellipsis=True)
    return Content.assemble(("n/a       ", "$muted"), text.stylize("$muted"))

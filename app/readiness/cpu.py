"""What the CPU can compute with, against what it should be able to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.readiness.finding import Finding, Fix
from detectors.facts import Machine

# Xeon Scalable of the 4th and 5th generation have 4 or 5 as the second digit (Platinum 8480+, Gold 6548Y), Max is
# 94xx, workstations w9-3495X and w5-2565X; Xeon 6 has AMX with performance cores only (6980P, not 6780E). QEMU's
# named models say the generation.
_HAS_AMX = re.compile(
    r"Xeon.*\b(?:Platinum|Gold|Silver|Bronze)\s+\d[45]\d\d|Xeon.*\bMax\s+94\d\d|Xeon.*\bw[3579]-[23][45]\d\d"
    r"|Xeon\S*\s+6\d{3}P|Sapphire ?Rapids|Emerald ?Rapids|Granite ?Rapids"
)


def check_amx(machine: Machine) -> Iterator[Finding]:
    """AMX on the Xeons that have it."""
    cpu = machine.cpu
    if cpu is None:
        return
    evidence = f"{cpu.model}; hypervisor: {cpu.hypervisor or 'none'}; flags: {' '.join(cpu.isa) or 'none'}"
    if "amx_int8" in cpu.isa:
        title = "The CPU has AMX"
        yield Finding(
            "cpu.amx",
            "good",
            title,
            evidence,
            "Its matrix units speed up prompts through experts that live on the CPU.",
        )
    elif cpu.hypervisor is not None and _HAS_AMX.search(cpu.model):
        yield Finding(
            "cpu.amx.masked",
            "costs",
            "The hypervisor hides the CPU's AMX",
            evidence,
            "This Xeon has matrix units, but the virtual machine was not given them: experts on the CPU are slow.",
            Fix(
                text=(
                    "libvirt: <cpu mode='host-passthrough'/> (virsh edit NAME)\n"
                    "Proxmox: qm set VMID --cpu host\n"
                    "QEMU: -cpu host\n"
                    "then stop the virtual machine and start it again"
                ),
                undo="set the former CPU model again",
                verify="grep -o -m1 amx_int8 /proc/cpuinfo",
                reboot=True,
            ),
        )

"""What the CPU can compute with, against what it should be able to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding, Fix
from app.readiness.packages import kernel_fix
from detectors.facts import Amx, Cpu

# Xeon Scalable of the 4th and 5th generation have 4 or 5 as the second digit (Platinum 8480+, Gold 6548Y), Max is
# 94xx, workstations w9-3495X and w5-2565X; Xeon 6 has AMX with performance cores only (6980P, not 6780E). QEMU's
# named models say the generation.
_HAS_AMX = re.compile(
    r"Xeon.*\b(?:Platinum|Gold|Silver|Bronze)\s+\d[45]\d\d|Xeon.*\bMax\s+94\d\d|Xeon.*\bw[3579]-[23][45]\d\d"
    r"|Xeon\S*\s+6\d{3}P|Sapphire ?Rapids|Emerald ?Rapids|Granite ?Rapids"
)
_SLOW = (
    "Experts on the CPU then run on AVX-512: prompts through them are several times slower. Generation hardly suffers."
)
_AMX_SINCE = "5.16"
_AMX_SHARE = 0.3
_HOST_CPU = Fix(
    text=(
        "libvirt: <cpu mode='host-passthrough'/> (virsh edit NAME)\n"
        "Proxmox: qm set VMID --cpu host\n"
        "QEMU: -cpu host\n"
        "then stop the virtual machine and start it again"
    ),
    undo="set the former CPU model again",
    verify="grep -o -m1 amx_int8 /proc/cpuinfo",
    reboot=True,
)


def check_amx(case: Case) -> Iterator[Finding]:
    """AMX on the Xeons that have it: present, supported by the kernel, and granted."""
    cpu = case.cpu
    if cpu is None or not case.uses("cpu"):
        return
    flags = cpu.amx.features if cpu.amx is not None else tuple(name for name in cpu.isa if name.startswith("amx"))
    evidence = f"{cpu.model}; hypervisor: {case.hypervisor or 'none'}; AMX: {' '.join(flags) or 'none'}"
    if "amx_int8" in flags or "amx_int8" in cpu.isa:
        yield _present(case, cpu.amx, evidence)
    elif _HAS_AMX.search(cpu.model) and case.hypervisor is not None:
        title = "The hypervisor hides the CPU's AMX"
        reason = f"This Xeon has matrix units, but the virtual machine was not given them. {_SLOW}"
        yield Finding("cpu.amx.masked", "costs", title, evidence, reason, _HOST_CPU, _AMX_SHARE)
    elif _HAS_AMX.search(cpu.model):
        fix = Fix(
            "enable AMX in the firmware (processor options), and take clearcpuid= off the kernel's command line",
            "the reverse",
            "grep -o -m1 amx_int8 /proc/cpuinfo",
            reboot=True,
        )
        yield Finding(
            "cpu.amx.off", "costs", "This Xeon should have AMX, and shows none", evidence, _SLOW, fix, _AMX_SHARE
        )


def _present(case: Case, amx: Amx | None, evidence: str) -> Finding:
    if amx is not None and amx.granted:
        reason = "Its matrix units speed up prompts through experts that live on the CPU."
        return Finding("cpu.amx", "good", "The CPU has AMX", evidence, reason)
    if amx is None or (amx.granted is None and amx.kernel_supports is None):
        reason = "Programs have to ask the kernel for AMX; whether it grants it was not tried."
        why = (amx.why if amx else "") or "it was not tried"
        return Finding("cpu.amx", "unknown", "The CPU has AMX; whether programs get it is not known", why, reason)
    if amx.kernel_supports is False:
        release = case.kernel.release if case.kernel else "unknown"
        title = f"The CPU has AMX, and kernel {release} does not support it"
        fix = kernel_fix(case.kernel, _AMX_SINCE)
        return Finding("cpu.amx.kernel", "costs", title, f"{evidence}; {amx.why}", _SLOW, fix, _AMX_SHARE)
    if amx.granted is None:
        reason = "The kernel supports it; whether this user's programs get it was not tried."
        return Finding("cpu.amx", "unknown", "The CPU has AMX; its use is not tried", amx.why or evidence, reason)
    fix = Fix(
        "let the program ask for it: a sandbox or seccomp filter denies arch_prctl (docker: --security-opt "
        "seccomp=unconfined)",
        "leave the option out",
        "moetune check",
        reboot=False,
    )
    title = "The CPU has AMX, and programs of this user are refused it"
    return Finding("cpu.amx.denied", "costs", title, f"{evidence}; {amx.why}", _SLOW, fix, _AMX_SHARE)


def check_threads(case: Case) -> Iterator[Finding]:
    """CPUs that this process may use, and which of them it should."""
    cpu = case.cpu
    if cpu is None or not case.uses("cpu"):
        return
    yield from _limits(case, cpu)
    kinds = ", ".join(f"{kind.cores} {kind.kind}" for kind in cpu.core_types)
    if len(cpu.core_types) > 1 and cpu.decode_threads:
        yield Finding(
            "cpu.threads",
            "note",
            f"Use {cpu.decode_threads} threads: the fast cores",
            f"{cpu.model}: {kinds} cores ({cpu.core_types_how})",
            "Every layer waits for its slowest thread. moetune's plans do this on their own; for others it is "
            f"-t {cpu.decode_threads} -tb {cpu.prefill_threads or cpu.decode_threads}.",
        )
    if cpu.architecture == "x86_64" and "avx2" not in cpu.isa:
        masked = "; the hypervisor may hide it" if case.hypervisor else ""
        evidence = f"{cpu.model}: {' '.join(cpu.isa) or 'none of the instruction sets'}{masked}"
        fix = _HOST_CPU if case.hypervisor else None
        title = "The CPU shows no AVX2"
        yield Finding(
            "cpu.avx2", "costs", title, evidence, "Quantized weights are slow to unpack without it.", fix, 0.6
        )


def _limits(case: Case, cpu: Cpu) -> Iterator[Finding]:
    online, usable = cpu.online_cpus, cpu.logical_cpus
    quota = cpu.quota_cpus
    if (quota is not None and quota < usable) or (online is not None and usable < online):
        share = min(quota or usable, usable)
        evidence = f"{online or '?'} CPUs are online, {usable} may be used" + (
            f", cpu.max grants {quota:g}" if quota else ""
        )
        yield Finding(
            "cpu.cgroup",
            "costs",
            f"This process gets {share:g} of {online or usable} CPUs",
            evidence,
            "More threads than granted CPUs stop each other: the plan uses no more than there are.",
            _cpu_fix(case),
            0.3 * (1 - share / (online or usable)) if (online or usable) else 0.0,
        )


def _cpu_fix(case: Case) -> Fix:
    if case.container:
        return Fix(
            "docker or podman: start the container without --cpus and --cpuset-cpus (docker update --cpus N NAME)\n"
            "Kubernetes: raise resources.limits.cpu",
            "set the limit back to its former value",
            "cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpuset.cpus.effective",
            reboot=False,
        )
    return Fix(
        'sudo systemctl set-property "user-$(id -u).slice" CPUQuota= AllowedCPUs=   # or start without taskset',
        "set the former value again",
        "nproc",
        reboot=False,
    )

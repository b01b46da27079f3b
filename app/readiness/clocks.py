"""Whether the processor is held back to save power."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case, is_strix_halo
from app.readiness.finding import Finding, Fix, fix_of
from app.readiness.steps import run
from detectors.facts import CpuPower

_SAVING = ("power", "balance_power")
_DYNAMIC_DRIVERS = ("amd-pstate-epp", "amd_pstate_epp", "intel_pstate")
"""In active mode, their `powersave` is the normal dynamic mode (Documentation/admin-guide/pm/intel_pstate.rst)."""
_TIP = (
    "A Strix Halo under tuned's accelerator-performance read memory at 234 instead of 228 GB/s, and prompts 5 to 8 % "
    "faster (published measurement)."
)


def check_power(case: Case) -> Iterator[Finding]:
    """Governor and energy preference, read the way the driver means them; mains or battery."""
    cpu = case.cpu
    if cpu is None or case.hypervisor or case.wsl or not case.uses_ram:
        return
    power = cpu.power
    if power is not None and power.on_battery:
        fix = Fix("connect the power supply", "nothing to undo", "cat /sys/class/power_supply/*/online", reboot=False)
        reason = "On battery, firmware and drivers hold clocks and power back, the GPU's as well."
        yield Finding("cpu.battery", "costs", "The machine runs on battery", _seen(power), reason, fix, 0.3)
    if power is None or not _is_known(power):
        why = (power and _seen(power)) or case.why_unknown("cpu")
        reason = (
            "A processor that saves power reads memory more slowly. Driver, governor and preference decide together."
        )
        yield Finding("cpu.epp", "unknown", "How the clock is governed is not known", why, reason)
        return
    saving, evidence = _saving(power), _seen(power)
    if saving:
        yield Finding(
            "cpu.epp",
            "costs",
            f"The processor saves power: {saving}",
            evidence,
            "Clocks rise late or not at all between the short bursts of work of each layer.",
            _fix(power),
            0.1,
        )
    elif any(is_strix_halo(gpu) for gpu in case.gpus) and power.preference != "performance":
        fix = fix_of(
            (run("tuned-adm profile accelerator-performance", "tuned-adm profile balanced"),),
            "tuned-adm active",
            reboot=False,
        )
        yield Finding("cpu.epp", "note", "A performance profile gains a little", evidence, _TIP, fix, 0.02)
    else:
        yield Finding(
            "cpu.epp", "good", "The processor's clock is not held back", evidence, "It rises when it is needed."
        )


def _is_known(power: CpuPower) -> bool:
    """Whether enough was read to judge: under a dynamic driver, `powersave` alone says nothing."""
    if power.driver is None or power.governor is None:
        return False
    return power.preference is not None or power.governor != "powersave" or bool(_saving(power))


def _saving(power: CpuPower) -> str:
    """What says so; empty where nothing does."""
    if power.preference in _SAVING:
        return f"energy preference {power.preference}"
    dynamic = power.driver in _DYNAMIC_DRIVERS and power.status in (None, "active")
    if power.governor == "powersave" and not dynamic:
        return f"governor powersave of {power.driver or 'the driver'}"
    return "platform profile low-power" if power.profile == "low-power" else ""


def _seen(power: CpuPower) -> str:
    facts = {
        "driver": power.driver,
        "governor": power.governor,
        "preference": power.preference,
        "platform profile": power.profile,
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value)


def _fix(power: CpuPower) -> Fix:
    if power.preference is not None:
        former = "power-saver" if power.preference == "power" else "balanced"
        steps = (run("powerprofilesctl set performance", f"powerprofilesctl set {former}"),)
        verify = "cat /sys/devices/system/cpu/cpu0/cpufreq/energy_performance_preference"
    else:
        former = power.governor or "schedutil"
        steps = (run("cpupower frequency-set -g performance", f"cpupower frequency-set -g {former}"),)
        verify = "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
    return fix_of(steps, verify, reboot=False)

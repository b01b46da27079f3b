"""How the processor's clock is governed."""

from __future__ import annotations

from detectors.facts import CpuPower
from detectors.host import Host

_CPU = "/sys/devices/system/cpu"
_SUPPLY = "/sys/class/power_supply"


def cpu_power(host: Host, cpu: int) -> CpuPower | None:
    """Driver, governor and preference of one CPU (they are set alike); `None` where none of it is said."""
    folder = f"{_CPU}/cpu{cpu}/cpufreq"
    found = CpuPower(
        driver=host.text(f"{folder}/scaling_driver") or None,
        governor=host.text(f"{folder}/scaling_governor") or None,
        preference=host.text(f"{folder}/energy_performance_preference") or None,
        status=host.text(f"{_CPU}/amd_pstate/status") or host.text(f"{_CPU}/intel_pstate/status") or None,
        profile=host.text("/sys/firmware/acpi/platform_profile") or None,
        on_battery=_on_battery(host),
    )
    return found if found != CpuPower() else None


def _on_battery(host: Host) -> bool | None:
    """Whether every mains supply is unplugged; `None` on machines without one that says so."""
    supplies = host.names(_SUPPLY)
    mains = [name for name in supplies if host.text(f"{_SUPPLY}/{name}/type") == "Mains"]
    states = [host.text(f"{_SUPPLY}/{name}/online") for name in mains]
    known = [state == "1" for state in states if state in ("0", "1")]
    return not any(known) if known else None

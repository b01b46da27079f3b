"""Kernel settings that need no restart."""

from __future__ import annotations

from app.readiness.finding import Fix, fix_of
from app.readiness.steps import run, write


def sysctl_fix(name: str, value: int, former: int) -> Fix:
    """Sets it now, and for every later start.

    Args:
        name: such as `vm.overcommit_memory`.
        value: what it should be.
        former: what it is.
    """
    lasting = write(f"/etc/sysctl.d/90-moetune-{name.rpartition('.')[2]}.conf", f"{name} = {value}")
    now = run(f"sysctl -w {name}={value}", f"sysctl -w {name}={former}")
    return fix_of((lasting, now), f"cat /proc/sys/{name.replace('.', '/')}   # {value}", reboot=False)

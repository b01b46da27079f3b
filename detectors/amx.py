"""Intel AMX: what the processor has, what the kernel shows, and whether a process is really given it."""

from __future__ import annotations

import errno
import os
import re

from detectors.cpuid import Cpuid, parse_rows
from detectors.facts import Amx
from detectors.host import Host

_TILE_STATE = 0b11 << 17  # XTILECFG and XTILEDATA in the kernel's map of extended states
_PREFIX = "amx_"


def probe(host: Host, model: str, flags: frozenset[str]) -> tuple[Cpuid | None, dict[str, int]]:
    """CPUID and the kernel's answers about AMX, asked only of processors that may have it: it takes a process.

    Returns:
        The table, and of `xcomp_supported`, `xcomp_request` and `xcomp_error` those that were answered.
    """
    if "Xeon" not in model and not any(flag.startswith(_PREFIX) for flag in flags):
        return None, {}
    text = host.ask("cpu_probe")
    if not isinstance(text, str):
        return None, {}
    answers = {}
    for name, value in re.findall(r"^(xcomp_\w+) ([0-9a-f]{1,16})$", text, re.MULTILINE):
        answers[name] = int(value, 16 if name == "xcomp_supported" else 10 if value.isdecimal() else 16)
    table = parse_rows(text)
    return table if table.leaves else None, answers


def describe(table: Cpuid | None, answers: dict[str, int], flags: frozenset[str]) -> Amx | None:
    """What is known of AMX; `None` where neither the kernel nor CPUID shows any."""
    listed = tuple(name for name in ("amx_tile", "amx_int8", "amx_bf16") if name in flags)
    features = tuple(name for name in table.features() if name.startswith(_PREFIX)) if table else listed
    if not features:
        return None
    if not answers:
        return Amx(features, None, None, "the kernel could not be asked for the permission")
    if "xcomp_supported" not in answers:
        code = answers.get("xcomp_error", 0)
        return Amx(features, False, False, f"the kernel has no such request ({_name(code)}): AMX needs Linux 5.16")
    supports = answers["xcomp_supported"] & _TILE_STATE == _TILE_STATE
    if not supports:
        return Amx(features, False, False, "the kernel does not save the tile registers")
    refused = answers.get("xcomp_request")
    if refused is None:
        return Amx(features, True, None, "the kernel was not asked for the permission")
    if refused:
        return Amx(features, True, False, f"the kernel refused the permission ({_name(refused)})")
    return Amx(features, True, True)


def _name(code: int) -> str:
    return errno.errorcode.get(code, str(code)) + (f", {os.strerror(code)}" if code else "")

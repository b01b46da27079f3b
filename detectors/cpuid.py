"""What x86 processors say of themselves through the instruction CPUID, from a recording or from `cpu_probe`."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from detectors.host import Host

Registers = tuple[int, int, int, int]
"""EAX, EBX, ECX, EDX."""

# Feature -> (leaf, subleaf, register, bit): Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
_FEATURES = {
    "avx": (1, 0, 2, 28), "avx2": (7, 0, 1, 5), "f16c": (1, 0, 2, 29), "fma": (1, 0, 2, 12),
    "avx_vnni": (7, 1, 0, 4), "avx512f": (7, 0, 1, 16), "avx512bw": (7, 0, 1, 30),
    "avx512vbmi": (7, 0, 2, 1), "avx512_vnni": (7, 0, 2, 11), "avx512_bf16": (7, 1, 0, 5),
    "avx512_fp16": (7, 0, 3, 23), "amx_tile": (7, 0, 3, 24), "amx_int8": (7, 0, 3, 25), "amx_bf16": (7, 0, 3, 22),
    "amx_fp16": (7, 1, 0, 21), "amx_complex": (7, 1, 3, 8), "hypervisor": (1, 0, 2, 31), "hybrid_cpu": (7, 0, 3, 15),
}  # fmt: skip
_BRAND = (0x80000002, 0x80000003, 0x80000004)
_TOPOLOGY = 0xB
_SMT = 1
_CORE = 2
_MOST_CPUS = 8192
_HEX = "([0-9a-f]{1,16})"
_ROW = re.compile(" ".join([_HEX] * 6))
# hwloc's recordings: which inputs matter, the inputs, and the four answers.
_HWLOC_ROW = re.compile(f"{_HEX} {_HEX} [0-9a-f]+ {_HEX} [0-9a-f]+ => {_HEX} {_HEX} {_HEX} {_HEX}")


@dataclass(frozen=True, slots=True)
class Cpuid:
    """One logical CPU's answers."""

    leaves: dict[tuple[int, int], Registers] = field(default_factory=dict)

    def has(self, feature: str) -> bool:
        """Whether the processor has the feature, whatever the kernel makes of it."""
        leaf, subleaf, register, bit = _FEATURES[feature]
        return bool(self.leaves.get((leaf, subleaf), (0, 0, 0, 0))[register] >> bit & 1)

    def features(self) -> tuple[str, ...]:
        """All features that inference code asks about."""
        return tuple(name for name in _FEATURES if self.has(name))

    @property
    def vendor(self) -> str:
        """`GenuineIntel`, `AuthenticAMD`."""
        _, b, c, d = self.leaves.get((0, 0), (0, 0, 0, 0))
        return _words(b, d, c)

    @property
    def brand(self) -> str:
        """The model's name; empty where the recording has none."""
        return " ".join(_words(*(word for leaf in _BRAND for word in self.leaves.get((leaf, 0), ()))).split())

    def version(self) -> tuple[int, int, int] | None:
        """Family, model and stepping."""
        if (1, 0) not in self.leaves:
            return None
        eax = self.leaves[1, 0][0]
        family, model = eax >> 8 & 15, eax >> 4 & 15
        if family in (6, 15):
            model += (eax >> 16 & 15) << 4
        return family + (eax >> 20 & 255 if family == 15 else 0), model, eax & 15

    def place(self) -> tuple[int, int, int] | None:
        """Package, core and thread as numbers that differ where the things do; `None` without leaf 0xB."""
        shifts = {}
        x2apic = None
        for subleaf in range(8):
            eax, _, ecx, edx = self.leaves.get((_TOPOLOGY, subleaf), (0, 0, 0, 0))
            if kind := ecx >> 8 & 255:
                shifts[kind], x2apic = eax & 31, edx
        if x2apic is None or _CORE not in shifts:
            return None
        return x2apic >> shifts[_CORE], x2apic >> shifts.get(_SMT, 0), x2apic


def _words(*values: int) -> str:
    data = b"".join(struct.pack("<I", value) for value in values if value < 1 << 32)
    return data.decode("ascii", "replace").replace("\0", "").strip()


def parse_rows(text: str) -> Cpuid:
    """Rows of `cpu_probe` or of a recording by hwloc's `hwloc-gather-cpuid`; other lines are skipped."""
    leaves: dict[tuple[int, int], Registers] = {}
    for line in text.splitlines():
        row = _ROW.fullmatch(line.strip())
        if row:
            leaf, subleaf, *answers = (int(word, 16) for word in row.groups())
        elif row := _HWLOC_ROW.fullmatch(line.strip()):
            mask, leaf, subleaf, *answers = (int(word, 16) for word in row.groups())
            subleaf = subleaf if mask & 4 else 0
        else:
            continue
        if len(answers) == 4 and max(leaf, *answers) < 1 << 32:
            leaves.setdefault((leaf, subleaf), (answers[0], answers[1], answers[2], answers[3]))
    return Cpuid(leaves)


def recorded_tables(host: Host) -> dict[int, Cpuid]:
    """The tables `/pu0`, `/pu1` ... of a host that was recorded by CPUID alone, by CPU."""
    names = [name for name in host.names("/") if re.fullmatch("pu[0-9]{1,4}", name)] if not host.live else []
    return {int(name[2:]): parse_rows(host.text(f"/{name}") or "") for name in names[:_MOST_CPUS]}

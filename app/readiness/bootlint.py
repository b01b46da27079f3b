"""Words of the kernel's command line, and options of modprobe.d, that do nothing, do harm, or have been replaced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.readiness.bootparams import CommandLine, Word, normal, number
from app.readiness.parameters import GTTSIZE_DEPRECATED_SINCE, version_of
from app.units import GIB, MIB, bytes_text
from detectors.facts import KernelFacts

JUDGED = ("ttm.", "amdttm.", "amdgpu.", "amd_iommu", "intel_iommu", "iommu", "mem")
"""Parameters that are looked at; a trailing dot stands for a module's."""

_TTM_PARAMETERS = ("pages_limit", "page_pool_size", "dma32_pages_limit")
_NEAR_GTTSIZE = 0.8
_AMDGPU_LIKE_GTTSIZE = frozenset({"gttsize", "gartsize"})
# Documentation/admin-guide/kernel-parameters.txt; the parsers compare the parts of a comma list.
_IOMMU_VALUES = {
    "amd_iommu": ("fullflush", "off", "force_isolation", "force_enable", "pgtbl_v1", "pgtbl_v2", "irtcachedis",
                  "nohugepages", "v2_pgsizes_only"),
    "intel_iommu": ("on", "off", "igfx_off", "forcedac", "strict", "sp_off", "sm_on", "sm_off", "tboot_noforce"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One word that is not right."""

    word: str
    kind: str
    """`misspelt`, `wrong module`, `repeated`, `deprecated`, `value`, `harmful`, `contradiction`, `open quote`."""
    what: str
    """Completes "WORD ..."."""
    advice: str
    wanted: tuple[tuple[str, str | None], ...] = ()
    """What to set instead, and what to take out: together they mend it."""
    unwanted: tuple[str, ...] = ()


def lint(line: CommandLine, kernel: KernelFacts, memory_bytes: int | None = None) -> tuple[Fault, ...]:
    """Everything that is wrong with a command line for this purpose, in the order of its words.

    Args:
        line: the words.
        kernel: the release decides what is deprecated, the module in use which prefix is heeded.
        memory_bytes: MemTotal, against which sizes are judged; `None`: they are not.
    """
    faults: list[Fault] = []
    for word in dict.fromkeys(line.parameters):
        for check in (_open_quote, _misspelt, _iommu_value, _size_value):
            faults += check(word, kernel, memory_bytes)
        faults += _wrong_module(word, kernel)
        faults += _harmful(word, kernel, memory_bytes)
    return (*faults, *_repeated(line), *_contradiction(line, kernel))


def _open_quote(word: Word, kernel: KernelFacts, memory: int | None) -> Iterator[Fault]:
    if word.is_open:
        yield Fault(word.text, "open quote", "has a quote that is never closed", "close it: what follows is lost")


def _misspelt(word: Word, kernel: KernelFacts, memory: int | None) -> Iterator[Fault]:
    module, _, name = word.name.partition(".")
    if module in ("ttm", "amdttm") and name and name not in _TTM_PARAMETERS:
        right = f"{module}.{_closest(name)}"
        yield Fault(word.text, "misspelt", "is not known", f"the name is {right}", ((right, word.value),), (word.name,))
    elif module == "amdgpu" and name not in _AMDGPU_LIKE_GTTSIZE and _like_gttsize(name):
        advice = "the name is amdgpu.gttsize; ttm.pages_limit takes its place"
        yield Fault(word.text, "misspelt", "is not known", advice, (), (word.name,))


def _closest(name: str) -> str:
    from difflib import SequenceMatcher

    return max(_TTM_PARAMETERS, key=lambda known: SequenceMatcher(None, name, known).ratio())


def _like_gttsize(name: str) -> bool:
    if not name.startswith("g"):
        return False
    from difflib import SequenceMatcher

    return SequenceMatcher(None, name.replace("_", ""), "gttsize").ratio() >= _NEAR_GTTSIZE


def _iommu_value(word: Word, kernel: KernelFacts, memory: int | None) -> Iterator[Fault]:
    known = _IOMMU_VALUES.get(word.name)
    if known is None or word.value is None:
        return
    wrong = [part for part in word.value.split(",") if part and not part.startswith(known)]
    if wrong == ["pt"] and word.value == "pt":
        advice = "iommu=pt is what passes devices through, if that was meant"
        yield Fault(word.text, "misspelt", "is no value that it knows", advice, (("iommu", "pt"),), (word.name,))
    elif wrong:
        advice = f"it knows {', '.join(known)}"
        yield Fault(word.text, "misspelt", "is no value that it knows", advice, (), (word.name,))


def _size_value(word: Word, kernel: KernelFacts, memory: int | None) -> Iterator[Fault]:
    """Numbers in the wrong unit: pages, MiB and bytes are mixed up in many guides."""
    module, _, name = word.name.partition(".")
    if word.name != "amdgpu.gttsize" and (module not in ("ttm", "amdttm") or name not in _TTM_PARAMETERS):
        return
    value = number(word.value)
    if value is None:
        yield Fault(word.text, "value", "is no number the kernel reads: it is not heeded", "write a plain number", (),
                    (word.name,))  # fmt: skip
        return
    if name == "page_pool_size" or memory is None or value < 0:
        return
    unit, meant = (MIB, "MiB") if name == "gttsize" else (kernel.page_bytes, f"pages of {kernel.page_bytes} bytes")
    size = value * unit
    if size < GIB or size > 4 * memory:
        what = f"means {bytes_text(size)}"
        yield Fault(word.text, "value", what, f"it is counted in {meant}", (), (word.name,))


def _wrong_module(word: Word, kernel: KernelFacts) -> Iterator[Fault]:
    module, _, name = word.name.partition(".")
    if kernel.ttm_module is None or module not in ("ttm", "amdttm") or module == kernel.ttm_module:
        return
    right = f"{kernel.ttm_module}.{name}"
    advice = f"amdgpu uses the module {kernel.ttm_module}: write {right}={word.value}"
    yield Fault(word.text, "wrong module", "is not heeded", advice, ((right, word.value),), (word.name,))


def _harmful(word: Word, kernel: KernelFacts, memory: int | None) -> Iterator[Fault]:
    value = number(word.value)
    if word.name == "amdgpu.gttsize" and version_of(kernel.release) >= GTTSIZE_DEPRECATED_SINCE and value != -1:
        advice = f"{kernel.ttm_module or 'ttm'}.pages_limit takes its place"
        yield Fault(
            word.text, "deprecated", "is deprecated, and a coming kernel will ignore it", advice, (), (word.name,)
        )
    if word.name.endswith("ttm.page_pool_size") and (value or 0) * kernel.page_bytes >= (memory or GIB) // 2:
        advice = "leave it out: it only bounds a cache of freed pages, it allows no allocation"
        what = "lets the driver hoard as much freed GPU memory"
        yield Fault(word.text, "harmful", what, advice, (), (word.name,))
    if word.name == "amdgpu.no_system_mem_limit" and value not in (None, 0):
        advice = "leave it out: pages_limit is the limit to raise"
        what = "takes away the compute driver's last limit; machines have hung in reclaim with it"
        yield Fault(word.text, "harmful", what, advice, (), (word.name,))
    if word.name == "mem" and word.value and word.value[0].isdigit():
        advice = "leave it out"
        yield Fault(word.text, "harmful", "withholds memory from the whole system", advice, (), (word.name,))


def _repeated(line: CommandLine) -> Iterator[Fault]:
    words: dict[str, list[Word]] = {}
    for word in line.parameters:
        if is_judged(word.name):
            words.setdefault(word.name, []).append(word)
    for name, given in words.items():
        if len({word.value for word in given}) > 1 and name != "mem":
            last = given[-1]
            advice = f"keep only {last.text}"
            yield Fault(given[0].text, "repeated", f"is overridden by {last.text}", advice, ((name, last.value),))


def _contradiction(line: CommandLine, kernel: KernelFacts) -> Iterator[Fault]:
    module = kernel.ttm_module or "ttm"
    pages, size = number(line.get(f"{module}.pages_limit")), number(line.get("amdgpu.gttsize"))
    if pages is None or size is None or size < 0 or pages * kernel.page_bytes == size * MIB:
        return
    what = f"is {bytes_text(size * MIB)}, and {module}.pages_limit={pages} is {bytes_text(pages * kernel.page_bytes)}"
    advice = f"keep {module}.pages_limit alone"
    yield Fault(f"amdgpu.gttsize={size}", "contradiction", what, advice, (), ("amdgpu.gttsize",))


def is_judged(name: str) -> bool:
    """Whether a parameter of that name is looked at."""
    return any(normal(name).startswith(j) if j.endswith(".") else normal(name) == j for j in JUDGED)

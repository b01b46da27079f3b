"""Graphics processors by what people call them: `2x RTX 3090 24GB`, `R9700 + 8060S iGPU`, `4060 laptop`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from app.hardware import words as w
from app.hardware.tables import GpuModel, gpu_models

_MAKERS = frozenset({"nvidia", "amd", "intel", "geforce", "radeon", "corporation", "graphics", "gpu", "card", "tesla"})
_SERIES = frozenset({"rtx", "gtx", "rx", "arc", "instinct", "apple", "ai"})
"""Words that a name is often written without."""
_LAPTOP = frozenset({"laptop", "mobile", "notebook"})
_INTEGRATED = frozenset({"igpu", "igp", "integrated", "apu", "onboard", "builtin"})
_TELLING = frozenset({
    "ti", "super", "s", "xt", "xtx", "gre", "ada", "blackwell", "d", "v2", "pro", "max", "ultra", "sff", "sxm", "nvl",
    "maxq", "m", "plus", "le", "duo", "x2", "titan", "quadro", "ampere", "turing",
})  # fmt: skip
"""Words that make another product of a name: none of them may be left over."""
_SEPARATORS = re.compile(r"\s*(?:\+|,|;|&|\band\b)\s*", re.IGNORECASE)
_SIZE_TOLERANCE = 0.07
_MOST_OF_A_MODEL = 2.5
"""Cards are refitted with twice their memory (RTX 4090 48GB); more than this is some other memory's size."""
_CORES = re.compile(r"(\d{1,2})[\s-]*cores?\b", re.IGNORECASE)
_NOTHING = frozenset({"", "none", "no", "nogpu", "cpu", "cpuonly", "-"})


@dataclass(frozen=True, slots=True)
class NamedGpu:
    """One entry of a list of GPUs."""

    model: GpuModel
    count: int
    vram_gib: float | None
    """As stated, else the table's; `None` for memory that is the system's."""
    text: str
    assumed: str = ""
    """What the words left open and was taken for granted, such as the smaller of two sizes."""


@dataclass(frozen=True, slots=True)
class UnknownName:
    """Words that no row of the table answers to."""

    text: str
    nearest: tuple[str, ...]
    """Names of the table that look like it; empty where nothing does."""


@dataclass(frozen=True, slots=True)
class GpuWords:
    """What a list of GPUs says."""

    found: tuple[NamedGpu, ...] = ()
    unknown: tuple[UnknownName, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    model: GpuModel
    sized: bool
    """Whether this name of it states its size: then it is one of several."""
    base: str
    """The model's own name without its size."""
    dropped: int
    """Words of the name that this way of writing leaves out."""


def read_gpus(text: str, *, vram_gib: float | None = None, own: str | None = None) -> GpuWords:
    """Read a list of GPUs, parted by `+`, commas or `and`; what stands in brackets only helps.

    Args:
        text: `2x RTX 5090 + 4x RTX 3090`; empty or `none`: there are none.
        vram_gib: the size of each, where it is stated elsewhere.
        own: the GPU inside the processor (`CpuModel.gpu`): what `iGPU` alone means, and the one to take in doubt.
    """
    if w.key(text) in _NOTHING:
        return GpuWords()
    outside, inside = w.without_brackets(re.sub(r"\bmax\+", "max", w.plain(text), flags=re.IGNORECASE))
    found: list[NamedGpu] = []
    unknown: list[UnknownName] = []
    for piece in _SEPARATORS.split(outside):
        if not w.words(piece):
            continue
        named = _named(piece, inside, vram_gib, own)
        if named is None:
            unknown.append(UnknownName(piece.strip(), nearest_gpus(piece)))
        else:
            found.append(named)
    if not found and not unknown:
        unknown.append(UnknownName(text.strip(), nearest_gpus(text)))
    return GpuWords(tuple(found), tuple(unknown))


def find_gpu(text: str, *, vram_gib: float | None = None) -> GpuModel | None:
    """The one model that a name means; `None` where it means none, or several."""
    words = read_gpus(text, vram_gib=vram_gib)
    return words.found[0].model if len(words.found) == 1 and not words.unknown else None


def nearest_gpus(text: str) -> tuple[str, ...]:
    """Names for an error's sentence."""
    return w.nearest(
        text, ((written, model.name) for model in gpu_models() for written in (model.name, *_short(model.name)))
    )


def gpu_by_pci(pci_id: str | None, revision: int | None, vram_bytes: int | None) -> GpuModel | None:
    """The model of PCI ids (`10de:2d04`), by its revision where the table has it, and by size among several.

    `None` where no row has the ids, or where several have them and the size does not decide.
    """
    if pci_id is None:
        return None
    exact = f"{pci_id}:{revision:02x}" if revision is not None else None
    models = [model for model in gpu_models() if exact in model.pci_ids]
    models = models or [model for model in gpu_models() if pci_id in model.pci_ids]
    if len(models) > 1 and vram_bytes:
        models = [model for model in models if _same_size(model, vram_bytes / (1 << 30))]
    return models[0] if len(models) == 1 else None


def _same_size(model: GpuModel, gib: float) -> bool:
    return model.vram_gib is not None and abs(model.vram_gib - gib) <= _SIZE_TOLERANCE * model.vram_gib


def _named(piece: str, inside: str, vram_gib: float | None, own: str | None) -> NamedGpu | None:
    count, rest = w.counted(piece)
    size, size_count, rest = w.sized(rest)
    if size is None:
        in_brackets, _, left = w.sized(inside)
        size = in_brackets if in_brackets and not w.words(left) else vram_gib
    late, rest = w.counted(rest) if count is None else (None, rest)
    cores = frozenset(int(number) for number in _CORES.findall(f"{rest} {inside}"))
    sequence = _sequence(_CORES.sub(" ", rest))
    chosen = _matched(sequence, size, cores, own)
    if chosen is None:
        return None
    model, assumed = chosen
    if size and model.vram_gib and size > _MOST_OF_A_MODEL * model.vram_gib:
        size = None  # "GH200 480GB": the processor's memory
    vram = None if model.kind == "igpu" and model.vram_gib is None else size or model.vram_gib
    return NamedGpu(model, count or late or size_count or 1, vram, piece.strip(), assumed)


def _sequence(text: str) -> list[str]:
    """The words of a name; `Max-Q` is one, `4060m` a laptop's, `3090s` several."""
    joined = re.sub(r"\bmax[\s-]*q\b", "maxq", text, flags=re.IGNORECASE)
    parted = re.sub(r"\b(rtx|gtx|rx)(?=\d)", r"\1 ", joined, flags=re.IGNORECASE)
    index = _index()
    found: list[str] = []
    for word in w.words(parted):
        if not re.fullmatch(r"\d{4}[ms]", word) or any(word in name for name in index):
            found.append(word)
        else:
            found += [word[:-1], "laptop"] if word.endswith("m") else [word[:-1]]
    return found


def _matched(
    sequence: list[str], size: float | None, cores: frozenset[int], own: str | None
) -> tuple[GpuModel, str] | None:
    """The model of the longest name among the words, unless a word is left that makes it another one."""
    laptop = any(word in _LAPTOP for word in sequence)
    named = [word for word in sequence if word not in _LAPTOP]
    kept = [word for word in named if word not in _MAKERS and word not in _INTEGRATED]
    for start, end, run in w.runs(kept):
        entries = _index().get(run)
        if not entries:
            continue
        left = kept[:start] + kept[end:]
        if "maxq" in left:
            laptop, left = True, [word for word in left if word != "maxq"]
        fitting, left = _fitting([entry for entry in entries if entry.model.laptop == laptop], left)
        if any(word in _TELLING or word in _index() for word in left):
            return None
        return _one_of(fitting, size, cores, own)
    if own and (not kept or _INTEGRATED.intersection(named)) and not any(sign.isdigit() for sign in "".join(kept)):
        return _one_of(_index().get(w.key(_bare(own)), ()), None, frozenset(), own)
    return None


def _fitting(entries: Sequence[_Entry], left: Sequence[str]) -> tuple[Sequence[_Entry], list[str]]:
    """Those that have most of the words that are left (`A100 80GB PCIe`), and the words that they do not have."""

    def shared(entry: _Entry) -> set[str]:
        return set(w.words(entry.model.name)).intersection(left)

    most = max((len(shared(entry)) for entry in entries), default=0)
    kept = [entry for entry in entries if len(shared(entry)) == most]
    own = set().union(*(shared(entry) for entry in kept))
    return kept, [word for word in left if word not in own]


def _one_of(
    entries: Sequence[_Entry], size: float | None, cores: frozenset[int], own: str | None
) -> tuple[GpuModel, str] | None:
    """Which of several it is: by its cores, its size, or the processor that it is in."""
    if fitting := [entry for entry in entries if entry.model.compute_units in cores]:
        return fitting[0].model, ""
    if own and (mine := [entry for entry in entries if entry.model.name == own]):
        return mine[0].model, ""
    if size is not None and (fitting := [entry for entry in entries if _same_size(entry.model, size)]):
        return fitting[0].model, ""
    plain = [entry for entry in entries if not entry.sized]
    plain = [entry for entry in plain if entry.dropped == min(one.dropped for one in plain)]
    if len({entry.base for entry in plain or entries}) != 1:
        return None
    if plain:
        return plain[0].model, ""
    model, left_open = entries[0].model, len(entries) > 1 and not size and entries[0].model.vram_gib is not None
    return model, f"{model.vram_gib:g} GB is assumed of {entries[0].base}" if left_open else ""


def _bare(name: str) -> str:
    return " ".join(word for word in name.split() if word.lower() not in _MAKERS)


def _short(name: str) -> Iterator[str]:
    """A name as it is often written: without its maker, and without its series where the rest tells enough."""
    bare = _bare(name)
    yield bare
    parts = bare.split()
    while len(parts) > 1 and parts[0].lower() in _SERIES | {"pro"}:
        last = parts.pop(0)
        rest = "".join(parts)
        if (
            len(parts) == 1
            and parts[0].isdigit()
            and (last.lower() not in ("rtx", "gtx") or len(parts[0]) != 4 or parts[0].endswith("000"))
        ):
            return  # `6800` alone is as much a Quadro, `5000` anything
        if len(rest) >= 2:
            yield " ".join(parts)


@cache
def _index() -> dict[str, tuple[_Entry, ...]]:
    """Every way of writing -> the models that it may mean."""
    found: dict[str, dict[GpuModel, _Entry]] = {}
    for model in gpu_models():
        own_base, _ = _unsized(model.name)
        for name in (model.name, *model.aliases):
            base, sized = _unsized(name)
            for dropped, short in enumerate(_short(base)):
                for written in _spellings(w.key(short)):
                    known = found.setdefault(written, {})
                    if model not in known or (known[model].sized and not sized):
                        known[model] = _Entry(model, sized, own_base, dropped)
    return {name: tuple(entries.values()) for name, entries in found.items()}


def _unsized(name: str) -> tuple[str, bool]:
    """A name without its size, its number of cores and the word laptop; and whether it had one of the first two."""
    size, _, base = w.sized(name)
    bare = _CORES.sub(" ", base)
    return " ".join(word for word in bare.split() if word.lower() not in _LAPTOP), size is not None or bare != base


def _spellings(name: str) -> Iterator[str]:
    """`rtx2070super` is written `rtx2070s` too."""
    yield name
    if name.endswith("super"):
        yield name.removesuffix("uper")

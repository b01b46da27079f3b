"""Processors by what people call them: `TR PRO 7965WX`, `2x AMD EPYC 9355 (64c)`, a line of /proc/cpuinfo.

A description that fits several models (`12-core Ryzen`, `Ryzen (zen4)`, `39x5WX, 12 cores`) gives a model with what
they have in common, marked as not exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from app.hardware import words as w
from app.hardware.tables import CpuModel, cpu_models

_CLASSES = {
    "ryzen": "ryzen", "threadripper": "threadripper", "tr": "threadripper", "epyc": "epyc", "xeon": "xeon",
    "platinum": "xeon", "gold": "xeon", "silver": "xeon", "bronze": "xeon", "e5": "xeon", "e3": "xeon", "core": "core",
    "i3": "core", "i5": "core", "i7": "core", "i9": "core", "ultra": "core", "apple": "apple",
    "snapdragon": "snapdragon", "altra": "altra",
}  # fmt: skip
"""Words of a brand -> the brand. One that another model has excludes it."""
_LINES = frozenset({
    *_CLASSES, "w", "e", "3", "5", "7", "9", "x7", "x9", "w3", "w5", "w7", "w9", "ai", "max", "pro", "hx", "nvidia",
    "amd", "intel",
})  # fmt: skip
"""Words of a name that stand before its number."""
_STRONG = 4
"""Digits that a number alone must have at least, beside a brand; shorter ones need the word `ai`, `max` or `ultra`."""
_SAMPLE = re.compile(r"\b([a-z]?\d{4}[a-z]?)(?:qs|es)\b", re.IGNORECASE)
_WILD = re.compile(r"\b\d+x+\d*[a-z]*\b", re.IGNORECASE)
_MEMORY = re.compile(r"\blp?ddr\d\w*(?:[\s-]*\d{4,5})?|\b\d{4,5}\s*mt/?s\b|\bfclk\s*\d+", re.IGNORECASE)
_GLUED = re.compile(r"\b(ryzen|epyc|xeon|threadripper|ultra|gold|silver|platinum|i[3579])(?=\d)", re.IGNORECASE)
_KINDS = re.compile(r"(\d+)\s*p\s*\+\s*(\d+)\s*e(?:\s*\+\s*(\d+)\s*lp?e?)?", re.IGNORECASE)
_CORES = re.compile(r"(?<![\w.])(\d{1,3})\s*-?\s*(?:physical\s+)?(?:cores?\b|c(?=[\s/),]|$))", re.IGNORECASE)
_COUNTED_CORES = re.compile(r"\b\w+[\s-]cores?\b|(?<![\w.])\d{1,3}c(?=[\s/),]|$)", re.IGNORECASE)
_LEADING_CORES = re.compile(r"\s*\w+[\s-]*cores?\b", re.IGNORECASE)
_THREADS = re.compile(r"(?<![\w.])(\d{1,3})\s*-?\s*(?:threads?\b|v?cpus?\b|t\b)", re.IGNORECASE)
_CHANNELS = re.compile(r"(?<![\w.])(\d{1,2})\s*-?\s*(?:ch\b|channels?\b)", re.IGNORECASE)
_SPEED = re.compile(r"ddr\d\w*[\s-]+(\d{4,5})|(\d{4,5})\s*mt/?s", re.IGNORECASE)
_ONE_SOCKET = re.compile(
    r"\b(?:1|one|single)[\s-]*socket|\bsocket\s*[01]\b|\bs[01]\b|-N\s*\d+\s*-m\s*\d+", re.IGNORECASE
)
_TWO_SOCKETS = re.compile(r"\b(?:2|two|dual)[\s-]*socket|\b2[ps]\b", re.IGNORECASE)
_SHARES = {"half": 0.5, "quarter": 0.25}
_ZEN = re.compile(r"\bzen\s*(\d)(c|\+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CpuWords:
    """What a description of a processor says."""

    text: str
    model: CpuModel | None
    """`None`: nothing is known but what else is stated here."""
    count: int = 1
    """How many: sockets of one machine, or machines where the model takes one socket only."""
    share: float = 1.0
    """How much of the socket is in use (`NPS2 half`: 0.5)."""
    cores: int | None = None
    """As stated: of all, or of one."""
    threads: int | None = None
    virtual: bool = False
    """Whether `threads` are virtual CPUs: a part of such a processor."""
    channels: int | None = None
    """Memory channels, as stated."""
    mts: int | None = None
    nearest: tuple[str, ...] = ()
    """Where the model is not known: names that look like it."""

    @property
    def sockets(self) -> int:
        """Processors of one machine."""
        return min(self.count, self.model.sockets) if self.model else self.count

    @property
    def machines(self) -> int:
        """Machines, where the processor takes one socket only and there are several of it."""
        return self.count // self.sockets


def read_cpu(text: str) -> CpuWords:
    """Read a description of a machine's processors. It always answers; `model` says how much was understood."""
    plain = w.plain(text)
    count = 2 if _TWO_SOCKETS.search(plain) else None
    leading, rest = w.counted(plain)
    if _ONE_SOCKET.search(plain):
        count = 1
    kinds, cores, threads = _KINDS.search(plain), _CORES.search(plain), _THREADS.search(plain)
    speed, channels = _SPEED.search(plain), _CHANNELS.search(plain)
    stated = sum(int(part) for part in kinds.groups() if part) if kinds else int(cores[1]) if cores else None
    name = plain
    if _LEADING_CORES.match(plain):
        stated = stated or w.leading_number(plain)
    elif leading and leading <= 8:
        name, count = rest, count or leading
    model = _model(_MEMORY.sub(" ", _COUNTED_CORES.sub(" ", name)), stated, kinds)
    return CpuWords(
        text=text,
        model=model,
        count=count or 1,
        share=next((share for word, share in _SHARES.items() if word in w.words(plain)), 1.0),
        cores=stated,
        threads=int(threads[1]) if threads else None,
        virtual=bool(threads) and "vcpu" in plain.lower(),
        channels=int(channels[1]) if channels else None,
        mts=int(speed[1] or speed[2]) if speed else None,
        nearest=() if model is not None else nearest_cpus(text),
    )


def find_cpu(text: str) -> CpuModel | None:
    """The one model that a name means; `None` where it means none, or several."""
    model = read_cpu(text).model
    return model if model is not None and model.exact else None


def nearest_cpus(text: str) -> tuple[str, ...]:
    """Names for an error's sentence."""
    return w.nearest(
        text,
        ((written, model.name) for model in cpu_models() for written in (model.name, "".join(_number(model.name)))),
    )


def _model(text: str, cores: int | None, kinds: re.Match[str] | None) -> CpuModel | None:
    spaced = _SAMPLE.sub(r"\1 ", _GLUED.sub(r"\1 ", text))
    outside, inside = w.without_brackets(spaced)
    everything = w.words(spaced)
    for part in (outside, inside):
        sequence = w.words(part)
        if found := _by_name(sequence, everything, cores):
            return found
        if found := _by_pattern(part, everything, cores):
            return found
    return _by_kind(everything, spaced, cores, kinds)


def _by_name(sequence: Sequence[str], everything: Sequence[str], cores: int | None) -> CpuModel | None:
    """The model with the longest name among the words, whole or by its number."""
    for _, _, run in w.runs(sequence):
        whole = _names().get(run, ())
        by_number = () if whole else _allowed(run, _numbers().get(run, ()), everything)
        models = _of_class(whole or by_number, everything)
        if len(models) > 1 and cores is not None:
            models = [model for model in models if cores in (model.cores, 2 * (model.cores or 0))] or models
        if len(models) == 1:
            return models[0]
        if models:
            return _common(models, " ".join(sequence))
    return None


def _allowed(number: str, models: Sequence[CpuModel], everything: Sequence[str]) -> Sequence[CpuModel]:
    """A number that is digits alone needs a word of the brand beside it."""
    if not number.isdigit():
        return models
    if len(number) >= _STRONG:
        return models if any(word in _CLASSES for word in everything) else ()
    return models if {"ai", "max", "ultra", "ryzen"}.intersection(everything) else ()


def _of_class(models: Iterable[CpuModel], everything: Sequence[str]) -> list[CpuModel]:
    """Those that the brands and makers among the words do not exclude."""
    classes = {_CLASSES[word] for word in everything if word in _CLASSES}
    if "threadripper" in classes:
        classes.discard("ryzen")  # "Ryzen Threadripper"
    makers = {"amd": "AMD", "intel": "Intel", "apple": "Apple"}
    named = {makers[word] for word in everything if word in makers}
    kept = [model for model in models if not classes or _class(model) in classes or _class(model) == ""]
    return [model for model in kept if not named or model.vendor in named or model.vendor not in makers.values()]


def _by_pattern(text: str, everything: Sequence[str], cores: int | None) -> CpuModel | None:
    """`39x5WX` stands for every number that it fits."""
    for match in _WILD.finditer(text):
        pattern = re.compile(re.sub(r"(?<=\d)x(?=\d)|(?<=x)x|(?<=\d)x(?=x)", r"\\d", match[0].lower()))
        if "\\d" not in pattern.pattern:
            continue
        fitting = [model for number, models in _numbers().items() if pattern.fullmatch(number) for model in models]
        fitting = _of_class(fitting, everything)
        if cores is not None:
            fitting = [model for model in fitting if model.cores == cores]
        if fitting:
            return fitting[0] if len(fitting) == 1 else _common(fitting, text)
    return None


def _by_kind(everything: Sequence[str], text: str, cores: int | None, kinds: re.Match[str] | None) -> CpuModel | None:
    """What all processors of a brand, a family or generation and a number of cores have in common."""
    models, family = _of_family(everything, text)
    known = set(w.words(family))
    if any(_looks_like_number(word) for word in everything if word not in known):
        return None  # a model number that the table does not have: its kin may be quite another thing
    classes = {_CLASSES[word] for word in everything if word in _CLASSES}
    if not classes and not family:
        return None
    if classes:
        models = [model for model in _of_class(models, everything) if _class(model)]
    if classes & {"ryzen", "threadripper"} and not family.startswith(("Ryzen", "Threadripper")):
        marks = ("ai", "pro") if "threadripper" in classes else ("ai", "max")
        models = [model for model in models if all((m in _lower(model)) == (m in everything) for m in marks)]
    if kinds:
        counts = tuple(int(part) for part in kinds.groups() if part)
        models = [model for model in models if (model.fast_cores, *model.slow_cores) == counts]
    elif cores is not None:
        models = [model for model in models if model.cores == cores]
    return _common(models, text) if models else None


def _of_family(everything: Sequence[str], text: str) -> tuple[list[CpuModel], str]:
    """The models of the family or generation that the words name, and its name; all, where they name none."""
    joined = "".join(everything)
    families = {name for model in cpu_models() for name in (model.family, model.also) if name and w.key(name) in joined}
    if families:
        family = max(families, key=len)
        return [model for model in cpu_models() if family in (model.family, model.also)], family
    zen = _ZEN.search(text)
    wanted = f"zen{zen[1]}" if zen else None
    for model in cpu_models():
        own = w.key(model.architecture or "")
        if own == wanted or (wanted is None and " " in (model.architecture or "") and own in joined):
            return [one for one in cpu_models() if one.architecture == model.architecture], model.architecture or ""
    return list(cpu_models()), ""


def _looks_like_number(word: str) -> bool:
    return re.fullmatch(r"[a-z]?\d{3,5}[a-z]{0,3}\d?d?", word) is not None and not re.fullmatch(
        r"\d+(?:c|t|gb|g)", word
    )


def _common(models: Sequence[CpuModel], text: str) -> CpuModel:
    """A model with what all of them agree on; what differs is `None`."""
    first = models[0]
    agreed: dict[str, Any] = {}
    for field in fields(CpuModel):
        values = {getattr(model, field.name) for model in models}
        agreed[field.name] = values.pop() if len(values) == 1 else None
    isa = tuple(name for name in first.isa if all(name in model.isa for model in models))
    return replace(
        first,
        **{
            **agreed,
            "name": " ".join(text.split()),
            "vendor": agreed["vendor"] or "",
            "family": agreed["family"] or "",
            "also": "",
            "sockets": max(model.sockets for model in models),
            "isa": isa,
            "aliases": (),
            "slow_cores": agreed["slow_cores"] or (),
            "source": "; ".join(dict.fromkeys(model.source for model in models)),
            "exact": False,
        },
    )


def _number(name: str) -> list[str]:
    """The words of a name from its number on: `2680`, `v4` of `Xeon E5-2680 v4`."""
    parts = w.words(name)
    while len(parts) > 1 and parts[0] in _LINES:
        parts = parts[1:]
    return parts


def _lower(model: CpuModel) -> list[str]:
    return w.words(model.name)


def _class(model: CpuModel) -> str:
    return next((_CLASSES[word] for word in reversed(_lower(model)) if word in _CLASSES), "")


@cache
def _names() -> dict[str, tuple[CpuModel, ...]]:
    """Whole names and other names -> models."""
    return _grouped((w.key(name), model) for model in cpu_models() for name in (model.name, *model.aliases))


@cache
def _numbers() -> dict[str, tuple[CpuModel, ...]]:
    """Numbers of models -> models; Apple's names have none."""
    return _grouped(
        ("".join(_number(name)), model)
        for model in cpu_models()
        for name in (model.name, *model.aliases)
        if any(sign.isdigit() for sign in name)
    )


def _grouped(pairs: Iterator[tuple[str, CpuModel]]) -> dict[str, tuple[CpuModel, ...]]:
    found: dict[str, dict[str, CpuModel]] = {}
    for name, model in pairs:
        found.setdefault(name, {})[model.name] = model
    return {name: tuple(models.values()) for name, models in found.items()}

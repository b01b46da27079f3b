"""Scenario presets: a model, a quantization, a workload and a policy under one name, and what file holds the model."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from app.errors import ModelError, UsageError
from app.resources import PRESETS
from app.solver.model import KvType, Workload
from app.units import GIB

_FOLDER = PRESETS / "scenarios"
_T = TypeVar("_T")
PREFIX = "preset:"
"""Before a preset's name where a file or a model has the same."""

Kind = Literal["gguf", "checkpoint", "made"]
"""GGUF files; a checkpoint's folder, for KTransformers; or a file that moetune writes itself."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What has to be on disk before the scenario runs."""

    kind: Kind
    files: tuple[str, ...]
    """Paths inside the repository, parts in their order; of a checkpoint, patterns."""
    source: str
    repository: str = ""
    """`owner/name` at Hugging Face; empty where moetune makes the file."""
    revision: str = "main"
    also: tuple[str, ...] = ()
    """Other names that the same file was published under."""
    bytes: int | None = None
    """Of all files; `None`: not known, reckon it from the shape."""
    next: str = ""
    """What is to be done once it is there, one sentence."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the scenario decides in the planner's place."""

    runtimes: tuple[str, ...]
    devices: tuple[str, ...] = ()
    kv_type: KvType | None = None
    ubatch: int | None = None
    kt_method: str | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named model, workload and policy."""

    id: str
    name: str
    model: str
    """An id of the catalogue."""
    quantization: str
    machine: str
    """Whom it is for, in words."""
    why: str
    source: str
    weights: Weights
    workload: Workload = field(default_factory=Workload)
    policy: Choices = field(default_factory=lambda: Choices(("llama.cpp",)))

    @property
    def model_words(self) -> str:
        """The model as the catalogue is asked for it, the size of the file with it where that decides the shape."""
        from app.models.bits import plain_mixture

        words = f"{self.model}:{self.quantization}"
        if self.weights.bytes is None or plain_mixture(self.quantization):
            return words
        return f"{words} ({self.weights.bytes / GIB:.2f} GiB)"


@lru_cache(maxsize=1)
def scenario_names() -> tuple[str, ...]:
    """The ids of all scenario presets, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def find_scenario(words: str) -> Scenario | None:
    """The scenario that is meant, `None` where the words mean a file or a model.

    A file of that name is taken before a preset, a preset before a model of the catalogue; `preset:NAME` is always
    the preset.

    Raises:
        UsageError: `preset:` and a name that is none.
        ModelError: the preset is damaged.
    """
    name = words.removeprefix(PREFIX)
    if name in scenario_names() and (name != words or not Path(words).exists()):
        return load_scenario(_FOLDER / f"{name}.toml")
    if name != words:
        raise UsageError(f"There is no preset {name!r}.", hint=f"There are: {', '.join(scenario_names())}.")
    return None


def other_meaning(words: str) -> str | None:
    """One sentence where a preset's name is a file's or a model's too, `None` where it can mean one thing only."""
    from app.models.catalog import model_names

    if words not in scenario_names():
        return None
    if Path(words).exists():
        return f"{words} is taken for the file here; the preset of that name is {PREFIX}{words}"
    if words in model_names():
        scenario = load_scenario(_FOLDER / f"{words}.toml")
        return f"{words} is taken for the preset; the model of that name is {words}:{scenario.quantization}"
    return None


def load_scenario(path: Path) -> Scenario:
    """Read one preset.

    Raises:
        ModelError: unreadable, not TOML, or a key that is unknown, missing or of the wrong type.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, str(error)) from error
    tables: dict[str, tuple[type, dict[str, tuple[str, ...]]]] = {
        "workload": (Workload, {}),
        "policy": (Choices, {"runtimes": ("llama.cpp", "ktransformers"), "kv_type": get_args(KvType)}),
        "weights": (Weights, {"kind": get_args(Kind)}),
    }
    values = {name: value for name, value in data.items() if name not in tables}
    if missing := [name for name in tables if not isinstance(data.get(name), dict)]:
        raise _refused(path, f"the table [{missing[0]}] is missing")
    found: dict[str, Any] = {name: _read(path, name, data[name], *tables[name]) for name in tables}
    scenario = _read(path, "", values | found, Scenario, {})
    _check(path, scenario)
    return scenario


def _check(path: Path, scenario: Scenario) -> None:
    from app.models.catalog import model_names

    if scenario.id != path.stem:
        raise _refused(path, f"its id is {scenario.id}, not the file's name")
    if scenario.model not in model_names():
        raise _refused(path, f"there is no model {scenario.model}")
    if not scenario.weights.files or not scenario.policy.runtimes:
        raise _refused(path, "it names no file or no runtime")
    if (scenario.weights.kind == "made") == bool(scenario.weights.repository):
        raise _refused(path, "a file is either made here or in a repository")


def _read(path: Path, table: str, given: dict[str, Any], kind: type[_T], words: dict[str, tuple[str, ...]]) -> _T:
    """A dataclass out of a table: every key known, those without a default there, each of its type."""
    where = f" in [{table}]" if table else ""
    known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(given) - set(known)):
        raise _refused(path, f"unknown key {unknown[0]}{where}; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {}
    for name, value in given.items():
        typed = tuple(value) if isinstance(value, list) else value
        if isinstance(typed, int) and str(known[name].type) == "float":
            typed = float(typed)
        if not _fits(str(known[name].type), typed, words.get(name)):
            raise _refused(path, f"{name}{where} is {value!r}, which cannot be")
        values[name] = typed
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is not among them
        missing = sorted(set(known) - set(values))
        raise _refused(path, f"something is missing{where}, of {', '.join(missing)}") from error


def _fits(annotation: str, value: object, words: tuple[str, ...] | None) -> bool:
    if words is not None:
        return set(value if isinstance(value, tuple) else (value,)) <= set(words)
    if annotation == "tuple[str, ...]":
        return isinstance(value, tuple) and all(isinstance(part, str) and part for part in value)
    if annotation.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool) and value > 0
    if annotation == "float":
        return isinstance(value, float) and value > 0
    if annotation == "Objective":
        return value in ("turn", "throughput", "context")
    return not annotation.startswith("str") or (isinstance(value, str) and bool(value))


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(f"The preset {path.name} cannot be used: {why}", hint=f"Correct {path}.")

"""What to build llama.cpp with on a machine: the backend, the flags, and what is missing for it. Builds nothing."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from app.errors import UsageError
from app.resources import PRESETS
from detectors.facts import Machine

Backend = Literal["cpu", "cuda", "hip", "vulkan"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

PACKAGE_MANAGERS = {"apt": "Debian, Ubuntu: sudo apt install", "dnf": "Fedora: sudo dnf install",
                    "pacman": "Arch: sudo pacman -S"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """Something that has to be installed before a build."""

    name: str
    any_of: tuple[str, ...]
    """Programs, absolute paths, or `$VARIABLE`; one is enough."""
    why: str
    backend: str | None
    """Only for that backend; `None`: always."""
    packages: dict[str, str]
    """Package manager -> packages that bring it."""

    def __str__(self) -> str:
        ways = "; ".join(f"{command} {self.packages[key]}" for key, command in PACKAGE_MANAGERS.items())
        return f"{self.name}: {self.why} ({ways})"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The data of presets/runtimes/llama_cpp.toml."""

    package: str
    version: str
    commit: str
    folder: str
    """Where llama.cpp lies inside the package."""
    unused: tuple[str, ...]
    """Folders of it that need not be unpacked."""
    targets: tuple[str, ...]
    flags: dict[str, str]
    needs: tuple[Need, ...]


def load_recipe() -> Recipe:
    """Read the recipe that ships with the program."""
    import tomllib

    data = tomllib.loads((PRESETS / "runtimes" / "llama_cpp.toml").read_text())
    source, build = data["source"], data["build"]
    needs = tuple(
        Need(
            name=need["name"],
            any_of=tuple(need["any"]),
            why=need["why"],
            backend=need.get("backend"),
            packages={manager: need[manager] for manager in PACKAGE_MANAGERS},
        )
        for need in data["needs"]
    )
    return Recipe(
        package=source["package"],
        version=source["version"],
        commit=source["commit"],
        folder=source["folder"],
        unused=tuple(source["unused"]),
        targets=tuple(build["targets"]),
        flags=dict(build["flags"]),
        needs=needs,
    )


def choose_backend(machine: Machine, asked: str) -> Backend:
    """The backend that was asked for; `auto`: the one that sees all of the machine's GPUs.

    One backend for unlike GPUs beats one each, since llama.cpp moves data between backends through pageable memory.

    Raises:
        UsageError: there is no such backend.
    """
    for backend in BACKENDS:
        if asked == backend:
            return backend
    if asked != "auto":
        raise UsageError(f"There is no backend {asked!r}.", hint=f"Choose one of auto, {', '.join(BACKENDS)}.")
    vendors = {device.vendor.lower() for device in machine.devices if device.kind in ("igpu", "dgpu")}
    if not vendors:
        return "cpu"
    if all("nvidia" in vendor for vendor in vendors):
        return "cuda"
    if all("amd" in vendor for vendor in vendors) and find_program(("hipcc", "/opt/rocm/bin/hipcc")):
        return "hip"
    return "vulkan"


def backend_flags(machine: Machine, backend: Backend) -> dict[str, str]:
    """The CMake flags of a backend, with the GPU targets that this machine has."""
    archs = {device.arch for device in machine.devices if device.arch}
    if backend == "cuda":
        flags = {"GGML_CUDA": "ON"}
        capabilities = sorted(arch.removeprefix("sm_") for arch in archs if arch.startswith("sm_"))
        if capabilities:
            flags["CMAKE_CUDA_ARCHITECTURES"] = ";".join(capabilities)
        if compiler := find_program(("$CUDACXX", "nvcc", "/usr/local/cuda/bin/nvcc", "/opt/cuda/bin/nvcc")):
            flags["CMAKE_CUDA_COMPILER"] = str(compiler)
        return flags
    if backend == "hip":
        # Flash attention on the matrix cores by rocWMMA: twice the prefill on RDNA 3. llama.cpp 0.5 has no such
        # option any more, does it by itself, and CMake then ignores the flag.
        flags = {"GGML_HIP": "ON", "GGML_HIP_ROCWMMA_FATTN": "ON"}
        if targets := sorted(arch for arch in archs if arch.startswith("gfx")):
            flags["AMDGPU_TARGETS"] = ";".join(targets)
        root = os.environ.get("ROCM_PATH", "/opt/rocm")
        if Path(root).is_dir():
            flags["CMAKE_PREFIX_PATH"] = root
        return flags
    return {"GGML_VULKAN": "ON"} if backend == "vulkan" else {}


def missing(recipe: Recipe, backend: Backend) -> tuple[Need, ...]:
    """What has to be installed before this backend can be built here."""
    return tuple(need for need in recipe.needs if need.backend in (None, backend) and find_program(need.any_of) is None)


def install_hint(needs: tuple[Need, ...]) -> str:
    """How to install what is missing, for each package manager."""
    lines = []
    for manager, command in PACKAGE_MANAGERS.items():
        packages = dict.fromkeys(word for need in needs for word in need.packages[manager].split())
        lines.append(f"{command} {' '.join(packages)}")
    return "Install it. " + "; ".join(lines) + "."


def find_program(any_of: tuple[str, ...]) -> Path | None:
    """The first of these that there is: on PATH, beside our Python (`pip install cmake`), or as an absolute path."""
    own = str(Path(sys.executable).parent)
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), own])
    for name in any_of:
        word = os.environ.get(name[1:], "").split(" ")[0] if name.startswith("$") else name
        if word.startswith("/"):
            if Path(word).exists():
                return Path(word)
        elif word and (found := shutil.which(word, path=search)):
            return Path(found)
    return None

"""What a build of llama.cpp will do on this machine, step by step, and which builds there are already. Runs nothing."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from app.paths import cache_dir, data_dir, state_dir
from app.runtimes.build_recipe import (
    Backend,
    Need,
    Recipe,
    backend_flags,
    choose_backend,
    find_program,
    load_recipe,
    missing,
)
from detectors.facts import Machine

MANIFEST = "build.json"
"""Lies in a finished build and says what it is."""


@dataclass(frozen=True, slots=True)
class BuildStep:
    """One thing that a build does."""

    name: str
    argv: tuple[str, ...]
    """Empty: we do it ourselves."""
    what: str


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Everything that a build will do; nothing of it is done yet."""

    name: str
    backend: Backend
    version: str
    """Of the source package."""
    flags: dict[str, str]
    targets: tuple[str, ...]
    missing: tuple[Need, ...]
    archive_dir: Path
    source_dir: Path
    build_dir: Path
    install_dir: Path
    log_path: Path
    steps: tuple[BuildStep, ...]
    recipe: Recipe

    @property
    def installed(self) -> bool:
        """Whether exactly this was built before."""
        manifest = read_manifest(self.install_dir)
        return manifest is not None and manifest.get("flags") == self.flags


@dataclass(frozen=True, slots=True)
class InstalledBuild:
    """A finished build."""

    path: Path
    backend: str
    version: str
    flags: dict[str, str]
    built_at: str
    """ISO time."""


def plan_build(machine: Machine, backend: str = "auto", *, jobs: int | None = None) -> BuildPlan:
    """Decide what to build and how; looks for compilers, runs nothing.

    Args:
        machine: whose GPUs decide the backend and its targets.
        backend: `auto`, `cpu`, `cuda`, `hip` or `vulkan`.
        jobs: compilers at once; `None`: as many as this process may use CPUs.

    Raises:
        UsageError: there is no such backend.
    """
    recipe = load_recipe()
    chosen = choose_backend(machine, backend)
    flags = {**recipe.flags, "LLAMA_BUILD_COMMIT": recipe.commit, **backend_flags(machine, chosen)}
    name = f"llama.cpp-py{recipe.version}-{chosen}"
    archive_dir = cache_dir() / "sources"
    source_dir = archive_dir / f"{recipe.package}-{recipe.version}-llama.cpp"
    build_dir = cache_dir() / "builds" / name
    return BuildPlan(
        name=name,
        backend=chosen,
        version=recipe.version,
        flags=flags,
        targets=recipe.targets,
        missing=missing(recipe, chosen),
        archive_dir=archive_dir,
        source_dir=source_dir,
        build_dir=build_dir,
        install_dir=data_dir() / "engines" / name,
        log_path=state_dir() / "logs" / f"build-{name}.log",
        steps=_steps(recipe, flags, archive_dir, source_dir, build_dir, jobs),
        recipe=recipe,
    )


def _steps(
    recipe: Recipe, flags: dict[str, str], archive_dir: Path, source_dir: Path, build_dir: Path, jobs: int | None
) -> tuple[BuildStep, ...]:
    pip = (
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
        "--no-binary", recipe.package, "--dest", str(archive_dir), f"{recipe.package}=={recipe.version}",
    )  # fmt: skip
    cmake = str(find_program(("cmake",)) or "cmake")
    ninja = find_program(("ninja",))
    generator = ("-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}") if ninja else ("-G", "Unix Makefiles")
    defines = tuple(f"-D{flag}={value}" for flag, value in flags.items())
    count = str(jobs or len(os.sched_getaffinity(0)))
    return (
        BuildStep("download", pip, f"fetch the source of {recipe.package} {recipe.version} (77 MB)"),
        BuildStep("unpack", (), f"unpack {recipe.folder} of it into {source_dir}"),
        BuildStep(
            "configure", (cmake, "-S", str(source_dir), "-B", str(build_dir), *generator, *defines), "find compilers"
        ),
        BuildStep(
            "compile", (cmake, "--build", str(build_dir), "-j", count, "--target", *recipe.targets), "compile and link"
        ),
        BuildStep("install", (), "move the tools into the data folder"),
    )


def installed_builds() -> tuple[InstalledBuild, ...]:
    """Every finished build there is, the newest source first."""
    folders = sorted((data_dir() / "engines").glob("[!.]*"), reverse=True)
    return tuple(installed_build(folder) for folder in folders if read_manifest(folder) is not None)


def read_manifest(folder: Path) -> dict[str, object] | None:
    """What a finished build says of itself; `None`: there is none."""
    try:
        data = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def installed_build(folder: Path) -> InstalledBuild:
    """The build in that folder."""
    data = read_manifest(folder) or {}
    flags = data.get("flags")
    return InstalledBuild(
        path=folder,
        backend=str(data.get("backend", "unknown")),
        version=str(data.get("version", "unknown")),
        flags=flags if isinstance(flags, dict) else {},
        built_at=str(data.get("built_at", "")),
    )

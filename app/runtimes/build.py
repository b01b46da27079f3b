"""`moetune runtime build`: llama.cpp's server and tools, built for this machine, once.

The source is the one inside the llama-cpp-python package, so the tools and the embedded engine are of one version.
Source and objects stay in the cache folder: a build that was interrupted goes on where it stopped, and ccache is
used where it is installed (ggml's own build looks for it). The finished tools appear in the data folder in one
rename.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.errors import BuildFailedError, BusyError
from app.paths import made
from app.runtimes.build_child import explain_build_failure, progress_of, run_step
from app.runtimes.build_plan import (
    MANIFEST,
    BuildPlan,
    BuildStep,
    InstalledBuild,
    installed_build,
    installed_builds,
    plan_build,
)
from app.runtimes.build_recipe import install_hint
from app.runtimes.build_source import unpack

__all__ = ["BuildPlan", "BuildProgress", "InstalledBuild", "build", "installed_builds", "plan_build", "remove"]


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is."""

    step: str
    """`download`, `unpack`, `configure`, `compile` or `install`."""
    done: int
    total: int
    """0: nobody knows."""
    line: str


def build(
    plan: BuildPlan,
    on_progress: Callable[[BuildProgress], None] = lambda _: None,
    *,
    force: bool = False,
    cancelled: threading.Event | None = None,
) -> InstalledBuild:
    """Build and install; returns at once where exactly this was built before.

    Args:
        plan: what to build.
        on_progress: called for every line that a step prints, in this thread.
        force: compile again from nothing.
        cancelled: set from another thread to stop.

    Raises:
        BuildFailedError: something is missing, or a step failed or was cancelled.
        BusyError: another process builds the same.
    """
    if plan.installed and not force:
        return installed_build(plan.install_dir)
    if plan.missing:
        names = ", ".join(need.name for need in plan.missing)
        raise BuildFailedError(f"Building llama.cpp for {plan.backend} needs {names}.", hint=install_hint(plan.missing))
    with _lock(plan), _log(plan) as log:
        if force:
            shutil.rmtree(plan.build_dir, ignore_errors=True)
        _drop_other_configuration(plan)
        for step in plan.steps:
            on_progress(BuildProgress(step.name, 0, 0, step.what))
            if step.name == "download" and (_archive(plan) or plan.source_dir.is_dir()):
                continue
            if step.name == "unpack":
                _unpack(plan)
            elif step.name == "install":
                _install(plan)
            else:
                _run(plan, step, log, on_progress, cancelled)
    return installed_build(plan.install_dir)


def remove(build: InstalledBuild) -> None:
    """Take a finished build away: the rename makes it vanish at once, whatever the deletion meets.

    Raises:
        BuildFailedError: it is not ours to delete.
    """
    doomed = build.path.with_name(f".removed-{build.path.name}")
    try:
        shutil.rmtree(doomed, ignore_errors=True)
        build.path.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        raise BuildFailedError(
            f"{build.path} cannot be removed: {error.strerror}.", hint="Check who owns it."
        ) from error


def _run(
    plan: BuildPlan,
    step: BuildStep,
    log: TextIO,
    on_progress: Callable[[BuildProgress], None],
    cancelled: threading.Event | None,
) -> None:
    done, total = 0, 0

    def on_line(line: str) -> None:
        nonlocal done, total
        done, total = progress_of(line) or (done, total)
        on_progress(BuildProgress(step.name, done, total, line))

    try:
        code, lines = run_step(step.argv, log=log, on_line=on_line, cancelled=cancelled)
    except OSError as error:
        raise BuildFailedError(f"{step.argv[0]} cannot be started: {error.strerror}.") from error
    if cancelled is not None and cancelled.is_set():
        raise BuildFailedError("The build was stopped.", hint="Build again: it goes on where it stopped.")
    if code != 0:
        reason, hint = explain_build_failure(lines, plan.log_path)
        raise BuildFailedError(f"The step {step.name!r} of the build failed. {reason}", hint=hint)


def _archive(plan: BuildPlan) -> Path | None:
    """The source package, by either spelling of its name."""
    stem = plan.recipe.package.replace("-", "[-_]")
    return next(plan.archive_dir.glob(f"{stem}-{plan.version}.tar.gz"), None)


def _unpack(plan: BuildPlan) -> None:
    if plan.source_dir.is_dir():
        return
    archive = _archive(plan)
    if archive is None:
        raise BuildFailedError(f"pip left no source package in {plan.archive_dir}.")
    unpack(archive, plan.recipe.folder, plan.source_dir, leave_out=plan.recipe.unused)


def _drop_other_configuration(plan: BuildPlan) -> None:
    """CMake keeps what it was told before; a build folder that was told otherwise is not gone on with."""
    configure = next(step.argv for step in plan.steps if step.name == "configure")
    note = plan.build_dir / "moetune-configuration.json"
    try:
        same = json.loads(note.read_text()) == list(configure)
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(plan.build_dir, ignore_errors=True)
    made(plan.build_dir)
    note.write_text(json.dumps(configure))


def _install(plan: BuildPlan) -> None:
    """Copy the tools beside their place and rename: a reader sees the whole build or none."""
    fresh = plan.install_dir.with_name(f".{plan.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    bin_dir = made(fresh / "bin")
    for target in plan.targets:
        shutil.copy2(plan.build_dir / "bin" / target, bin_dir / target)
    manifest = {
        "backend": plan.backend,
        "version": plan.version,
        "commit": plan.recipe.commit,
        "flags": plan.flags,
        "built_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
    (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2))
    if plan.install_dir.exists():
        old = plan.install_dir.with_name(f".{plan.name}.old.{os.getpid()}")
        plan.install_dir.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    fresh.rename(plan.install_dir)


@contextmanager
def _lock(plan: BuildPlan) -> Iterator[None]:
    path = made(plan.build_dir.parent) / f"{plan.name}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"Another moetune builds {plan.name} right now.", hint="Wait for it, then run this again."
            ) from error
        yield


@contextmanager
def _log(plan: BuildPlan) -> Iterator[TextIO]:
    made(plan.log_path.parent)
    with plan.log_path.open("w") as log:
        yield log

"""Getting a scenario's weights ready before it runs: found, made or downloaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from app.errors import ModelError
from app.jobs.model_weights import HUB, download_lines, find_weights, size_of
from app.jobs.scenarios import Scenario
from app.units import bytes_text

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


def weights_here(
    scenario: Scenario, narrate: Callable[[str], None], on_progress: Progress, *, fetch: bool = False
) -> Path:
    """The scenario's weights on this disk; moetune's own file is written where it is not there.

    Args:
        scenario: whose weights.
        narrate: told what is going on.
        on_progress: told how much of a file is written or downloaded.
        fetch: download them where they are not here.

    Raises:
        ModelError: they are not here; before that, what to download and where from is narrated. Or the download failed.
        UsageError: what downloads is not installed.
    """
    if scenario.weights.kind == "made":
        from app.jobs.demo import write_demo_model

        path, _ = write_demo_model(on_progress)
        return path
    found = find_weights(scenario)
    if found.path is not None and not found.missing:
        return found.path
    if fetch:
        from app.jobs.downloading import download

        return download(scenario, narrate, on_progress)
    if found.path is not None:
        narrate(f"{found.path.parent} holds a part only; missing: {', '.join(found.missing)}")
    for line in download_lines(scenario):
        narrate(line)
    size, stated = size_of(scenario)
    raise ModelError(
        f"The weights of {scenario.id} are not on this disk: {'' if stated else 'about '}{bytes_text(size)} from"
        f" {HUB}/{scenario.weights.repository}.",
        hint=f"`moetune run {scenario.id} --download` fetches them.",
    )

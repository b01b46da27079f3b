"""Where a scenario's weights are on this disk, or exactly what to download, how large it is and where from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.jobs.scenarios import Scenario
from app.models.places import Place, downloads_dir, find_files, model_places
from app.units import bytes_text

HUB = "https://huggingface.co"
_PART = re.compile(r"(?P<stem>.*)-00001-of-(?P<count>\d{5})\.gguf$")


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to where the weights are."""

    path: Path | None
    """What the engine is given: a GGUF file, the first part of a split one, or a checkpoint's folder."""
    missing: tuple[str, ...] = ()
    """Parts that lie beside it not, where some of them do."""


def find_weights(scenario: Scenario, places: list[Path] | None = None) -> Found:
    """Look for the scenario's files in the usual places: under their published names, or as the same quantization.

    Programs that download put a repository's name before the file's (`ggml-org_gpt-oss-120b-GGUF_NAME.gguf`), so a
    name's end counts. Blocks; nothing is opened.
    """
    if scenario.weights.kind == "checkpoint":
        return _find_checkpoint(scenario, _places() if places is None else places)
    places = _places() if places is None else places
    names = {Path(file).name.lower() for file in (scenario.weights.files[0], *scenario.weights.also)}
    best = Found(None)
    alike: list[Path] = []
    for _, path in find_files(Place("", folder) for folder in places):
        if not any(path.name.lower() == name or path.name.lower().endswith(f"_{name}") for name in names):
            alike.append(path)
            continue
        lacking = _missing_parts(path)
        if not lacking:
            return Found(path)
        best = best if best.path else Found(path, lacking)
    for path in alike:
        if _is_alike(path, scenario) and not _missing_parts(path):
            return Found(path)
    return best


def _places() -> list[Path]:
    """Where models are looked for."""
    return [place.path for place in model_places()]


def model_of(scenario: Scenario) -> str:
    """What the planner is to be asked for: the file where it is here, else the catalogue's model.

    A checkpoint is planned by the catalogue's shape: its own files are converted first, and not what is loaded.
    """
    if scenario.weights.kind == "checkpoint":
        return scenario.model_words
    found = find_weights(scenario)
    return str(found.path) if found.path and not found.missing else scenario.model_words


def _find_checkpoint(scenario: Scenario, places: list[Path]) -> Found:
    owner, _, name = scenario.weights.repository.partition("/")
    for place in places:
        hub = sorted((place / f"models--{owner}--{name}" / "snapshots").glob("*"))
        for folder in (place / f"{owner}--{name}", place / name, place / owner / name, *hub):
            if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
                return Found(folder)
    return Found(None)


def _missing_parts(path: Path) -> tuple[str, ...]:
    match = _PART.fullmatch(path.name)
    if match is None:
        return ()
    names = (f"{match['stem']}-{number:05d}-of-{match['count']}.gguf" for number in range(1, int(match["count"]) + 1))
    return tuple(name for name in names if not path.with_name(name).is_file())


def _is_alike(path: Path, scenario: Scenario) -> bool:
    """Whether the file's name says that it is this model in this quantization."""
    from app.models.bits import plain_mixture
    from app.models.names import find_model_name

    found = find_model_name(path.name)
    if found is None or found[0] != scenario.model or found[1] is None:
        return False
    said, asked = found[1], scenario.quantization
    return said.lower() == asked.lower() or (
        plain_mixture(asked) is not None and plain_mixture(said) == plain_mixture(asked)
    )


def size_of(scenario: Scenario) -> tuple[int, bool]:
    """Bytes of the weights, and whether they were published rather than reckoned from the shape."""
    if scenario.weights.bytes is not None:
        return scenario.weights.bytes, True
    from app.models.finding import model_shape

    return model_shape(scenario.model_words).file_bytes, False


def download_lines(scenario: Scenario) -> Iterator[str]:
    """What to download, how large it is and where from, one line each."""
    weights = scenario.weights
    size, stated = size_of(scenario)
    about = "" if stated else "about "
    yield f"{HUB}/{weights.repository} (revision {weights.revision}), {about}{bytes_text(size)} together:"
    for file in weights.files:
        yield (
            f"  {file}"
            if weights.kind == "checkpoint"
            else f"  {HUB}/{weights.repository}/resolve/{weights.revision}/{file}"
        )
    yield f"into {target_dir(scenario)}, or any other place that moetune searches"
    if weights.next:
        yield weights.next


def target_dir(scenario: Scenario) -> Path:
    """The folder that a download of the scenario goes to, one for each repository; or where moetune writes its own."""
    return downloads_dir() / scenario.weights.repository.replace("/", "--")

"""Models in several files: `NAME-00001-of-00003.gguf` and its fellows, merged into one header."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from app.errors import ModelError
from app.models.gguf import GgufHeader, TensorInfo, read_part

_PART_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)
_NAMED_AT_MOST = 4
"""Missing parts named in the error; more are counted."""


def read_parts(part: GgufHeader, count: int) -> GgufHeader:
    """Merge a split model's parts, whichever of them `part` is.

    Args:
        part: one part, already read.
        count: its `split.count`, more than 1.

    Raises:
        ModelError: parts are missing, damaged, in the wrong order, or not of the same model.
    """
    paths = _part_paths(part.path, count)
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        named = ", ".join(missing[:_NAMED_AT_MOST])
        more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
        raise ModelError(
            f"{part.path.name} is one of {count} parts, and {named}{more} is not in {part.path.parent}",
            hint=f"Download the missing parts into {part.path.parent}.",
        )
    parts = [part if path == part.path else read_part(path) for path in paths]
    tensors: dict[str, TensorInfo] = {}
    for index, header in enumerate(parts):
        if (header.metadata.get("split.no"), header.metadata.get("split.count")) != (index, count):
            raise _mixed(paths[index], f"it does not say that it is part {index + 1} of {count}")
        for tensor in header.tensors:
            if tensor.name in tensors:
                raise _mixed(paths[index], f"{tensor.name} is in an earlier part too")
            tensors[tensor.name] = replace(tensor, part=index)
    promised = parts[0].metadata.get("split.tensors.count", len(tensors))
    if promised != len(tensors):
        raise _mixed(paths[0], f"the parts have {len(tensors)} tensors together, {promised} were promised")
    return replace(
        parts[0],
        tensors=tuple(tensors.values()),
        file_bytes=sum(header.file_bytes for header in parts),
        files=tuple(paths),
    )


def _part_paths(path: Path, count: int) -> list[Path]:
    match = _PART_NAME.fullmatch(path.name)
    if match is None or int(match["count"]) != count:
        raise ModelError(
            f"{path} is one of {count} parts but is not named like NAME-00001-of-{count:05d}.gguf",
            hint="Give the parts back the names they were published under.",
        )
    return [path.with_name(f"{match['stem']}-{index:05d}-of-{count:05d}.gguf") for index in range(1, count + 1)]


def _mixed(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} does not belong to the other parts: {why}",
        hint="The parts are of different downloads; download the model again.",
    )

"""The shape of whatever somebody means by a model: a GGUF file, a Hugging Face model on disk, or a name."""

from __future__ import annotations

from pathlib import Path

from app.errors import ModelError
from app.models.catalog import alike
from app.models.gguf import read_header
from app.models.hf_config import config_path, config_shape
from app.models.names import is_path
from app.models.shape import shape_of
from app.models.sizing import find_shape
from app.solver.model import ModelShape


def model_shape(words: str) -> ModelShape:
    """The shape of a model.

    Args:
        words: the path of a GGUF file (any part of a split one); of a `config.json` or the folder that holds it, with
            or without `:` and a quantization; or a name that the catalogue knows, likewise.

    Raises:
        ModelError: the file cannot be used, or there is none and no model of that name.
        UsageError: nothing is known of such a quantization.
    """
    path = Path(words)
    if config := config_path(path):
        return config_shape(config)
    if path.exists():
        return shape_of(read_header(path))
    folder, _, quantization = words.rpartition(":")
    if folder and (config := config_path(Path(folder))):
        return config_shape(config, quantization)
    if is_path(words):
        return shape_of(read_header(words))
    if found := find_shape(words):
        return found
    raise ModelError(f"There is no file {words}, and no model of that name is known", hint=alike(words))


def is_loadable(words: str) -> bool:
    """Whether this is a model file that an engine can load as it is."""
    path = Path(words)
    return path.is_file() and config_path(path) is None

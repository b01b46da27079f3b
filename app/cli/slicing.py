"""`moetune slice`: a small GGUF with a model's true shapes, or some layers of a real file."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from app.cli.output import narrate, print_json, print_rows
from app.errors import ExitCode, UsageError
from app.models.catalog import find_spec, model_names
from app.models.file_slices import FileSliceReport, slice_file
from app.models.names import is_path
from app.models.slices import SliceReport, write_slice
from app.units import bytes_text


def run(arguments: argparse.Namespace) -> int:
    """Write the slice, or list what there is to slice."""
    if arguments.model is None:
        listing = [
            (spec.id, f"{spec.architecture}, {spec.layers} layers, {spec.quantization}")
            for spec in map(find_spec, model_names())
        ]
        if arguments.json:
            print_json(dict(listing))
        else:
            print_rows(listing, indent=0)
        return ExitCode.OK
    report = _cut_out(arguments) if is_path(arguments.model) else _written(arguments)
    path = report.path
    if arguments.json:
        print_json(report)
    else:
        print(f"{path}  {bytes_text(path.stat().st_size)}")
    return ExitCode.OK


def _written(arguments: argparse.Namespace) -> SliceReport:
    """A slice of a described model, of random weights."""
    spec = find_spec(arguments.model)
    return write_slice(
        spec,
        _target(arguments, spec.id),
        layers=arguments.layers,
        experts=arguments.experts,
        vocabulary=arguments.vocabulary,
        seed=arguments.seed,
        on_progress=Progress("writing"),
    )


def _cut_out(arguments: argparse.Namespace) -> FileSliceReport:
    """A slice of a file, of its own weights."""
    if arguments.layers is None or arguments.experts or arguments.vocabulary:
        raise UsageError(
            "Of a model file only layers can be cut out.", hint="Say how many with --layers, and nothing else."
        )
    source = Path(arguments.model).expanduser()
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", source.stem)
    return slice_file(source, _target(arguments, stem), layers=arguments.layers, on_progress=Progress("copying"))


def _target(arguments: argparse.Namespace, stem: str) -> Path:
    path = Path(arguments.output or f"{stem}-slice.gguf")
    if path.exists() and not arguments.force:
        raise UsageError(f"{path} exists already.", hint="Give another -o FILE, or --force to overwrite it.")
    return path


class Progress:
    """Tells on stderr how far it is: every percent on a terminal, every quarter elsewhere."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.step = 1 if sys.stderr.isatty() else 25
        self.said = 0

    def __call__(self, done: int, total: int) -> None:
        """Tell it, if it is news."""
        percent = 100 * done // max(1, total)
        if percent - self.said < self.step:
            return
        self.said = percent
        if self.step > 1:
            narrate(f"    {self.verb} {percent} %")
        else:
            narrate(f"\r    {self.verb} {percent:3d} %", end="\n" if percent == 100 else "")

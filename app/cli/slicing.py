"""`moetune slice`: a small GGUF with a model's true shapes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from app.cli.output import narrate, print_json, print_rows
from app.errors import ExitCode, UsageError
from app.models.catalog import find_spec, model_names
from app.models.slices import write_slice
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
    spec = find_spec(arguments.model)
    path = Path(arguments.output or f"{spec.id}-slice.gguf")
    if path.exists() and not arguments.force:
        raise UsageError(f"{path} exists already.", hint="Give another -o FILE, or --force to overwrite it.")
    report = write_slice(
        spec,
        path,
        layers=arguments.layers,
        experts=arguments.experts,
        vocabulary=arguments.vocabulary,
        seed=arguments.seed,
        on_progress=Progress("writing"),
    )
    if arguments.json:
        print_json(report)
    else:
        print(f"{path}  {bytes_text(path.stat().st_size)}")
    return ExitCode.OK


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

"""Keeps samples in a file, one JSON object a line, so that a run can be looked at later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from app.errors import MoetuneError
from app.telemetry.sample import DeviceSample, Sample, SlotSample

FORMAT = "moetune samples"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of samples."""

    facts: dict[str, object]
    """What the recorder was told about the run."""
    samples: tuple[Sample, ...]


class Recorder:
    """Appends samples to a file. Each is on disk before the next, so a crash loses none.

    A file that cannot be written, or a disk that fills up, ends the recording and nothing else: `problem` says so.

    Args:
        path: the file; made with its folder, continued if it is there.
        facts: what the run is: model, plan, start time.
    """

    def __init__(self, path: Path, facts: dict[str, object] | None = None) -> None:
        self.path = path
        self.problem = ""
        self._file: TextIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            self.problem = f"{path} cannot be written: {error.strerror}"
        if self._file is not None and self._file.tell() == 0:
            self._append({"format": FORMAT, "version": VERSION, "facts": facts or {}})

    def write(self, sample: Sample) -> None:
        """Append one sample."""
        self._append(asdict(sample))

    def close(self) -> None:
        """End the recording. May be called again."""
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                self.problem = self.problem or f"{self.path} cannot be written: {error.strerror}"
            self._file = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, value: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(value, separators=(",", ":"), default=str) + "\n")
            self._file.flush()
        except OSError as error:
            self.problem = f"{self.path} cannot be written: {error.strerror}"
            self.close()


def read_recording(path: Path) -> Recording:
    """Read a recording; a last line that a crash has cut short is left out.

    Raises:
        MoetuneError: the file cannot be read, or is no recording of a version that is known.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise MoetuneError(f"{path} cannot be read: {error.strerror}.") from error
    values = [value for line in lines if (value := _parsed(line)) is not None]
    head = values[0] if values else {}
    if head.get("format") != FORMAT or head.get("version") != VERSION:
        raise MoetuneError(
            f"{path} is no recording that this moetune can read.", hint="It may be from a newer one: update moetune."
        )
    return Recording(head["facts"], tuple(_sample(value) for value in values[1:]))


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _sample(value: dict[str, Any]) -> Sample:
    slots = tuple(SlotSample(**slot) for slot in value.pop("slots"))
    devices = tuple(DeviceSample(**device) for device in value.pop("devices"))
    return Sample(**value, slots=slots, devices=devices)

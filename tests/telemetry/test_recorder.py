"""Recordings: complete up to a crash, and no obstacle to the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import MoetuneError
from app.telemetry.recorder import Recorder, read_recording
from app.telemetry.sample import DeviceSample, Sample, SlotSample

SAMPLE = Sample(
    1.5,
    44.7,
    None,
    (SlotSample(0, True, 10, 10, 3, 1, 4096),),
    (DeviceSample("cpu", 0.5, 1, 2, reason="no power meter"),),
    123,
    True,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "one.jsonl"
    with Recorder(path, {"model": "m"}) as recorder:
        recorder.write(SAMPLE)
        assert read_recording(path).samples == (SAMPLE,)  # before it is closed: a crash loses nothing
        recorder.write(Sample(2.0, None, None))
    assert recorder.problem == ""
    found = read_recording(path)
    assert found.facts == {"model": "m"}
    assert found.samples == (SAMPLE, Sample(2.0, None, None))


def test_a_recording_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    for _ in range(2):
        with Recorder(path) as recorder:
            recorder.write(SAMPLE)
    assert read_recording(path).samples == (SAMPLE, SAMPLE)


def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    with Recorder(path) as recorder:
        recorder.write(SAMPLE)
        recorder.write(SAMPLE)
    path.write_bytes(path.read_bytes()[:-20])
    assert read_recording(path).samples == (SAMPLE,)


def test_a_full_disk_ends_the_recording_and_nothing_else() -> None:
    recorder = Recorder(Path("/dev/full"))
    recorder.write(SAMPLE)
    assert "/dev/full cannot be written: No space left" in recorder.problem
    recorder.close()


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Recorder(tmp_path / "file" / "one.jsonl") as recorder:
        recorder.write(SAMPLE)
    assert "cannot be written" in recorder.problem


@pytest.mark.parametrize("content", ["", "no json\n", '{"format": "moetune samples", "version": 99}\n', "[]\n"])
def test_what_is_no_recording_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(content)
    with pytest.raises(MoetuneError, match=r"one\.jsonl is no recording"):
        read_recording(path)
    with pytest.raises(MoetuneError, match="cannot be read"):
        read_recording(tmp_path / "none")

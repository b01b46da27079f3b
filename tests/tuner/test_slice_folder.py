"""Slices for timing: there while they are needed, gone however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.paths import cache_dir
from app.tuner.slice_folder import Slice, SliceFolder

TINY = Slice("demo", 1, 4, 512)


def test_a_slice_is_written_once_and_has_the_shape_that_was_planned(home: Path) -> None:
    with SliceFolder() as folder:
        path = folder.file(TINY)
        before = path.stat().st_mtime_ns
        assert folder.file(TINY) == path
        assert path.stat().st_mtime_ns == before
        # The file has a header and a vocabulary besides the tensors.
        assert replace(folder.shape(TINY), file_bytes=TINY.shape().file_bytes) == TINY.shape()
        assert folder.file(Slice("demo", 2, 4, 512)) != path
    assert not folder.path.exists()


def test_a_discarded_slice_is_gone_and_is_written_again_when_wanted(home: Path) -> None:
    with SliceFolder() as folder:
        path = folder.file(TINY)
        folder.discard(TINY)
        folder.discard(TINY)
        assert not path.exists()
        assert folder.file(TINY).exists()


def test_an_error_removes_the_folder_too(home: Path) -> None:
    folder = SliceFolder()

    def interrupted() -> None:
        with folder:
            assert folder.file(TINY).exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not folder.path.exists()


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_has_is_not(home: Path) -> None:
    parent = cache_dir() / "calibration"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (str(dead.pid), str(os.getppid())):
        (parent / name).mkdir(parents=True)
        (parent / name / "0.gguf").write_bytes(b"GGUF")
    with SliceFolder():
        assert not (parent / str(dead.pid)).exists()
        assert (parent / str(os.getppid()) / "0.gguf").exists()

"""The log as it is read from behind: whole lines, whatever the pieces they arrive in."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.launch.engine_log import LogTail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "engine.log"
    path.touch()
    return path


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_line_is_told_once_it_is_whole(path: Path) -> None:
    tail = LogTail(path)
    read = []
    for piece in (b"on", b"e\ntwo\nth", b"", b"ree", b"\n"):
        add(path, piece)
        read.append(tail.read())
    assert read == [[], ["one", "two"], [], [], ["three"]]


def test_a_character_cut_in_two_is_put_together(path: Path) -> None:
    tail = LogTail(path)
    add(path, "né".encode()[:-1])
    assert tail.read() == []
    add(path, "é\n".encode()[1:])
    assert tail.read() == ["né"]


def test_a_line_end_cut_in_two_is_one(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"one\r")
    first = tail.read()
    add(path, b"\ntwo\n")
    assert first + tail.read() == ["one", "two"]


def test_the_last_line_need_not_be_finished(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"one\nabort\xc3")
    assert tail.finish() == ["one", "abort\N{REPLACEMENT CHARACTER}"]
    assert tail.finish() == []


def test_what_was_there_before_is_left_out(path: Path) -> None:
    add(path, b"$ engine --flag\n")
    tail = LogTail(path, path.stat().st_size)
    add(path, b"one\n")
    assert tail.read() == ["one"]


def test_a_log_that_somebody_emptied_is_read_from_its_start(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"a long line\n")
    tail.read()
    path.write_bytes(b"new\n")
    assert tail.read() == ["new"]


def test_a_log_that_somebody_removed_is_no_fault(path: Path) -> None:
    tail = LogTail(path)
    path.unlink()
    assert tail.read() == tail.finish() == []


def test_a_backlog_is_skipped_and_said_so(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"x" * 99 + b"\n")
    tail.read()
    add(path, b"".join(b"%099d\n" % number for number in range(20_000)) + b"end\n")
    lines = tail.read()
    assert "bytes skipped" in lines[0]
    assert str(path) in lines[0]
    assert all(len(line) == 99 for line in lines[1:-1])
    assert (lines[-2], lines[-1]) == (f"{19_999:099}", "end")


def test_a_line_without_end_does_not_grow_without_end(path: Path) -> None:
    tail = LogTail(path)
    add(path, b"x" * 200_000)
    assert tail.read() == ["x" * 200_000]
    add(path, b"y\n")
    assert tail.read() == ["y"]

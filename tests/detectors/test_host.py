from __future__ import annotations

import os
from pathlib import Path

import pytest

from detectors.host import Host


def test_nuls_and_white_space_are_stripped(tmp_path: Path) -> None:
    (tmp_path / "vendor").write_bytes(b"0x1002\n\0")
    host = Host(tmp_path)
    assert host.text("/vendor") == "0x1002"
    assert host.integer("/vendor") == 0x1002


def test_absent_and_denied_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("1")
    (tmp_path / "folder").mkdir()
    host = Host(tmp_path)
    assert (host.text("/missing"), host.why("/missing")) == (None, "absent")
    assert (host.text("/secret/below"), host.why("/secret/below")) == (None, "absent")
    assert (host.text("/folder"), host.why("/folder")) == (None, "not a plain file")

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)  # root reads every file, so the refusal has to be made
    assert (host.text("/secret"), host.why("/secret")) == (None, "permission denied")


def test_a_later_success_clears_the_reason(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.text("/late") is None
    (tmp_path / "late").write_text("7")
    assert host.integer("/late") == 7
    assert host.why("/late") == ""


def test_what_is_no_number_is_none_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "size").write_text("many")
    host = Host(tmp_path)
    assert host.integer("/size") is None
    assert host.why("/size") == "not a number: 'many'"


def test_a_fifo_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert Host(tmp_path).text("/pipe") is None


@pytest.mark.parametrize("target", ["/sys/devices/gpu", "../devices/gpu", "../../../../../sys/devices/gpu"])
def test_links_stay_inside_the_root(tmp_path: Path, target: str) -> None:
    device = tmp_path / "sys" / "devices" / "gpu"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x1002")
    (tmp_path / "sys" / "class").mkdir()
    (tmp_path / "sys" / "class" / "card0").symlink_to(target)
    host = Host(tmp_path)
    assert host.text("/sys/class/card0/vendor") == "0x1002"
    assert host.link("/sys/class/card0") == "/sys/devices/gpu"
    assert host.names("/sys/class/card0") == ["vendor"]


def test_an_absolute_link_never_leads_to_this_machine(tmp_path: Path) -> None:
    (tmp_path / "release").symlink_to("/proc/version")
    host = Host(tmp_path)
    assert Path("/proc/version").exists()
    assert host.text("/release") is None
    assert not host.exists("/release")


def test_a_link_without_its_target_still_says_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "driver").symlink_to("/sys/bus/pci/drivers/vfio-pci")
    assert Host(tmp_path).link("/driver") == "/sys/bus/pci/drivers/vfio-pci"


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    host = Host(tmp_path)
    assert host.text("/a") is None
    assert host.why("/a") == "too many symlinks"
    assert not host.exists("/a")


def test_a_recorded_host_runs_no_tools(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert not host.live
    assert host.run(["true"]) is None
    assert host.affinity() is None


def test_a_live_host_runs_tools_and_cuts_off_those_that_hang() -> None:
    host = Host()
    assert host.run(["echo", "hello"]) == "hello\n"
    assert host.run(["false"]) is None
    assert host.why("false") == "exit code 1"
    assert host.run(["no-such-tool-at-all"]) is None
    assert host.why("no-such-tool-at-all") == "absent"
    assert host.run(["tail", "-f", "/dev/null"], timeout_s=0.1) is None
    assert host.why("tail") == "no answer within 0.1 s"

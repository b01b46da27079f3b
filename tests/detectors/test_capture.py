"""What a capture holds, and what it does not."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from detectors.capture import MANIFEST, CaptureError, capture, open_capture
from detectors.host import Host
from detectors.registry import detect
from detectors.scrub import Scrub, command_line
from tests.detectors.test_synthetic import timeless
from tests.fixtures.synthetic.machines import write

# Everything by which a machine or its owner could be known again, planted in each place where such things are found.
SECRETS = (
    "alice", "wonderland", "4C4C4544-0035-4A10-8058-B7C04F4D3333", "9f2c1e7b40d94f6f8a54dd3c7a6b1c0e",
    "52:54:00:ab:cd:ef", "SN-0123456789", "8526313219876543210", "GPU-7d1c2b3a-1111-2222-3333-444455556666",
    "hunter2", "10.1.2.3", "PART-HMCG", "vg-alice", "buildd@lcy02", "tapestry", "LLAMA-KEY-77",
)  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path) -> Host:
    """A Strix Halo in a container-like group, full of names and serial numbers."""
    root = write("ubuntu2404-strixhalo", tmp_path / "host")

    def put(path: str, text: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        with (root / path).open("a") as file:
            file.write(text)

    (root / "proc/sys/kernel/hostname").write_text("wonderland\n")
    (root / "proc/cmdline").write_text(
        "root=UUID=4C4C4544-0035-4A10-8058-B7C04F4D3333 rd.lvm.lv=vg-alice/root ip=10.1.2.3::eth0:52:54:00:ab:cd:ef "
        "luks.key=hunter2 ttm.pages_limit=16384000 systemd.hostname=wonderland quiet -- init=tapestry\n"
    )
    put("proc/cpuinfo", "\nSerial\t\t: SN-0123456789\nprocessor : 32\nSerial : SN-0123456789\n")
    put("proc/version", "Linux version 6.17.0 (buildd@lcy02-amd64-1) (gcc)\n")
    put("sys/class/kfd/kfd/topology/nodes/1/properties", "unique_id 8526313219876543210\n")
    put(
        "run/udev/data/+dmi:id",
        "E:MEMORY_DEVICE_0_SERIAL_NUMBER=SN-0123456789\nE:MEMORY_DEVICE_0_PART_NUMBER=PART-HMCG\n",
    )
    put("sys/class/dmi/id/product_serial", "SN-0123456789\n")
    put("sys/devices/pci0000:00/0000:00:08.1/0000:c5:00.0/unique_id", "8526313219876543210\n")
    put(
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: X\nGPU UUID: GPU-7d1c2b3a-1111-2222-3333-444455556666\n",
    )
    put("etc/os-release", 'BUILD_ID="tapestry"\nHOME_URL="https://wonderland"\n')
    put("etc/modprobe.d/alice.conf", "# by alice\noptions ttm pages_limit=16384000\noptions wifi key=hunter2\n")
    put("proc/mounts", "//10.1.2.3/alice /home/alice/nas cifs rw,username=alice,password=hunter2 0 0\n")
    (root / "proc/self/cgroup").write_text("0::/alice.slice/docker-9f2c1e7b40d94f6f8a54dd3c7a6b1c0e.scope\n")
    put("sys/fs/cgroup/alice.slice/docker-9f2c1e7b40d94f6f8a54dd3c7a6b1c0e.scope/memory.max", f"{64 << 30}\n")
    put("home/alice/.config/llama.cpp/config.ini", "api-key = hunter2\n")
    env = {
        "USER": "alice", "HOME": "/home/alice", "LLAMA_ARG_THREADS": "8", "LLAMA_ARG_MODEL": "/home/alice/model.gguf",
        "LLAMA_ARG_API_KEY": "LLAMA-KEY-77", "AWS_SECRET": "hunter2",
    }  # fmt: skip
    return Host(root, env)


def test_no_name_number_or_key_is_saved(tmp_path: Path, planted: Host) -> None:
    capture(planted, tmp_path / "capture.tar.gz")
    capture(planted, tmp_path / "folder")
    with tarfile.open(tmp_path / "capture.tar.gz") as tar:
        members = [(member, tar.extractfile(member) if member.isfile() else None) for member in tar]
        texts = {member.name: file.read().decode("utf-8", "replace") if file else "" for member, file in members}
        owners = {(member.uid, member.gid, member.uname) for member, _ in members}
    assert len(texts) > 100
    everything = "\n".join(f"{name}\n{text}" for name, text in texts.items()).lower()
    everything += "\n".join(str(path) for path in (tmp_path / "folder").rglob("*")).lower()
    assert [secret for secret in SECRETS if secret.lower() in everything] == []
    assert owners == {(0, 0, "root")}


def test_what_was_left_of_it_shows_the_same_machine(tmp_path: Path, planted: Host) -> None:
    capture(planted, tmp_path / "capture.tar.gz")
    replayed, original = detect(open_capture(tmp_path / "capture.tar.gz"), 30), detect(planted, 30)
    assert replayed.host_name == "host"
    assert replayed.pool("ram") == original.pool("ram")
    assert replayed.memory is not None
    assert replayed.memory.limit_bytes == 64 << 30
    assert replayed.memory.limit_file is not None
    assert replayed.memory.limit_file.startswith("/sys/fs/cgroup/user.slice/docker-")
    assert replayed.devices == original.devices
    assert replayed.environment == {"LLAMA_ARG_MODEL": "/home/user/model.gguf", "LLAMA_ARG_THREADS": "8"}
    assert replayed.engine_files == ("/home/user/.config/llama.cpp/config.ini",)
    assert replayed.kernel is not None
    assert replayed.kernel.option("ttm", "pages_limit") is not None


def test_a_live_machine_replays(tmp_path: Path) -> None:
    capture(Host(), tmp_path / "live.tar.gz", tool="moetune 1")
    replayed, live = detect(open_capture(tmp_path / "live.tar.gz"), 30), detect(Host(), 30)
    first, second = timeless(replayed), timeless(live)
    assert first.cpu is not None
    assert second.cpu is not None
    assert replace(first.cpu, numa_nodes=()) == replace(second.cpu, numa_nodes=())  # which say what is free now
    assert (first.kernel, first.links) == (second.kernel, second.links)
    assert [device.id for device in first.devices] == [device.id for device in second.devices]
    assert first.pool("ram").total_bytes == second.pool("ram").total_bytes
    assert first.memory is not None
    assert second.memory is not None
    assert first.memory.memlock_bytes == second.memory.memlock_bytes
    with tarfile.open(tmp_path / "live.tar.gz") as tar:
        manifest = tar.extractfile(f"./{MANIFEST}")
        assert manifest is not None
        stated = json.load(manifest)
    assert (stated["format"], stated["tool"]) == (1, "moetune 1")
    assert stated["date"].endswith("+00:00")


def test_what_may_not_be_read_says_so_after_it_was_captured(tmp_path: Path) -> None:
    root = write("ubuntu2404-strixhalo", tmp_path / "host")
    path = "/sys/class/kfd/kfd/topology/nodes/1/properties"
    answers = json.loads((root / "answers.json").read_text())
    (root / "answers.json").write_text(json.dumps(answers | {"refused": {path: "not permitted"}}))
    capture(Host(root), tmp_path / "capture")
    machine = detect(open_capture(tmp_path / "capture"), 30)
    assert [problem.reason for problem in machine.problems] == [
        "the compute driver (KFD) denies its node 1 to this process"
    ]


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b\x08\x00broken"])
def test_what_is_no_capture_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(content)
    with pytest.raises(CaptureError, match="is no capture that can be read"):
        open_capture(tmp_path / "x.tar.gz")
    with pytest.raises(CaptureError, match="there is no capture at"):
        open_capture(tmp_path / "missing.tar.gz")


def test_a_hostile_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        for name in ("../escaped", "/tmp/moetune-escaped", "proc/meminfo"):
            member = tarfile.TarInfo(name)
            member.size = 15
            tar.addfile(member, io.BytesIO(b"MemTotal: 1 kB\n"))
        link = tarfile.TarInfo("proc/cpuinfo")
        link.type, link.linkname = tarfile.SYMTYPE, "/proc/cpuinfo"
        tar.addfile(link)
    host = open_capture(tmp_path / "x.tar.gz")
    assert host.text("/proc/meminfo") == "MemTotal: 1 kB"
    assert host.text("/proc/cpuinfo") is None
    assert not (Path(host.root).parent / "escaped").exists()
    assert not Path("/tmp/moetune-escaped").exists()


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("proc/meminfo")
        member.size = 300 << 20
        tar.addfile(member, _Zeros(member.size))
    with pytest.raises(CaptureError, match="far larger than a capture"):
        open_capture(tmp_path / "x.tar.gz")


class _Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return bytes(size)


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    with pytest.raises(CaptureError, match="not an empty folder"):
        capture(Host(tmp_path), tmp_path / "full")
    assert os.listdir(tmp_path / "full") == ["mine"]


def test_the_command_line_keeps_what_is_judged() -> None:
    line = "BOOT_IMAGE=/vmlinuz amdgpu.gttsize=1 amdgpu.gttsize=2 amd_iommu=pt rd.luks.uuid=x isolcpus=1-3 -- secret"
    assert command_line(line).split() == [
        "BOOT_IMAGE=removed", "amdgpu.gttsize=1", "amdgpu.gttsize=2", "amd_iommu=pt", "rd.luks.uuid=removed",
        "isolcpus=1-3",
    ]  # fmt: skip


def test_names_that_are_words_of_the_kernels_are_left_alone() -> None:
    scrub = Scrub(["root", "al"], ["vm", "performance", "halo-box"])
    text = "root vm performance al halo-box halo-box.lan"
    assert scrub.text(text) == "root vm performance al host host.lan"
    assert scrub.file("/sys/devices/x/serial", b"1") is None
    assert scrub.file("/home/alice/notes", b"1") is None

# ruff: noqa: N802, N815  the names are pynvml's

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from detectors.gpu_nvidia import detect_nvidia
from detectors.host import Host
from detectors.nvml import ask_nvml
from detectors.nvml_devices import describe
from detectors.registry import Found, detect

HostOf = Callable[[str], Host]
Tree = Callable[[dict[str, str]], Host]

CARD: dict[str, object] = {
    "name": "NVIDIA GeForce RTX 4090",
    "bus_id": "00000000:01:00.0",
    "memory": {"total": 24 << 30, "free": 23 << 30},
    "bar1_bytes": 256 << 20,
    "compute_capability": [8, 9],
    "memory_clock_mhz": 10501,
    "bus_width_bits": 384,
}
ON_BUS = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de",
    "sys/bus/pci/devices/0000:01:00.0/class": "0x030000",
    "sys/bus/pci/devices/0000:01:00.1/vendor": "0x10de",
    "sys/bus/pci/devices/0000:01:00.1/class": "0x040300",
}


def _read(*cards: dict[str, object]) -> Found:
    return describe({"driver": "580.95.05", "devices": list(cards)}, Host("/nonexistent"))


def test_no_driver_and_no_device_is_no_problem(recorded: HostOf) -> None:
    assert detect_nvidia(recorded("debian12-epycvm-none")) == Found()


def test_a_4090_is_known_by_what_nvml_answers(recorded: HostOf) -> None:
    found = detect_nvidia(recorded("debian13-xeonw32423-rtx4090"))
    assert found.problems == ()
    (device,), (pool,) = found.devices, found.pools
    assert (device.id, device.kind, device.arch) == ("gpu:0000:17:00.0", "dgpu", "sm_89")
    assert device.bandwidth_gbps == pytest.approx(1008.1, abs=0.1)
    assert device.bandwidth_basis == "driver"
    assert device.driver == "nvidia 580.95.05"
    assert (pool.id, pool.total_bytes, pool.available_bytes) == (
        "vram:0000:17:00.0", 25757220864, 25237520384,
    )  # fmt: skip


@pytest.mark.parametrize("memory", [{"error": 3}, {"total": 0, "free": 0}])
def test_gb10_computes_from_the_system_memory(memory: dict[str, int]) -> None:
    found = _read(
        {"name": "NVIDIA GB10", "bus_id": "0000000F:01:00.0", "memory": memory, "compute_capability": [12, 1]}
    )
    (device,) = found.devices
    assert found.problems == ()
    assert found.pools == ()
    assert (device.kind, device.pool_id, device.limit_bytes) == ("igpu", "ram", None)
    assert (device.bandwidth_gbps, device.bandwidth_basis) == (273.0, "table")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (12, "NVML_ERROR_LIBRARY_NOT_FOUND (12)"),
        (9, "NVML_ERROR_DRIVER_NOT_LOADED (9)"),
        (18, "NVML_ERROR_LIB_RM_VERSION_MISMATCH (18)"),
        (4, "NVML_ERROR_NO_PERMISSION (4)"),
        (777, "NVML_ERROR_an unknown error (777)"),
    ],
)
def test_each_failure_is_named_where_a_gpu_is_expected(tree: Tree, code: int, words: str) -> None:
    found = detect_nvidia(tree({**ON_BUS, "nvml.json": json.dumps({"init_error": code})}))
    assert found.devices == ()
    assert [problem.source for problem in found.problems] == ["gpu_nvidia", "gpu:0000:01:00.0"]
    assert words in found.problems[0].reason


def test_a_gpu_held_by_another_driver_is_said_to_be(tree: Tree) -> None:
    host = tree({**ON_BUS, "nvml.json": '{"devices": []}'})
    link = Path(host.root) / "sys/bus/pci/devices/0000:01:00.0/driver"
    link.symlink_to("/sys/bus/pci/drivers/vfio-pci")
    found = detect_nvidia(host)
    assert [problem.reason for problem in found.problems if problem.source == "gpu:0000:01:00.0"] == [
        "an NVIDIA GPU that NVML does not show: the driver vfio-pci has it"
    ]


def test_one_lost_gpu_does_not_cost_the_other() -> None:
    found = _read({**CARD, "memory": {"error": 15}}, {**CARD, "bus_id": "00000000:02:00.0"})
    assert [device.id for device in found.devices] == ["gpu:0000:02:00.0"]
    assert [problem.source for problem in found.problems] == ["gpu:0000:01:00.0"]
    assert "NVML_ERROR_GPU_IS_LOST (15): the GPU fell off the bus" in found.problems[0].reason


def test_what_a_gpu_does_not_support_is_unknown_and_no_problem() -> None:
    found = _read({key: CARD[key] for key in ("name", "bus_id", "memory")})
    (device,) = found.devices
    assert found.problems == ()
    assert (device.arch, device.bandwidth_gbps, device.visible_vram_bytes) == (None, None, None)


def test_a_gpu_without_a_place_on_the_bus_is_left_out() -> None:
    found = _read({key: value for key, value in CARD.items() if key != "bus_id"})
    assert found.devices == ()
    assert "its place on the PCI bus is not known" in found.problems[0].reason


def test_the_real_library_answers_through_the_same_door() -> None:
    pynvml = pytest.importorskip("pynvml")
    found = describe(ask_nvml(pynvml), Host())
    assert found.devices or any("NVML_ERROR_" in problem.reason for problem in found.problems)


def test_a_sleeping_gpu_is_named_and_not_woken(tree: Tree) -> None:
    host = tree(
        {
            **ON_BUS,
            "sys/bus/pci/devices/0000:01:00.0/power/runtime_status": "suspended",
            "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA RTX 4070 Laptop\nIRQ: 1",
            "nvml.json": json.dumps({"devices": [CARD]}),
        }
    )
    found = detect_nvidia(host)
    assert found.devices == ()
    assert [problem.reason for problem in found.problems] == [
        "NVIDIA RTX 4070 Laptop is left out: it is asleep, and asking for its memory would wake it"
    ]


def test_only_those_awake_are_asked_by_their_address(tree: Tree) -> None:
    second = {path.replace("0000:01", "0000:02"): text for path, text in ON_BUS.items()}
    host = tree({**ON_BUS, **second, "sys/bus/pci/devices/0000:01:00.0/power/runtime_status": "suspended"})
    asked: list[tuple[str, ...]] = []

    def ask(question: str, *words: str) -> object:
        if question == "nvml":
            asked.append(words)
            return {"driver": "580", "devices": [{**CARD, "bus_id": "00000000:02:00.0"}]}
        return None

    host.ask = ask  # type: ignore[method-assign]
    assert [device.id for device in detect_nvidia(host).devices] == ["gpu:0000:02:00.0"]
    assert asked == [("0000:02:00.0",)]


class Library:
    """NVML as a driver of one GPU answers: one question is not supported, one is refused, one is not known to it."""

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            self.value = value

    def __init__(self) -> None:
        self.open = 0

    def __getattr__(self, name: str) -> object:
        if name in ("nvmlDeviceGetNumGpuCores", "nvmlMemory_v2"):
            raise AttributeError(name)

        def answer(*arguments: object) -> object:
            if name == "nvmlDeviceGetP2PStatus":
                return 0 if arguments[2] == 2 else 4
            if name not in self.ANSWERS:
                raise self.NVMLError(4 if name == "nvmlDeviceGetEnforcedPowerLimit" else 3)
            return self.ANSWERS[name]

        return answer

    class Structure:
        busId = b"00000000:01:00.0"
        total, free, bar1Total = 24 << 30, 23 << 30, 32 << 30

    ANSWERS: ClassVar[dict[str, object]] = {
        "nvmlDeviceGetCount": 2,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlSystemGetDriverVersion": b"580.95.05",
        "nvmlDeviceGetName": b"NVIDIA GeForce RTX 4090",
        "nvmlDeviceGetPciInfo": Structure,
        "nvmlDeviceGetMemoryInfo": Structure,
        "nvmlDeviceGetBAR1MemoryInfo": Structure,
        "nvmlDeviceGetCudaComputeCapability": (8, 9),
        "nvmlDeviceGetNvLinkState": 1,
        "nvmlDeviceGetEccMode": [1, 1],
    }

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1


def test_the_library_is_asked_everything_and_closed() -> None:
    library = Library()
    answers = ask_nvml(library)
    assert library.open == 0
    assert answers["driver"] == "580.95.05"
    devices = answers["devices"]
    assert isinstance(devices, list)
    first = devices[0]
    assert (first["name"], first["bus_id"], first["ecc"]) == ("NVIDIA GeForce RTX 4090", "00000000:01:00.0", True)
    assert first["memory"] == {"total": 24 << 30, "free": 23 << 30}
    assert (first["pcie_gen"], first["power_limit_mw"], first["cores"]) == ({"error": 3}, {"error": 4}, {"error": 3})
    assert first["nvlinks"] == 18
    assert answers["peers"] == [{"from": 0, "to": 1, "read": 4, "write": 4, "nvlink": 0}]
    assert json.loads(json.dumps(answers)) == answers


@pytest.mark.parametrize(
    ("read", "nvlink", "path", "granted", "words"),
    [
        (0, 5, "peer-to-peer", True, "peer-to-peer is granted"),
        (0, 0, "nvlink", True, "peer-to-peer is granted"),
        (1, 5, "through the host", False, "the chipset does not support it"),
        (4, 5, "through the host", False, "disabled by a registry key"),
    ],
)
def test_each_state_of_a_pair_is_told(tree: Tree, read: int, nvlink: int, path: str, granted: bool, words: str) -> None:
    devices = [CARD, {**CARD, "bus_id": "00000000:02:00.0"}]
    peers = [{"from": 0, "to": 1, "read": read, "nvlink": nvlink}]
    host = tree({"nvml.json": json.dumps({"devices": devices, "peers": peers})})
    (link,) = detect(host).links
    assert (link.path, link.peer_to_peer) == (path, granted)
    assert words in link.why

from __future__ import annotations

from app.runtimes.llama_command import endpoint_of
from app.runtimes.llama_devices import backends_of, match_devices, parse_devices
from app.units import MIB
from detectors.facts import Device, Machine, MemoryPool

LISTING = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24077 MiB, 23500 MiB free)
  Vulkan0: NVIDIA GeForce RTX 4090 (24564 MiB, 25000 MiB free)
  Vulkan1: AMD Radeon 8060S (RADV GFX1151) (98304 MiB, 97000 MiB free)
  RPC0: 10.0.0.1:50052 (64000 MiB, 60000 MiB free)
  RPC1: 10.0.0.2:50052 (24000 MiB, 23000 MiB free)
  RPC2: 10.0.0.2:50052 (16000 MiB, 15000 MiB free)
"""


def gpu(bdf: str, name: str, vendor: str, gib: int, *, arch: str | None = None) -> tuple[Device, MemoryPool]:
    pool = MemoryPool(f"vram:{bdf}", name, gib << 30, None)
    return Device(f"gpu:{bdf}", "dgpu", name, vendor, pool.id, pci_bdf=bdf, arch=arch), pool


def machine_of(*gpus: tuple[Device, MemoryPool]) -> Machine:
    return Machine("host", devices=tuple(d for d, _ in gpus), pools=tuple(p for _, p in gpus))


def ids(listing: str, machine: Machine) -> dict[str, str | None]:
    return {d.name: d.device_id for d in match_devices(parse_devices(listing), machine)}


def test_devices_are_read_with_their_sizes() -> None:
    cuda = parse_devices(LISTING)[1]
    assert (cuda.name, cuda.buffer_type, cuda.description) == ("CUDA0", "CUDA0", "NVIDIA GeForce RTX 4090")
    assert (cuda.total_bytes, cuda.free_bytes) == (24077 * MIB, 23500 * MIB)


def test_a_description_may_hold_brackets() -> None:
    assert parse_devices(LISTING)[3].description == "AMD Radeon 8060S (RADV GFX1151)"


def test_free_memory_is_never_above_the_total() -> None:
    assert parse_devices(LISTING)[2].free_bytes == 24564 * MIB


def test_the_cpu_is_always_there() -> None:
    only = parse_devices("Available devices:\n  (none)\n")
    assert [(d.name, d.buffer_type, d.device_id) for d in only] == [("CPU", "CPU", "cpu")]


def test_buffer_types_of_rpc_devices_count_within_their_server() -> None:
    remote = parse_devices(LISTING)[4:]
    assert [d.buffer_type for d in remote] == [
        "RPC0[10.0.0.1:50052]", "RPC0[10.0.0.2:50052]", "RPC1[10.0.0.2:50052]",
    ]  # fmt: skip
    assert [d.device_id for d in remote] == [
        "remote:10.0.0.1:50052", "remote:10.0.0.2:50052", "remote:10.0.0.2:50052/1",
    ]  # fmt: skip
    assert endpoint_of(remote[2]) == "10.0.0.2:50052"


def test_backends_are_those_that_show() -> None:
    assert backends_of(parse_devices(LISTING), frozenset({"--rpc"})) == ("CPU", "CUDA", "Vulkan", "RPC")


def test_one_card_seen_by_two_backends_is_the_same_device() -> None:
    machine = machine_of(
        gpu("0000:01:00.0", "NVIDIA GeForce RTX 4090", "NVIDIA", 24),
        gpu("0000:c5:00.0", "Radeon 8060S Graphics", "AMD", 96, arch="gfx1151"),
    )
    found = ids(LISTING, machine)
    assert found["CUDA0"] == found["Vulkan0"] == "gpu:0000:01:00.0"
    assert found["Vulkan1"] == "gpu:0000:c5:00.0"


def test_cards_that_are_alike_go_in_the_order_of_their_addresses() -> None:
    machine = machine_of(
        gpu("0000:41:00.0", "NVIDIA GeForce RTX 3090", "NVIDIA", 24),
        gpu("0000:01:00.0", "NVIDIA GeForce RTX 3090", "NVIDIA", 24),
    )
    lines = [f"  CUDA{i}: NVIDIA GeForce RTX 3090 (24576 MiB, 24000 MiB free)" for i in range(2)]
    found = ids("\n".join(lines), machine)
    assert found["CUDA0"] == "gpu:0000:01:00.0"
    assert found["CUDA1"] == "gpu:0000:41:00.0"


def test_unlike_cards_are_matched_by_name_whatever_their_order() -> None:
    machine = machine_of(
        gpu("0000:01:00.0", "NVIDIA GeForce RTX 3060", "NVIDIA", 12),
        gpu("0000:41:00.0", "NVIDIA GeForce RTX 4090", "NVIDIA", 24),
    )
    found = ids(
        "  CUDA0: NVIDIA GeForce RTX 4090 (24077 MiB, 1 MiB free)\n"
        "  CUDA1: NVIDIA GeForce RTX 3060 (12037 MiB, 1 MiB free)",
        machine,
    )
    assert found["CUDA0"] == "gpu:0000:41:00.0"
    assert found["CUDA1"] == "gpu:0000:01:00.0"


def test_a_nameless_amd_card_is_matched_by_vendor_and_size() -> None:
    machine = machine_of(
        gpu("0000:03:00.0", "AMD GPU 1002:7550", "AMD", 16),
        gpu("0000:c5:00.0", "AMD GPU 1002:1586", "AMD", 96),
    )
    found = ids(
        "  ROCm0: Radeon RX 9070 XT (16304 MiB, 16000 MiB free)\n"
        "  ROCm1: AMD Radeon Graphics (98304 MiB, 97000 MiB free)",
        machine,
    )
    assert found["ROCm0"] == "gpu:0000:03:00.0"
    assert found["ROCm1"] == "gpu:0000:c5:00.0"


def test_a_card_of_another_vendor_is_never_taken() -> None:
    machine = machine_of(gpu("0000:03:00.0", "Radeon RX 9070", "AMD", 16))
    assert ids("  CUDA0: NVIDIA GeForce RTX 4090 (24077 MiB, 1 MiB free)", machine)["CUDA0"] is None


def test_a_software_renderer_is_no_card() -> None:
    machine = machine_of(gpu("0000:01:00.0", "NVIDIA GeForce RTX 4090", "NVIDIA", 24))
    assert ids("  Vulkan0: llvmpipe (LLVM 19.1.7, 256 bits) (24105 MiB, 1 MiB free)", machine)["Vulkan0"] is None

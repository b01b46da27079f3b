"""The GPUs that NVML's answers tell of, with what sysfs adds to each."""

from __future__ import annotations

from detectors.facts import Basis, Device, MemoryPool, PcieLink, Problem
from detectors.host import Host
from detectors.nvml import NOT_SUPPORTED, Answers
from detectors.nvml_words import peer_state, said
from detectors.pci import normal_bdf
from detectors.pcie import access, asleep, iommu_mode, numa_node, slot_link
from detectors.registry import Found, Peer

_VENDOR = 0x10DE
# By PCI device: name, architecture, GB/s. Memory that is the system's own does not answer for its clock and bus: GB10
# has 256 bits of LPDDR5X-8533 (NVIDIA DGX Spark data sheet).
UNIFIED = {0x2E12: ("NVIDIA GB10", "sm_121", 273.0)}


# CUDA C Programming Guide, "Compute Capabilities": FP32 cores per multiprocessor; all others of today have 128.
_NARROW_SMS = {(6, 0), (7, 0), (7, 2), (7, 5), (8, 0)}
_GTPS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}


def describe(answers: Answers, host: Host) -> Found:
    """The devices, pools and peers that NVML's answers tell of, with what sysfs adds to each."""
    if "init_error" in answers:
        return Found(problems=(Problem("gpu_nvidia", f"NVML does not start: {said(answers['init_error'])}"),))
    reader = _Reader(answers, host)
    reader.read_all()
    return reader.found()


class _Reader:
    """Reads one answer after another; what a GPU does not support is no problem."""

    def __init__(self, answers: Answers, host: Host) -> None:
        self._answers = answers
        self._host = host
        self._devices: list[Device] = []
        self._pools: list[MemoryPool] = []
        self._problems: list[Problem] = []
        self._bdfs: dict[int, str] = {}

    def found(self) -> Found:
        return Found(
            pools=tuple(self._pools),
            devices=tuple(self._devices),
            problems=tuple(self._problems),
            peers=tuple(self._peers()),
        )

    def read_all(self) -> None:
        version = self._text("gpu_nvidia", "the driver's version", self._answers, "driver")
        devices = self._answers.get("devices")
        for index, answers in enumerate(devices if isinstance(devices, list) else []):
            if isinstance(answers, dict):
                self._read_gpu(index, answers, f"nvidia {version}" if version else "nvidia")

    def _read_gpu(self, index: int, gpu: Answers, driver: str) -> None:
        source = f"gpu_nvidia {index}"
        if failure := self._error(gpu.get("handle")):
            self._problems.append(Problem(source, f"the GPU cannot be asked: {said(failure)}"))
            return
        name = self._text(source, "its name", gpu, "name") or "NVIDIA GPU"
        bdf = normal_bdf(self._text(source, "its place on the bus", gpu, "bus_id") or "")
        if bdf is None:
            self._problems.append(Problem(source, f"{name} is left out: its place on the PCI bus is not known"))
            return
        self._bdfs[index] = bdf
        source = f"gpu:{bdf}"
        memory, failed = self._memory(source, gpu)
        if failed:
            return
        unified = memory is None
        if memory is not None:
            self._pools.append(MemoryPool(f"vram:{bdf}", f"{name} VRAM", memory["total"], memory.get("free")))
        self._devices.append(self._describe(source, bdf, name, driver, gpu, unified))

    def _describe(self, source: str, bdf: str, name: str, driver: str, gpu: Answers, unified: bool) -> Device:
        host, path = self._host, f"/sys/bus/pci/devices/{bdf}"
        bandwidth, basis = self._bandwidth(source, gpu, name)
        capability = gpu.get("compute_capability")
        vendor, product = host.integer(f"{path}/vendor"), host.integer(f"{path}/device")
        memory = gpu.get("memory")
        return Device(
            id=source,
            kind="igpu" if unified else "dgpu",
            name=name,
            vendor="NVIDIA",
            pool_id="ram" if unified else f"vram:{bdf}",
            arch="sm_{}{}".format(*capability) if isinstance(capability, list) and len(capability) == 2 else None,
            pci_bdf=bdf,
            bandwidth_gbps=bandwidth,
            bandwidth_basis=basis,
            visible_vram_bytes=None if unified else self._number(source, "its BAR1", gpu, "bar1_bytes"),
            driver=driver,
            pci_id=f"{vendor:04x}:{product:04x}" if vendor is not None and product is not None else None,
            revision=host.integer(f"{path}/revision"),
            compute_units=_sms(self._number(source, "its cores", gpu, "cores"), capability),
            bus_bits=self._number(source, "its bus", gpu, "bus_width_bits"),
            memory_clock_mhz=self._number(source, "its memory clock", gpu, "memory_clock_mhz"),
            core_clock_mhz=self._number(source, "its clock", gpu, "core_clock_mhz"),
            memory_reserved_bytes=_natural(memory.get("reserved")) if isinstance(memory, dict) else None,
            link=None if unified else self._link(source, path, gpu),
            power_limit_w=self._watts(source, gpu, "power_limit_mw"),
            power_default_w=self._watts(source, gpu, "power_default_mw"),
            power_max_w=self._watts(source, gpu, "power_max_mw"),
            ecc=self._flag(gpu, "ecc"),
            persistence=self._flag(gpu, "persistence"),
            asleep=asleep(host, path),
            access=tuple(file for node in ("/dev/nvidiactl", "/dev/nvidia-uvm") if (file := access(host, node))),
            numa_node=numa_node(host, path),
            iommu=iommu_mode(host, path),
        )

    def _link(self, source: str, path: str, gpu: Answers) -> PcieLink | None:
        """NVML tells card and slot apart; sysfs knows the other end and whether the link is tunnelled."""
        shown = slot_link(self._host, path, _VENDOR)
        numbers = {
            key: self._number(source, "its link", gpu, f"pcie_{key}")
            for key in ("gen", "width", "max_gen", "max_width", "card_gen")
        }
        if not numbers["max_gen"] or not numbers["max_width"]:
            return shown if shown.source else None
        return PcieLink(
            current_gtps=_GTPS.get(numbers["gen"] or 0),
            current_width=numbers["width"],
            max_gtps=_GTPS.get(numbers["max_gen"]),
            max_width=numbers["max_width"],
            card_gtps=_GTPS.get(numbers["card_gen"] or 0),
            card_width=shown.card_width,
            bridge_bdf=shown.bridge_bdf,
            partner_bdf=shown.partner_bdf,
            tunnelled=shown.tunnelled,
            source="nvml",
        )

    def _memory(self, source: str, gpu: Answers) -> tuple[dict[str, int] | None, bool]:
        """Total and free bytes, and whether the question failed. Neither: the GPU has no memory of its own.

        GB10 answers `NOT_SUPPORTED` or, with some drivers, a total of 0: it computes from the system's memory.
        """
        answer = gpu.get("memory", {"error": NOT_SUPPORTED})
        failure = self._error(answer)
        numbers = {key: _natural(value) for key, value in answer.items()} if isinstance(answer, dict) else {}
        total = numbers.get("total")
        if failure == NOT_SUPPORTED or (failure is None and total == 0):
            return None, False
        if failure is not None or total is None:
            why = said(failure) if failure is not None else "the answer is no size"
            self._problems.append(Problem(source, f"its memory is not known: {why}"))
            return None, True
        return {key: min(value, total) for key, value in numbers.items() if value is not None}, False

    def _bandwidth(self, source: str, gpu: Answers, name: str) -> tuple[float | None, Basis]:
        """Twice the memory clock times the bus: NVML states half of the data rate for every kind of memory."""
        clock = self._number(source, "its memory clock", gpu, "memory_clock_mhz")
        width = self._number(source, "its bus", gpu, "bus_width_bits")
        if clock and width:
            return 2 * clock * width / 8 / 1000, "driver"
        known = next((gbps for unified, _, gbps in UNIFIED.values() if unified in name), None)
        return known, "table" if known is not None else "estimated"

    def _peers(self) -> list[Peer]:
        pairs = self._answers.get("peers")
        found = []
        for pair in pairs if isinstance(pairs, list) else []:
            if not isinstance(pair, dict):
                continue
            one, two = self._bdfs.get(_index(pair.get("from"))), self._bdfs.get(_index(pair.get("to")))
            read = pair.get("read")
            if one is None or two is None or not isinstance(read, int):
                continue
            why = f"NVML: {peer_state(read)}"
            nvlink = pair.get("nvlink") == 0
            found.append(Peer(f"gpu:{one}", f"gpu:{two}", read == 0, why, "nvlink" if nvlink else "peer-to-peer"))
        return found

    def _number(self, source: str, what: str, answers: Answers, key: str) -> int | None:
        value = answers.get(key)
        if failure := self._error(value):
            self._note(source, what, failure)
        return _natural(value)

    def _text(self, source: str, what: str, answers: Answers, key: str) -> str | None:
        value = answers.get(key)
        if failure := self._error(value):
            self._note(source, what, failure)
        return value if isinstance(value, str) else None

    def _watts(self, source: str, gpu: Answers, key: str) -> float | None:
        milliwatts = self._number(source, "its power limit", gpu, key)
        return None if milliwatts is None else milliwatts / 1000

    def _flag(self, gpu: Answers, key: str) -> bool | None:
        value = gpu.get(key)
        return value if isinstance(value, bool) else None

    def _note(self, source: str, what: str, failure: int) -> None:
        problem = Problem(source, f"{what} is not known: {said(failure)}")
        if failure != NOT_SUPPORTED and problem not in self._problems:
            self._problems.append(problem)

    def _error(self, value: object) -> int | None:
        code = value.get("error") if isinstance(value, dict) else None
        return code if isinstance(code, int) else None


def _natural(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64 else None


def _index(value: object) -> int:
    number = _natural(value)
    return -1 if number is None else number


def _sms(cores: int | None, capability: object) -> int | None:
    """Multiprocessors: NVML states FP32 cores, of which each has 64 or 128, by its generation."""
    if not cores or not isinstance(capability, list) or len(capability) != 2:
        return None
    each = 64 if tuple(capability) in _NARROW_SMS else 128
    return cores // each

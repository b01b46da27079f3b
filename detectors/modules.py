"""Kernel modules: what they were configured to do, what they do, and what the kernel was built with."""

from __future__ import annotations

import re

from detectors.facts import DriverModule, ModuleOption
from detectors.host import Host

CONFIGURED = ("ttm", "amdttm", "amdgpu", "nvidia", "xe", "i915")
_SHOWN = ("amdgpu", "ttm", "amdttm", "nvidia", "xe", "i915", "nouveau", "radeon")
# What readiness asks of each; all others stay unread.
_PARAMETERS = {
    "amdgpu": ("pcie_p2p", "no_system_mem_limit", "vm_fragment_size", "runpm", "noretry", "cwsr_enable", "mes"),
    "ttm": ("pages_limit", "page_pool_size"),
    "amdttm": ("pages_limit", "page_pool_size"),
}
# modprobe.d(5): a file in an earlier folder hides one of the same name in a later one.
_FOLDERS = ("/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d")
_OPTIONS = re.compile(r"^\s*options\s+(\S+)\s+(.+)$", re.MULTILINE)
SYMBOLS = (
    "CONFIG_HSA_AMD", "CONFIG_HSA_AMD_P2P", "CONFIG_PCI_P2PDMA", "CONFIG_DMABUF_MOVE_NOTIFY",
    "CONFIG_IOMMU_DEFAULT_DMA_LAZY", "CONFIG_IOMMU_DEFAULT_PASSTHROUGH", "CONFIG_NUMA_BALANCING",
)  # fmt: skip


def module_options(host: Host, command_line: str | None) -> tuple[ModuleOption, ...]:
    """Configured parameters, weakest first: modprobe reads its files by their names, and the command line last."""
    files: dict[str, str] = {}
    for folder in _FOLDERS:
        for name in host.names(folder):
            if name.endswith(".conf"):
                files.setdefault(name, f"{folder}/{name}")
    found: list[ModuleOption] = []
    for _, path in sorted(files.items()):
        for module, words in _OPTIONS.findall(host.text(path) or ""):
            found += _words(module, words.split("#")[0].split(), path)
    for word in (command_line or "").split():
        if word == "--":
            break
        module, dot, rest = word.partition(".")
        if dot:
            found += _words(module, [rest], "/proc/cmdline")
    return tuple(found)


def _words(module: str, words: list[str], source: str) -> list[ModuleOption]:
    name = module.replace("-", "_")
    if name not in CONFIGURED:
        return []
    pairs = (word.partition("=") for word in words)
    return [ModuleOption(name, key.replace("-", "_"), value, source) for key, equals, value in pairs if equals]


def loaded_modules(host: Host) -> tuple[DriverModule, ...]:
    """The GPU drivers that are loaded (or built in), with the parameters that matter."""
    found = []
    for name in _SHOWN:
        folder = f"/sys/module/{name}"
        if not host.exists(folder):
            continue
        values = {key: host.text(f"{folder}/parameters/{key}") for key in _PARAMETERS.get(name, ())}
        taint = host.text(f"{folder}/taint")
        found.append(
            DriverModule(
                name=name,
                version=host.text(f"{folder}/version") or None,
                out_of_tree=None if taint is None else "O" in taint,
                parameters={key: value for key, value in values.items() if value is not None},
            )
        )
    return tuple(found)


def kernel_config(host: Host, release: str) -> tuple[dict[str, str], str | None]:
    """The build symbols that matter, and the file that holds them; `None`: there is no such file to read."""
    places = (
        "/proc/config.gz",
        f"/boot/config-{release}",
        f"/lib/modules/{release}/config",
        f"/usr/lib/modules/{release}/config",
        f"/lib/modules/{release}/build/.config",
        f"/usr/lib/ostree-boot/config-{release}",
    )
    for path in places if "/" not in release else places[:1]:
        data = host.data(path)
        if data is None:
            continue
        text = _unpacked(data) if path.endswith(".gz") else data.decode("utf-8", "replace")
        if "CONFIG_" in text:
            return _symbols(text), path
    return {}, None


def _unpacked(data: bytes) -> str:
    import zlib

    # 31: a gzip header. At most 1 MiB is taken (a configuration has 300 KB), whatever a damaged file unpacks to.
    try:
        return zlib.decompressobj(31).decompress(data, 1024 * 1024).decode("utf-8", "replace")
    except zlib.error:
        return ""


def _symbols(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for symbol in SYMBOLS:
        if match := re.search(rf"^{symbol}=([ym])$", text, re.MULTILINE):
            found[symbol] = match[1]
        elif re.search(rf"^# {symbol} is not set$", text, re.MULTILINE):
            found[symbol] = "n"
    return found

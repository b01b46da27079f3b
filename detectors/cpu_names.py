"""Names that have to be put together: Arm cores by their part numbers, hypervisors by the firmware's tables."""

from __future__ import annotations

from detectors.host import Host

# Main ID Register values as util-linux (sys-utils/lscpu-arm.c) and Arm's technical reference manuals list them.
_ARM_VENDORS = {
    "0x41": "ARM", "0x46": "Fujitsu", "0x48": "HiSilicon", "0x4e": "NVIDIA", "0x51": "Qualcomm",
    "0x61": "Apple", "0x6d": "Microsoft", "0xc0": "Ampere",
}  # fmt: skip
_ARM_PARTS = {
    "0xd03": "Cortex-A53", "0xd05": "Cortex-A55", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1", "0xd40": "Neoverse-V1", "0xd49": "Neoverse-N2", "0xd4f": "Neoverse-V2",
    "0xd84": "Neoverse-V3", "0xd85": "Cortex-X925", "0xd87": "Cortex-A725", "0xd8e": "Neoverse-N3",
}  # fmt: skip

# The words by which a virtual machine's DMI strings give its hypervisor away.
_HYPERVISORS = (
    ("VMware", "VMware"), ("VirtualBox", "VirtualBox"), ("innotek", "VirtualBox"), ("Xen", "Xen"),
    ("Virtual Machine", "Hyper-V"), ("Parallels", "Parallels"), ("Amazon EC2", "Amazon Nitro"),
    ("Google Compute Engine", "Google Compute Engine"), ("QEMU", "QEMU/KVM"), ("KVM", "KVM"), ("OpenStack", "KVM"),
    ("Bochs", "Bochs"), ("Apple Virtualization", "Apple Virtualization"),
)  # fmt: skip


def arm_part(implementer: str, part: str) -> str:
    """One core's design: `Cortex-X925`; its number where it is not known."""
    name = _ARM_PARTS.get(part.lower()) if implementer == "0x41" else None
    return name or f"core {part or 'unknown'}"


def arm_names(cores: list[tuple[str, str]]) -> tuple[str, str]:
    """Model and vendor for the (implementer, part) pairs of all cores: `Cortex-X925 + Cortex-A725`, `ARM`."""
    models = dict.fromkeys(arm_part(implementer, part) for implementer, part in cores)
    implementer = cores[0][0].lower()
    return " + ".join(models), _ARM_VENDORS.get(implementer, f"implementer {implementer or 'unknown'}")


def hypervisor_name(host: Host, flagged: bool) -> str | None:
    """The hypervisor's name, `unknown` where only the CPU flag shows it, `None` on bare metal.

    Args:
        host: the host.
        flagged: whether the CPU has the `hypervisor` flag; Arm CPUs have none, so there the names alone decide.
    """
    words = " ".join(
        host.text(f"/sys/class/dmi/id/{name}") or "" for name in ("sys_vendor", "product_name", "bios_vendor")
    )
    named = next((name for word, name in _HYPERVISORS if word in words), None)
    if named is None and host.text("/sys/hypervisor/type") == "xen":
        named = "Xen"
    return named or ("unknown" if flagged else None)

"""How each system is told kernel parameters. Sources: the documentation of each distribution and boot loader.

Every recipe takes the words to remove and to add, and answers with steps; the way back is the same recipe with the
two changed about. Which recipe applies follows from the tools that are there, the boot loader and the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from app.readiness.bootparams import Diff, Word, is_plain, normal
from app.readiness.steps import Step, by_hand, rebuild, run, write
from detectors.facts import KernelFacts

Recipe = Callable[[Diff], tuple[Step, ...]]

_GRUB_FILE = "/etc/default/grub"
_GRUB_VARIABLE = "GRUB_CMDLINE_LINUX_DEFAULT"


def boot_steps(change: Diff, kernel: KernelFacts | None) -> tuple[Step, ...]:
    """The steps that change the command line of the next boot.

    In a container the system around it is not known, so the steps are a sentence for the host.
    """
    if not change:
        return ()
    if kernel is None or kernel.container is not None or not all(map(is_plain, change.removed + change.added)):
        return _generic(change, on_host=kernel is not None and kernel.container is not None)
    return _recipe(kernel, change)(change)


def initramfs_step(kernel: KernelFacts) -> Step:
    """Rebuilds the initramfs, from which modules take the options of /etc/modprobe.d."""
    by_tool = {
        "update-initramfs": "update-initramfs -u -k all",
        "mkinitcpio": "mkinitcpio -P",
        "dracut": "dracut --force --regenerate-all",
    }
    by_family = {"debian": "update-initramfs", "pop": "update-initramfs", "arch": "mkinitcpio"}
    tool = next((tool for tool in by_tool if tool in kernel.boot_tools), None)
    return rebuild(by_tool[tool or by_family.get(kernel.distribution_family or "", "dracut")])


def _recipe(kernel: KernelFacts, change: Diff) -> Recipe:
    family, loader, tools = kernel.distribution_family, kernel.boot_loader, kernel.boot_tools
    if family == "nixos":
        return _nixos
    if family == "ostree" or loader == "ostree":
        return _rpm_ostree
    if loader == "proxmox":
        return _kernel_cmdline("proxmox-boot-tool refresh")
    if family == "pop" or "kernelstub" in tools:
        return _kernelstub
    if family == "fedora" or "grubby" in tools:
        return _grubby
    if family == "suse":
        with_entries = loader in ("systemd-boot", "uki") or "sdbootutil" in tools
        return _kernel_cmdline("sdbootutil update-all-entries") if with_entries else _update_bootloader
    if loader is None and family in ("debian", "arch") and _only_adds_options(change):
        return lambda wanted: _modprobe(wanted, kernel)
    if family == "debian":
        return _debian_grub if loader in (None, "grub") else _kernel_cmdline("update-initramfs -u -k all")
    return _BY_LOADER.get(loader or "", _generic)


def _only_adds_options(change: Diff) -> bool:
    return not change.removed and all("." in Word(word).name for word in change.added)


def _modprobe(change: Diff, kernel: KernelFacts) -> tuple[Step, ...]:
    """Works under every boot loader, for parameters of modules."""
    options = (
        write(
            f"/etc/modprobe.d/{module}.conf", " ".join(["options", module, *(word.partition(".")[2] for word in words)])
        )
        for module, words in _by_topic(change.added).items()
    )
    return (*options, initramfs_step(kernel))


def _debian_grub(change: Diff) -> tuple[Step, ...]:
    """A drop-in adds; what is already there has to be taken out of the file itself."""
    steps: list[Step] = []
    if change.removed:
        steps.append(_edit(_GRUB_FILE, change, add=False, lines="/^GRUB_CMDLINE_LINUX/", at=_GRUB_VARIABLE))
    for topic, words in _by_topic(change.added).items():
        line = f'{_GRUB_VARIABLE}="${_GRUB_VARIABLE} {" ".join(words)}"'
        steps.append(write(f"/etc/default/grub.d/99-{topic}.cfg", line))
    return (*steps, rebuild("update-grub"))


def _by_topic(words: Iterable[str]) -> dict[str, list[str]]:
    """Words by their module, or by their own name where they are no module's."""
    topics: dict[str, list[str]] = {}
    for word in words:
        topics.setdefault(Word(word).name.partition(".")[0], []).append(word)
    return topics


def _grub_file(change: Diff) -> tuple[Step, ...]:
    edit = _edit(_GRUB_FILE, change, lines="/^GRUB_CMDLINE_LINUX/", at=_GRUB_VARIABLE)
    return edit, rebuild("grub-mkconfig -o /boot/grub/grub.cfg")


def _kernel_cmdline(command: str) -> Recipe:
    """The line is all that /etc/kernel/cmdline holds."""
    return lambda change: (_edit("/etc/kernel/cmdline", change, lines="1"), rebuild(command))


def _loader_entries(change: Diff) -> tuple[Step, ...]:
    return (_edit("/boot/loader/entries/*.conf", change, lines="/^options/"),)


def _refind(change: Diff) -> tuple[Step, ...]:
    return (_edit("/boot/refind_linux.conf", change, lines='/^"/', at="quoted"),)


def _limine(change: Diff) -> tuple[Step, ...]:
    edit = _edit("/etc/default/limine", change, lines="/^KERNEL_CMDLINE/", at="KERNEL_CMDLINE")
    return edit, rebuild("limine-update")


def _grubby(change: Diff) -> tuple[Step, ...]:
    def command(wanted: Diff) -> str:
        names = " ".join(dict.fromkeys(Word(word).text.partition("=")[0] for word in wanted.removed))
        parts = [f'--remove-args="{names}"'] if names else []
        parts += [f'--args="{" ".join(wanted.added)}"'] if wanted.added else []
        return " ".join(["grubby --update-kernel=ALL", *parts])

    return (run(command(change), command(change.inverse())),)


def _rpm_ostree(change: Diff) -> tuple[Step, ...]:
    def command(wanted: Diff) -> str:
        words = [f"--delete-if-present={word}" for word in wanted.removed]
        words += [f"--append-if-missing={word}" for word in wanted.added]
        return " ".join(["rpm-ostree kargs", *words])

    return (run(command(change), command(change.inverse())),)


def _kernelstub(change: Diff) -> tuple[Step, ...]:
    removed = [run(f'kernelstub -d "{word}"', f'kernelstub -a "{word}"') for word in change.removed]
    return (*removed, *(run(f'kernelstub -a "{word}"', f'kernelstub -d "{word}"') for word in change.added))


def _update_bootloader(change: Diff) -> tuple[Step, ...]:
    tool = "update-bootloader"
    out = [run(f'{tool} --del-option "{w}"', f'{tool} --add-option "{w}"') for w in change.removed]
    add = [run(f'{tool} --add-option "{w}"', f'{tool} --del-option "{w}"') for w in change.added]
    return (*out, *add, rebuild(f"{tool} --refresh"))


def _nixos(change: Diff) -> tuple[Step, ...]:
    def sentence(wanted: Diff) -> str:
        lines = [f'take "{word}" out of boot.kernelParams' for word in wanted.removed]
        if wanted.added:
            words = " ".join(f'"{word}"' for word in wanted.added)
            lines.append(f"boot.kernelParams = [ {words} ];")
        return "in /etc/nixos/configuration.nix: " + "; ".join(lines) + "\nsudo nixos-rebuild boot && sudo reboot"

    return (by_hand(sentence(change), sentence(change.inverse())),)


def _generic(change: Diff, on_host: bool = False) -> tuple[Step, ...]:
    where = "the kernel's command line" + (" of the host (not in this container)" if on_host else "")

    def sentence(wanted: Diff) -> str:
        parts = [f"take {' '.join(wanted.removed)} off"] if wanted.removed else []
        parts += [f"add {' '.join(wanted.added)} to"] if wanted.added else []
        more = "; `moetune check` there gives the commands of its boot loader" if on_host else ""
        return f"{' and '.join(parts)} {where}, and reboot{more}"

    return (by_hand(sentence(change), sentence(change.inverse())),)


_BY_LOADER: dict[str, Recipe] = {
    "grub": _grub_file,
    "systemd-boot": _loader_entries,
    "uki": _kernel_cmdline("mkinitcpio -P"),
    "limine": _limine,
    "refind": _refind,
}


def _edit(path: str, change: Diff, *, lines: str, at: str = "", add: bool = True) -> Step:
    """Expressions for sed that make a change, and those that take it back, on the given lines of a file.

    Args:
        path: the file.
        change: what to change.
        lines: sed's address of the lines that hold command lines.
        at: the variable whose quoted value words are added to; `quoted`: the second quoted text of the line; empty:
            the end of the line.
        add: whether words are added here too.
    """

    def expressions(wanted: Diff) -> str:
        parts = [f"-e '{lines}{_removal(word)}'" for word in wanted.removed]
        if add or wanted is not change:
            parts += [_addition(word, lines, at) for word in wanted.added]
        return " ".join(parts)

    back = Diff(removed=change.added if add else (), added=change.removed)
    return Step("edit", expressions(change), expressions(back), path)


def _addition(word: str, lines: str, at: str) -> str:
    text = word.replace("\\", "\\\\").replace("/", "\\/").replace("&", "\\&")
    if at == "quoted":
        return f'-e \'s/^("[^"]*" +"[^"]*)/\\1 {text}/\''
    if at:
        return f"-e 's/^({at}[^=]*=[\"\\x27]?)/\\1{text} /'"
    return f"-e '{lines}s/ *$/ {text}/'"


def _removal(word: str) -> str:
    """Takes the parameter out with whatever value, in either spelling of its name."""
    name, equals, _ = word.partition("=")
    pattern = "".join(_escaped(character) for character in normal(name))
    edge = '["\\x27 ]'
    if equals:
        return f's/(^|{edge}){pattern}=[^"\\x27 ]*/\\1/g'
    return f"s/(^|{edge}){pattern}({edge}|$)/\\1\\2/"


def _escaped(character: str) -> str:
    return "[-_]" if character == "_" else character if character.isalnum() else f"[{character}]"

"""What if: a machine with another GPU, slot, memory or processor, and in words what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

from app.errors import UsageError
from app.hardware import gpu_changes as gpu
from app.hardware import memory_changes as memory
from app.hardware.change_words import EXAMPLES, Change
from detectors.facts import Machine

_CHANGES: dict[str, Callable[[Machine, str], Change]] = {
    "cpu": memory.other_cpu,
    "memory": memory.other_memory,
    "channels": memory.other_channels,
    "ram": memory.other_ram,
    "gpu": gpu.other_gpus,
    "add-gpu": gpu.more_gpus,
    "gtt": memory.other_gtt,
    "pcie": gpu.other_slots,
    "p2p": gpu.peer_to_peer,
}


def changed_machine(machine: Machine, words: Sequence[str]) -> tuple[Machine, tuple[str, ...]]:
    """The machine with changes, and a sentence for each.

    Args:
        machine: as it is.
        words: `gpu="RTX 5090"` (in place of the discrete GPUs; `gpu=+"RTX 5090"` or `add-gpu=` beside them,
            `gpu=none`), `pcie=5x16` (of all discrete GPUs), `ram=192` (GiB; the bandwidth stays), `memory=DDR5-6400`,
            `channels=8`, `cpu="EPYC 9355"`, `gtt=112` (GiB), `p2p=on`. Their order does not matter.

    Raises:
        UsageError: an unknown key, name or value; the hint has the nearest ones.
    """
    asked = [_parted(word) for word in words]
    said: list[str] = []
    for key in EXAMPLES:
        for value in [value for one, value in asked if one == key]:
            machine, sentence = _CHANGES[key](machine, value)
            said.append(sentence)
    return machine, tuple(said)


def _parted(word: str) -> tuple[str, str]:
    """Key and value; `gpu=+X` is `add-gpu=X`."""
    key, equals, value = word.partition("=")
    key = key.strip().lower().replace("_", "-")
    if key not in EXAMPLES:
        close = get_close_matches(key, EXAMPLES, n=1, cutoff=0.6)
        hint = f"Did you mean {EXAMPLES[close[0]]}?" if close else f"There are {', '.join(EXAMPLES)}."
        raise UsageError(f"There is nothing called {key or word!r} to change", hint=hint)
    value = value.strip()
    if key == "gpu" and value.startswith("+"):
        key, value = "add-gpu", value[1:]
    value = value.strip().strip("\"'").strip()
    if not equals or not value:
        raise UsageError(f"{key} needs a value", hint=f"Write it like {EXAMPLES[key]}.")
    return key, value

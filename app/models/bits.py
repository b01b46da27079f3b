"""What people's words on a quantization mean: a mixture of llama-quantize's, or bits per weight, and a file's size."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache

from app.models.quantization import MIXTURES
from app.resources import PRESETS
from app.units import GIB

_TABLE = PRESETS / "quantizations" / "published.toml"
_LABELS = (("medium", "m"), ("small", "s"), ("large", "l"))
"""How llama-bench writes a mixture's size: `Q4_K - Medium`."""
_PLAIN = re.compile(
    r"(?P<name>q\d_k_[sm]|q[2456]_k|q8_0|q4_0|iq4_xs|bf16|f16|mxfp4(?:_moe)?)(?:_r\d+)?(?![a-z0-9]|_[a-z0-9])"
)
_SHORT = {"q4_k": "Q4_K_M", "q5_k": "Q5_K_M", "q2_k": "Q2_K", "q6_k": "Q6_K", "mxfp4": "MXFP4_MOE"}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>gib|gb|g)\b")
_DECIMAL_GB = 10**9
_BPW = re.compile(r"(\d+\.\d+)[_ ]?bpw")
_NATIVE_EXPERTS = re.compile(r"mxfp4[_ ]experts")


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits per weight of one kind of file."""

    experts: float
    """Of routed experts; in a dense model, of the feed-forward networks."""
    rest: float
    rest_deep: float
    """With more than 60 layers."""
    rest_latent: float
    """With multi-head latent attention."""
    source: str


def plain_mixture(words: str) -> str | None:
    """The key of `MIXTURES` that is meant, None where the file is made by other rules."""
    match = _PLAIN.match(_normal(words))
    if match is None:
        return None
    name = _SHORT.get(match["name"], match["name"].upper())
    return name if name in MIXTURES else None


def bits_of(words: str) -> Bits | None:
    """Bits per weight of files with these words on them, None where nothing is known of them."""
    text = _normal(words)
    return next((bits for pattern, bits in _table() if pattern.match(text)), None)


def keeps_native_experts(words: str) -> bool:
    """Whether the words say that experts stay as the checkpoint has them, in MXFP4."""
    return bool(_NATIVE_EXPERTS.search(_normal(words)))


def bits_per_weight(words: str) -> float | None:
    """The mean over the whole file where the words say it: `AD-4.27bpw`."""
    match = _BPW.search(_normal(words))
    return float(match[1]) if match else None


def stated_bytes(words: str, near: int) -> int | None:
    """The size of the file where the words say it: `Q4_K_M (18.56 GB)`, `15.4 GiB`, `121.1G`.

    GB is written for both 10^9 and 2^30 bytes; the reading nearer to what the file should have is taken. G is what
    `ls -h` and `du -h` write for GiB.

    Args:
        words: as people write them.
        near: about how many bytes such a file has.
    """
    match = _SIZE.search(words.lower())
    if match is None:
        return None
    number = float(match["number"])
    if match["unit"] != "gb":
        return round(number * GIB)
    return min((round(number * unit) for unit in (_DECIMAL_GB, GIB)), key=lambda size: abs(size - near))


def _normal(words: str) -> str:
    text = re.sub(r"[\s\-]+", "_", words.lower().strip().lstrip("(~ ").removeprefix("scout) "))
    for long, short in _LABELS:
        text = text.replace(f"_k_{long}", f"_k_{short}")
    return text


@lru_cache(maxsize=1)
def _table() -> tuple[tuple[re.Pattern[str], Bits], ...]:
    with _TABLE.open("rb") as file:
        rows = tomllib.load(file)["quantization"]
    return tuple(
        (
            re.compile(rf"(?:{row['match']})"),
            Bits(
                row["experts"],
                row["rest"],
                row.get("rest_deep", row["rest"]),
                row.get("rest_latent", row["rest"]),
                row["source"],
            ),
        )
        for row in rows
    )

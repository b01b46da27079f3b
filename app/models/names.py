"""Resolves a model's name as people write it: a repository, a file's name, an Ollama tag, a fine-tune of a base."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from app.models.catalog import preset_names

_WORD = re.compile(r"[a-z0-9]+(?:(?<=\d)\.(?=\d)[a-z0-9]+)*")
"""Letters and digits; a point only between digits, so that `4.5` stays one word."""
_SIZE = re.compile(r"a?\d+(?:\.\d+)?[bm]|\d+x\d+b")
"""`30b`, `a3b`, `270m`, `8x7b`: parameters, which must be those of the model."""
_NOISE = frozenset({"gguf", "ggml", "org", "hf", "co", "huggingface", "latest", "model", "models"})
_OTHER = frozenset({
    "air", "coder", "distill", "draft", "dflash", "eagle", "eagle3", "embed", "embedding", "flash", "guard", "large",
    "lite", "lora", "math", "max", "medium", "micro", "mini", "mmproj", "nano", "next", "omni", "plus", "pro",
    "reranker", "small", "speculator", "tiny", "tts", "ultra", "vl",
})  # fmt: skip
"""Words that make another model of the name they are added to; fine-tunes are called anything else."""
_QUANTIZATION = re.compile(
    r"""(?<![a-z0-9])(?:
        (?:(?:ud|mix|cpu|pure|smol|i1|dynamic|ad|rocm|own|amx|raw|hb|apex)[-_ ])*
        (?:i?q\d+[a-z0-9_]*|tq\d_\d|dq\d[a-z0-9_]*|q\d-class|bf16(?:-class)?|[bm]?fp?16|fp?32|fp8|fp6|fp4|mxfp[468]|
           nvfp4|rocmfp4|(?:raw|amx|gptq-?|awq-?)?int[48]|gptq|awq|autoround|w4a16|w8a8|w4a8|
           \d(?:\.\d+)?[- ]?(?:bit|bpw)|4bits?|8bits?)
    )(?![a-z0-9])""",
    re.VERBOSE,
)
_SPLIT_PART = re.compile(r"-\d{5}-of-\d{5}$")
_PATH = re.compile(r"^(?:\.{1,2}|~)?/|/.*/.*/|\.gguf$")


def find_model_name(words: str) -> tuple[str, str | None] | None:
    """The model that somebody means, and what is said of its quantization.

    A publisher, `-GGUF`, dates, `-Instruct` and the like do not matter, nor case and punctuation. A name that has the
    whole name of a model in it, and neither another size nor a word such as `distill` or `Coder`, is taken for a
    fine-tune of that model: of the same shape.

    Args:
        words: such as `gpt-oss:20b`, `unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL`, `GLM 4.5 Air`.

    Returns:
        The id of a preset and the words on quantization as they stand (None where there are none); None where no
        model of that name is described.
    """
    text = words.strip()
    for candidate in dict.fromkeys((text, text.rpartition("/")[2])):
        name, quantization = split_quantization(candidate)
        if found := _find(name):
            preset, matched = found
            tag = _words(name.rpartition(":")[2]) if ":" in name else []
            if quantization is None and tag and not set(tag) & set(matched):
                quantization = name.rpartition(":")[2]  # an unknown one, for whoever asks to say so
            return preset, quantization
    return None


def is_path(words: str) -> bool:
    """Whether this is the path of a file rather than a model's name."""
    return bool(_PATH.search(words))


def split_quantization(words: str) -> tuple[str, str | None]:
    """A name and, from the first word of a quantization on, the rest."""
    text = _SPLIT_PART.sub("", words.strip().removesuffix(".gguf"))
    match = _QUANTIZATION.search(text.lower())
    if match is None or not match.start():
        return text, None
    quantization = text[match.start() :].strip(" -_.,:;)(")
    if quantization.count("(") > quantization.count(")"):
        quantization += ")"
    return text[: match.start()].rstrip(" -_.,:;("), quantization


def _words(name: str) -> list[str]:
    return [word for word in _WORD.findall(name.lower()) if word not in _NOISE]


def _find(name: str) -> tuple[str, list[str]] | None:
    """A preset, and the words that name it."""
    tokens = _words(name)
    known = _known()
    for start, end in _windows(len(tokens)):
        found = known.get(_joined(tokens[start:end]))
        if found and _agrees(tokens[:start] + tokens[end:], tokens[start:end]):
            return found, tokens[start:end]
    return None


def _windows(count: int) -> Iterator[tuple[int, int]]:
    """All runs of words, longest first, later ones first: a fine-tune names its base last."""
    for length in range(count, 0, -1):
        for start in range(count - length, -1, -1):
            yield start, start + length


def _agrees(rest: list[str], matched: list[str]) -> bool:
    """Whether the words around a model's name leave it that model."""
    return not any(word in _OTHER or (_SIZE.fullmatch(word) and word not in matched) for word in rest)


def _joined(words: list[str]) -> str:
    return "".join(words).replace(".", "")


@lru_cache(maxsize=1)
def _known() -> Mapping[str, str]:
    """Every name of every preset, without punctuation -> its id.

    The id, the title and the aliases count, and the id without its active parameters (`qwen3-30b`) where that is one
    model's.
    """
    found: dict[str, str] = {}
    short: dict[str, list[str]] = {}
    for preset, names in preset_names().items():
        for name in names:
            words = _WORD.findall(name.lower())
            found.setdefault(_joined(words), preset)
            if len(words) > 2 and re.fullmatch(r"a\d+(\.\d+)?b", words[-1]):
                short.setdefault(_joined(words[:-1]), []).append(preset)
    for key, presets in short.items():
        if len(set(presets)) == 1:
            found.setdefault(key, presets[0])
    return found

"""A synthetic tokenizer: byte-level BPE whose tokens are pronounceable, so that random output reads like words."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice, product

BYTE_TOKENS = 256
CONTROL_TOKENS = ("<|start|>", "<|end|>", "<|pad|>")
SPECIAL_TOKENS = BYTE_TOKENS + len(CONTROL_TOKENS)
"""Tokens before the first syllable."""
MAX_MERGES = 8192
"""Merge rules written; longer tokens are generated but never needed to encode a prompt."""
_SPACE = "\u0120"
"""How byte-level BPE writes a space (GPT-2's table)."""
_NORMAL, _CONTROL = 1, 3
"""llama_token_type, llama.cpp `include/llama.h`."""
_STRIDE = 1009
"""Prime to the number of syllables."""
_ONSETS = (
    "b", "bl", "br", "d", "dr", "dw", "fl", "gl", "h", "j", "k", "kl", "kr", "l", "m", "n",
    "p", "pl", "pr", "r", "s", "sk", "sl", "sp", "st", "sv", "t", "th", "tr", "v", "w", "z",
)  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_CODAS = ("n", "r", "s", "l", "m", "nd", "st", "rk")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|start|>' + message['role'] + '\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\n' }}{% endif %}"
)


def tokenizer_metadata(size: int) -> dict[str, object]:
    """The `tokenizer.*` keys of a vocabulary of `size` tokens (at least `SPECIAL_TOKENS`).

    256 byte tokens come first, then the control tokens, then syllables and words, each with and without a
    leading space.
    """
    words, merges = _words(size - SPECIAL_TOKENS)
    tokens = [*_byte_tokens(), *CONTROL_TOKENS, *words]
    types = array("i", [_NORMAL]) * len(tokens)
    for index in range(BYTE_TOKENS, SPECIAL_TOKENS):
        types[index] = _CONTROL
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": BYTE_TOKENS,
        "tokenizer.ggml.eos_token_id": BYTE_TOKENS + 1,
        "tokenizer.ggml.padding_token_id": BYTE_TOKENS + 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def _byte_tokens() -> Iterator[str]:
    """One character per byte: itself where it is printable, else the next one from U+0100 on (GPT-2's table)."""
    spare = 256
    for byte in range(256):
        if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174:
            yield chr(byte)
        else:
            yield chr(spare)
            spare += 1


def _pairs() -> Iterator[tuple[str, str]]:
    """The two halves of every token after the control tokens, shortest first; their concatenation is the token.

    Both halves of a pair are bytes or earlier tokens. llama.cpp drops characters when a merge makes something
    that is no token, so only such pairs make a tokenizer that gives a text back unchanged.
    """
    clusters = [part for part in (*_ONSETS, *_VOWELS, *_CODAS) if len(part) > 1]
    yield from ((part[0], part[1]) for part in dict.fromkeys(clusters))
    opened = [(onset, vowel) for onset in _ONSETS for vowel in _VOWELS]
    closed = [(onset + vowel, coda) for (onset, vowel), coda in product(opened, _CODAS)]
    for halves in (*opened, *closed):
        yield halves
        yield _SPACE, "".join(halves)
    # Each round pairs every syllable with another one, so that any vocabulary has words of many beginnings.
    syllables = ["".join(halves) for halves in (*opened, *closed)]
    for distance in range(1, len(syllables)):
        for index, first in enumerate(syllables):
            second = syllables[(index * _STRIDE + distance) % len(syllables)]
            yield first, second
            yield _SPACE, first + second


def _words(count: int) -> tuple[list[str], list[str]]:
    """`count` tokens, each once, and the merge rules that make the first of them."""
    rules: dict[str, str] = {}
    for left, right in _pairs():
        if len(rules) == count:
            break
        rules.setdefault(left + right, f"{left} {right}")
    return list(rules), list(islice(rules.values(), MAX_MERGES))

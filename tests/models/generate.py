"""Loads a model with llama-cpp-python, generates, and prints what came out as JSON. Run as a process of its own."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import llama_cpp

PROMPT = "Hello there, the brave tree star.\nÜnï 漢字 🎉"


def main(path: str) -> None:
    """Load, generate 32 tokens greedily, and look at the logits."""
    model: Any = llama_cpp.Llama(path, n_ctx=256, n_threads=1, verbose=False)  # one thread: others spin while they wait
    tokens = model.tokenize(PROMPT.encode(), add_bos=False)
    model.eval(tokens)
    row = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
    logits = [row[index] for index in range(model.n_vocab())]
    words = logits[259:]  # bytes and control tokens are kept at zero
    mean = sum(words) / len(words)
    done = model("hello", max_tokens=32, temperature=0.8, seed=1)
    template = model.metadata["tokenizer.chat_template"]
    formatter = llama_cpp.llama_chat_format.Jinja2ChatFormatter(template=template, eos_token="", bos_token="")
    json.dump(
        {
            "finite": all(map(math.isfinite, logits)),
            "spread": math.sqrt(sum((word - mean) ** 2 for word in words) / len(words)),
            "round_trip": model.detokenize(tokens).decode() == PROMPT,
            "text": done["choices"][0]["text"],
            "tokens": done["usage"]["completion_tokens"],
            "template": formatter(messages=[{"role": "user", "content": "hi"}]).prompt,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(sys.argv[1])

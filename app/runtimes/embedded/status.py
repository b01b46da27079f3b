"""What the engine says about itself: `/props`, `/slots`, `/v1/models` and `/metrics`."""

from __future__ import annotations

import time
from dataclasses import replace

from app.runtimes.embedded.bindings import build_text
from app.runtimes.embedded.generation import Generator, Task, Totals
from app.runtimes.embedded.options import Options
from app.runtimes.embedded.replies import Json, generation_settings
from app.runtimes.embedded.vocabulary import Vocabulary


def slots(generator: Generator) -> list[Json]:
    """`/slots`: the one slot, live while it generates."""
    current = generator.current
    task = current or generator.last or Task(tokens=[])
    timing = task.timing
    slot: Json = {
        "id": 0,
        "n_ctx": generator.context_tokens,
        "speculative": False,
        "is_processing": current is not None,
        "id_task": task.id,
        # The whole prompt of the request from its start on, so that progress can be told from it.
        "n_prompt_tokens": len(task.tokens),
        "n_prompt_tokens_processed": timing.processed,
        "n_prompt_tokens_cache": timing.cached,
        "params": generation_settings(task),
        "next_token": [
            {
                "has_next_token": current is not None,
                "has_new_line": False,
                "n_remain": task.limit - timing.decoded if task.limit >= 0 else -1,
                "n_decoded": timing.decoded,
            }
        ],
    }
    return [slot]


def properties(options: Options, generator: Generator, vocabulary: Vocabulary) -> Json:
    """`/props`."""
    return {
        "default_generation_settings": {
            "params": generation_settings(Task(tokens=[])),
            "n_ctx": generator.context_tokens,
        },
        "total_slots": 1,
        "model_alias": options.alias,
        "model_path": options.model,
        "modalities": {"vision": False, "video": False, "audio": False},
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": True,
        "chat_template": vocabulary.chat_template,
        "bos_token": vocabulary.special_text("bos"),
        "eos_token": vocabulary.special_text("eos"),
        "build_info": f"moetune embedded, {build_text()}",
        "is_sleeping": False,
    }


def models(options: Options, generator: Generator, vocabulary: Vocabulary) -> Json:
    """`/v1/models`."""
    meta = {"n_vocab": vocabulary.size, "n_ctx": generator.context_tokens}
    entry = {
        "id": options.alias,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "llamacpp",
        "meta": meta,
    }
    return {"object": "list", "data": [entry]}


class Metrics:
    """`/metrics` in Prometheus' text format, with llama-server's names.

    The two rates are averages since the previous scrape, as llama-server's are.
    """

    def __init__(self) -> None:
        self._scraped = Totals()

    def text(self, generator: Generator) -> str:
        """All counters and gauges now."""
        now, before = replace(generator.totals), self._scraped
        self._scraped = now
        prompt_s, predicted_s = now.prompt_s - before.prompt_s, now.predicted_s - before.predicted_s
        prompt_rate = (now.prompt_tokens - before.prompt_tokens) / prompt_s if prompt_s else 0.0
        steps = now.predicted_steps - before.predicted_steps
        counters = (
            ("prompt_tokens_total", "Prompt tokens processed, without cached ones", now.prompt_tokens),
            ("prompt_tokens_cached_total", "Prompt tokens taken from the cache", now.prompt_cached),
            ("prompt_seconds_total", "Time spent on prompts", now.prompt_s),
            ("tokens_predicted_total", "Tokens generated", now.predicted_tokens),
            ("tokens_predicted_seconds_total", "Time spent on generating", now.predicted_s),
            ("n_decode_total", "Calls of llama_decode", now.decode_calls),
            ("n_tokens_max", "Longest sequence so far, prompt and answer", now.longest_sequence),
        )
        gauges = (
            ("prompt_tokens_seconds", "Prompt tokens a second since the last scrape", prompt_rate),
            (
                "predicted_tokens_seconds",
                "Generated tokens a second since the last scrape",
                steps / predicted_s if predicted_s else 0.0,
            ),
            ("requests_processing", "Requests at work", int(generator.current is not None)),
            ("requests_deferred", "Requests waiting", generator.waiting),
        )
        return "".join(
            f"# HELP llamacpp:{name} {meaning}\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}\n"
            for kind, entries in (("counter", counters), ("gauge", gauges))
            for name, meaning, value in entries
        )

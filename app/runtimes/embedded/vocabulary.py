"""Text to tokens and back, and the chat template."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property

from app.runtimes.embedded.bindings import llama
from app.runtimes.embedded.loading import Loaded

_NO_VOCABULARY = 0
"""`LLAMA_VOCAB_TYPE_NONE`: a model without a tokenizer."""


class Vocabulary:
    """The tokenizer of a loaded model. Its functions only read the model, so any thread may call them."""

    def __init__(self, loaded: Loaded) -> None:
        self._model = loaded.model
        self._handle = loaded.vocabulary
        self.size: int = llama().llama_vocab_n_tokens(loaded.vocabulary)
        self.has_text: bool = llama().llama_vocab_type(loaded.vocabulary) != _NO_VOCABULARY
        self._piece_buffer_bytes = 256

    def tokens(self, text: str) -> list[int]:
        """Split `text`, with the model's start token where it wants one; special tokens may be written out."""
        data = text.encode("utf-8", "replace")
        size = len(data) + 2
        while True:
            buffer = (ctypes.c_int32 * size)()
            count = llama().llama_tokenize(self._handle, data, len(data), buffer, size, True, True)
            if count >= 0:
                return buffer[:count]
            size = -count

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token, which may be a part of a character; control tokens are empty."""
        if not self.has_text:
            return b""
        size = self._piece_buffer_bytes
        buffer = ctypes.create_string_buffer(size)
        count = llama().llama_token_to_piece(self._handle, token, buffer, size, 0, special)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = llama().llama_token_to_piece(self._handle, token, buffer, -count, 0, special)
        return buffer.raw[:count]

    @cached_property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a generation."""
        is_end = llama().llama_vocab_is_eog
        return frozenset(token for token in range(self.size) if is_end(self._handle, token))

    def special_text(self, which: str) -> str:
        """The text of the `bos` or `eos` token, empty where the model has none."""
        token = getattr(llama(), f"llama_vocab_{which}")(self._handle)
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    @cached_property
    def chat_template(self) -> str:
        """The template inside the GGUF, empty where it has none."""
        return (llama().llama_model_chat_template(self._model, None) or b"").decode("utf-8", "replace")

    def chat_prompt(self, messages: Sequence[tuple[str, str]]) -> str:
        """A conversation as one prompt that ends where the assistant is to speak.

        Args:
            messages: role and content of each.

        Without a Jinja engine llama.cpp knows the common templates by sight; ChatML stands in for others and for none.
        """
        if self.chat_template and (prompt := _apply(self.chat_template, messages)) is not None:
            return prompt
        turns = (f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
        return "".join(turns) + "<|im_start|>assistant\n"


def _apply(template: str, messages: Sequence[tuple[str, str]]) -> str | None:
    chat = (llama().llama_chat_message * len(messages))(
        *(llama().llama_chat_message(_c_text(role), _c_text(content)) for role, content in messages)
    )
    size = 1024
    while True:
        buffer = ctypes.create_string_buffer(size)
        count = llama().llama_chat_apply_template(template.encode(), chat, len(messages), True, buffer, len(buffer))
        if count < 0:
            return None
        if count <= size:
            return buffer.raw[:count].decode("utf-8", "replace")
        size = count


def _c_text(text: str) -> bytes:
    return text.replace("\0", "").encode("utf-8", "replace")

"""Module trees of the models that KTransformers 0.3 serves: dotted names and classes, without weights.

Source: its `models/modeling_qwen3_moe.py`, `modeling_deepseek_v3.py` and `modeling_glm4_moe.py`, which are those of
transformers. A class is listed with those that it inherits from.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MODELS = "ktransformers.models"
LINEAR = ("torch.nn.Linear",)
BASES = {
    f"{MODELS}.modeling_deepseek_v3.DeepseekV3YarnRotaryEmbedding": (
        f"{MODELS}.modeling_deepseek_v3.DeepseekV3LinearScalingRotaryEmbedding",
        f"{MODELS}.modeling_deepseek_v3.DeepseekV3RotaryEmbedding",
    ),
}


@dataclass
class Module:
    """One module: its classes, and what is in it."""

    classes: tuple[str, ...] = ("torch.nn.ModuleList",)
    children: dict[str, Module] = field(default_factory=dict)


def of(path: str, **children: Module) -> Module:
    """A module of that class below `ktransformers.models`."""
    full = f"{MODELS}.{path}"
    return Module((full, *BASES.get(full, ())), children)


def linears(*names: str) -> dict[str, Module]:
    return {name: Module(LINEAR) for name in names}


def stack(modules: list[Module]) -> Module:
    return Module(children={str(index): module for index, module in enumerate(modules)})


def tree(path: str, layers: list[Module], **others: Module) -> Module:
    """A causal language model."""
    inside = {"embed_tokens": Module(("torch.nn.Embedding",)), "layers": stack(layers), **others}
    return Module((f"{MODELS}.{path}ForCausalLM",), {"model": of(f"{path}Model", **inside), **linears("lm_head")})


def qwen3_moe(layers: int = 4, experts: int = 4) -> Module:
    file = "modeling_qwen3_moe.Qwen3Moe"

    def norm() -> Module:
        return of(f"{file}RMSNorm")

    def mlp() -> Module:
        return of(f"{file}MLP", **linears("gate_proj", "up_proj", "down_proj"))

    def layer() -> Module:
        attention = of(
            f"{file}Attention", **linears("q_proj", "k_proj", "v_proj", "o_proj"), q_norm=norm(), k_norm=norm()
        )
        block = of(f"{file}SparseMoeBlock", **linears("gate"), experts=stack([mlp() for _ in range(experts)]))
        return of(f"{file}DecoderLayer", self_attn=attention, mlp=block, input_layernorm=norm(),
                  post_attention_layernorm=norm())  # fmt: skip

    rotary = of("modeling_qwen2_moe.Qwen2MoeRotaryEmbedding")
    return tree(file, [layer() for _ in range(layers)], norm=norm(), rotary_emb=rotary)


def deepseek_v3(layers: int = 6, dense: int = 3, experts: int = 4) -> Module:
    file = "modeling_deepseek_v3.DeepseekV3"

    def norm() -> Module:
        return of(f"{file}RMSNorm")

    def mlp() -> Module:
        return of(f"{file}MLP", **linears("gate_proj", "up_proj", "down_proj"))

    def block() -> Module:
        return of(f"{file}MoE", experts=stack([mlp() for _ in range(experts)]),
                  gate=of("modeling_deepseek_v3.MoEGate"), shared_experts=mlp())  # fmt: skip

    def layer(index: int) -> Module:
        attention = of(
            f"{file}Attention", **linears("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"),
            q_a_layernorm=norm(), kv_a_layernorm=norm(), rotary_emb=of(f"{file}YarnRotaryEmbedding"),
        )  # fmt: skip
        return of(f"{file}DecoderLayer", self_attn=attention, mlp=mlp() if index < dense else block(),
                  input_layernorm=norm(), post_attention_layernorm=norm())  # fmt: skip

    return tree(file, [layer(index) for index in range(layers)], norm=norm())


def glm4_moe(layers: int = 4, dense: int = 1, experts: int = 4) -> Module:
    file = "modeling_glm4_moe.Glm4Moe"

    def norm() -> Module:
        return of(f"{file}RMSNorm")

    def mlp() -> Module:
        return of(f"{file}MLP", **linears("gate_proj", "up_proj", "down_proj"))

    def block() -> Module:
        return of(f"{file}MoE", experts=stack([mlp() for _ in range(experts)]), gate=of(f"{file}TopkRouter"),
                  shared_experts=mlp())  # fmt: skip

    def layer(index: int) -> Module:
        attention = of(
            f"{file}Attention", **linears("q_proj", "k_proj", "v_proj", "o_proj"), q_norm=norm(), k_norm=norm()
        )
        return of(f"{file}DecoderLayer", self_attn=attention, mlp=mlp() if index < dense else block(),
                  input_layernorm=norm(), post_attention_layernorm=norm())  # fmt: skip

    return tree(file, [layer(index) for index in range(layers)], norm=norm(), rotary_emb=of(f"{file}RotaryEmbedding"))

"""The models that KTransformers 0.3 has modules for: their classes, and what takes their place. Data.

Sources: kvcache-ai/ktransformers, `optimize/optimize_rules`: `Qwen3Moe-serve.yaml`, `Qwen3-30B-A3B.yaml`,
`DeepSeek-V3-Chat-amx-serve.yaml`, `DeepSeek-V3-Chat-amx.yaml`, `Glm4Moe-serve.yaml`. The serving form computes several
sequences at once and passes their number to every module; the single one computes one sequence, and is the only
one whose experts may be computed by a GPU: their modules for GPUs do not take that number.
"""

from __future__ import annotations

from dataclasses import dataclass

_MODELS = "ktransformers.models"
_OPERATORS = "ktransformers.operators"
SERVING_EXPERTS = f"{_OPERATORS}.experts.KTransformersExpertsV2"
SINGLE_EXPERTS = f"{_OPERATORS}.experts.KTransformersExperts"


@dataclass(frozen=True, slots=True)
class Form:
    """The classes of one way of serving. An empty one leaves the module as it is."""

    block: str
    """Of the feed-forward network with its router and experts."""
    experts: str
    attention: str = ""
    model: str = ""
    head_operator: str = "VLinearMarlin"
    """`generate_op` of the output head."""
    norm: str = ""
    dense: str = ""
    """Of a feed-forward network without experts, shared experts included."""
    prefill_operator: str = "KExpertsTorch"
    """`prefill_op` of the experts on the CPU; GLM's published rules have the word `None`."""


@dataclass(frozen=True, slots=True)
class Modules:
    """One family of models."""

    architecture: str
    """What `--architectures` takes."""
    rotary: tuple[str, str]
    """Class and replacement."""
    block: str
    norm: str
    dense: str
    kept: str
    """A linear module of each layer that keeps full precision, as a regular expression."""
    linear_operator: str
    """`generate_op` of the layers' linear modules when serving."""
    serving: Form
    single: Form | None = None
    """`None`: there are no rules for it."""
    router: tuple[str, str] | None = None
    latent: bool = False
    """Multi-head latent attention."""
    fewest_experts: int = 0
    """Models of this GGUF architecture with fewer are of an older family with other classes."""


_QWEN = f"{_MODELS}.modeling_qwen3_moe"
_DEEPSEEK = f"{_MODELS}.modeling_deepseek_v3"
_GLM = f"{_MODELS}.modeling_glm4_moe"

MODULES = {
    "qwen3moe": Modules(
        architecture="Qwen3MoeForCausalLM",
        rotary=(f"{_MODELS}.modeling_qwen2_moe.Qwen2MoeRotaryEmbedding", f"{_OPERATORS}.RoPE.RotaryEmbedding"),
        block=f"{_QWEN}.Qwen3MoeSparseMoeBlock",
        norm=f"{_QWEN}.Qwen3MoeRMSNorm",
        dense=f"{_QWEN}.Qwen3MoeMLP",
        kept=r"mlp\.shared_expert_gate",
        linear_operator="KLinearMarlin",
        serving=Form(
            block=f"{_OPERATORS}.experts.KQwen3MoeSparseMoeBlockV2",
            experts=SERVING_EXPERTS,
            attention=f"{_OPERATORS}.balance_serve_attention.KQwen3MoeAttention",
            model=f"{_OPERATORS}.models.KQwen2MoeModel",
            norm=f"{_OPERATORS}.layernorm.KQwen3MoeRMSNorm",
            dense=f"{_OPERATORS}.mlp.KQwen2MoeMLP",
        ),
        single=Form(block=f"{_OPERATORS}.experts.KQwen3MoeSparseMoeBlock", experts=SINGLE_EXPERTS),
    ),
    "deepseek2": Modules(
        architecture="DeepseekV3ForCausalLM",
        rotary=(f"{_DEEPSEEK}.DeepseekV3RotaryEmbedding", f"{_OPERATORS}.RoPE.YarnRotaryEmbeddingV3"),
        block=f"{_DEEPSEEK}.DeepseekV3MoE",
        norm=f"{_DEEPSEEK}.DeepseekV3RMSNorm",
        dense=f"{_DEEPSEEK}.DeepseekV3MLP",
        kept=r"self_attn\.kv_b_proj",
        linear_operator="VLinearMarlin",
        serving=Form(
            block=f"{_OPERATORS}.experts.KDeepseekV3MoEV2",
            experts=SERVING_EXPERTS,
            attention=f"{_OPERATORS}.balance_serve_attention.flashinfer_attn",
            model=f"{_OPERATORS}.models.KDeepseekV2Model",
            norm=f"{_OPERATORS}.layernorm.RMSNorm",
            dense=f"{_OPERATORS}.mlp.kDeepseekV3MLP",
        ),
        single=Form(
            block=f"{_OPERATORS}.experts.KDeepseekV3MoE",
            experts=SINGLE_EXPERTS,
            attention=f"{_OPERATORS}.attention.KDeepseekV2Attention",
            model=f"{_OPERATORS}.models.KDeepseekV2Model",
            head_operator="KLinearMarlin",
        ),
        router=(f"{_DEEPSEEK}.MoEGate", f"{_OPERATORS}.gate.KMoEGate"),
        latent=True,
        fewest_experts=256,
    ),
    "glm4moe": Modules(
        architecture="Glm4MoeForCausalLM",
        rotary=(f"{_GLM}.Glm4MoeRotaryEmbedding", f"{_OPERATORS}.RoPE.KGlm4MoeRotaryEmbedding"),
        block=f"{_GLM}.Glm4MoeMoE",
        norm=f"{_GLM}.Glm4MoeRMSNorm",
        dense=f"{_GLM}.Glm4MoeMLP",
        kept=r"mlp\.shared_expert_gate",
        linear_operator="KLinearMarlin",
        serving=Form(
            block=f"{_OPERATORS}.experts.KGlm4MoeMoE",
            experts=f"{_OPERATORS}.experts.KGlm4Experts",
            attention=f"{_OPERATORS}.balance_serve_attention.KGlm4MoeAttention",
            norm=f"{_OPERATORS}.layernorm.KGlm4MoeRMSNorm",
            dense=f"{_OPERATORS}.mlp.KGlm4MoeMLP",
            prefill_operator="None",
        ),
    ),
}  # fmt: skip
"""By GGUF architecture."""

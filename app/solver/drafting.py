"""What a model's own NextN layers would gain by drafting tokens (multi-token prediction)."""

from __future__ import annotations

from app.solver.decode import decode_costs
from app.solver.plan import Parameters, Placement
from app.solver.scene import Scene, total_ms

ACCEPTED = 0.85
"""Share of drafted second tokens that are right: 85 to 90 % in DeepSeek-V3's technical report (section 5.4.3). Other
models' layers are not known to do better."""


def drafting_gain(scene: Scene, placement: Placement, parameters: Parameters, *, context: int) -> float | None:
    """Decode speed with one drafted token a step over that without, as a share above 1; `None`: there is no such layer.

    A step then verifies two tokens, which touch experts of their own: what a batch of two costs bounds it from above,
    since both read the same cache. The draft itself costs a layer of the model for each NextN layer.
    """
    layers = scene.shape.nextn_layers
    if not layers or parameters.kt is not None:
        return None
    alone, both = (
        total_ms(decode_costs(scene, placement, parameters, context=context, batch=batch), scene.coefficients)
        for batch in (1, 2)
    )
    return (1 + ACCEPTED) * alone / (both + alone * layers / len(scene.shape.layers))

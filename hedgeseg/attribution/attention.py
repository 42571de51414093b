"""Attention on the tape, and what to tell somebody who meets it: relevance needs weights that are the same for all."""

from __future__ import annotations

from hedgeseg.attribution.tape import Op

ADVICE = (
    "Attention mixes positions by products of two tensors that both depend on the image, so there are no fixed weights "
    "W: a rule that divides relevance by |W| (hedging, LRP, excitation backprop, RAP, RSP, AGF) is undefined for "
    "transformers. Use method='gradient', 'smooth_grad', 'integrated_gradients', 'occlusion' or 'rise', which ask for "
    "nothing but logits; 'grad_cam' where the last layer is a map (N, C, H, W), as in Swin; or, for a network with "
    "attention in its first stages only, layer= a module behind it."
)


def is_attention(op: Op) -> bool:
    """Whether an operation multiplies matrices that both depend on the images, or is a fused attention."""
    name = op.name.removeprefix("aten.")
    if "attention" in name:
        return True
    return name in ("bmm", "baddbmm", "mm", "addmm", "matmul", "linear") and len(set(op.inputs)) > 1

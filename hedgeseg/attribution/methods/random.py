"""Random maps: the chance level of every score.

r = attribute(model, images, targets, method="random", seed=0)
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from hedgeseg.attribution.methods.from_forward import explain_each
from hedgeseg.attribution.methods.method import Explanation, Method, Problem


def explain(problem: Problem, seed: int = 0) -> Explanation:
    """Uniform noise in [0, 1), drawn anew for every pixel: no look at the model.

    Unlike the noise of the other methods it must differ between images, or a data set would be scored with one map. It
    is therefore drawn from a digest of the seed, the class and the image's bytes: independent of the batch, of other
    targets and of every random stream, the same on every device, and unrelated to what the image shows.

    Args:
        problem: What is to be explained.
        seed: Integer; another one gives other maps.

    Returns:
        Maps in [0, 1), not signed. Cost: one forward pass, for the logits.

    Raises:
        ValueError: If a layer is given.
    """

    def explain_one(image: Tensor, targets: Tensor) -> Tensor:
        content = image.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        maps = []
        for target in targets.tolist():
            digest = hashlib.sha256(f"{seed} {target} ".encode() + content).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            maps.append(torch.rand(image.shape[2:], generator=generator, dtype=problem.dtype))
        return torch.stack(maps)

    return explain_each(problem, "random", explain_one)


METHOD = Method("random", "Uniform noise, a baseline: no look at the model", explain, signed=False)

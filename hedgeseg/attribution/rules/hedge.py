"""Gradient hedging: positive relevance held against an equal amount of negative (Nam et al., Eq. 6-13).

Notation as in the paper: `x` the layer's input, `W` its weights (the bias plays no part), ``v+ = max(v, 0)``,
``alpha = [x > 0]``, ``beta = [x <= 0]``, and ``J(v, M, R) = v * M^T(R / (M v))`` with 0 for a division by 0. For
incoming relevance R of mass tau, ``P' = tau R+ / sum R+`` and ``N' = tau R- / |sum R-|``:

    C = J(x+, |W|, gamma P') + J(x+, |W|, N')       contribution
    A = J(alpha, |W|, P')                            activated positions, positive side
    U = J(beta, |W|, N')                             inactive positions, negative side
    Psi = tau / (number of non-zero entries of C)    on those entries: the uniform shift
    R_in = (C - Psi) + A + U

The sum of R_in is (gamma - 2) tau wherever no needed denominator vanishes. 1x1 convolutions take gamma = 1 and no Psi.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hedgeseg.attribution.rules.arithmetic import safe_divide
from hedgeseg.attribution.rules.linear import Convolution, Dense
from hedgeseg.attribution.rules.workspace import Workspace
from hedgeseg.attribution.samples import Samples, per_sample, spread

# Bytes of three copies of a layer's input or relevance; measured on networks from MobileNetV2 to VGG-16.
LARGE = 16_000_000


def modulate(r: Tensor, samples: Samples, unit_mass: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Give both signs of the relevance the same mass (Eq. 6-7).

    Args:
        r: Relevance (T, M, ...).
        samples: Which image every entry belongs to.
        unit_mass: Whether tau is 1 (the authors' implementation) instead of half of the absolute mass that arrived.

    Returns:
        ``P'`` >= 0 and ``N'`` <= 0, shaped as `r`, and tau (T, N). A sign that is missing gives 0.
    """
    s = r.new_empty(3, *r.shape)
    tau = _modulate_into(s, r, samples, gamma=1.0, unit_mass=unit_mass, mass=r.dtype)
    return s[1], s[2], tau


def hedge(
    linear: Convolution | Dense,
    x: Tensor,
    r: Tensor,
    *,
    samples: Samples,
    gamma: float = 1.0,
    pointwise: bool = False,
    unit_mass: bool = False,
    dtype: torch.dtype | None = None,
    workspace: Workspace | None = None,
) -> Tensor:
    """The hedging rule for one layer (Eq. 8-13).

    The three forward maps run as one call over ``[x+; alpha; beta]``, once per image, and the three adjoints as one
    call over all targets; a large layer is done image by image and target by target. Elementwise steps work in place,
    in the memory layout that the convolutions want.

    Args:
        linear: The layer.
        x: Its input (M, ...).
        r: Relevance of its output (T, M, ...).
        samples: Which image every row belongs to, in the input as in the output.
        gamma: Weight of positive contributions, in [1, 2].
        pointwise: Whether the kernel is 1x1: gamma is 1 then, and there is no Psi.
        unit_mass: See `modulate`.
        dtype: What the layer is computed in, such as bfloat16, but for the masses; default: as `r`.
        workspace: Memory to use again from layer to layer.

    Returns:
        Relevance of the input (T, M, ...), of the dtype of `r`.
    """
    given, dtype, scratch = r.dtype, dtype or r.dtype, workspace or Workspace()
    x, r, weight = x.to(dtype), r.to(dtype), linear.weight.abs().to(dtype)

    def reach(x: Tensor) -> tuple[Tensor, Tensor]:
        """``[x+; alpha; beta]`` and the three denominators."""
        gains = scratch.empty("gains", (3, *x.shape), r, linear)
        torch.clamp(x, min=0, out=gains[0])
        torch.sign(gains[0], out=gains[1])
        torch.sub(gains.new_ones(()), gains[1], out=gains[2])
        # Divided by infinity, what has no denominator gives 0; not a number stays that.
        z = torch.threshold_(linear.forward(gains.flatten(0, 1), weight), 0.0, torch.inf)
        return gains, z.unflatten(0, (3, len(x)))

    def back(r: Tensor, gains: Tensor, z: Tensor, samples: Samples) -> Tensor:
        """The relevance of the input."""
        s = scratch.empty("shares", (3, *r.shape), r, linear)
        tau = _modulate_into(s, r, samples, gamma=1.0 if pointwise else gamma, unit_mass=unit_mass, mass=given)
        terms = linear.adjoint(s.div_(z.unsqueeze(1)).flatten(0, 2), weight).unflatten(0, (3, *r.shape[:2]))
        relevance = terms[0].mul_(gains[0])
        if not pointwise:
            nonzero = torch.ne(relevance, 0, out=scratch.empty("nonzero", relevance.shape, r, linear))
            psi = safe_divide(tau, per_sample(nonzero, samples, given)).to(dtype)
            relevance.addcmul_(nonzero, spread(psi, relevance, samples), value=-1)
        return relevance.addcmul_(gains[1], terms[1]).addcmul_(gains[2], terms[2])

    if not _in_parts(x, r, samples):
        return back(r, *reach(x), samples).to(given)
    shape = (len(r), *x.shape)
    out = linear.laid_out(r.new_empty(math.prod(shape)), shape)
    for n in range(len(x)):
        gains, z = reach(x[n : n + 1])
        for t in range(len(r)):
            out[t : t + 1, n : n + 1] = back(r[t : t + 1, n : n + 1], gains, z, Samples(1))
    return out.to(given)


def _in_parts(x: Tensor, r: Tensor, samples: Samples) -> bool:
    """Whether a large layer is to be done image by image and target by target, where the images allow it.

    What a processor's caches and its allocator can't hold costs more than the calls that are saved; and it bounds the
    memory. A GPU would rather have few calls.
    """
    parts = len(r) * len(x)
    size = 3 * max(len(r) * x.numel(), r.numel()) * x.element_size()
    return x.device.type == "cpu" and parts > 1 and size > LARGE and samples == Samples(len(x))


def _modulate_into(s: Tensor, r: Tensor, samples: Samples, gamma: float, unit_mass: bool, mass: torch.dtype) -> Tensor:
    """Fill `s` (3, *r.shape) with ``gamma P' + N'``, ``P'`` and ``N'``; see `modulate`.

    Returns:
        tau (T, N), summed in the dtype `mass`.
    """
    mixed, positive, negative = s
    torch.clamp(r, min=0, out=positive)
    torch.clamp(r, max=0, out=negative)
    mass_p, mass_n = per_sample(positive, samples, mass), -per_sample(negative, samples, mass)
    tau = torch.ones_like(mass_p) if unit_mass else (mass_p + mass_n) / 2
    positive.mul_(spread(safe_divide(tau, mass_p).to(r.dtype), r, samples))
    negative.mul_(spread(safe_divide(tau, mass_n).to(r.dtype), r, samples))
    torch.add(negative, positive, alpha=gamma, out=mixed)
    return tau

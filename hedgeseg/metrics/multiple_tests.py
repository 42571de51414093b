"""p-values of several tests at once: what is left of them when the best of many is looked at."""

import math
from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number by Holm's step-down method, which needs no independence.

    The smallest is multiplied by the number of tests, the next by one less, and so on; none becomes smaller than one
    before it. Below 0.05 in the result: with 95 % confidence none of the differences called significant is chance.

    Args:
        p_values: one per test, each in [0, 1]; NaN where a test could not be made, which then does not count.

    Returns:
        As many, in the same order, NaN where they were.

    Raises:
        ValueError: a number that is no p-value.

    Source:
        S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6, 1979.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    wrong = [p for p in p_values if not math.isnan(p) and not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"p-values lie in [0, 1], got {wrong[0]}")
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    corrected, least = [math.nan] * len(p_values), 0.0
    for rank, (p, i) in enumerate(order):
        least = max(least, min(1.0, p * (len(order) - rank)))
        corrected[i] = least
    return corrected

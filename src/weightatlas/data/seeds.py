"""Seeds of streams that must not touch: of every pass, every split, every batch."""

from __future__ import annotations

import numpy as np


def derived_seed(seed: int, *key: int) -> int:
    """One seed of several numbers: streams of neighbouring seeds and keys are independent.

    Args:
        seed: what the user gave, any whole number.
        key: what tells this stream from the others of that seed, each 0 or more.

    Returns:
        A whole number from 0 to 2^63 - 1, as a generator of torch takes it.

    **Source:** numpy's `SeedSequence`; the sign of the seed is the last number of its key.

    Example:
        >>> derived_seed(0, 1) != derived_seed(1, 0) != derived_seed(-1, 0)
        True
    """
    sequence = np.random.SeedSequence(entropy=abs(seed), spawn_key=(*key, int(seed < 0)))
    (state,) = sequence.generate_state(1, np.uint64)
    return int(state) >> 1  # a generator's seed is a signed 64-bit integer

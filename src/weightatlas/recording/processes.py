"""Which of a training's processes this is."""

from __future__ import annotations

import os

from torch import distributed


def rank_and_world() -> tuple[int, int]:
    """Number of this process, and how many there are; as a launcher says them where no group is open yet.

    Example:
        >>> rank_and_world()
        (0, 1)
    """
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    rank, world = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(world)) if rank.isdecimal() and world.isdecimal() else (0, 1)

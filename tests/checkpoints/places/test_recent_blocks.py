from __future__ import annotations

from weightatlas.checkpoints.places.recent_blocks import BLOCK, LIMIT, RecentBlocks


def test_bytes_come_back_by_blocks_and_owners_do_not_mix() -> None:
    blocks = RecentBlocks()
    one, other = blocks.owner(), blocks.owner()
    blocks.put(one, 3, b"a" * BLOCK + b"b" * 10)
    blocks.put(other, 3, b"c")
    assert blocks.get(one, 3) == b"a" * BLOCK
    assert blocks.get(one, 4) == b"b" * 10
    assert blocks.get(one, 5) is None
    assert blocks.get(other, 3) == b"c"


def test_the_block_unused_longest_goes_first() -> None:
    blocks = RecentBlocks()
    owner = blocks.owner()
    for index in range(LIMIT):
        blocks.put(owner, index, b"x")
    blocks.get(owner, 0)
    blocks.put(owner, LIMIT, b"x")
    assert blocks.get(owner, 0) == b"x"
    assert blocks.get(owner, 1) is None

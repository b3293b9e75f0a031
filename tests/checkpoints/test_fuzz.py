"""Whatever becomes of a file, opening and reading it ends in tensors or in one clear sentence."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

CASES = 120


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Truncate, overwrite, insert or remove bytes, near the ends more often: headers and directories lie there."""
    data = bytearray(whole)
    kind = chance.random()
    if kind < 0.15:
        return bytes(data[: chance.randrange(len(data))])
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        edge = chance.randrange(min(600, len(data)))
        place = chance.choice((chance.randrange(len(data)), edge, len(data) - 1 - edge))
        data[place] = chance.choice((0, 255, 127, chance.randrange(256)))
    if kind > 0.9:
        place = chance.randrange(len(data))
        data[place : place + chance.randrange(4)] = chance.randbytes(chance.randrange(6))
    return bytes(data)


@pytest.mark.parametrize("name", ["one.safetensors", "stored.npz", "deflated.npz", "zip.pt", "legacy.pth", "keras.h5"])
def test_a_damaged_file_gives_tensors_or_one_sentence(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    chance = random.Random(name)  # noqa: S311 - not for secrets
    whole = files[name].read_bytes()
    opened = refused = 0
    for number in range(CASES):
        target = tmp_path / f"{number}-{name}"
        target.write_bytes(damaged(whole, chance))
        try:
            checkpoint = open_checkpoint(target)
        except SourceError as error:
            refused += 1
            assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
            continue
        opened += 1
        for key, info in checkpoint.info.items():
            try:
                tensor = checkpoint[key]
            except SourceError as error:
                assert "\n" not in str(error)  # noqa: PT017
                continue
            assert tuple(tensor.shape) == info.shape
            assert str(tensor.dtype) == f"torch.{info.dtype}"
    assert refused > CASES // 10
    assert opened + refused == CASES

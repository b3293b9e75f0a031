from __future__ import annotations

import gguf

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.gguf_types import PLAIN, QUANTISED, WITHDRAWN


def test_types_and_blocks_are_those_of_the_gguf_package() -> None:
    ours = {number: ("", 1, ITEM_SIZES[name]) for number, name in PLAIN.items()} | QUANTISED
    theirs = {int(kind): (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType}
    assert {number: kind[1:] for number, kind in ours.items()} == {number: kind[1:] for number, kind in theirs.items()}
    assert {number: kind[0] for number, kind in QUANTISED.items()} == {
        number: kind[0] for number, kind in theirs.items() if number not in PLAIN
    }
    assert not WITHDRAWN.keys() & theirs.keys()

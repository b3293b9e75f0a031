"""Strategies of safetensors and of the folders of shards around them."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.sample import NAMES, NUMBERS, Draw, Sample, lie, mutated
from tests.hostile.valid_files import valid
from weightatlas.checkpoints.dtypes import ITEM_SIZES, SAFETENSORS

NONSENSE: Final = st.one_of(
    st.none(), st.booleans(), st.floats(), NUMBERS, st.text(max_size=4), st.lists(NUMBERS, max_size=4), st.just({})
)
TYPES: Final = tuple(SAFETENSORS)
LARGEST: Final = 2**64 - 1


@st.composite
def header(draw: Draw[Any]) -> bytes:
    """A header that is true but for a field or two, with its length and the tensors' bytes."""
    entries: dict[str, Any] = {}
    position = 0
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(TYPES))
        shape = draw(st.lists(st.integers(0, 5), max_size=4))
        size = ITEM_SIZES[SAFETENSORS[kind]]
        for length in shape:
            size *= length
        begin, end = position, position + size
        position = end
        entry = {
            "dtype": lie(draw, kind, st.one_of(NONSENSE, st.sampled_from([*TYPES, "F4", "F31"]))),
            "shape": lie(draw, shape, st.one_of(NONSENSE, st.lists(st.one_of(NUMBERS, NONSENSE), max_size=3))),
            "data_offsets": lie(draw, [begin, end], st.one_of(NONSENSE, st.lists(NUMBERS, min_size=2, max_size=3))),
        }
        if lie(draw, False, st.just(True), one_in=30):
            entry.pop(draw(st.sampled_from(sorted(entry))))
        entries[draw(NAMES)] = lie(draw, entry, NONSENSE, one_in=30)
    if draw(st.booleans()):
        entries["__metadata__"] = lie(draw, {"format": "pt"}, NONSENSE, one_in=6)
    text = json.dumps(lie(draw, entries, NONSENSE, one_in=40)).encode()
    length = lie(draw, len(text), NUMBERS, one_in=30)
    data = bytes(lie(draw, position, st.integers(0, 4000), one_in=20))
    return struct.pack("<Q", length & LARGEST) + text + data


def safetensors() -> st.SearchStrategy[Sample]:
    """Single files."""
    damaged = mutated(valid("model.safetensors"), [b'"shape"', b'"data_offsets"', b'"dtype"'])
    return st.one_of(header(), header(), damaged).map(
        lambda data: Sample({"model.safetensors": data}, "model.safetensors")
    )


SHARDS: Final = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@st.composite
def folder(draw: Draw[Any]) -> Sample:
    """A folder of two shards and perhaps an index, any of which may lie or be missing."""
    files: dict[str, bytes] = {}
    owners: dict[str, Any] = {}
    for number, shard in enumerate(SHARDS):
        name = lie(draw, f"layer{number}.weight", NAMES, one_in=10)
        text = json.dumps({name: {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
        whole = struct.pack("<Q", len(text)) + text + b"abcd"
        files[shard] = lie(draw, whole, mutated(whole), one_in=8)
        target = lie(
            draw, shard, st.one_of(NAMES, st.sampled_from([*SHARDS, "model.safetensors.index.json", "."])), one_in=8
        )
        owners[lie(draw, name, NAMES, one_in=12)] = lie(draw, target, NONSENSE, one_in=20)
    index = {"metadata": {"total_size": 8}, "weight_map": lie(draw, owners, NONSENSE, one_in=12)}
    text = json.dumps(lie(draw, index, NONSENSE, one_in=20)).encode()
    if draw(st.integers(0, 5)):
        files["model.safetensors.index.json"] = lie(draw, text, mutated(text), one_in=6)
    if draw(st.integers(0, 9)) == 9:
        files.pop(draw(st.sampled_from(sorted(files))))
    if draw(st.integers(0, 9)) == 9:
        files[draw(st.sampled_from(["config.json", "optimizer.pt", "model.safetensors", ".hidden"]))] = b"{}"
    opened = "model.safetensors.index.json"
    return Sample(files, opened if opened in files and draw(st.booleans()) else "")

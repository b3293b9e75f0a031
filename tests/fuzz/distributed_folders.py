"""Strategies of distributed checkpoints: a folder of chunks and the pickle that says where they lie."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.fuzz.pickles import VALUES
from tests.fuzz.sample import NAMES, NUMBERS, Draw, Sample, lie, mutated
from tests.hostile.distributed_lies import CHUNK, FILE, HALVES, Chunk, metadata, tensor_metadata
from tests.hostile.opcodes import mapping

SIZES = NUMBERS.filter(lambda value: value < 2**63)


@st.composite
def chunk(draw: Draw[Any], honest: Chunk) -> Chunk:
    """A chunk that is where it should be, but for a field or two."""
    some = st.lists(SIZES, max_size=3).map(tuple)
    return Chunk(
        lie(draw, honest.offsets, some, one_in=24),
        lie(draw, honest.sizes, some, one_in=24),
        lie(draw, honest.index, VALUES, one_in=30),
        lie(draw, honest.path, NAMES, one_in=24),
        lie(draw, honest.place, SIZES, one_in=24),
        lie(draw, honest.length, SIZES, one_in=24),
    )


@st.composite
def told(draw: Draw[Any]) -> bytes:
    """Metadata of one tensor of two chunks, true but for a field or two."""
    name = lie(draw, "fc.weight", NAMES, one_in=24)
    chunks = [draw(chunk(half)) for half in HALVES]
    state = {}
    if draw(st.integers(0, 7)) == 7:
        state["planner_data"] = draw(VALUES)
    if draw(st.integers(0, 15)) == 15:
        state["state_dict_metadata"] = mapping(
            {name: lie(draw, tensor_metadata(), VALUES, one_in=2), "x": draw(VALUES)}
        )
    if draw(st.integers(0, 24)) == 24:
        state[draw(st.sampled_from(["other", "storage_meta", "version"]))] = draw(VALUES)
    return metadata(
        chunks,
        shape=lie(draw, (4, 2), st.lists(SIZES, max_size=3).map(tuple), one_in=24),
        placed=None if draw(st.integers(0, 11)) else [draw(chunk(half)) for half in HALVES],
        name=name,
        state=state,
        protocol=draw(st.sampled_from([2, 4])),
    )


@st.composite
def folder(draw: Draw[Any]) -> Sample:
    """A folder of one file of two chunks, any part of which may be damaged."""
    described = draw(told())
    files = {
        ".metadata": lie(draw, described, mutated(described), one_in=4),
        FILE: lie(draw, CHUNK * 2, mutated(CHUNK * 2), one_in=6),
    }
    if draw(st.integers(0, 20)) == 20:
        files.pop(draw(st.sampled_from(sorted(files))))
    return Sample(files, "")

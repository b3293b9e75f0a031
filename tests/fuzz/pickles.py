"""Strategies of pickles, from a grammar of opcodes, and of the files that torch keeps them in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.sample import NAMES, NUMBERS, Draw, Sample, lie, mutated
from tests.hostile.containers import DATA, array, legacy_file, torch_archive
from tests.hostile.opcodes import (
    call,
    integer,
    kept,
    listed,
    mapping,
    named,
    several,
    stacked,
    storage,
    tensor,
    text,
    whole,
)
from tests.hostile.valid_files import valid
from tests.hostile.zip_writer import Member

MARKS: Final = (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"data.pkl", b"ctorch", b"storage", b"X", b"q", b"\x80\x02")
COMMAND: Final = "touch canary; export WEIGHTATLAS_CANARY=1"
HONEST: Final = (
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "FloatStorage"),
    ("torch", "HalfStorage"),
    ("torch", "Size"),
    ("torch", "float32"),
    ("numpy", "dtype"),
    ("argparse", "Namespace"),
)
EVIL: Final = (
    ("posix", "system"),
    ("os", "popen"),
    ("builtins", "eval"),
    ("__builtin__", "exec"),
    ("subprocess", "Popen"),
    ("nt", "system"),
    ("builtins", "getattr"),
    ("torch.hub", "load"),
    ("", ""),
    ("a\x1b[2J", "b"),
)
KINDS: Final = ("FloatStorage", "HalfStorage", "LongStorage", "BFloat16Storage", "BoolStorage", "QUInt8Storage", "Evil")


@st.composite
def name_of_class(draw: Draw[Any]) -> bytes:
    """A GLOBAL or a STACK_GLOBAL, mostly of what a checkpoint has."""
    module, name = lie(draw, draw(st.sampled_from(HONEST)), st.sampled_from(EVIL), one_in=8)
    return (named if draw(st.booleans()) else stacked)(module, name)


@st.composite
def torch_tensor(draw: Draw[Any]) -> bytes:
    """A tensor's record: four floats, two by two, but for a lie or two."""
    held = storage(
        lie(draw, "0", st.sampled_from(["1", "", "../0", "x" * 300])),
        lie(draw, 4, NUMBERS),
        lie(draw, "FloatStorage", st.sampled_from(KINDS)),
    )
    return tensor(
        shape=lie(draw, (2, 2), st.lists(NUMBERS, max_size=4).map(tuple), one_in=6),
        strides=lie(draw, (2, 1), st.lists(NUMBERS, max_size=4).map(tuple), one_in=6),
        offset=lie(draw, 0, NUMBERS, one_in=10),
        held=lie(draw, held, st.sampled_from([b"N", b"}", kept(b"N"), kept(text("0"))]), one_in=20),
        rebuild=lie(draw, named("torch._utils", "_rebuild_tensor_v2"), name_of_class(), one_in=20),
    )


LEAVES: Final = st.one_of(
    torch_tensor(),
    torch_tensor(),
    st.sampled_from([b"N", b"\x88", b"\x89", b"]", b"}", b")", b"\x8f", b"h\x00", b"K\x07", b"G" + bytes(8), array()]),
    st.integers(-(2**70), 2**70).map(integer),
    NAMES.map(text),
    st.binary(max_size=9).map(lambda data: b"C" + bytes([len(data)]) + data),
    name_of_class(),
)
JUNK: Final = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"r" + struct.pack("<I", 2**31), b"\x8b" + struct.pack("<i", 2**31 - 1), b"\x8d" + b"\xff" * 8]),
    st.sampled_from(
        [b"0", b"1", b"2", b"(", b"t", b"R", b"b", b"o", b"a", b"s", b"u", b"e", b"\x81", b"\x92", b"\x93"]
    ),
    st.sampled_from(
        [b"\x82\x01", b"\x97", b"\x95" + b"\xff" * 8, b"iposix\nsystem\n", b"Pos.system\n", b"I01\n", b"L9L\n"]
    ),
)


def _larger(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    pairs = st.dictionaries(NAMES, inner, max_size=3)
    some = st.lists(inner, max_size=3)
    return st.one_of(
        pairs.map(mapping),
        some.map(lambda values: listed(*values)),
        some.map(lambda values: several(*values)),
        st.tuples(inner, NUMBERS).map(lambda pair: pair[0] + b"q" + bytes([pair[1] % 256])),
        st.tuples(name_of_class(), some).map(lambda pair: call(pair[0], *pair[1])),
        st.tuples(name_of_class(), inner, pairs).map(lambda parts: parts[0] + b")\x81" + mapping(parts[2]) + b"b"),
        st.tuples(name_of_class(), inner).map(lambda pair: b"(" + pair[0] + pair[1] + b"o"),
        inner.map(kept),
        st.tuples(inner, JUNK).map(lambda pair: pair[0] + pair[1]),
    )


VALUES: Final = st.recursive(LEAVES, _larger, max_leaves=6)


@st.composite
def pickled(draw: Draw[Any]) -> bytes:
    """A whole pickle: mostly a state dict."""
    items = draw(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
    value = mapping({"conv1.weight": tensor(), **items}) if draw(st.integers(0, 4)) else draw(VALUES)
    made = whole(value, draw(st.sampled_from([0, 2, 2, 3, 4, 5])))
    return lie(draw, made, mutated(made), one_in=4)


def torch_zip() -> st.SearchStrategy[Sample]:
    """Today's archives around such pickles, and honest ones damaged."""
    made = st.tuples(pickled(), st.integers(0, 15)).map(
        lambda pair: torch_archive(pair[0], data=DATA if pair[1] < 14 else DATA[: pair[1] - 14])
    )
    script = pickled().map(lambda data: torch_archive(data, extra=(Member("archive/constants.pkl", whole(b")")),)))
    damaged = [mutated(valid(name), MARKS) for name in ("zip.pt", "script.pt")]
    return st.one_of(made, made, script, *damaged).map(_file("model.pt"))


def torch_legacy() -> st.SearchStrategy[Sample]:
    """Files of before 1.6."""
    made = pickled().map(legacy_file)
    headed = pickled().map(lambda data: legacy_file(whole(mapping({})), information=data))
    return st.one_of(made, made, headed, mutated(valid("legacy.pth"), MARKS)).map(_file("model.pth"))


def plain_pickle() -> st.SearchStrategy[Sample]:
    """Pickles without an archive."""
    numpy = VALUES.map(lambda value: whole(mapping({"weight": array(), "other": value}), 3))
    return st.one_of(pickled(), numpy, mutated(valid("arrays.pkl"), MARKS)).map(_file("model.pkl"))


def _file(name: str) -> Callable[[bytes], Sample]:
    return lambda data: Sample({name: data}, name)

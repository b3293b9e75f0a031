from __future__ import annotations

import collections
import pickle
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.checkpoints.pickles.pickle_machine import PickleError
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent, Global, Key, Persistent
from weightatlas.checkpoints.pickles.pickled import read_pickle
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.places.slice_blob import SliceBlob
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none(), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=20,
)


class Thing:
    def __init__(self, size: int = 0) -> None:
        self.size = size


class Sized(Thing):
    def __reduce__(self) -> tuple[Any, ...]:
        return Sized, (self.size,)


class ByKeyword(Thing):
    def __getnewargs_ex__(self) -> tuple[tuple[int, ...], dict[str, int]]:
        return (), {"size": self.size}


def read(data: bytes, folder: Path, admitted: set[str] | None = None) -> Any:  # noqa: ANN401 - whatever is in it
    path = folder / "x.pkl"
    path.write_bytes(data)
    return read_pickle(LocalBlob(path), admitted=admitted).value


def fault(data: bytes, folder: Path) -> str:
    with pytest.raises(PickleError) as caught:
        read(data, folder)
    return str(caught.value)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from(PROTOCOLS))
def test_plain_values_are_what_pickle_gives(
    tmp_path_factory: pytest.TempPathFactory, value: object, protocol: int
) -> None:
    found = read(pickle.dumps(value, protocol), tmp_path_factory.mktemp("p"))
    assert found == value
    assert repr(found) == repr(value)  # True is not 1, -0.0 is not 0.0


@pytest.mark.parametrize("protocol", [4, 5])
def test_sets_bytes_and_frozen_sets(protocol: int, tmp_path: Path) -> None:
    value = [{1, "a"}, frozenset({2}), b"\x00\xff", set(), frozenset()]
    assert read(pickle.dumps(value, protocol), tmp_path) == value


def test_what_lies_in_two_places_is_one_object(tmp_path: Path) -> None:
    inner = ["x"]
    found = read(pickle.dumps([inner, inner, {"a": inner}]), tmp_path)
    assert found[0] is found[1] is found[2]["a"]
    loop: list[object] = []
    loop.append(loop)
    found = read(pickle.dumps(loop), tmp_path)
    assert found[0] is found


def test_long_bytes_and_text_stay_in_the_file(tmp_path: Path) -> None:
    data = pickle.dumps({"raw": b"r" * 5000, "text": "é" * 70_000, "short": b"s" * 9}, 4)
    found = read(data, tmp_path)
    raw, text = found["raw"], found["text"]
    assert found["short"] == b"s" * 9
    assert data[raw.offset : raw.offset + raw.length] == b"r" * 5000
    assert data[text.offset : text.offset + text.length].decode() == "é" * 70_000
    assert isinstance(text, Extent)
    assert text.is_text


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_classes_are_written_down_and_not_loaded(protocol: int, tmp_path: Path) -> None:
    found = read(pickle.dumps([Sized(3), Thing(4), Thing], protocol), tmp_path)
    assert isinstance(found[0], Call)
    assert found[0].path == f"{__name__}.Sized"
    assert found[0].arguments == (3,)
    assert found[1].state == {"size": 4}
    assert isinstance(found[2], Global)


def test_every_way_to_make_an_object_is_one_record(tmp_path: Path) -> None:
    for made in (b"cm\nC\n)R.", b"cm\nC\n)\x81.", b"(im\nC\n.", b"(cm\nC\no.", b"\x80\x04\x8c\x01m\x8c\x01C\x93)R."):
        found = read(made, tmp_path)
        assert found.path == "m.C"
        assert found.arguments == ()
    found = read(pickle.dumps(ByKeyword(3), 4), tmp_path)
    assert found.keywords == {"size": 3}


def test_dictionaries_and_lists_of_a_class_keep_their_items(tmp_path: Path) -> None:
    ordered = collections.OrderedDict(a=1, b=2)
    counted = collections.deque([1, 2])
    found = read(pickle.dumps([ordered, counted]), tmp_path)
    assert found[0].items == {"a": 1, "b": 2}
    assert found[1].elements == [1, 2]


def test_no_module_is_imported(tmp_path: Path) -> None:
    assert "this" not in sys.modules
    found = read(b"cthis\nd\n)R.", tmp_path)
    assert found.path == "this.d"
    assert "this" not in sys.modules


def test_persistent_references_are_listed_in_order(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"(U\x01aQU\x01bQPc\nl.")
    found = read_pickle(LocalBlob(tmp_path / "x"))
    assert [reference.identity for reference in found.persistent] == ["a", "b", "c"]
    assert all(isinstance(value, Persistent) for value in found.value)


def test_pickles_in_a_row_say_where_they_end(tmp_path: Path) -> None:
    parts = [pickle.dumps(value, 2) for value in (1, {"a": "b" * 300_000}, "end")]
    (tmp_path / "x").write_bytes(b"".join(parts) + b"rest")
    blob = LocalBlob(tmp_path / "x")
    position = 0
    for part, value in zip(parts, (1, None, "end"), strict=True):
        found = read_pickle(blob, position)
        assert value is None or found.value == value
        position += len(part)
        assert found.end == position


def test_a_part_of_a_file_ends_where_it_ends(tmp_path: Path) -> None:
    data = pickle.dumps([1, 2, 3])
    (tmp_path / "x").write_bytes(b"head" + data + b"tail")
    whole = LocalBlob(tmp_path / "x")
    assert read_pickle(SliceBlob(whole, 4, len(data))).value == [1, 2, 3]
    with pytest.raises(PickleError, match="middle"):
        read_pickle(SliceBlob(whole, 4, len(data) - 1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_cut_anywhere_is_said_to_be_cut(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps({"a": [1.5, "text", (1, 2), 2**70], "b": Sized(1)}, protocol)
    for length in range(len(data)):
        fault(data[:length], tmp_path)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from([b"", b"(", b"\x80\x04}", b"](K\x01", b"cm\nC\n)"]))
def test_any_bytes_are_a_value_or_an_error(tmp_path_factory: pytest.TempPathFactory, tail: bytes, start: bytes) -> None:
    path = tmp_path_factory.mktemp("p") / "x"
    path.write_bytes(start + tail)
    try:
        found = read_pickle(LocalBlob(path))
    except (PickleError, SourceError) as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert 0 < found.end <= len(start + tail)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x80\x06.", "protocol 6"),
        (b"\x82\x01.", "no opcode"),
        (b"\x97.", "no opcode"),
        (b"\xff.", "no opcode"),
        (b".", "missing"),
        (b"(.", "missing"),
        (b"R.", "missing"),
        (b"K\x01(a.", "missing"),
        (b"t.", "mark is missing"),
        (b"h\x07.", "corrupt"),
        (b"K\x01K\x02R.", "no function"),
        (b"cm\nC\nK\x02R.", "no function"),
        (b"K\x01K\x02K\x03s.", "no dictionary"),
        (b"K\x01K\x02a.", "no list"),
        (b"K\x01(K\x02\x90.", "no set"),
        (b"}K\x01b.", "state of a dict"),
        (b"}]K\x01s.", "as a key"),
        (b"K\x01K\x02\x93.", "no name"),
        (b"\x8b\xff\xff\xff\x7f.", "2147483647 bytes"),
        (b"\x8b\xff\xff\xff\xff.", "-1 bytes"),
        (b"X\xff\xff\xff\xff.", "middle"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "middle"),
        (b"I" + b"9" * 5000 + b"\n.", "5000 bytes"),
        (b"Sabc\n.", "quotes"),
        (b"X\x01\x00\x00\x00\xff.", "corrupt"),
        (b"(" * 70_000 + b".", "open parts"),
    ],
)
def test_what_no_pickle_of_data_does_is_an_error(data: bytes, says: str, tmp_path: Path) -> None:
    assert says in fault(data, tmp_path)


def test_memory_is_bounded_whatever_the_pickle_claims(tmp_path: Path) -> None:
    assert "memory" in fault(b"(" + b"\x8f" * 400_000 + b"l.", tmp_path)
    assert "memory" in fault(
        b"K\x00" + b"".join(b"r" + (7 * n + 9).to_bytes(4, "little") for n in range(600_000)), tmp_path
    )
    keys = b"".join(b"J" + number.to_bytes(4, "little") + b"N" for number in range(1_000_001))
    assert "1000000 keys" in fault(b"}(" + keys + b"u.", tmp_path)
    (tmp_path / "x").write_bytes(b"K\x00" * 2_000 + b".")
    with pytest.raises(PickleError, match="1000 opcodes"):
        read_pickle(LocalBlob(tmp_path / "x"), longest=1000)


def test_keys_whose_hash_could_be_chosen_are_compared_by_identity(tmp_path: Path) -> None:
    found = read(pickle.dumps({(1, "a"): 1, 2**80: 2, "plain": 3}), tmp_path)
    assert found["plain"] == 3
    wrapped = [key for key in found if isinstance(key, Key)]
    assert [key.value for key in wrapped] == [(1, "a"), 2**80]
    assert str(wrapped[0]) == "(1, a)"
    nested = b"}(" + b"K\x01" + b"\x85" * 3 + b"K\x02u."
    assert isinstance(next(iter(read(nested, tmp_path))), Key)


def test_records_that_hold_each_other_have_a_short_representation() -> None:
    call = Call(Global("m", "C"), ())
    for _ in range(60):
        call = Call(Global("m", "C"), (call, call))
    assert repr(call) == "<a call of m.C>"


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(U\x02idtR.",
        b"(cos\nsystem\nU\x02ido.",
        b"(U\x02idios\nsystem\n.",
        b"cos\nsystem\nU\x02id\x85\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.",
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.",
        b"c__builtin__\neval\n.",
        b"cbuiltins\n__import__\n.",
        b"cposix\nsystem\n.",
        b"ctorch\nos.system\n.",
        b"cmypackage\nThing.__globals__\n.",
        b"cpathlib\nPath.unlink\n.",
        b"cmypackage\nmake\n)R)R.",
        b"cmypackage\nThing\n}U\x01aU\x01bsb.",
    ],
)
def test_what_could_run_code_is_refused_by_name(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="could run code"):
        read(data, tmp_path)


def test_names_in_a_refusal_are_short_and_printable(tmp_path: Path) -> None:
    name = "system\n\x1b[31m" + "x" * 5000
    data = b"\x80\x04\x8c\x02osX" + len(name).to_bytes(4, "little") + name.encode() + b"\x93."
    with pytest.raises(SourceError) as caught:
        read(data, tmp_path)
    assert caught.value.problem.isprintable()
    assert len(caught.value.problem) < 300


def test_only_admitted_names_pass_where_there_is_a_list(tmp_path: Path) -> None:
    data = pickle.dumps(collections.OrderedDict(a=1))
    assert read(data, tmp_path, admitted={"collections.OrderedDict"}).items == {"a": 1}
    with pytest.raises(SourceError, match=r"collections\.OrderedDict, which has no place"):
        read(data, tmp_path, admitted={"torch.Size"})


def test_deep_nesting_is_read_and_let_go(tmp_path: Path) -> None:
    depth = 200_000
    found = read(b"]" * depth + b"a" * (depth - 1) + b".", tmp_path)
    count = 1
    while found:
        (found,) = found
        count += 1
    assert count == depth


def attribute_of(target: bytes, name: str) -> bytes:
    """A pickle that asks for an attribute, as Python 3.11.2 names a member of an enumeration."""
    return b"c__builtin__\ngetattr\n(" + target + b"V" + name.encode() + b"\ntR."


def test_a_member_of_an_enumeration_is_a_longer_name(tmp_path: Path) -> None:
    member = read(attribute_of(b"cmypackage\nColour\n", "RED"), tmp_path)
    assert isinstance(member, Global)
    assert member.path == "mypackage.Colour.RED"
    assert read(attribute_of(b"cmypackage\nColour\n", "RED"), tmp_path, {"mypackage.Colour"}).path == member.path


def test_a_method_of_an_object_is_a_record(tmp_path: Path) -> None:
    method = read(attribute_of(b"cmypackage\nThing\n(tR", "forward"), tmp_path)
    assert isinstance(method, Call)
    assert method.path == "__builtin__.getattr"


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (b"cos\npath\n", "join"),
        (b"ctorch\nos\n", "system"),
        (b"cmypackage\nThing\n", "__subclasses__"),
        (b"cmypackage\nThing\n(tR", "__class__"),
        (b"I7\n", "real"),
    ],
)
def test_an_attribute_that_leads_to_code_is_refused(target: bytes, name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="could run code"):
        read(attribute_of(target, name), tmp_path)


def test_what_an_attribute_names_is_never_called(tmp_path: Path) -> None:
    method = attribute_of(b"cmypackage\nThing\n(tR", "forward").removesuffix(b".")
    with pytest.raises(SourceError, match="could run code"):
        read(method + b"(tR.", tmp_path)


def test_only_attributes_of_admitted_classes_pass(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no place in it"):
        read(attribute_of(b"cmypackage\nColour\n", "RED"), tmp_path, {"mypackage.Other"})

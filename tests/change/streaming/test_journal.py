from __future__ import annotations

import json
import math
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.change.streaming.journal import FIRST, Journal, Stretch
from weightatlas.change.streaming.packed import Packed
from weightatlas.change.summing.measuring import Measured
from weightatlas.change.summing.ratios import BINS
from weightatlas.change.summing.sums import SUMS
from weightatlas.errors import SourceError

STRETCH = Stretch("conv1|weight", 0, 600, "all")


def packed(seed: int = 0, *, median: bool = False) -> Packed:
    generator = np.random.default_rng(seed)
    bins = generator.integers(0, 9, BINS) * (generator.random(BINS) < 0.01) if median else None
    return Packed.of(Measured(generator.normal(size=SUMS) * 10.0 ** generator.integers(-200, 200, SUMS), bins))


def read(path: Path, stretch: Stretch = STRETCH) -> dict[str, Packed]:
    with Journal(path) as journal:
        return dict(journal.known(stretch))


def same(one: Packed, other: Packed) -> bool:
    return np.array_equal(one.sums, other.sums, equal_nan=True) and one.bins == other.bins


@pytest.mark.parametrize("median", [False, True])
def test_what_was_added_is_known_to_the_last_bit(tmp_path: Path, median: bool) -> None:
    path = tmp_path / "deep" / "run.jsonl"
    first, second = packed(1, median=median), packed(2, median=median)
    with Journal(path) as journal:
        journal.add(STRETCH, {"a b": first, "b c": second})
    known = read(path)
    assert list(known) == ["a b", "b c"]
    assert same(known["a b"], first)
    assert same(known["b c"], second)


def test_sums_that_are_not_finite_come_back(tmp_path: Path) -> None:
    sums = np.array([math.inf, -math.inf, math.nan, *range(SUMS - 3)], dtype=float)
    with Journal(tmp_path / "j") as journal:
        journal.add(STRETCH, {"a": Packed(sums)})
    assert same(read(tmp_path / "j", STRETCH)["a"], Packed(sums))


@pytest.mark.parametrize("other", [("fc|weight",), ("conv1|weight", 1), ("conv1|weight", 0, 599)])
def test_another_stretch_is_not_known(tmp_path: Path, other: tuple[object, ...]) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add(STRETCH, {"a": packed()})
    stretch = Stretch(*other, *STRETCH[len(other) :])  # type: ignore[arg-type]
    assert not read(tmp_path / "j", stretch)
    assert not read(tmp_path / "j", STRETCH._replace(asked="norms"))


def test_without_a_path_nothing_is_kept() -> None:
    with Journal(None) as journal:
        journal.add(STRETCH, {"a": packed()})
        assert not journal.known(STRETCH)


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_a_line_that_was_cut_short_is_left_out_and_the_next_one_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add(STRETCH, {"a": packed(1)})
        size = path.stat().st_size
        journal.add(STRETCH, {"b": packed(2)})
    text = path.read_bytes()
    path.write_bytes(text[: size + cut] if cut > 0 else text[:cut])
    with Journal(path) as journal:
        assert set(journal.known(STRETCH)) == ({"a"} if cut > 0 else {"a", "b"})
        journal.add(STRETCH, {"c": packed(3)})
    assert {"a", "c"} <= set(read(path))


def test_a_journal_killed_in_its_first_line_is_finished(tmp_path: Path) -> None:
    for cut in range(len(FIRST)):
        path = tmp_path / str(cut)
        path.write_bytes(FIRST[:cut])
        with Journal(path) as journal:
            journal.add(STRETCH, {"a": packed()})
        assert path.read_bytes().startswith(FIRST)
        assert set(read(path)) == {"a"}


LINES = st.lists(st.binary(max_size=40) | st.text(max_size=40).map(str.encode) | st.just(b"[" * 5000), max_size=4)
HALVES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries(dict.fromkeys(("tensor", "low", "high", "asked", "pairs", "sums", "bins"), HALVES))


@given(garbage=LINES, fields=FIELDS)
def test_lines_that_make_no_sense_are_passed_over(
    tmp_path_factory: pytest.TempPathFactory, garbage: list[bytes], fields: dict[str, object]
) -> None:
    path = tmp_path_factory.mktemp("garbage") / "j"
    with Journal(path) as journal:
        journal.add(STRETCH, {"a": packed(1)})
    with path.open("ab") as file:
        file.write(
            b"\n".join(line.replace(b"\n", b"") for line in garbage) + b"\n" + json.dumps(fields).encode() + b"\n"
        )
    with Journal(path) as journal:
        journal.add(STRETCH, {"b": packed(2)})
    known = read(path)
    assert set(known) == {"a", "b"}
    assert same(known["a"], packed(1))


@pytest.mark.parametrize(
    "content", [b"{}\n", b"step,loss\n1,2\n", b'{"journal": "weight change", "form": 2}\n', b"\0" * 99]
)
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="is no journal of weight change; give another file"):
        Journal(path)
    assert path.read_bytes() == content


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "j"):
        with pytest.raises(SourceError, match="cannot be written"):
            Journal(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SourceError, match=r"cannot be written \(Permission denied\)"):
        Journal(tmp_path / "j")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    journal.close()
    with Path("/dev/full").open("ab", buffering=0) as full:
        journal._file = full  # no other disk to fill
        with pytest.raises(SourceError, match=r"cannot be written \(No space left on device\)"):
            journal.add(STRETCH, {"a": packed()})


def test_two_surveys_may_write_at_once(tmp_path: Path) -> None:
    path, count = tmp_path / "j", 40

    def write(writer: int) -> None:
        with Journal(path) as journal:
            for number in range(count):
                journal.add(STRETCH, {f"{writer} {number}": packed(number, median=number % 2 == 0)})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    known = read(path)
    assert len(known) == 3 * count
    assert same(known["2 6"], packed(6, median=True))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows reads a journal that is open as well, but has no links")
def test_a_journal_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with Journal(tmp_path / "link") as journal:
        journal.add(STRETCH, {"a": packed()})
    assert set(read(tmp_path / "target")) == {"a"}

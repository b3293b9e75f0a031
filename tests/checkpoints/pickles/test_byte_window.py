from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.checkpoints.pickles import byte_window
from weightatlas.checkpoints.pickles.byte_window import ByteWindow
from weightatlas.checkpoints.places.blob import LocalBlob
from weightatlas.checkpoints.places.slice_blob import SliceBlob

TEXT = b"".join(b"line %d\n" % number for number in range(40_000))


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> LocalBlob:
    path = tmp_path_factory.mktemp("window") / "x"
    path.write_bytes(TEXT)
    return LocalBlob(path)


@given(st.lists(st.tuples(st.sampled_from(["take", "skip", "line"]), st.integers(0, 200_000)), max_size=12))
def test_whatever_is_taken_skipped_or_read_by_line_is_what_lies_there(
    blob: LocalBlob, steps: list[tuple[str, int]]
) -> None:
    window, position = ByteWindow(blob, 0), 0
    for step, length in steps:
        end = TEXT.index(b"\n", position) + 1 if step == "line" and position < len(TEXT) else position + length
        if end > len(TEXT) or (step == "line" and position == len(TEXT)):
            with pytest.raises(EOFError):
                {"take": window.take, "skip": window.skip}[step](length) if step != "line" else window.line()
            return
        if step == "take":
            assert window.take(length) == TEXT[position:end]
        elif step == "skip":
            assert window.skip(length) == position
        else:
            assert window.line() == TEXT[position : end - 1]
        position = end
        assert window.start + window.position == position


def test_what_is_skipped_is_not_read(blob: LocalBlob, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    part = SliceBlob(blob, 0, blob.size)

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return blob.read(offset, length)

    monkeypatch.setattr(part, "read", read)
    window = ByteWindow(part, 10)
    window.take(1)
    window.skip(300_000)
    window.take(1)
    assert [offset for offset, _ in asked] == [10, 300_011]


def test_a_line_without_an_end_is_not_read_for_ever(blob: LocalBlob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_window, "LINE_LIMIT", 4)
    monkeypatch.setattr(byte_window, "FIRST", 5)
    window = ByteWindow(SliceBlob(blob, 0, 6), 0)
    with pytest.raises(EOFError, match="does not end"):
        window.line()

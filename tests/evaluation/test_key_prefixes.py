from __future__ import annotations

import pytest

from weightatlas.errors import SourceError
from weightatlas.evaluation.key_prefixes import aligned


def names(*keys: str) -> dict[str, str]:
    return {key: key for key in keys}


@pytest.mark.parametrize(
    ("found", "wanted", "renamed"),
    [
        (("a.w", "b.w"), ("a.w", "b.w"), ("a.w", "b.w")),
        (("a.w", "b.w"), ("net.a.w", "net.b.w"), ("net.a.w", "net.b.w")),
        (("net.a.w", "net.b.w"), ("a.w", "b.w"), ("a.w", "b.w")),
        (("a.w", "b.w", "head.w"), ("net.a.w", "net.b.w", "head.w"), ("net.a.w", "net.b.w", "head.w")),
        (("net.a.w", "net.b.w", "aux.w"), ("a.w", "b.w", "head.w"), ("a.w", "b.w", "aux.w")),
        (("x.w", "y.w", "a.w"), ("net.a.w", "net.b.w"), ("x.w", "y.w", "a.w")),  # one of three: chance
        (("w",), ("v",), ("w",)),
        ((), ("v",), ()),
    ],
)
def test_one_module_path_is_put_before_names_or_taken_off(
    found: tuple[str, ...], wanted: tuple[str, ...], renamed: tuple[str, ...]
) -> None:
    values, notes = aligned(names(*found), names(*wanted), source="net.pt")
    assert tuple(values) == renamed
    assert tuple(values.values()) == found
    assert bool(notes) == (renamed != found)


def test_a_name_that_the_checkpoint_has_already_is_never_taken_again() -> None:
    values, _ = aligned(names("a.w", "net.a.w"), names("a.w", "net.b.w"), source="net.pt")
    assert tuple(values) == ("a.w", "net.a.w")


def test_the_prefix_that_fits_the_most_names_is_taken() -> None:
    wanted = names("encoder.a.w", "encoder.b.w", "decoder.a.w")
    values, notes = aligned(names("a.w", "b.w"), wanted, source="net.pt")
    assert tuple(values) == ("encoder.a.w", "encoder.b.w")
    assert notes == ("'encoder.' was put before 2 of the names",)


@pytest.mark.parametrize(
    ("found", "wanted", "said"),
    [
        (("student.0.w", "teacher.0.w"), ("0.w",), "'student.' taken off and 'teacher.' taken off, 1 of them"),
        (("a.w", "b.w"), ("x.a.w", "x.b.w", "y.a.w", "y.b.w"), "'x.' put before and 'y.' put before, 2 of them"),
        (("a.w", "b.w"), ("c.a.w", "w"), "'c.' put before, 'a.' taken off and 'b.' taken off, 1 of them"),
        (("w",), tuple(f"{place}.w" for place in range(9)), "'2.' put before and 6 others, 1 of them"),
    ],
)
def test_prefixes_that_fit_equally_well_are_refused_and_named(
    found: tuple[str, ...], wanted: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SourceError, match=r"net\.pt: its names fit the model equally well") as caught:
        aligned(names(*found), names(*wanted), source="net.pt")
    assert said in str(caught.value)


def test_equal_prefixes_that_fit_too_few_names_are_left_alone() -> None:
    found = names("a.w", "b.w", "c.v")
    assert aligned(found, names("w"), source="net.pt") == (found, ())


def test_a_prefix_out_of_a_file_is_shown_short_and_on_one_line() -> None:
    _, notes = aligned(names("x\n" * 500 + ".w"), names("w"), source="net.pt")
    assert "\n" not in notes[0]
    assert len(notes[0]) < 200

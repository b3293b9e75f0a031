from __future__ import annotations

import pytest

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
    values, notes = aligned(names(*found), names(*wanted))
    assert tuple(values) == renamed
    assert tuple(values.values()) == found
    assert bool(notes) == (renamed != found)


def test_a_name_that_the_checkpoint_has_already_is_never_taken_again() -> None:
    values, _ = aligned(names("a.w", "net.a.w"), names("a.w", "net.b.w"))
    assert tuple(values) == ("a.w", "net.a.w")


def test_the_prefix_that_fits_the_most_names_is_taken() -> None:
    wanted = names("encoder.a.w", "encoder.b.w", "decoder.a.w")
    values, notes = aligned(names("a.w", "b.w"), wanted)
    assert tuple(values) == ("encoder.a.w", "encoder.b.w")
    assert notes == ("'encoder.' was put before 2 of the names",)

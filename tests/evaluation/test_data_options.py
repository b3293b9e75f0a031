from __future__ import annotations

import pytest

from weightatlas.errors import SourceError
from weightatlas.evaluation.data_options import Options, checked, refuse_others, with_query


def test_a_query_is_put_over_what_was_given_beside_it() -> None:
    found = with_query("x", "split=1&limit=5&shuffle=true&normalize=none&label=none", Options(limit=9, batch_size=3))
    assert found == Options(batch_size=3, split="1", limit=5, shuffle=True, normalize="none", label=None)
    assert with_query("x", "", Options(seed=4)) == Options(seed=4)
    assert with_query("x", "size=8&resize=16", Options()).fit.resize == 16
    assert with_query("x", "batch_size=2&seed=7&normalize=cifar10", Options()).batching.normalization == "cifar10"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("batchsize=3", "no option 'batchsize'; did you mean batch_size"),
        ("zzz=3", "no option 'zzz'; there is batch_size"),
        ("batch_size=0", "batch_size=0; give a whole number"),
        ("batch_size=none", "batch_size=None"),
        ("limit=-1", "limit=-1"),
        ("limit=2.5", "limit=2.5"),
        ("limit=true", "limit=True"),
        ("seed=x", "seed=x"),
        ("shuffle=1", "shuffle=1; write true or false"),
        ("normalize=imagnet", "normalize=imagnet; there is none, imagenet"),
        ("size=20&resize=10", "size 20 is larger than resize 10"),
        ("size=100000", "size must be 1 to 4096"),
    ],
)
def test_values_without_meaning_are_refused(query: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        with_query("data", query, Options())


def test_options_given_in_python_are_checked_as_well() -> None:
    with pytest.raises(SourceError, match="batch_size=0"):
        checked("data", Options(batch_size=0))


def test_what_would_be_ignored_is_refused() -> None:
    refuse_others("data", Options(batch_size=1, seed=2, limit=3, split="test"), ("split",))
    with pytest.raises(SourceError, match="it takes no normalize; drop it; it takes batch_size, seed, limit, split"):
        refuse_others("data", Options(normalize="half"), ("split",))

from __future__ import annotations

import itertools

import numpy as np
import pytest

from weightatlas.branching.gathering.branch_matching import by_name, match, most_alike, places_in


@pytest.mark.parametrize(("branches", "others"), [(2, 2), (4, 4), (2, 4), (4, 2), (1, 3)])
def test_the_best_of_all_assignments_is_found(branches: int, others: int) -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(5, branches, 3)), generator.normal(size=(5, others, 3))
    found = match(one, other)
    matched = min(branches, others)
    for draw in range(5):
        best = min(
            (
                (
                    sum(((one[draw, a] - other[draw, b]) ** 2).sum() for a, b in zip(rows, columns, strict=True)),
                    rows,
                    columns,
                )
                for rows in itertools.combinations(range(branches), matched)
                for columns in itertools.permutations(range(others), matched)
            ),
            key=lambda tried: tried[0],
        )
        expected = np.mean([one[draw, a] * other[draw, b] for a, b in zip(*best[1:], strict=True)], axis=0)
        np.testing.assert_allclose(found.strength[draw], expected)
        pairs = dict(zip(*best[1:], strict=True))
        top = [pairs.get(int(one[draw, :, f].argmax())) == other[draw, :, f].argmax() for f in range(3)]
        assert found.agreement[draw].tolist() == top


def test_known_branches_stay_matched() -> None:
    one = np.array([[[1.0], [0.0]]])
    found = match(one, one[:, ::-1], fixed=by_name(("a", "b"), ("a", "c")))
    assert found.places.tolist() == [0, -1]
    assert found.strength.tolist() == [[0.0]]
    assert found.agreement.tolist() == [[False]]


def test_places_in_the_reference_are_found_from_either_side() -> None:
    generator = np.random.default_rng(1)
    runs = [generator.normal(size=(1, 3, 4))]
    order = [2, 0, 1]
    runs += [runs[0][:, order], 0.01 * generator.normal(size=(1, 2, 4))]
    pairs = {pair: match(runs[pair[0]], runs[pair[1]]) for pair in itertools.combinations(range(3), 2)}
    assert most_alike(pairs, 3) in {0, 1}
    assert places_in(pairs, 1, 0, 3).tolist() == order
    assert places_in(pairs, 0, 1, 3).tolist() == np.argsort(order).tolist()
    assert places_in(pairs, 0, 0, 3).tolist() == [0, 1, 2]
    forwards = places_in(pairs, 0, 2, 3)
    assert min(forwards.tolist()) == -1
    backwards = places_in(pairs, 2, 0, 2)
    assert [forwards[place] for place in backwards] == [0, 1]

from __future__ import annotations

import pytest
import torch

from tests.degeneracy.relu_networks import batches, inputs_of, relu_network
from tests.reference.jacobian import jacobian
from weightatlas.degeneracy.ranking.checking import changes, largest_singular_value
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap


def test_changes_and_the_largest_singular_value_are_those_of_the_slow_jacobian() -> None:
    model, inputs = relu_network(0), inputs_of(0, 300)
    network, slow = ParameterMap(model), jacobian(model, inputs)
    directions = torch.randn(3, network.size, dtype=torch.float64)
    data = batches(inputs, 290)
    torch.testing.assert_close(changes(network, data, directions), (slow @ directions.mT).norm(dim=0))
    exact = float(torch.linalg.svdvals(slow)[0])
    found = largest_singular_value(network, data)
    assert 0.8 * exact < found <= exact * (1 + 1e-12)
    assert found == pytest.approx(largest_singular_value(network, data))

"""Units of every weight: by kernels where it sees the image, through the model where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from tests.branching.planted_networks import Branched, Inception
from weightatlas.branching.surveying.network import open_network
from weightatlas.branching.surveying.unit_survey import survey_units
from weightatlas.errors import SourceError


def test_the_first_layer_is_tuned_by_its_kernels() -> None:
    network = open_network(Branched())
    found = {layer.layer: layer for layer in survey_units(network, network.branchings, ())}
    assert found["conv1"].by == "kernel"
    assert found["conv1"].pictures is not None
    assert found["conv1"].pictures.shape == (12, 7, 7, 3)
    assert found["conv2"].tuning is None
    assert found["conv2"].names[:2] == ("group 1", "group 1")


def test_a_deeper_layer_is_tuned_by_its_expanded_weights_and_by_stimuli() -> None:
    network = open_network(Branched())
    found = {layer.layer: layer for layer in survey_units(network, network.branchings, ["conv2"])}["conv2"]
    assert found.by == "expanded weights"
    assert found.weights is not None
    assert found.weights.shape[:2] == (8, 3)
    assert found.responses is not None
    assert len(found.responses.labels) == 8
    # The groups of the second layer see what their own half of the first sees: grey in one, colour in the other.
    assert found.tuning is not None
    assert found.tuning.chroma[:4].max() < 0.01
    assert found.tuning.chroma[4:].min() > 0.9


def test_a_joined_layer_stands_for_its_weights() -> None:
    network = open_network(Inception())
    joined = network.branchings[0].layer
    found = survey_units(network, network.branchings, [joined])
    assert [layer.layer for layer in found if layer.tuning is not None] == ["small", "large"]


def test_units_are_drawn_by_what_excites_them_if_asked() -> None:
    network = open_network(Branched())
    plain, drawn = (
        next(
            layer.pictures
            for layer in survey_units(network, network.branchings, ["conv3"], visualized=visualized)
            if layer.layer == "conv3"
        )
        for visualized in (False, True)
    )
    assert plain is not None
    assert drawn is not None
    assert drawn.shape == (10, 64, 64, 3)
    assert np.ptp(drawn.astype(int), axis=(1, 2, 3)).min() > 0


def test_no_model_and_no_such_layer_are_said() -> None:
    alone = open_network(Branched().state_dict())  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="--model"):
        survey_units(alone, alone.branchings, ["conv3"])
    with pytest.raises(SourceError, match="no layer 'conv9'"):
        survey_units(open_network(Branched()), (), ["conv9"])

from __future__ import annotations

from typing import Any

import pytest

from weightatlas.checkpoints.hdf5.keras_config import read_layers


def layer(kind: str, name: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - what a layer is made with
    return {"class_name": kind, "config": {"name": name, **options}}


def test_layers_are_numbered_by_class_within_the_model_around_them() -> None:
    inner = layer("Sequential", "head", layers=[layer("Dense", "a"), layer("Dense", "b")])
    found = read_layers(layer("Functional", "net", layers=[layer("Dense", "first"), inner, layer("Dense", "last")]))
    assert [(one.kind, one.path, one.name) for one in found] == [
        ("dense", "layers/dense", "first"),
        ("sequential", "layers/sequential", "head"),
        ("dense", "layers/sequential/layers/dense", "head/a"),
        ("dense", "layers/sequential/layers/dense_1", "head/b"),
        ("dense", "layers/dense_1", "last"),
    ]


def test_wrappers_hold_the_layer_they_wrap() -> None:
    wrapped = layer("Bidirectional", "bi", layer=layer("LSTM", "lstm"))
    found = read_layers({"config": {"layers": [wrapped]}})
    assert {(one.path, one.name) for one in found if one.kind == "lstm"} == {
        ("layers/bidirectional/layer", "bi/lstm"),
        ("layers/bidirectional/forward_layer", "bi/forward_lstm"),
        ("layers/bidirectional/backward_layer", "bi/backward_lstm"),
    }


def test_keras_1_has_the_list_itself() -> None:
    (found,) = read_layers({"class_name": "Sequential", "config": [layer("Dense", "out", units=3)]})
    assert (found.name, found.options["units"]) == ("out", 3)


def test_only_a_sum_has_an_equation() -> None:
    layers = [layer(kind, "x", equation=equation) for kind, equation in (("EinsumDense", "ab,bc->ac"), ("Dense", "ab"))]
    layers.append(layer("EinsumDense", "y", equation=7))
    assert [one.equation for one in read_layers({"config": {"layers": layers}})] == ["ab,bc->ac", "", ""]


@pytest.mark.parametrize("config", [None, 3, [], {}, {"config": {"layers": "abc"}}, {"config": {"layers": [[], 3]}}])
def test_what_is_no_configuration_has_no_layers(config: object) -> None:
    assert read_layers(config) == ()

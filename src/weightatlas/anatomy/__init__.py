"""What a layer is: kinds and roles from names and shapes or from modules, and the statistics of every layer.

The names below load on first use: a listing needs `Layer` and `layer_rows` only, and neither torch nor numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from weightatlas.anatomy.layers import Layer, describe_tensors
from weightatlas.anatomy.listing import layer_rows
from weightatlas.anatomy.vocabulary import Kind, Role

if TYPE_CHECKING:
    from weightatlas.anatomy.expanded import ExpandedWeights, expanded_weights
    from weightatlas.anatomy.flow import ChannelFlow, FlowLayer, channel_flow
    from weightatlas.anatomy.layer_survey import LayerSurvey, survey
    from weightatlas.anatomy.modules import describe_model
    from weightatlas.anatomy.statistics import WeightStatistics, weight_statistics

__all__ = [
    "ChannelFlow",
    "ExpandedWeights",
    "FlowLayer",
    "Kind",
    "Layer",
    "LayerSurvey",
    "Role",
    "WeightStatistics",
    "channel_flow",
    "describe_model",
    "describe_tensors",
    "expanded_weights",
    "layer_rows",
    "survey",
    "weight_statistics",
]

_MODULES = {
    "ChannelFlow": "flow",
    "ExpandedWeights": "expanded",
    "FlowLayer": "flow",
    "channel_flow": "flow",
    "expanded_weights": "expanded",
    "LayerSurvey": "layer_survey",
    "WeightStatistics": "statistics",
    "describe_model": "modules",
    "survey": "layer_survey",
    "weight_statistics": "statistics",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - known to type checkers from the imports above
    if name in _MODULES:
        return getattr(import_module(f"weightatlas.anatomy.{_MODULES[name]}"), name)
    message = f"module 'weightatlas.anatomy' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)

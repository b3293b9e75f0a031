"""A network as a survey needs it: model, one input, the flow of its channels, its branches; or what shapes tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from weightatlas.anatomy.branches import Branching, branches, grouped_branches
from weightatlas.anatomy.flow import ChannelFlow, channel_flow
from weightatlas.checkpoints import Checkpoint, open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.evaluation.example import example_inputs

if TYPE_CHECKING:
    from weightatlas.evaluation import Data


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Weights and what is known of how they are joined.

    Attributes:
        checkpoint: the weights; those of the model, where there is one, so that their names are its modules'.
        branchings: its explicit branches.
        model: the model, in evaluation mode, or None where only weights are at hand.
        example: one input of it.
        flow: which units feed which weights, where there is a model that can be exported.
        notes: what was assumed or could not be followed, one sentence each.
    """

    checkpoint: Checkpoint
    branchings: tuple[Branching, ...]
    model: nn.Module | None = None
    example: Any = None
    flow: ChannelFlow | None = None
    notes: tuple[str, ...] = ()


def open_network(
    source: Checkpoint | nn.Module | str | os.PathLike[str],
    *,
    model: nn.Module | str | None = None,
    data: Data | None = None,
) -> Network:
    """Open weights with the model they belong to, if one is named.

    With a model the graph that `torch.export` gives says which units feed which weights and which paths are parallel.
    Without one only grouped convolutions are known as branches, from their shapes. A model that cannot be exported is
    treated in the same way, and a note says why.

    Args:
        source: an open checkpoint, a live model, or anything `open_checkpoint` takes.
        model: what `open_model` takes; the checkpoint is loaded into it. A live model as the source needs none.
        data: what `open_data` gives; its first example shows what the model takes.

    Raises:
        SourceError: the source or the model cannot be opened, or do not belong together.
    """
    if isinstance(source, nn.Module):
        module = open_model(source)
        checkpoint = open_checkpoint(module)
    elif model is None:
        checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
        return Network(checkpoint, grouped_branches(checkpoint.layers))
    else:
        module = open_model(model, checkpoint=source)
        checkpoint = open_checkpoint(module)
        checkpoint.source = source.source if isinstance(source, Checkpoint) else os.fspath(source)
    name = model if isinstance(model, str) else None
    try:
        example = example_inputs(module, name=name, data=data)
        flow = channel_flow(module, example)
    except (SourceError, ValueError) as error:
        note = f"its graph could not be followed ({error}); only grouped convolutions are known as branches"
        return Network(checkpoint, grouped_branches(checkpoint.layers), module, notes=(note,))
    return Network(checkpoint, branches(module, example), module, example, flow, flow.notes)

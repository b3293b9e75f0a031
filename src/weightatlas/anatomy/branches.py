"""Explicit branches: parallel paths of a network, and which unit lies on which."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.anatomy.graph.branch_names import around, below, kernel_names
from weightatlas.anatomy.graph.branch_types import Branch, Branching
from weightatlas.anatomy.graph.channel_ids import Constant
from weightatlas.anatomy.graph.channel_walk import walk_graph
from weightatlas.anatomy.graph.exporting import Example, export_graph
from weightatlas.anatomy.graph.grouped import grouped_branches, groups_in
from weightatlas.anatomy.graph.paths import Paths, along, bottleneck_of, kernel_of
from weightatlas.anatomy.graph.residual_branches import heads_in, sums_in

if TYPE_CHECKING:
    from torch import nn

    from weightatlas.anatomy.graph.channel_ids import Value
    from weightatlas.anatomy.graph.channel_records import Joint
    from weightatlas.anatomy.graph.paths import Origin

__all__ = ["Branch", "Branching", "branches", "grouped_branches"]


def branches(model: nn.Module, example_inputs: Example) -> tuple[Branching, ...]:
    """Find the parallel paths of a network from its exported graph.

    - *Concatenations*: paths that end side by side in one value (Inception, SqueezeNet's fire modules). A concatenation
      within another is taken apart. What is passed on from before the fork, and what another of the paths reads
      (DenseNet keeps its inputs so; a shortcut that is concatenated), is no branch: those units have the label -1.
    - *Groups* of a grouped convolution that is not depthwise: a branching of its own units, and one of the layer that
      feeds it where that is one layer (AlexNet: the groups of conv2 divide the units of conv1).
    - *Sums*: residual blocks that add to one stream are parallel; a block's units are those of its last hidden layer
      (ResNet's conv1 in a basic block, conv2 in a bottleneck), side by side for all blocks of a stream. A block of a
      single layer has no hidden units, and is left out.
    - In transformers the *heads* of each attention layer divide the rows of its values, and the *MLP* blocks of a
      stream are its parallel branches in place of sums.

    Args:
        model: any module; it is exported in evaluation mode and left as it was.
        example_inputs: what to call it with, as `evaluation.example_inputs` gives it.

    Returns:
        In order of execution within each kind; each has two branches or more. Empty for a network without branches.

    Raises:
        SourceError: the model cannot be exported with these inputs.

    **Source:** Branch Specialization (Voss and others, Distill 2021), which names all these kinds: branches of
    Inception, AlexNet's groups, residual blocks "as separate branches". Which units stand for a residual block is our
    choice: those that only this block reads, for what it adds to the stream has no basis of its own.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2))
        >>> [(one.layer, one.names, one.labels.tolist()) for one in branches(network, torch.zeros(1, 3, 8, 8))]
        [('2', ('group 1', 'group 2'), [0, 0, 1, 1]), ('0', ('group 1', 'group 2'), [0, 0, 0, 0, 1, 1, 1, 1])]
    """
    paths = Paths(walk_graph(export_graph(model, example_inputs)))
    return (*_concatenations(paths), *groups_in(paths), *sums_in(paths), *heads_in(paths))


def _concatenations(paths: Paths) -> list[Branching]:
    joints = {joint.step: joint for joint in paths.walk.concatenations}
    absorbed = {
        part.step
        for joint in joints.values()
        for part in joint.parts
        if not isinstance(part, Constant) and part.step in joints and _only_through(paths, part.step, joint.step)
    }
    found = (_concatenation(paths, joint, joints, absorbed) for step, joint in joints.items() if step not in absorbed)
    return [one for one in found if one is not None]


def _only_through(paths: Paths, inner: int, outer: int) -> bool:
    """Whether all that depends on one step depends on it through another."""
    return all(
        step == outer or above >> outer & 1 for step, above in enumerate(paths.walk.ancestors) if above >> inner & 1
    )


def _concatenation(
    paths: Paths, joint: Joint, joints: Mapping[int, Joint], absorbed: Collection[int]
) -> Branching | None:
    parts = _leaves(joint, joints, absorbed)
    starts = np.cumsum([0, *(part.shape[joint.axis] for part in parts)])
    reached = [paths.until(part) for part in parts]
    made: list[tuple[int, Origin]] = []
    for place, part in enumerate(parts):
        read_by_another = any(
            not isinstance(part, Constant) and steps >> part.step & 1
            for other, steps in enumerate(reached)
            if other != place
        )
        ids = along(part, joint.axis)
        origin = None if ids is None or read_by_another else paths.origin(ids)
        if origin is not None:
            made.append((place, origin))
    common = reached[made[0][0]] if made else 0
    for place, _ in made:
        common &= reached[place]
    made = [(place, origin) for place, origin in made if not common >> origin.read.step & 1]
    if len(made) < 2:
        return None
    steps = [reached[place] & ~common for place, _ in made]
    chains = [paths.chain(origin.read, within) for (_, origin), within in zip(made, steps, strict=True)]
    layers = [origin.read.layer for _, origin in made]
    kernels = [kernel_of(chain) for chain in chains]
    names = kernel_names(kernels, pools=[paths.pools(within) for within in steps]) or below(layers)
    left = int(starts[-1]) - sum(len(origin.rows) for _, origin in made)
    return Branching(
        layer=around(layers, paths.walk.paths[joint.step] or f"concatenation {joint.step}"),
        kind="concatenation",
        units=int(starts[-1]),
        branches=tuple(
            Branch(
                name=name,
                units=np.arange(starts[place], starts[place + 1]),
                layer=origin.read.layer,
                rows=origin.rows,
                layers=tuple(read.layer for read in chain),
                kernel=kernel,
                bottleneck=bottleneck_of(chain),
            )
            for name, (place, origin), chain, kernel in zip(names, made, chains, kernels, strict=True)
        ),
        note=f"{left} of its units are passed on from before the paths, or made by several layers" if left else "",
    )


def _leaves(joint: Joint, joints: Mapping[int, Joint], absorbed: Collection[int]) -> list[Value]:
    """The parts of a concatenation; those that are concatenations themselves, and read nowhere else, taken apart."""
    leaves: list[Value] = []
    for part in joint.parts:
        inner = None if isinstance(part, Constant) else joints.get(part.step)
        apart = inner is not None and inner.step in absorbed and inner.axis == joint.axis
        leaves += _leaves(inner, joints, absorbed) if inner is not None and apart else [part]
    return leaves

"""Which units of a network may change places: the permutations of its weights that leave what it computes as it is."""

from __future__ import annotations

import torch

from weightatlas.anatomy.graph.exporting import Example, export_graph
from weightatlas.anatomy.symmetries.git_re_basin import from_git_re_basin, to_git_re_basin
from weightatlas.anatomy.symmetries.naming import layouts_of
from weightatlas.anatomy.symmetries.report import (
    PermutationGroup,
    Pinned,
    Symmetries,
    TensorAxis,
    described,
    entries_of,
)
from weightatlas.anatomy.symmetries.verified import DRAWS, verified
from weightatlas.anatomy.symmetries.walk import walk_symmetries

__all__ = [
    "PermutationGroup",
    "Pinned",
    "Symmetries",
    "TensorAxis",
    "from_git_re_basin",
    "symmetries",
    "to_git_re_basin",
]


def symmetries(
    model: torch.nn.Module, example_inputs: Example, *, verify: bool = True, draws: int = DRAWS, seed: int = 0
) -> Symmetries:
    r"""Find which axes of a network's parameters and buffers may be permuted together.

    For weights $\theta$ and the groups' permutations $\pi$, $f_{\pi\theta}(x) = f_\theta(x)$ for every $x$: where
    a layer's units change places, so do the columns of all that reads them. The graph of operators that `torch.export`
    gives is walked once. Each axis of each tensor is a term, of leaves whose entries may change places, of products
    (heads × width, channels × positions) and of segments (what is concatenated, or cut). Operators make terms the same
    (union-find): contractions what they sum over, sums and products element by element what meets, norms the
    channels and their parameters; group norm and grouped convolutions make products of groups and channels, reshapes
    products of what they cut, attention shares its heads over queries, keys and values. What has an order of its own
    stays: the model's inputs and outputs, positions, symbols, constants, and all that goes through an operator without
    a rule.

    Then random permutations of all groups are tried on a copy in float64: once with the network's own numbers, of
    which those that are the same everywhere (norms and biases as they begin) are drawn at random, and then with weights
    and inputs of the same size but drawn anew, so that nothing hides in units that are dead or equal.
    Groups that change an output by more than 1e-8 of its size are found by bisection and pinned, with that as the
    reason.

    Args:
        model: any module that `torch.export` takes; left as it was.
        example_inputs: what to call it with: a tensor, arguments, or arguments by name.
        verify: try the permutations. Without that nothing is known to be right.
        draws: how many sets of numbers they are tried with, two runs of the network each.
        seed: of what is drawn for that.

    Returns:
        Groups, what is pinned, and the share of the parameters that can move. Permutations of different groups are
        independent. What stands beside a factor that stays has a group for each of its entries. Beside one that moves
        all copies move alike: the widths of all heads of one layer are one group, until
        :meth:`Symmetries.holding` keeps the heads in their places.

    Raises:
        SourceError: the model cannot be exported with these inputs; or, to verify, it has no values, does not run in
            float64, or gives nothing or values that are not finite.
        ValueError: `draws` is less than 1.

    **Source:** the specifications that Ainsworth, Hayase and Srinivasa, Git Re-Basin (2023), write by hand for each
    network. Here they are derived from the graph and then verified; others derive them from torchview's modules
    (rebasin) or from traces of autograd (sinkhorn-rebasin).

    Example:
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> found = symmetries(network, torch.zeros(1, 3, 4, 4))
        >>> [(group.name, group.size, len(group.axes)) for group in found.groups], found.verified
        ([('0', 4, 7)], True)
        >>> print(found.layouts["4.weight"][1])
        [0] × 2 × 2
    """
    exported = export_graph(model, example_inputs)
    movable = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point() and tensor.ndim}
    layouts, separable = layouts_of(walk_symmetries(exported, movable))
    for name, several in exported.aliases.items():
        layouts |= {alias: layouts[name] for alias in several if name in layouts}
    if not verify:
        return described(entries_of(model), layouts, separable=separable)
    return verified(model, example_inputs, layouts, separable, seed=seed, draws=draws)

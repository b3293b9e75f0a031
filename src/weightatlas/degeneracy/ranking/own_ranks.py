"""The ranks of single examples' Jacobians: the most that all of them together can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.evaluation.held_batches import HeldBatches

NUMBERS: Final = 2**25
"""Of the Jacobian that are computed at once: 256 MiB. Where one example has 8 times as many, its rank is not taken."""


def own_ranks(network: ParameterMap, held: HeldBatches, outputs: int, *, enough: float, tolerance: float) -> int | None:
    r"""Add up the ranks of the examples' own Jacobians \(J_x\), (d_out, N).

    \(\mathrm{rank}\, J \le \sum_x \mathrm{rank}\, J_x \le n\,d_{out}\), whatever examples have in common. The second
    is no equality where the outputs of one example are bound to each other: those of a log-softmax are, by
    \(\sum_k p_k\,\partial f_k = 0\), and have rank d_out - 1 at most.

    Args:
        network: whose Jacobian it is.
        held: the examples.
        outputs: d_out.
        enough: the sum that is asked about: no example is looked at beyond it.
        tolerance: singular values up to that share of an example's largest count as 0.

    Returns:
        The sum, or some of it that is `enough` or more; None where one example's Jacobian is too large.
    """
    each = network.size * outputs
    if each > 8 * NUMBERS:
        return None
    found = 0
    for inputs, _ in held:
        for part in torch.split(inputs, max(1, NUMBERS // each)):
            if found >= enough:
                return found
            rows = network.rows(part).double().reshape(len(part), outputs, network.size)
            tall = rows.mT if outputs < network.size else rows
            values = torch.linalg.svdvals(torch.linalg.qr(tall, mode="r").R)
            found += int((values > tolerance * values[:, :1]).sum())
    return found

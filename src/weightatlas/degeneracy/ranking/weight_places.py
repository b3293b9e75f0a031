"""Where the weights of a layer stand among all trained parameters of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from weightatlas.degeneracy.accumulating.sites import Site
    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap


def weight_index(network: ParameterMap, site: Site) -> torch.Tensor:
    """The column of the Jacobian that each weight of a layer has, int64 (groups, units, width), a bias's last.

    Args:
        network: whose parameters they are.
        site: where the matrix stands in its parameter, which is trained as is its bias.
    """
    form = site.form
    found = _rows(network, site.weight, site.rows)
    if form.kind != "convolution":
        found = (found.T if form.stored_inputs_first else found)[None]
    elif form.stored_inputs_first:
        found = found.reshape(form.groups, -1, site.units, form.size).transpose(1, 2)
    found = found.reshape(form.groups, site.units, -1)
    if site.bias is not None:
        found = torch.cat([found, _rows(network, site.bias, site.rows).reshape(form.groups, site.units, 1)], dim=2)
    return found


def why_not(network: ParameterMap, site: Site) -> str | None:
    """Why directions of a layer's weights are no directions of trained parameters; None where they are."""
    if site.is_derived:
        return "its weights are computed from parameters, whose directions are others"
    held = [name for name in (site.weight, site.bias) if name is not None and name not in network.parameters]
    return f"{held[0]} is not trained" if held else None


def _rows(network: ParameterMap, name: str, rows: tuple[int, int] | None) -> torch.Tensor:
    shape = network.parameters[name].shape
    place = network.columns()[name]
    found = torch.arange(place.start, place.stop, device=network.device).reshape(shape)
    return found if rows is None else found[slice(*rows)]

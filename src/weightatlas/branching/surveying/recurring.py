"""The same specialisation in several surveys: the first branched layer of each, by what its units are tuned to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from weightatlas.branching.consistency import Consistency, consistency
from weightatlas.errors import SourceError
from weightatlas.wording import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from weightatlas.branching.specialization import Specialization
    from weightatlas.branching.survey import BranchingSurvey


def recurring(surveys: Sequence[BranchingSurvey], *, seed: int = 0) -> Consistency:
    """Match the branches of several sources, and say how often families gather alike.

    Of each source the first layer that was tested counts: by given families where there are any, else by colour.

    Args:
        surveys: two or more, of networks of any seeds, data or architectures.
        seed: of the permutations.

    Raises:
        SourceError: there are fewer than two, a source has no branched layer with families, or they have none alike.

    Example:
        >>> import torch
        >>> from weightatlas.branching.survey import survey
        >>> models = []
        >>> for seed in (0, 1):
        ...     generator = torch.Generator().manual_seed(seed)
        ...     first, second = torch.nn.Conv2d(3, 8, 5), torch.nn.Conv2d(8, 8, 3, groups=2)
        ...     grey = torch.randn(4, 1, 5, 5, generator=generator).expand(4, 3, 5, 5)
        ...     colour = torch.randn(4, 3, 5, 5, generator=generator)
        ...     _ = first.weight.data.copy_(torch.cat([grey, colour]))
        ...     models.append(torch.nn.Sequential(first, torch.nn.ReLU(), second))
        >>> found = recurring([survey(model, shuffles=19) for model in models])
        >>> [(row["family"], row["agreement"]) for row in found.rows()]
        [('colour', 1.0), ('black-and-white', 1.0)]
    """
    source = listed([survey.source for survey in surveys]) if surveys else "no source"
    if len(surveys) < 2:
        raise SourceError(source, "consistency is between two sources or more", "name the others too")
    profiles = [replace(_tested(survey), source=survey.source) for survey in surveys]
    try:
        return consistency(profiles, seed=seed, source=source)
    except ValueError as error:
        raise SourceError(source, str(error), "compare sources of like families") from error


def _tested(survey: BranchingSurvey) -> Specialization:
    """What was found of the first branched layer."""
    for found in survey.families:
        if found.specialization is not None and found.by not in ("frequency", "class"):
            return found.specialization
    remedy = "name the --model that tells its branches, or give --branches"
    raise SourceError(survey.source, "no layer of it has both families and branches", remedy)

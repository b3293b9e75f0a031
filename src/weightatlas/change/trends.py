"""Which layers move alike: clusters of the curves of weight change, and how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from threadpoolctl import threadpool_limits

from weightatlas.change.clusters.grouping import group_of
from weightatlas.change.clusters.pipeline import DEFAULT
from weightatlas.change.clusters.preparing import prepare, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from weightatlas.change.clusters.groups import Cluster, LayerGroup, LayerTrend
    from weightatlas.change.clusters.pipeline import Choice, Pipeline
    from weightatlas.change.clusters.preparing import Table

    Array = npt.NDArray[np.float64]

ROLE_GROUPS: Final = {
    "depthwise": "depthwise",
    "pointwise": "pointwise",
    "pointwise-linear": "pointwise-linear",
    "squeeze-excite-reduce": "squeeze-excite",
    "squeeze-excite-expand": "squeeze-excite",
}
"""The paper's groups, by the roles that `anatomy` tells; every other role is one of `OTHERS`."""

ALL: Final = "all"
OTHERS: Final = "others"


@dataclass(frozen=True, slots=True, eq=False)
class Trends:
    """Which layers of a table of curves move alike.

    Attributes:
        names: of the layers, in the order of the table.
        records: labels of the columns.
        curves: (layers, records) the table as it was given; what is above 1e75 is infinite, below 1e-75 it is 0.
        prepared: (layers, records) what was clustered: after every step of the pipeline; NaN for layers left out before
            the clustering.
        pipeline: the steps and their options.
        layers: what each layer moves like, in the order of the table.
        groups: layers that were clustered together.
        seed: of every random draw.
    """

    names: tuple[str, ...]
    records: tuple[str, ...]
    curves: Array
    prepared: Array
    pipeline: Pipeline
    layers: tuple[LayerTrend, ...]
    groups: tuple[LayerGroup, ...]
    seed: int

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """The clusters of all groups, by their numbers."""
        return tuple(cluster for group in self.groups for cluster in group.clusters)

    @property
    def left_out(self) -> tuple[LayerTrend, ...]:
        """The layers without a cluster."""
        return tuple(layer for layer in self.layers if layer.cluster is None)

    def frame(self) -> pd.DataFrame:
        """What is known of the layers as a tidy data frame, one row a layer, in the order of the table.

        Its columns: layer, group, cluster (missing for a layer that was left out), reason (why it was), outlier (what
        sets it apart), silhouette, pca_1 and pca_2 (its principal components), replaced (the records whose values were
        replaced), stable (whether the clusters of its group can be trusted).

        Example:
            >>> found = trends({"stem": [0.1, 0.2], "middle": [0.1, 0.3], "head": [0.5, 0.4]})
            >>> found.frame()[["layer", "group", "cluster"]].values.tolist()
            [['stem', 'all', 0], ['middle', 'all', 0], ['head', 'all', 0]]
        """
        import pandas as pd

        stable = {group.name: group.stable for group in self.groups}
        rows = [
            {
                "layer": layer.name,
                "group": layer.group,
                "cluster": layer.cluster,
                "reason": layer.reason,
                "outlier": layer.outlier,
                "silhouette": layer.silhouette,
                "pca_1": layer.coordinates[0],
                "pca_2": layer.coordinates[1],
                "replaced": [self.records[record] for record in layer.replaced],
                "stable": stable[layer.group],
            }
            for layer in self.layers
        ]
        return pd.DataFrame(rows).astype({"cluster": "Int64"})


def trends(
    curves: Any,  # noqa: ANN401 - whatever holds a table
    *,
    names: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    pipeline: Pipeline = DEFAULT,
    clusters: int | Choice | None = None,
    by_role: bool = False,
    seed: int = 0,
) -> Trends:
    """Cluster layers by how their weight change runs over training, and say whether the clusters can be trusted.

    The published steps are `trends(table, pipeline=PUBLISHED, clusters=4)`. The default steps compare the logarithms of
    curves: k-means then looks at ratios of change, so that neither the large first records nor a learning-rate schedule
    that all layers share decide; layers like no other are named and left out instead of pulled to a mean.

    Clusters are numbered by the median over records of the median curve of their layers, the largest first: cluster 0
    moves most. The outcome does not depend on the order of the layers, except where the ends are dropped.

    Args:
        curves: (layers, records) relative weight change, at least 0: an array, a data frame (rows are layers), or a
            mapping from names to values. NaN and infinity are missing values, and so is what is above 1e75; what is
            below 1e-75 is 0.
        names: of the layers, where the table has none.
        roles: of the layers, as `anatomy` names them; needed with `by_role`.
        pipeline: every step and its options: `DEFAULT`, `PUBLISHED`, or one of your own.
        clusters: how many, or how to choose; the pipeline's choice by default. Never more than layers that differ.
        by_role: cluster depthwise, pointwise, pointwise-linear and squeeze-excite layers each among themselves, and the
            others.
        seed: of every random draw. Global random generators stay as they were.

    Returns:
        For every layer its cluster, or why it has none; for every group its clusters, scree and stability.

    **Null:** layers drawn from one Gaussian with the mean and covariance of the table; see `stability`.

    Raises:
        ValueError: the table is none, names or roles do not fit, or an option is out of range.

    **Source:** WeightScale (Agrawal et al. 2022), section 3 and equation 2; details from its notebooks: infinite values
    become the sum of the finite ones over the number of all, the first and last layer are dropped, outliers go in one
    pass with the population's standard deviation, k-means runs on the raw curves, elbows were ringed by hand. We add a
    choice of the number, stability, and the null.

    Example:
        >>> import numpy as np
        >>> from weightatlas.change.clusters.pipeline import Pipeline
        >>> noise = np.random.default_rng(0).normal(0, 0.1, (12, 20))
        >>> level = np.repeat([1e-2, 1e-3], 6)[:, None] * np.linspace(1, 0.1, 20)
        >>> found = trends(level * np.exp(noise), pipeline=Pipeline(nulls=19))
        >>> [layer.cluster for layer in found.layers], found.groups[0].stable
        ([0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1], True)
    """
    from sklearn import config_context

    table = table_of(curves, names)
    wanted = _checked(clusters, pipeline)
    with (
        threadpool_limits(1),  # threads add up in the order they end, and so would round differently each time
        config_context(assume_finite=True, skip_parameter_validation=True),  # hundreds of small fits, checked here
    ):
        prepared = prepare(table.curves, pipeline)
        groups: list[LayerGroup] = []
        layers: dict[int, LayerTrend] = {}
        for name, positions in _groups(table, roles, by_role=by_role).items():
            first = sum(len(group.clusters) for group in groups)
            group, of_group = group_of(
                name, positions, table, prepared, pipeline=pipeline, clusters=wanted, first=first, seed=seed
            )
            groups.append(group)
            layers |= of_group
    return Trends(
        names=table.names,
        records=table.records,
        curves=table.curves,
        prepared=prepared.curves,
        pipeline=pipeline,
        layers=tuple(layers[position] for position in range(len(table.names))),
        groups=tuple(groups),
        seed=seed,
    )


def _checked(clusters: int | Choice | None, pipeline: Pipeline) -> int | Choice:
    """The number of clusters or how to choose it, once it is known to be one.

    Raises:
        ValueError: it is not.
    """
    if clusters is None:
        return pipeline.clusters
    if isinstance(clusters, str):
        return replace(pipeline, clusters=clusters).clusters
    if clusters < 1:
        message = f"clusters must be 1 or more, not {clusters}"
        raise ValueError(message)
    return int(clusters)


def _groups(table: Table, roles: Sequence[str] | None, *, by_role: bool) -> dict[str, list[int]]:
    """Positions of the layers of each group.

    Raises:
        ValueError: roles are needed and missing, or do not fit the table.
    """
    if roles is not None and len(roles) != len(table.names):
        message = f"{len(roles)} roles for {len(table.names)} layers"
        raise ValueError(message)
    if not by_role:
        return {ALL: list(range(len(table.names)))}
    if roles is None:
        message = "by_role needs the roles of the layers: give roles=..."
        raise ValueError(message)
    names = [ROLE_GROUPS.get(role, OTHERS) for role in roles]
    order = [*dict.fromkeys(ROLE_GROUPS.values()), OTHERS]
    return {group: [index for index, name in enumerate(names) if name == group] for group in order if group in names}

"""Branch specialisation: which features gather in which branch, and what branches hide in an unbranched layer?"""

from weightatlas.branching.clusterability import Clusterability, clusterability
from weightatlas.branching.consistency import Consistency, consistency
from weightatlas.branching.families import families_from_tuning, read_families
from weightatlas.branching.family_clusters import FamilyClusters, cluster_families
from weightatlas.branching.implicit import HiddenBranches, implicit
from weightatlas.branching.network_graph import NetworkGraph, network_graph
from weightatlas.branching.onset import Onset, onset
from weightatlas.branching.specialization import Specialization, specialization
from weightatlas.branching.survey import BranchingSurvey, survey
from weightatlas.branching.tuning import Tuning, tuning

__all__ = [
    "BranchingSurvey",
    "Clusterability",
    "Consistency",
    "FamilyClusters",
    "HiddenBranches",
    "NetworkGraph",
    "Onset",
    "Specialization",
    "Tuning",
    "cluster_families",
    "clusterability",
    "consistency",
    "families_from_tuning",
    "implicit",
    "network_graph",
    "onset",
    "read_families",
    "specialization",
    "survey",
    "tuning",
]

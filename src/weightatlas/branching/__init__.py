"""Branch specialisation: which features gather in which branch, and what branches hide in an unbranched layer?"""

from weightatlas.anatomy.branches import Branch, Branching, branches, grouped_branches
from weightatlas.branching.clusterability import Clusterability, clusterability
from weightatlas.branching.consistency import Consistency, consistency
from weightatlas.branching.cuts.network_graph import NetworkGraph, network_graph
from weightatlas.branching.families import families_from_tuning, read_families
from weightatlas.branching.gathering.branch_profiles import BranchProfile, branch_profile
from weightatlas.branching.gathering.enrichment import FamilyBranch
from weightatlas.branching.gathering.family_clusters import FamilyClusters, cluster_families
from weightatlas.branching.gathering.family_features import common_kernels, tuning_features
from weightatlas.branching.implicit import HiddenBranches, implicit
from weightatlas.branching.measured import MeasuredTuning, measured_tuning
from weightatlas.branching.onset import Onset, onset
from weightatlas.branching.pictures.kernels import kernel_images
from weightatlas.branching.pictures.patches import ExcitingPatches, exciting_patches
from weightatlas.branching.pictures.position_vectors import PositionVectors, position_vectors
from weightatlas.branching.pictures.visualization import UnitPictures, visualize
from weightatlas.branching.specialization import Specialization, specialization
from weightatlas.branching.survey import BranchingSurvey, survey
from weightatlas.branching.tuning import Tuning, tuning

__all__ = [
    "Branch",
    "BranchProfile",
    "Branching",
    "BranchingSurvey",
    "Clusterability",
    "Consistency",
    "ExcitingPatches",
    "FamilyBranch",
    "FamilyClusters",
    "HiddenBranches",
    "MeasuredTuning",
    "NetworkGraph",
    "Onset",
    "PositionVectors",
    "Specialization",
    "Tuning",
    "UnitPictures",
    "branch_profile",
    "branches",
    "cluster_families",
    "clusterability",
    "common_kernels",
    "consistency",
    "exciting_patches",
    "families_from_tuning",
    "grouped_branches",
    "implicit",
    "kernel_images",
    "measured_tuning",
    "network_graph",
    "onset",
    "position_vectors",
    "read_families",
    "specialization",
    "survey",
    "tuning",
    "tuning_features",
    "visualize",
]

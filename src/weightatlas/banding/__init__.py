"""Weight banding: do a layer's filters encode position along one axis?"""

from weightatlas.banding.nmf import Factorization, nmf, one_sided_nmf
from weightatlas.banding.score import BandingScore, score, score_slides
from weightatlas.banding.slides import TissueSlides, slides
from weightatlas.banding.survey import BandingSurvey, survey
from weightatlas.banding.symmetries import Symmetries, SymmetryTest, symmetries
from weightatlas.banding.types import BandingTypes, given_types, types

__all__ = [
    "BandingScore",
    "BandingSurvey",
    "BandingTypes",
    "Factorization",
    "Symmetries",
    "SymmetryTest",
    "TissueSlides",
    "given_types",
    "nmf",
    "one_sided_nmf",
    "score",
    "score_slides",
    "slides",
    "survey",
    "symmetries",
    "types",
]

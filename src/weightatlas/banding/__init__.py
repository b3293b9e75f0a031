"""Weight banding: do a layer's filters encode position along one axis?"""

from weightatlas.banding.score import BandingScore, score, score_slides
from weightatlas.banding.slides import TissueSlides, slides
from weightatlas.banding.survey import BandingSurvey, survey
from weightatlas.banding.symmetries import SymmetryTest, symmetries
from weightatlas.banding.types import BandingTypes, types

__all__ = [
    "BandingScore",
    "BandingSurvey",
    "BandingTypes",
    "SymmetryTest",
    "TissueSlides",
    "score",
    "score_slides",
    "slides",
    "survey",
    "symmetries",
    "types",
]

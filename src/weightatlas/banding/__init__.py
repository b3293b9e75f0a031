"""Weight banding: do a layer's filters encode position along one axis?"""

from weightatlas.banding.score import BandingScore, score, score_slides
from weightatlas.banding.symmetries import SymmetryTest, symmetries

__all__ = ["BandingScore", "SymmetryTest", "score", "score_slides", "symmetries"]

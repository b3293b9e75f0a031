"""Weight change: which layers still learn, which have stopped, which move alike?"""

from weightatlas.change.analysis import Analysis, analysed
from weightatlas.change.callbacks import lightning_callback, transformers_callback
from weightatlas.change.changes import Changes, LayerChange
from weightatlas.change.clusters.pipeline import DEFAULT, PUBLISHED, Pipeline
from weightatlas.change.depth import DepthTrend, depth_trend
from weightatlas.change.recorder import Recorder
from weightatlas.change.recording.alerts import WeightChangeWarning
from weightatlas.change.records import read_records
from weightatlas.change.statistics import statistics
from weightatlas.change.stopped import Stopped, stopped
from weightatlas.change.summing.sums import ChangeStatistics
from weightatlas.change.survey import compare, survey
from weightatlas.change.trends import Trends, trends
from weightatlas.recording.schedules import log_spaced

__all__ = [
    "DEFAULT",
    "PUBLISHED",
    "Analysis",
    "ChangeStatistics",
    "Changes",
    "DepthTrend",
    "LayerChange",
    "Pipeline",
    "Recorder",
    "Stopped",
    "Trends",
    "WeightChangeWarning",
    "analysed",
    "compare",
    "depth_trend",
    "lightning_callback",
    "log_spaced",
    "read_records",
    "statistics",
    "stopped",
    "survey",
    "transformers_callback",
    "trends",
]

"""Where weights come from: one file a format; `open_checkpoint` dispatches. Untrusted input: nothing in it runs."""

from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped, TensorInfo
from weightatlas.checkpoints.opening import open_checkpoint

__all__ = ["Checkpoint", "Skipped", "TensorInfo", "open_checkpoint"]

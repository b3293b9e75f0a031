"""Where weights come from: one file a format; `open_checkpoint` dispatches. Untrusted input: nothing in it runs."""

from weightatlas.checkpoints.checkpoint import Checkpoint, Skipped, TensorInfo
from weightatlas.checkpoints.opening import open_checkpoint
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.checkpoints.zoo import zoo_model

__all__ = ["Checkpoint", "Skipped", "TensorInfo", "import_torchvision", "open_checkpoint", "zoo_model"]
